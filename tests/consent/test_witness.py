"""Witnesses: only continuations are cosigned, atomically; two stories are refused and kept."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from consent.checkpoint import Checkpoint, parse_checkpoint
from consent.errors import NoteError, ProofError
from consent.merkle import EMPTY_ROOT, consistency_proof, tree_root
from consent.note import open_note, sign_note
from consent.policy import check_checkpoint
from consent.witness import AddCheckpoint, StaleSize, Witness, parse_request
from protocol.errors import Failed, Refused
from tests.consent import logs
from tests.consent.made import START, Clock

LEAVES = [b"%d" % i for i in range(40)]
FORGED = [*LEAVES[:4], b"forged", *LEAVES[5:]]


def note(size: int, leaves: list[bytes] = LEAVES) -> str:
    head = Checkpoint(logs.ORIGIN, size, tree_root(leaves[:size]))
    return sign_note(head.to_text(), [logs.log_key()])


def request(old: int, new: int, leaves: list[bytes] = LEAVES) -> str:
    proof = consistency_proof(leaves, old, new) if 0 < old < new else []
    return AddCheckpoint(old, tuple(proof), note(new, leaves)).to_text()


def size_at(witness: Witness) -> int:
    kept = witness.checkpoint(logs.ORIGIN)
    return -1 if kept is None else parse_checkpoint(kept.partition("\n\n")[0] + "\n").size


def test_a_growing_log_is_cosigned(tmp_path: Path) -> None:
    clock = Clock()
    witness = logs.witness(tmp_path, "w", clock)
    policy = logs.policy("w")
    old = 0
    for new in (0, 1, 1, 3, 8, 40, 40):
        clock.now += 10
        lines = witness.add_checkpoint(request(old, new))
        checked = check_checkpoint(note(new) + lines, policy)
        assert checked.quorum_time == clock.now
        assert check_checkpoint(witness.checkpoint(logs.ORIGIN) or "", policy).has_quorum
        old = new
    again = logs.witness(tmp_path, "w", clock)  # after a restart it remembers
    assert size_at(again) == 40
    assert again.evidence() == []


def test_the_old_size_must_be_the_witnesss(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    with pytest.raises(StaleSize) as first:
        witness.add_checkpoint(request(2, 5))
    assert first.value.size == 0
    witness.add_checkpoint(request(0, 5))
    for old, new in ((0, 5), (0, 8), (4, 8), (3, 4), (0, 0)):
        with pytest.raises(StaleSize) as stale:
            witness.add_checkpoint(request(old, new))
        assert stale.value.size == 5
    with pytest.raises(NoteError, match="above"):
        witness.add_checkpoint(AddCheckpoint(7, (), note(6)).to_text())
    assert size_at(witness) == 5
    assert witness.evidence() == []  # an older note is no fault of the log


def test_a_split_view_is_refused_and_both_notes_kept(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    witness.add_checkpoint(request(0, 8))
    for old in (8, 0, 3):  # whatever the sender says of the old size
        with pytest.raises(ProofError, match="two different trees of size 8"):
            witness.add_checkpoint(request(old, 8, FORGED))
    with pytest.raises(ProofError):
        witness.add_checkpoint(request(8, 20, FORGED))
    evidence = witness.evidence()
    assert [parse_checkpoint(e.sent.partition("\n\n")[0] + "\n").size for e in evidence] == [8, 20]
    for pair in evidence:
        for text in (pair.kept, pair.sent):
            open_note(text, [logs.log_key().key])  # the log cannot deny either
    assert size_at(witness) == 8
    assert witness.add_checkpoint(request(8, 20))  # the true story still goes on


def test_a_rollback_is_refused(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    witness.add_checkpoint(request(0, 20))
    for old, new in ((0, 8), (8, 12), (12, 20)):
        with pytest.raises(StaleSize):
            witness.add_checkpoint(request(old, new))
    assert size_at(witness) == 20


@pytest.mark.parametrize("old", [1, 3, 5, 8])
def test_wrong_proofs_are_refused(tmp_path: Path, old: int) -> None:
    witness = logs.witness(tmp_path, "w")
    witness.add_checkpoint(request(0, old))
    proof = consistency_proof(LEAVES, old, 13)
    for bad in ([], proof[1:], [*proof, bytes(32)], [bytes(32), *proof[1:]], [*proof, proof[0]]):
        with pytest.raises(ProofError):
            witness.add_checkpoint(AddCheckpoint(old, tuple(bad), note(13)).to_text())
    assert size_at(witness) == old


def test_a_first_checkpoint_has_no_proof(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    with pytest.raises(ProofError, match="empty tree"):
        witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), note(3)).to_text())
    assert size_at(witness) == -1


def test_only_known_and_signed_logs_are_cosigned(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    head = Checkpoint("elsewhere", 0, EMPTY_ROOT).to_text()
    with pytest.raises(Refused, match="unknown_log"):
        witness.add_checkpoint(AddCheckpoint(0, (), sign_note(head, [logs.log_key()])).to_text())
    head = Checkpoint(logs.ORIGIN, 0, EMPTY_ROOT).to_text()
    stranger = sign_note(head, [logs.log_key("elsewhere")])
    with pytest.raises(NoteError, match="no trusted key"):
        witness.add_checkpoint(AddCheckpoint(0, (), stranger).to_text())
    spoiled = note(3).replace("\n3\n", "\n4\n")
    with pytest.raises(NoteError, match="wrong"):
        witness.add_checkpoint(AddCheckpoint(0, (), spoiled).to_text())
    assert size_at(witness) == -1
    with pytest.raises(NoteError, match="cosignature type"):
        Witness("sqlite://", {}, [logs.log_key()], Clock())


@pytest.mark.parametrize(
    "text",
    ["", "old 0\n\n", "old 00\n\nx", "old -1\n\nx", "0\n\nx", "old 0\nAAA\n\nx", "old 0 \n\nx",
     "old 0\n" + "A" * 43 + "=\nx",
     "old 0\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 64 + "\nx"],
)  # fmt: skip
def test_malformed_requests_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((NoteError, ProofError)):
        logs.witness(tmp_path, "w").add_checkpoint(text)


def test_requests_round_trip() -> None:
    asked = AddCheckpoint(5, (bytes(32), b"x" * 32), note(8))
    assert parse_request(asked.to_text()) == asked


def test_strangers_lines_are_not_kept(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    stranger = "— who.test AAAAAAA=\n"
    witness.add_checkpoint(AddCheckpoint(0, (), note(3) + stranger).to_text())
    assert stranger not in (witness.checkpoint(logs.ORIGIN) or "")


def test_a_clock_set_back_repeats_the_last_time(tmp_path: Path) -> None:
    clock = Clock()
    witness = logs.witness(tmp_path, "w", clock)
    witness.add_checkpoint(request(0, 3))
    clock.now -= 1000
    lines = witness.add_checkpoint(request(3, 4))
    assert check_checkpoint(note(4) + lines, logs.policy("w")).quorum_time == START


def test_a_damaged_memory_is_not_believed(tmp_path: Path) -> None:
    witness = logs.witness(tmp_path, "w")
    witness.add_checkpoint(request(0, 8))
    raw = sqlite3.connect(tmp_path / "witness-w.db")
    raw.execute("UPDATE heads SET size = 3")
    raw.commit()
    raw.close()
    with pytest.raises(Failed, match="witness_corrupt"):
        witness.add_checkpoint(request(3, 9))


def test_racing_requests_never_roll_back(tmp_path: Path) -> None:
    """The race of the specification: of two requests from one size only one is cosigned."""
    witnesses = [logs.witness(tmp_path, "w") for _ in range(4)]
    witnesses[0].add_checkpoint(request(0, 5))
    answers: list[int] = []
    problems: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            witnesses[number].add_checkpoint(request(5, 10 + number))
            answers.append(10 + number)
        except StaleSize:
            pass
        except BaseException as error:  # a thread has no other way to tell
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(answers) == 1
    assert [size_at(witness) for witness in witnesses] == answers * 4


CHILD = """
import sys
from pathlib import Path
from tests.consent import logs, test_witness as t
witness = logs.witness(Path(sys.argv[1]), "w")
for size in range(1, 40):
    witness.add_checkpoint(t.request(size - 1, size))
    print(size, flush=True)
"""


def test_what_was_cosigned_is_remembered_after_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True,
    )  # fmt: skip
    assert process.stdout is not None
    answered = [process.stdout.readline() for _ in range(7)]
    process.kill()
    answered += process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    assert size_at(logs.witness(tmp_path, "w")) >= int(answered[-1])


def test_two_kinds_of_key_at_once(tmp_path: Path) -> None:
    signers = [logs.witness_key("w"), logs.mldsa_key("pq")]
    witness = Witness(
        f"sqlite:///{tmp_path}/w.db", {logs.ORIGIN: [logs.log_key().key]}, signers, Clock()
    )
    lines = witness.add_checkpoint(request(0, 3))
    opened = open_note(note(3) + lines, witness.keys)
    assert [one.time for one in opened.verified] == [START, START]
