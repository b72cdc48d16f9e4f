"""A witness: cosigns a log's tree only if it continues the one cosigned before.

Who runs it: every party's node, and the auditor (C2SP tlog-witness, `add-checkpoint`).
Learns: the sizes and roots of the logs that it watches; no entry.

Comparing the old size and storing the new one is one transaction that ends before the answer
leaves.  A log that signs two stories is refused, and both notes are kept as evidence.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from consent.checkpoint import Checkpoint, decimal, decode64, parse_checkpoint
from consent.errors import NoteError, ProofError
from consent.log_database import insert, open_url, serial_lock, writing
from consent.merkle import EMPTY_ROOT, verify_consistency
from consent.note import Note, Signature, open_note, parse_note, sign_note
from consent.note_keys import WITNESS_ALGORITHMS, Signer, VerifierKey
from protocol.errors import Failed, Refused

MAX_PROOF = 63
_META = sa.MetaData()
_HEADS = sa.Table(
    "heads", _META,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)  # fmt: skip
_KEPT = sa.select(_HEADS).where(_HEADS.c.origin == sa.bindparam("log"))
_EVIDENCE = sa.Table(
    "evidence", _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("kept", sa.Text, nullable=False),
    sa.Column("sent", sa.Text, nullable=False),
    sa.UniqueConstraint("origin", "kept", "sent"),
)  # fmt: skip


class StaleSize(Refused):
    """The sender's old size is not the witness's; `size` is what to prove from (HTTP 409).

    note: when the sender's tree is smaller than that, the note that the log signed at `size`: a
    claim that stops a log has to prove itself.  Otherwise empty.
    """

    def __init__(self, size: int, note: str = "") -> None:
        super().__init__(
            "witness_conflict",
            f"the witness has cosigned size {size}",
            stage="consent log",
            next_step="send the consistency proof from that size",
        )
        self.size = size
        self.note = note

    def __reduce__(self) -> tuple[object, ...]:
        return (StaleSize, (self.size, self.note))


@dataclass(frozen=True)
class AddCheckpoint:
    """The request: from which size, the consistency proof, and the log's note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def to_text(self) -> str:
        hashes = [base64.b64encode(node).decode() for node in self.proof]
        return "\n".join([f"old {self.old_size}", *hashes, "", ""]) + self.note


