"""`assent consent import` at the node: the file comes in pieces, progress goes back.

Who runs it: every node, over its 0600 socket.  Learns: the party, its own file, which is deleted
as soon as it is read; the consent service learns what proto/consent.proto says of the records.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.federation import Party
from consent.bulk import Bulk, BulkRows, bulk_records
from consent.pseudonyms import Pseudonyms
from consent.records import RecordBatch
from party_node.bulk_file import BulkFile, read_bulk
from party_node.consent_gate import NodeGate
from party_node.evidence import EVIDENCE_FILE, SALT_BYTES, EvidenceStore, digests
from protocol.errors import BadInput
from protocol.wire import node_pb2 as pb

LISTED = 1000  # bad rows that a report names one by one
MAX_BYTES = 8 << 30
_LONGEST_NAME = 255  # bytes, of most file systems


@dataclass(frozen=True)
class BulkImport:
    """recipients: names of the other parties.  folder: the node's data.  now: seconds since
    1970.  random: salts and ids."""

    gate: NodeGate
    party: Party
    recipients: list[str]
    folder: Path
    now: Callable[[], float]
    random: Callable[[int], bytes]

    def read(self, path: Path) -> BulkFile:
        now_ms = int(self.now() * 1000)
        return read_bulk(path, self.party, self.recipients, self.gate.notices, now_ms)

    async def record(self, found: BulkFile, progress: Callable[[int, int], None]) -> Bulk:
        """Raises what the ledger raises; what it took by then is in it, and held next time."""
        made: list[Bulk] = []
        await self.gate.met(found.kind, found.ids)

        def make(pseudonyms: Pseudonyms, log: Iterable[RecordBatch]) -> RecordBatch:
            rows = BulkRows(
                pseudonyms.tokens(found.kind, found.ids), found.scopes, found.scope_codes,
                found.terms, found.terms_codes, found.states, found.times_ms,
                found.valid_until_ms,
            )  # fmt: skip
            now_ms = int(self.now() * 1000)
            bulk = bulk_records(
                rows, log, pseudonyms.version, now_ms, self.random, self.gate.were_erased
            )
            made.append(bulk)
            return self._with_proofs(found, bulk)

        await self.gate.import_records(make, progress)
        return made[0]

    def _with_proofs(self, found: BulkFile, bulk: Bulk) -> RecordBatch:
        if found.proofs is None or not len(bulk.batch):
            return bulk.batch
        texts = [found.proofs[row] for row in bulk.rows.tolist()]
        salts = self.random(SALT_BYTES * len(texts))
        # Kept before the records leave: a digest in the log always has its proof here.
        EvidenceStore(self.folder / EVIDENCE_FILE).add(bulk.batch.record_ids, salts, texts)
        return replace(bulk.batch, evidence=digests(salts, texts))


async def import_stream(
    what: BulkImport, pieces: AsyncIterator[pb.NodeConsentFile]
) -> AsyncIterator[pb.NodeImportProgress]:
    """Progress, then the report.  Raises BadInput for a file of which nothing can be read."""
    with tempfile.TemporaryDirectory(dir=what.folder, prefix="import-") as folder:
        path = await _received(Path(folder), pieces)
        yield pb.NodeImportProgress(doing="reading the file")
        found = await asyncio.to_thread(what.read, path)
    yield pb.NodeImportProgress(doing="comparing with the ledger")
    seen: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    importing = asyncio.create_task(
        what.record(found, lambda done, total: seen.put_nowait((done, total)))
    )
    try:
        while not importing.done() or not seen.empty():
            waiting = asyncio.create_task(seen.get())
            await asyncio.wait({waiting, importing}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                done, total = waiting.result()
                yield pb.NodeImportProgress(doing="recording", done=done, total=total)
            else:
                waiting.cancel()
        bulk = importing.result()
    finally:
        importing.cancel()
    recorded = len(bulk.batch)
    yield pb.NodeImportProgress(
        doing="done", done=recorded, total=recorded, report=json.dumps(_report(found, bulk))
    )


async def _received(folder: Path, pieces: AsyncIterator[pb.NodeConsentFile]) -> Path:
    path: Path | None = None
    size = 0
    async for piece in pieces:
        if path is None:
            if not _is_file_name(piece.name):
                raise BadInput(
                    "an import begins with the name of its file, and this is none",
                    next_step="give the file a shorter name without control characters",
                )
            path = folder / piece.name
            path.touch(mode=0o600)
        elif not piece.data:  # a stream of nothing would go on for ever
            raise BadInput("a piece of the file is empty")
        size += len(piece.data)
        if size > MAX_BYTES:
            raise BadInput("the file is too large", next_step="import it in parts")
        with path.open("ab") as out:
            out.write(piece.data)
    if path is None:
        raise BadInput("no file was sent")
    return path


def _is_file_name(name: str) -> bool:
    """Of a file in a folder, whatever the file system."""
    plain = Path(name).name == name and name != ".." and min(name, default="") >= " "
    return plain and len(name.encode()) <= _LONGEST_NAME


def _report(found: BulkFile, bulk: Bulk) -> dict[str, Any]:
    return {
        "rows": found.total,
        "recorded": len(bulk.batch),
        "held": bulk.held,
        "repeated": bulk.repeated,
        "refused_before": bulk.refused_before,
        "bad": len(found.bad),
        "bad_reasons": dict(Counter(reason for _, reason in found.bad)),
        "bad_rows": [[row, reason] for row, reason in found.bad[:LISTED]],
    }
