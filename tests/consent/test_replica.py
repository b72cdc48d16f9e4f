"""The node's copy: verified entry by entry, in order, young enough, never of two minds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consent.checkpoint import Checkpoint
from consent.leaf import Opening
from consent.merkle import CompactRange, hash_leaf
from consent.note import sign_note
from consent.port import Head, ReplicaPage
from consent.replica import Replica
from consent.trust import log_signer, witness_signer
from protocol.errors import Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import made
from tests.consent.replicas import Faulty, append, held, refusal, sync


def test_a_copy_grows_with_the_log_and_survives_a_restart(
    tmp_path: Path, port: Faulty, replica: Replica
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    append(port, made.batch(["c"]), made.batch(["d"]))
    sync(replica, port)
    sync(replica, port)
    replica.close()
    again = Replica(tmp_path / "replica.sqlite", "retailer", port.stand.trust, made.SEAL)
    assert held(again) == [made.token(name) for name in "abcd"]
    assert again.applied() == 4
    assert [(end, len(batch)) for end, batch in again.pages(2)] == [(4, 2)]
    assert again.require_fresh(made.START).checkpoint.size == 4


def test_a_cut_off_pull_goes_on_from_the_last_verified_head(port: Faulty, replica: Replica) -> None:
    append(port, made.batch(["first"]), made.batch([str(n) for n in range(5_000)]))
    port.break_after = 2  # one page with a checkpoint, one without
    with pytest.raises(Failed, match="cut off"):
        sync(replica, port)
    assert replica.applied() == 1
    assert held(replica) == [made.token("first")]  # the unverified page does not count
    port.break_after = None
    sync(replica, port)
    replica.require_fresh(made.START)
    assert len(held(replica)) == len(set(held(replica))) == 5_001


def test_freshness_is_the_time_at_which_a_quorum_looked(
    port: Faulty, replica: Replica, clock: made.Clock
) -> None:
    assert refusal(replica) == "consent_stale"
    assert replica.age(clock.now) is None
    sync(replica, port)  # an empty log that was heard of is fresh: nobody has consented
    replica.require_fresh(clock.now + 300)
    replica.require_fresh(clock.now - 30)
    assert replica.age(clock.now + 20) == pytest.approx(20)
    with pytest.raises(Refused, match="301 s old, the window is 300 s"):
        replica.require_fresh(clock.now + 301)
    assert refusal(replica, clock.now - 31) == "consent_clock"
    clock.now += 301
    assert refusal(replica, clock.now) == "consent_stale"
    sync(replica, port)  # cosignatures are renewed
    replica.require_fresh(clock.now)


@pytest.mark.parametrize("window", [0.0, -1.0, 901.0])
def test_the_window_has_a_maximum(tmp_path: Path, stand: ledgers.Stand, window: float) -> None:
    with pytest.raises(ValueError, match="900"):
        Replica(tmp_path / "r.sqlite", "retailer", stand.trust, made.SEAL, window)


# -- pages that were bent on the way ----------------------------------------------------------


def entry(page: ReplicaPage, place: int, **change: object) -> ReplicaPage:
    entries = list(page.entries)
    if entries:
        entries[place] = replace(entries[place], **change)  # type: ignore[arg-type]
    return replace(page, entries=tuple(entries))


def opened(page: ReplicaPage) -> Opening:
    opening = page.entries[0].opening
    assert opening is not None
    return opening


BENT: dict[str, tuple[Callable[[ReplicaPage], ReplicaPage], str]] = {
    "gap": (lambda page: replace(page, first=page.first + 1), "consent_gap"),
    "repeated": (lambda page: replace(page, first=page.first - 1), "consent_gap"),
    "one left out": (lambda page: replace(page, entries=page.entries[1:]), "consent_gap"),
    "one too many": (
        lambda page: replace(page, entries=(*page.entries, page.entries[0])),
        "consent_rollback",
    ),
    "changed leaf": (
        lambda page: entry(page, 0, leaf=page.entries[0].leaf.replace(b"retailer", b"retai1er")),
        "consent_entry",
    ),
    "malformed leaf": (lambda page: entry(page, 0, leaf=b"{}"), "consent_entry"),
    "another party's leaf": (
        lambda page: entry(page, 0, leaf=page.entries[0].leaf.replace(b'"retailer"', b'"media"')),
        "consent_entry",
    ),
    "a job's leaf": (
        lambda page: entry(
            page, 0, leaf=page.entries[0].leaf.replace(b'"consent"', b'"job.admitted"')
        ),
        "consent_entry",
    ),
    "another minute": (
        lambda page: entry(page, 1, leaf=page.entries[1].leaf.replace(b"T0", b"T1", 1)),
        "consent_inconsistent",
    ),
    "dated back": (
        lambda page: entry(
            page, 1, leaf=page.entries[1].leaf.replace(b'"time":"20', b'"time":"19')
        ),
        "consent_entry",
    ),
    "dated before what an earlier pull brought": (
        lambda page: entry(
            page, 0, leaf=page.entries[0].leaf.replace(b'"time":"20', b'"time":"19')
        ),
        "consent_entry",
    ),
    "changed body": (
        lambda page: entry(
            page,
            1,
            opening=Opening(opened(page).salt, opened(page).body.replace(b"withdrawn", b"given")),
        ),
        "consent_opening_wrong",
    ),
    "changed salt of the first": (
        lambda page: entry(page, 0, opening=Opening(bytes(32), opened(page).body)),
        "consent_opening_wrong",
    ),
    "short salt": (
        lambda page: entry(page, 1, opening=Opening(b"", opened(page).body)),
        "consent_opening_wrong",
    ),
    "opening withheld": (lambda page: entry(page, 0, opening=None), "consent_opening_missing"),
    "no checkpoint at the end": (lambda page: replace(page, checkpoint=""), "consent_behind"),
    "a note that is none": (lambda page: replace(page, checkpoint="x"), "consent_checkpoint"),
    "a changed root": (
        lambda page: replace(page, checkpoint=page.checkpoint.replace("\n4\n", "\n5\n")),
        "consent_checkpoint",
    ),
}


@pytest.mark.parametrize("name", BENT)
def test_whatever_is_bent_stops_the_gate_and_is_remembered(
    tmp_path: Path, port: Faulty, replica: Replica, name: str
) -> None:
    bend, code = BENT[name]
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    replica.require_fresh(made.START)
    append(port, made.batch(["c", "d"], ["withdrawn", "given"]))
    port.bend = bend
    with pytest.raises(ProtocolViolation) as caught:
        sync(replica, port)
    assert caught.value.info.code == code
    replica.close()
    again = Replica(tmp_path / "replica.sqlite", "retailer", port.stand.trust, made.SEAL)
    assert refusal(again) == "consent_inconsistent"
    assert again.applied() == 2  # nothing of the bad page was taken
    assert held(again) == [made.token("a"), made.token("b")]
    port.bend = lambda page: page
    sync(again, port)
    again.require_fresh(made.START)
    assert len(held(again)) == 4


def test_another_log_is_not_this_partys(tmp_path: Path, port: Faulty, replica: Replica) -> None:
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    other = ledgers.stand(
        tmp_path / "anew", port.stand.clock, port.stand.keys, port.stand.consent
    )  # the service lost its database and made new logs
    with pytest.raises(ProtocolViolation):
        sync(replica, Faulty(other))
    assert refusal(replica) == "consent_inconsistent"

    class Medias(Faulty):
        async def hello(self) -> Head:
            return await self.stand.port("media").hello()

    fresh = Replica(tmp_path / "fresh.sqlite", "retailer", port.stand.trust, made.SEAL)
    with pytest.raises(ProtocolViolation, match="no log of this party"):
        sync(fresh, Medias(port.stand))
    other.close()


def test_an_older_checkpoint_is_a_log_that_went_back(port: Faulty, replica: Replica) -> None:
    append(port, made.batch(["a"]))
    sync(replica, port)
    old = asyncio.run(port.hello()).checkpoint
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    port.bend = lambda page: replace(page, entries=(), checkpoint=old)
    with pytest.raises(ProtocolViolation, match="shorter"):
        sync(replica, port)
    assert refusal(replica) == "consent_inconsistent"


def test_without_a_quorum_the_copy_does_not_decide(
    port: Faulty, replica: Replica, stand: ledgers.Stand
) -> None:
    append(port, made.batch(["a"]))

    def bare(page: ReplicaPage) -> ReplicaPage:
        head, _, lines = page.checkpoint.partition("\n\n")
        kept = [line for line in lines.splitlines(keepends=True) if "witness" not in line]
        one = next(line for line in lines.splitlines(keepends=True) if "witness/" in line)
        return replace(page, checkpoint=f"{head}\n\n{''.join(kept)}{one}")

    port.bend = bare
    sync(replica, port)  # genuine, but one of three witnesses is no quorum
    assert refusal(replica) == "witness_quorum_missing"
    port.bend = lambda page: page
    sync(replica, port)
    replica.require_fresh(made.START)


def test_a_log_that_tells_two_stories_is_kept_as_evidence(
    port: Faulty, replica: Replica, stand: ledgers.Stand
) -> None:
    """Both trees signed by the log, the second cosigned by a quorum that colludes."""
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    kept = asyncio.run(port.hello()).checkpoint
    origin = stand.ledger.consent_log("retailer")
    tree = CompactRange()
    tree.append(hash_leaf(b"another first"))
    tree.append(hash_leaf(b"one more"))
    signers = [
        log_signer(stand.consent, origin),
        *(witness_signer(keys, name) for name, keys in stand.keys.items()),
    ]
    text = Checkpoint(origin, 2, tree.root()).to_text()
    note = sign_note(text, signers, int(made.START) + 5)
    append(port, made.batch(["b"]))
    port.bend = lambda page: replace(page, checkpoint=note)
    with pytest.raises(ProtocolViolation) as caught:
        sync(replica, port)
    assert caught.value.info.code == "consent_inconsistent"
    assert refusal(replica) == "consent_inconsistent"
    ((code, first, second),) = replica.evidence()
    assert (code, first, second) == ("consent_inconsistent", kept, note)
    with pytest.raises(ProtocolViolation):
        sync(replica, port)
    assert len(replica.evidence()) == 1  # once
