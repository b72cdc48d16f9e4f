"""The verifiable log of one origin: single writer, sign after read-back, checkpoint last.

Who runs it: the consent service, one object per log (`consent.log_writer` feeds it).
Learns: the service learns what a body holds; a reader of the log only what `consent.leaf` says.
Section "Log" of consent.md.

A batch: (1) take the log's lock and see that nobody else wrote; (2) commit the openings;
(3) entries, tiles and head in one transaction; (4) read all of it back and recompute the root;
(5) sign; (6) commit the checkpoint.  A process killed between any two of these leaves either
openings that no leaf has, which the next batch overwrites, or a tree that is not signed yet,
which the next start reads back and signs.  What is signed was on disk before.

An error of the storage stops the log; the next call reloads what is on disk and goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consent.checkpoint import Checkpoint, parse_checkpoint
from consent.errors import NoteError, ProofError
from consent.leaf import (
    CONSENT,
    ERASED,
    ERASURE_MARK,
    MIGRATED,
    SALT_BYTES,
    Event,
    event,
    leaves,
    minute,
    parse_leaf,
    read_body,
)
from consent.log_storage import LogStorage, Openings, StoredHead
from consent.merkle import HASH_BYTES, hash_leaf, prove_consistency, prove_inclusion
from consent.note import add_signatures, open_note, sign_note
from consent.note_keys import Signer
from consent.tiles import TileHashes, TileTree
from consent.tlog_proof import make_proof
from protocol.errors import AssentError, Failed, ProtocolViolation, Refused


@dataclass(frozen=True)
class Appended:
    """indexes: the leaf of each event, in their order.  size: of the signed tree."""

    indexes: tuple[int, ...]
    size: int


class Log:
    """Blocking, for one thread at a time; other threads may read (`prove`, `note`, …)."""

    def __init__(
        self,
        storage: LogStorage,
        openings: Openings,
        signer: Signer,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """signer: the log's key under its origin.  clock: POSIX seconds.  random: salts."""
        self._storage = storage
        self._openings = openings
        self._signer = signer
        self._clock = clock
        self._random = random
        self._stopped = True
        # All of these are set by `_reload`, from the disk.
        self._epoch: int
        self._head: StoredHead
        self._signed: Checkpoint
        self._note: str
        self._tree: TileTree
        self._minute: str
        self._reload()

    @property
    def origin(self) -> str:
        return self._signer.name

    @property
    def size(self) -> int:
        return self._signed.size

    @property
    def note(self) -> str:
        """The newest checkpoint, with the cosignatures that it has."""
        return self._note

    # -- writing ------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> Appended:
        """Logs `events` and signs; on disk and signed on return.

        An event that is in the log already, by its id, keeps its index; with another body it
        raises ProtocolViolation('record_conflict') and nothing of the batch is logged.
        """
        if len({one.id for one in events}) != len(events):
            raise ProtocolViolation("record_conflict", "a batch has one event id twice")
        self._run()
        try:
            indexes = self._integrate(events)
            self._sign()
        except BaseException as error:
            # A conflict is the events' fault and found before anything is written.  After
            # anything else what memory says about the disk is no longer known to be true.
            conflict = isinstance(error, AssentError) and error.info.code == "record_conflict"
            self._stopped = not conflict
            raise
        return Appended(indexes, self.size)

    def erase(self, party: str, id: bytes, indexes: Sequence[int]) -> Appended:
        """Logs that the openings of `indexes` are erased, then erases them.

        In this order, because an opening may be missing only where the log says so.  A process
        killed between the two erases at the next start.
        """
        for index in indexes:
            entry = self._storage.entries(index, index + 1) if 0 <= index < self.size else []
            if not entry or parse_leaf(entry[0]).type != CONSENT:
                raise ProtocolViolation("bad_erasure", f"entry {index} is not a person's event")
        fields: dict[str, object] = {"indexes": sorted(set(indexes))}
        said = event(party, ERASED, id, fields)
        said = Event(party, ERASED, id, said.body, ERASURE_MARK)
        done = self.append([said])
        self._openings.erase(indexes)
        return done

    def begin_after(self, party: str, id: bytes, last_note: str) -> Appended:
        """First entry of a log that replaces one that was lost behind its last signed head."""
        if self.size:
            raise Refused("log_not_new", "only a log without entries can say what it replaces")
        return self.append([event(party, MIGRATED, id, {"checkpoint": last_note})])

    def publish(self, cosignatures: Sequence[str]) -> str:
        """Keeps signature lines of witnesses under the newest checkpoint; returns that."""
        self._run()
        note = add_signatures(self._note, cosignatures)
        with self._storage.writing(self._epoch) as tx:
            tx.put_checkpoint(self.size, note)
        self._note = note
        return note

    # -- proofs -------------------------------------------------------------------------------

    def prove(self, index: int) -> str:
        """The tlog-proof of leaf `index` under the newest checkpoint."""
        signed, note = self._signed, self._note
        hashes = TileHashes(self._read_tile, signed.size)
        return make_proof(index, prove_inclusion(index, signed.size, hashes.range_hash), note)

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """From the tree of `old_size` to that of `new_size`; empty from 0, as witnesses want."""
        if new_size > self._signed.size:
            raise Failed("log_changed", f"no tree of size {new_size} is signed")
        if old_size == 0:
            return []
        hashes = TileHashes(self._read_tile, new_size)
        return prove_consistency(old_size, new_size, hashes.range_hash)

    # -- steps --------------------------------------------------------------------------------

    def _integrate(self, events: Sequence[Event]) -> tuple[int, ...]:
        with self._storage.writing(self._epoch) as tx:
            if tx.head != self._head:
                raise Failed("log_changed", "the log's head is not the one that was signed")
            known = self._known(events, tx.head.size)
            new = [one for one in events if one.id not in known]
            if new:
                salts = self._random(SALT_BYTES * len(new))
                # A clock that was set back does not set the log back.
                self._minute = max(self._minute, minute(self._clock()))
                entries = leaves(new, salts, self._minute)
                tree = self._tree.copy()
                tiles = tree.extend([hash_leaf(entry) for entry in entries])
                root = tree.root()
                self._openings.add(tx.head.size, new, salts)
                tx.add(entries, tiles, tree.size, root)
                self._head = StoredHead(tree.size, root, self._epoch)
        first = self.size
        places = known | {one.id: first + place for place, one in enumerate(new)}
        return tuple(places[one.id] for one in events)

    def _known(self, events: Sequence[Event], size: int) -> dict[bytes, int]:
        """Events that were logged before, sent again because the answer was lost."""
        sent = {one.id: one for one in events}
        known: dict[bytes, int] = {}
        for id, stored in self._openings.find(list(sent)).items():
            if stored.index >= size:
                continue  # left over by a crash: no leaf has it
            if stored.opening is not None and stored.opening.body != sent[id].body:
                raise ProtocolViolation(
                    "record_conflict",
                    "an event id is in the log with other content",
                    party=sent[id].party,
                    stage="consent log",
                )
            known[id] = stored.index
        return known

    def _sign(self) -> None:
        """Reads back everything above the last checkpoint and signs it if it is what it says."""
        if self._head.size == self._signed.size and self._note:
            return
        stored = self._storage.above(self._signed.size)
        head = stored.head
        if head != self._head:
            raise Failed("log_changed", "the log's head is not the one that was written")
        tree = self._tree.copy()
        tiles = tree.extend([hash_leaf(entry) for entry in stored.entries])
        if tree.size != head.size or tree.root() != head.root:
            raise _corrupt("its entries do not give the root of its head")
        for (level, index), hashes in (self._tree.edge() | tiles).items():
            if stored.edge.get((level, index)) != hashes:
                if self._storage.head() != head:  # another writer has made the tile longer
                    raise Failed("log_changed", "the log's head changed before it was signed")
                raise _corrupt(f"tile {level}/{index} is not made of its entries")
        signed = Checkpoint(self.origin, head.size, head.root)
        note = sign_note(signed.to_text(), [self._signer], int(self._clock()))
        open_note(note, [self._signer.key])
        with self._storage.writing(self._epoch) as tx:
            if tx.head != head:
                raise Failed("log_changed", "the log's head changed before it was signed")
            tx.put_checkpoint(head.size, note)
        self._tree, self._signed, self._note = tree, signed, note
        if stored.entries:
            self._minute = max(self._minute, parse_leaf(stored.entries[-1]).time)

    def _run(self) -> None:
        if self._stopped:
            self._reload()

    def _reload(self) -> None:
        """The state from the disk alone: what was signed, and what was integrated after it."""
        self._head = self._storage.take_over()
        self._epoch = self._head.epoch
        self._note = self._storage.checkpoint() or ""
        if self._note:
            self._signed = self._last_signed(self._note)
        else:
            self._signed = Checkpoint(self.origin, 0, TileTree().root())
        if self._head.size < self._signed.size:
            raise _corrupt("its head is behind its last checkpoint")
        if self._head.size == self._signed.size and self._head.root != self._signed.root:
            raise _corrupt("its head has another root than was signed")
        self._tree = self._signed_tree()
        last = self._storage.entries(self._signed.size - 1, self._signed.size)
        self._minute = parse_leaf(last[0]).time if last else ""
        self._sign()
        self._finish_erasure()
        self._stopped = False

    def _last_signed(self, note: str) -> Checkpoint:
        try:
            signed = parse_checkpoint(open_note(note, [self._signer.key]).text)
        except NoteError as error:
            raise _corrupt(f"its last checkpoint is not its own: {error.info.cause}") from error
        if signed.origin != self.origin:
            raise _corrupt("its last checkpoint is of another log")
        return signed

    def _signed_tree(self) -> TileTree:
        """The tree of the last checkpoint from its tiles on the disk."""
        try:
            tree = TileTree.load(self._signed.size, self._read_tile)
        except ProofError as error:
            raise _corrupt(f"its tiles are not whole: {error.info.cause}") from error
        if tree.root() != self._signed.root:
            raise _corrupt("its tiles do not give the root that was signed last")
        return tree

    def _finish_erasure(self) -> None:
        for place in self._openings.of_subject(ERASURE_MARK)[-1:]:
            for stored in self._openings.read(place, place + 1):
                if stored.opening is not None and place < self.size:
                    said = read_body(stored.opening.body)["indexes"]
                    assert isinstance(said, list)
                    self._openings.erase([int(index) for index in said])

    def _read_tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes: the partial tile of an older size is a prefix of today's."""
        return self._storage.tile(level, index)[: width * HASH_BYTES]


def _corrupt(cause: str) -> AssentError:
    return Failed(
        "log_corrupt",
        f"the log is damaged: {cause}",
        stage="consent log",
        next_step="keep the files as evidence; restore under a new origin",
    )
