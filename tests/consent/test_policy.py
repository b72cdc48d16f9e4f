"""Policies: the format of the specification, quorums against a naive count, fresh times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.checkpoint import Checkpoint
from consent.errors import NoteError
from consent.merkle import hash_leaf
from consent.note import sign_note
from consent.policy import Policy, check_checkpoint, majority_policy, parse_policy
from protocol.errors import BadInput
from tests.consent import logs

HEAD = Checkpoint(logs.ORIGIN, 3, hash_leaf(b"root")).to_text()
LOG = str(logs.log_key().key)
W = {name: str(logs.witness_key(name).key) for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
TWO_LEVELS = f"""# an example
log {LOG} https://log.test/
witness X1 {W["X1"]}
 witness\tX2 {W["X2"]} https://w.test
witness X3 {W["X3"]}

group X-witnesses 2 X1 X2 X3
witness Y1 {W["Y1"]}
witness Y2 {W["Y2"]}
witness Y3 {W["Y3"]}
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_example_of_the_specification() -> None:
    policy = parse_policy(TWO_LEVELS.encode())
    for n in range(7):
        for some in itertools.combinations(W, n):
            xs, ys = (sum(name[0] == c for name in some) for c in "XY")
            assert policy.met_by(some) == (xs >= 2 and ys >= 1)


@pytest.mark.parametrize("n", range(6))
def test_the_default_is_more_than_half(n: int) -> None:
    names = [f"w{i}" for i in range(n)]
    policy = logs.policy(*names)
    for k in range(n + 1):
        assert policy.met_by(names[:k]) == (k > n / 2 or n == 0)
    assert not logs.policy("a", "b", "c").met_by(["a", "stranger", "a"])


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("", "no quorum"),
        ("quorum none\nquorum none", "second quorum"),
        ("quorum missing", "not defined"),
        ("group none all X1", "taken"),
        ("group X-and-Y all X1\nquorum X1", "taken"),
        ("quorum X1 X2", "not a log"),
        ("group g 1\nquorum X1", "not a log"),
        ("group g all nobody\nquorum X1", "not defined"),
        ("group g any X1\nquorum g", "member twice"),
        ("witness Z {X1}\nquorum X1", "listed twice"),
        ("witness Z {LOG}\nquorum X1", "does not sign this"),
        ("log {X1}\nquorum X1", "does not sign this"),
        ("log {LOG}\nquorum X1", "listed twice"),
        ("witness Z nonsense\nquorum X1", "verifier key"),
        ("mirror Z\nquorum X1", "not a log"),
        ("# \x01\nquorum X1", "control character"),
        ("quorum X1\r", "control character"),
    ],
)
def test_what_a_policy_may_not_say(line: str, cause: str) -> None:
    before = TWO_LEVELS.replace("quorum X-and-Y\n", "")
    text = before + line.format(X1=W["X1"], LOG=LOG) + ("\n" if line else "")
    with pytest.raises(BadInput, match=cause):
        parse_policy(text.encode())


@pytest.mark.parametrize("word", ["0", "3", "-1", "01", "1.0", "most", "99999999999999"])
def test_thresholds_that_a_group_cannot_ask_for(word: str) -> None:
    text = f"witness a {W['X1']}\nwitness b {W['X2']}\ngroup g {word} a b\nquorum g\n"
    with pytest.raises(BadInput, match="cannot ask"):
        parse_policy(text.encode())


def test_a_file_cut_off_is_refused() -> None:
    for end in range(len(TWO_LEVELS)):
        with pytest.raises(BadInput):
            parse_policy(TWO_LEVELS.encode()[:end])


def test_names_are_octets() -> None:
    text = f"witness K\u212a {W['X1']}\nquorum K\u212a\n".encode()
    assert parse_policy(text).met_by(["K\u212a"])
    # What is no text is a name all the same, and no other one.
    text = b"witness \xff " + W["X1"].encode() + b"\nwitness \xc3\xbf "
    text += W["X2"].encode() + b"\ngroup g all \xff \xc3\xbf\nquorum g\n"
    assert len(parse_policy(text).witnesses) == 2


# -- checkpoints under a policy --------------------------------------------------------------


def signed(*witnesses: tuple[str, int]) -> str:
    lines = [logs.witness_key(name).line(HEAD, time) for name, time in witnesses]
    return sign_note(HEAD, [logs.log_key()]) + "".join(lines)


def test_quorum_and_its_time() -> None:
    policy = logs.policy("a", "b", "c")
    checked = check_checkpoint(signed(("a", 100), ("b", 70), ("c", 90)), policy)
    assert checked.has_quorum
    assert checked.quorum_time == 90  # at 90, a and c had seen this tree
    assert dict(checked.times) == {"a": 100, "b": 70, "c": 90}
    alone = check_checkpoint(signed(("a", 100)), policy)
    assert (alone.has_quorum, alone.quorum_time) == (False, None)
    nobody = check_checkpoint(signed(), policy)
    assert (nobody.has_quorum, dict(nobody.times)) == (False, {})
    # without witnesses there is a quorum and no clock
    free = check_checkpoint(signed(("a", 100)), logs.policy())
    assert (free.has_quorum, free.quorum_time) == (True, None)


def test_what_is_not_signed_by_an_accepted_log_is_refused() -> None:
    policy = logs.policy("a")
    with pytest.raises(NoteError, match="not in the policy"):
        check_checkpoint(signed(), logs.policy("a", origin="other"))
    with pytest.raises(NoteError, match="wanted"):
        check_checkpoint(signed(), policy, "other")
    with pytest.raises(NoteError, match="no trusted key"):
        check_checkpoint(f"{HEAD}\n" + logs.witness_key("a").line(HEAD, 5), policy)
    # a log's key does not vouch for another log's origin
    foreign = sign_note(HEAD, [logs.log_key("other")])
    both = Policy(
        (logs.log_key().key, logs.log_key("other").key), policy.witnesses, policy.groups, "a"
    )
    with pytest.raises(NoteError, match="no trusted key"):
        check_checkpoint(foreign, both)
    spoiled = signed(("a", 5)).replace("\n3\n", "\n4\n")
    with pytest.raises(NoteError, match="is wrong"):
        check_checkpoint(spoiled, policy)


def test_a_wrong_cosignature_of_a_known_witness_spoils_the_note() -> None:
    other = HEAD.replace("\n3\n", "\n4\n")
    note = sign_note(HEAD, [logs.log_key()]) + logs.witness_key("a").line(other, 5)
    with pytest.raises(NoteError, match="is wrong"):
        check_checkpoint(note, logs.policy("a"))
    assert not check_checkpoint(note, logs.policy("b")).has_quorum  # a stranger's, ignored


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9)), st.integers(1, 5))
def test_quorum_time_against_a_naive_clock(times: dict[str, int], k: int) -> None:
    keys = {name: logs.witness_key(name).key for name in "abcde"}
    text = majority_policy([], keys).replace("majority 3", f"majority {k}")
    policy = parse_policy(text.encode())
    # the latest moment from which on (looking back) k witnesses had signed
    naive = [t for t in range(1, 10) if sum(at >= t for at in times.values()) >= k]
    assert policy.quorum_time(times) == max(naive, default=None)