def parse_request(text: str) -> AddCheckpoint:
    """Raises NoteError for anything that is not an add-checkpoint request."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or not lines[0].startswith("old "):
        raise NoteError("not a request to add a checkpoint")
    if len(lines) - 1 > MAX_PROOF:
        raise NoteError(f"a consistency proof has at most {MAX_PROOF} hashes")
    old_size = decimal(lines[0].removeprefix("old "), "an old size")
    return AddCheckpoint(old_size, tuple(decode64(line) for line in lines[1:]), note)


@dataclass(frozen=True)
class Evidence:
    """Two notes that a log signed and that do not fit together."""

    origin: str
    cause: str
    kept: str
    sent: str


class Witness:
    """Blocking; safe from several threads and processes on one database."""

    def __init__(
        self,
        url: str,
        logs: Mapping[str, Sequence[VerifierKey]],
        signers: Sequence[Signer],
        clock: Callable[[], float],
    ) -> None:
        """logs: origin → keys of the log.  signers: of a cosignature type.  clock: POSIX."""
        if not signers or any(one.algorithm not in WITNESS_ALGORITHMS for one in signers):
            raise NoteError("a witness signs with keys of a cosignature type")
        self._engine = open_url(url, _META, ("evidence",))
        self._logs = logs
        self._signers = tuple(signers)
        self._clock = clock

    def close(self) -> None:
        self._engine.dispose()

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        return tuple(one.key for one in self._signers)

    def add_checkpoint(self, request: str) -> str:
        """Signature lines over the checkpoint of `request`.

        1. the log is known and has signed; 2. the sizes fit the last tree cosigned (else
        StaleSize); 3. the new tree continues it (else ProofError, and both notes are kept);
        4. the new size is on disk; 5. sign.
        """
        asked = parse_request(request)
        parts = parse_note(asked.note)
        new = parse_checkpoint(parts.text)
        self._signed_by_log(parts, new.origin)
        with writing(self._engine) as db:
            serial_lock(db, f"witness {new.origin}")
            kept = self._kept(db, new.origin)
            conflict = self._check(asked, new, *(kept[:2] if kept else (None, "")))
            if conflict is None:
                # A clock that was set back gives the last time again: the times of growing
                # trees never fall, which an auditor checks.
                lines = self._cosign(parts, max(int(self._clock()), kept[2] if kept else 0))
                upsert = (
                    "ON CONFLICT (origin) DO UPDATE SET size = excluded.size, "
                    "root = excluded.root, note = excluded.note"
                )
                log_lines = [one.line for one in self._log_lines(parts, new.origin)]
                note = f"{parts.text}\n{''.join(log_lines)}{lines}"
                insert(db, _HEADS, [(new.origin, new.size, new.root, note)], upsert)
            elif kept:
                self._keep(db, new.origin, str(conflict), kept[1], asked.note)
        if conflict is not None:
            raise conflict
        return lines

    def checkpoint(self, origin: str) -> str | None:
        """The newest checkpoint cosigned, as the log signed it and this witness after it."""
        with writing(self._engine) as db:
            kept = self._kept(db, origin)
        return kept[1] if kept else None

    def heads(self) -> list[str]:
        """The newest checkpoint of every log that this witness has cosigned."""
        with writing(self._engine) as db:
            return list(db.execute(sa.select(_HEADS.c.note).order_by(_HEADS.c.origin)).scalars())

    def evidence(self) -> list[Evidence]:
        """Every pair of notes that was refused, oldest first."""
        with writing(self._engine) as db:
            rows = db.execute(sa.select(_EVIDENCE).order_by(_EVIDENCE.c.id)).all()
        return [Evidence(row.origin, row.cause, row.kept, row.sent) for row in rows]

    # -- steps --------------------------------------------------------------------------------

    def _signed_by_log(self, note: Note, origin: str) -> None:
        keys = [key for key in self._logs.get(origin, ()) if key.name == origin]
        if not keys:
            raise Refused("unknown_log", f"log {origin!r} is not watched by this witness")
        open_note(note, keys)

    def _log_lines(self, note: Note, origin: str) -> list[Signature]:
        ids = {(key.name, key.key_id) for key in self._logs[origin]}
        return [one for one in note.signatures if (one.name, one.key_id) in ids]

    def _check(
        self, asked: AddCheckpoint, new: Checkpoint, old: Checkpoint | None, note: str
    ) -> ProofError | None:
        """None if `new` may be cosigned; an error that proves the log's fault is returned."""
        size, root = (old.size, old.root) if old else (0, EMPTY_ROOT)
        if new.size == size and new.root != root:
            return ProofError(f"the log signed two different trees of size {size}")
        if asked.old_size > new.size:
            raise NoteError("the old size is above that of the checkpoint")
        if asked.old_size != size:
            raise StaleSize(size, note if size > new.size else "")
        if size == 0:
            if asked.proof:
                raise ProofError("there is nothing to prove from the empty tree")
            return None
        try:
            verify_consistency(size, new.size, asked.proof, root, new.root)
        except ProofError as error:
            # Perhaps the proof is at fault and not the log; the two notes decide that, later.
            return error
        return None

    def _cosign(self, note: Note, now: int) -> str:
        signed = sign_note(note.text, self._signers, now)
        return "".join(one.line for one in parse_note(signed).signatures)

    def _kept(self, db: sa.Connection, origin: str) -> tuple[Checkpoint, str, int] | None:
        """What was cosigned last: the tree, the note, the time."""
        row = db.execute(_KEPT, {"log": origin}).one_or_none()
        if row is None:
            return None
        # Its own signature is checked again, so that a damaged file cannot move a witness back.
        opened = open_note(row.note, self.keys)
        kept = parse_checkpoint(opened.text)
        if (kept.origin, kept.size, kept.root) != (origin, row.size, bytes(row.root)):
            raise Failed("witness_corrupt", f"what this witness kept of {origin!r} is damaged")
        return kept, row.note, max(one.time or 0 for one in opened.verified)

    def _keep(self, db: sa.Connection, origin: str, cause: str, kept: str, sent: str) -> None:
        row = {"origin": origin, "cause": cause, "kept": kept, "sent": sent}
        there = sa.select(_EVIDENCE.c.id).where(
            _EVIDENCE.c.origin == origin, _EVIDENCE.c.kept == kept, _EVIDENCE.c.sent == sent
        )
        if db.execute(there).scalar() is None:
            db.execute(_EVIDENCE.insert().values(row))
