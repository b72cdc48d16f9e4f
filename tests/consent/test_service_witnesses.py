"""Witnesses that dial out: they come back, disagree, refuse, hang and answer nonsense."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from consent import client as client_module
from consent.codec import answer_from_pb, answer_to_pb
from consent.note import parse_note
from consent.trust import AUDITOR, witness_name, witness_signer
from consent.witness import StaleSize, Witness
from consent.witnessing import WitnessAnswer, WitnessLine, answer_request
from protocol.errors import AssentError, Failed, Refused
from tests.consent import made
from tests.consent.served import Stand, connected, run, until

EVERYBODY = {witness_name(name) for name in ("retailer", "media", AUDITOR)}


def signers(note: str) -> set[str]:
    """Names of the witnesses under a note."""
    return {one.name for one in parse_note(note).signatures} & EVERYBODY


def test_a_witness_that_was_away_signs_again(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        client = stand.client("retailer")
        first = await client.append(made.batch(["a"]))
        assert len(signers(first.checkpoint)) >= 2
        for name in ("media", AUDITOR):
            await stand.leave(name)
        # One of three is no quorum: a denial is taken, and says that its proof is pending.
        pending = await client.append(made.batch(["a"], "withdrawn"))
        assert pending.proof_pending
        assert signers(pending.checkpoint) == {witness_name("retailer")}
        with pytest.raises(Refused) as caught:
            await client.append(made.batch(["b"]))
        assert caught.value.info.code == "witness_quorum_missing"
        await stand.attend("media")
        done = await client.append(made.batch(["b"]))
        assert (done.indexes, done.proof_pending) == ((2,), False)
        assert signers(done.checkpoint) == {witness_name("retailer"), witness_name("media")}

    run(tmp_path, story)


class Noted:
    """A witness, and how often it disagreed about the size."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.conflicts: list[int] = []

    def add_checkpoint(self, request: str) -> str:
        try:
            return self.witness.add_checkpoint(request)
        except StaleSize as stale:
            self.conflicts.append(stale.size)
            raise


def test_a_service_that_forgot_sizes_learns_them_from_the_witness(tmp_path: Path) -> None:
    kept: list[Stand] = []

    async def before(stand: Stand) -> None:
        kept.append(stand)
        await stand.client("retailer").append(made.batch(["a", "b"]))
        # All three have seen it; a late one would have another size.
        for name in ("retailer", "media", AUDITOR):
            origin = stand.ledger.consent_log("retailer")
            await until(lambda n=name, o=origin: stand.witness(n).checkpoint(o) is not None)  # type: ignore[misc]

    async def after(stand: Stand) -> None:
        noted = {name: Noted(stand.witness(name)) for name in ("retailer", "media", AUDITOR)}
        for name, witness in noted.items():
            await stand.attend(name, witness)
        done = await stand.client("retailer").append(made.batch(["c"]))
        assert (done.indexes, done.proof_pending) == ((2,), False)
        assert sum(2 in witness.conflicts for witness in noted.values()) >= 2

    run(tmp_path, before)
    run(tmp_path, after, before=kept[0], witnesses=False)


class Answering:
    """A dishonest or broken witness."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.asked = 0
        self._answer = answer

    def add_checkpoint(self, request: str) -> str:
        self.asked += 1
        return self._answer(request)


def refusing(request: str) -> str:
    raise Refused("unknown_log", "this log is not watched")


def unwell(request: str) -> str:
    raise Failed("witness_corrupt", "the disk is damaged")


@pytest.mark.parametrize(
    "answer",
    [
        refusing,
        unwell,
        lambda request: "",
        lambda request: "nonsense",
        lambda request: "— assent/witness/media AAAAAAAA\n",
        lambda request: "— assent/witness/media " + "A" * 200_000 + "\n",
    ],
)
def test_one_bad_witness_of_three_changes_nothing(
    tmp_path: Path, answer: Callable[[str], str]
) -> None:
    async def story(stand: Stand) -> None:
        bad = Answering(answer)
        await stand.attend("retailer")
        await stand.attend("media", bad)
        await stand.attend(AUDITOR)
        client = stand.client("retailer")
        for number, name in enumerate("abc"):
            done = await client.append(made.batch([name]))
            assert (done.indexes, done.proof_pending) == ((number,), False)
            assert witness_name("media") not in signers(done.checkpoint)
        await until(lambda: bad.asked > 0)
        assert connected(stand.lines["media"])  # it is told no, not thrown out

    run(tmp_path, story, witnesses=False)


@pytest.mark.parametrize("words", ["x", "[" * 100_000, '{"a":' * 100_000])
def test_one_refusal_without_meaning_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    async def story(stand: Stand) -> None:
        bad = Answering(refusing)
        monkeypatch.setattr(
            client_module,
            "answer_request",
            lambda witness, request: (
                WitnessAnswer(refusal=words) if witness is bad else answer_request(witness, request)
            ),
        )
        await stand.attend("media", bad)
        await stand.attend("retailer")
        await stand.attend(AUDITOR)
        for number, name in enumerate("ab"):
            done = await stand.client("retailer").append(made.batch([name]))
            assert (done.indexes, done.proof_pending) == ((number,), False)

    run(tmp_path, story, witnesses=False)


def test_a_signature_of_another_is_not_its_own(tmp_path: Path) -> None:
    """A party answers with the cosignature of a key that is not a witness's."""

    async def story(stand: Stand) -> None:
        stranger = Witness(
            f"sqlite:///{tmp_path}/stranger.db", stand.trust.logs(),
            [witness_signer(stand.portal, "media")], made.Clock(),
        )  # fmt: skip
        await stand.attend("retailer")
        await stand.attend("media", stranger)
        with pytest.raises(Refused, match="witness_quorum_missing"):
            await stand.client("retailer").append(made.batch(["a"]))
        stranger.close()

    run(tmp_path, story, witnesses=False)


