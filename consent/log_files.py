"""A log as static files: what an HTTP server or a gRPC call answers for a path (tlog-tiles).

Who runs it: the consent service.  Only what the newest checkpoint covers is served.
Learns: the reader learns checkpoints, hashes and entries; openings are not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.checkpoint import parse_checkpoint
from consent.errors import ProofError
from consent.log_storage import LogStorage
from consent.merkle import HASH_BYTES
from consent.note import parse_note
from consent.tiles import ENTRIES, WIDTH, encode_bundle, parse_path, tile_width

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class LogFile:
    """immutable: may be cached for ever; else for a few seconds."""

    body: bytes
    content_type: str
    immutable: bool


class LogFiles:
    """Reads one log; safe from several threads if its storage is."""

    def __init__(self, storage: LogStorage) -> None:
        self._storage = storage

    def get(self, path: str) -> LogFile | None:
        """The file at `path` below the log's address; None when there is no such file."""
        note = self._storage.checkpoint()
        if note is None:
            return None
        if path == CHECKPOINT:
            return LogFile(note.encode(), "text/plain; charset=utf-8", immutable=False)
        try:
            tile = parse_path(path)
        except ProofError:
            return None
        # Signed before it was stored; who reads the answer verifies it anyhow.
        size = parse_checkpoint(parse_note(note).text).size
        if tile.width > tile_width(tile.level, tile.index, size):
            return None
        if tile.level == ENTRIES:
            start = tile.index * WIDTH
            body = encode_bundle(self._storage.entries(start, start + tile.width))
        else:
            body = self._storage.tile(tile.level, tile.index)[: tile.width * HASH_BYTES]
        return LogFile(body, "application/octet-stream", immutable=True)