def test_nobody_waits_for_a_witness_that_hangs(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        freed = threading.Event()

        def hang(request: str) -> str:
            freed.wait(30)
            raise Failed("unavailable", "too late")

        try:
            await stand.attend("retailer")
            await stand.attend("media", Answering(hang))
            await stand.attend(AUDITOR)
            for name in "abc":
                done = await stand.client("retailer", timeout=4.0).append(made.batch([name]))
                assert not done.proof_pending
        finally:
            freed.set()

    run(tmp_path, story, witnesses=False)


def test_the_newest_stream_of_a_witness_is_the_one_that_is_asked(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        old, new = Answering(refusing), Noted(stand.witness("media"))
        await stand.attend("retailer")
        await stand.attend("media", old)
        first = stand._tasks["media"]
        before = stand.lines["media"]._send
        await stand.attend("media", new)
        await until(lambda: stand.lines["media"]._send is not before)
        asked = old.asked
        assert not (await stand.client("retailer").append(made.batch(["a"]))).proof_pending
        # The end of the old stream does not end the new one.
        first.cancel()
        assert not (await stand.client("retailer").append(made.batch(["b"]))).proof_pending
        assert connected(stand.lines["media"])
        assert old.asked == asked

    run(tmp_path, story, witnesses=False)


# -- the line by itself -----------------------------------------------------------------------


def line_that_answers(answer: WitnessAnswer) -> WitnessLine:
    line = WitnessLine("media")
    line.connect(lambda number, request: line.answered(number, answer))
    return line


def test_answers_cross_as_they_were_meant() -> None:
    class Says:
        def __init__(self, outcome: str | AssentError) -> None:
            self.outcome = outcome

        def add_checkpoint(self, request: str) -> str:
            if isinstance(self.outcome, AssentError):
                raise self.outcome
            return self.outcome

    def over(outcome: str | AssentError) -> str:
        answer = answer_request(Says(outcome), "asked")
        number = 7
        return line_that_answers(
            answer_from_pb(answer_to_pb(number, answer))
        ).add_checkpoint("asked")  # fmt: skip

    assert over("lines\n") == "lines\n"
    for size in (0, 1, 2**40):
        with pytest.raises(StaleSize) as stale:
            over(StaleSize(size, "a note" if size else ""))
        assert (stale.value.size, stale.value.note) == (size, "a note" if size else "")
    with pytest.raises(Refused, match="not watched") as caught:
        over(Refused("unknown_log", "not watched"))
    assert caught.value.info.code == "unknown_log"


@pytest.mark.parametrize("words", ["x", "{}", "[]", "null", '{"status":1}', '"' * 9, "[" * 9_000])
def test_a_refusal_without_meaning_is_a_failure_of_the_witness(words: str) -> None:
    with pytest.raises(Failed) as caught:
        line_that_answers(WitnessAnswer(refusal=words)).add_checkpoint("asked")
    assert caught.value.info.code == "witness_failed"


def test_a_line_without_a_stream_says_so_and_loses_no_caller() -> None:
    line = WitnessLine("media")
    with pytest.raises(Failed, match="media is not connected"):
        line.add_checkpoint("asked")
    sent: list[int] = []

    def send(number: int, request: str) -> None:
        sent.append(number)
        line.disconnect(send)  # the stream ends while somebody waits

    line.connect(send)
    with pytest.raises(Failed, match="not connected"):
        line.add_checkpoint("asked")
    line.answered(sent[0], WitnessAnswer("late"))  # of a stream that is gone
    line.answered(99, WitnessAnswer("never asked"))

    def answering(number: int, request: str) -> None:
        line.disconnect(send)  # the end of an older stream comes late
        line.answered(number, WitnessAnswer("lines"))

    line.connect(answering)
    assert line.add_checkpoint("asked") == "lines"
