"""A bundle: logs, their checkpoints and openings in one file that an auditor takes away.

Who runs it: a party exports, an auditor reads (`consent.audit`), offline, without a database.
Learns: who holds a bundle learns every body whose opening is in it; of the other entries
their party, kind and minute.

One canonical JSON object a line, so that the file is evidence byte for byte, is read in one
pass whatever its size, and can be searched with common tools:

    {"assent_bundle":1}
    {"log":ORIGIN,"openings":[PARTY, …]}                 whose openings it claims to have
    {"leaf":TEXT,"opening":{"body":TEXT,"salt":HEX}}     one per entry, in order; or no opening
    {"checkpoint":NOTE}                                  after the last entry of its tree
    {"end":{"lines":N,"sha256":HEX}}                     over all lines before

A party may take away its own openings only, the auditor everybody's.  The claim says which
absences are gaps: an entry of a claimed party needs its opening, those of others stay closed.

The digest at the end finds accidents and names the file as altered; what an adversary changes,
digest included, is found by the notes, roots and commitments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from consent.errors import ProofError
from consent.leaf import Opening, parse_leaf
from consent.log_storage import LogStorage, Openings
from protocol.encoding import canonical_json
from protocol.errors import Failed

VERSION = 1
_PAGE = 2_048


@dataclass(frozen=True)
class Source:
    """A log to export.

    parties: whose entries are opened; none of a log that is another party's.
    size: of the checkpoint at which the bundle ends; None: of the newest.
    """

    origin: str
    storage: LogStorage
    openings: Openings
    parties: tuple[str, ...]
    size: int | None = None


def export_bundle(sources: Iterable[Source], write: Callable[[bytes], object]) -> int:
    """Writes a bundle of `sources` through `write`; returns its number of lines."""
    digest = hashlib.sha256()
    count = 0
    for count, line in enumerate(bundle_lines(sources), start=1):  # noqa: B007
        digest.update(line)
        write(line)
    write(end_line(count, digest.hexdigest()))
    return count + 1


def end_line(lines: int, sha256: str) -> bytes:
    return _line({"end": {"lines": lines, "sha256": sha256}})


def bundle_lines(sources: Iterable[Source]) -> Iterator[bytes]:
    """Every line but the last."""
    yield _line({"assent_bundle": VERSION})
    for source in sources:
        yield _line({"log": source.origin, "openings": sorted(set(source.parties))})
        yield from _log_lines(source)


def parse_claims(parties: object) -> tuple[str, ...]:
    """The parties whose openings a bundle claims; raises ProofError unless sorted names."""
    if not isinstance(parties, list):
        raise ProofError("the claimed openings are not a list of parties")
    names = tuple(name for name in parties if isinstance(name, str) and name)
    if list(names) != parties:
        raise ProofError("the claimed openings are not names of parties")
    if list(names) != sorted(set(names)):
        raise ProofError("the claimed openings are not sorted, or one is there twice")
    return names


def _log_lines(source: Source) -> Iterator[bytes]:
    # Read at once: the log may grow meanwhile, and this is where the bundle ends.
    checkpoints = [
        (size, note)
        for size, note in source.storage.checkpoints()
        if source.size is None or size <= source.size
    ]
    place = 0
    for size, note in checkpoints:
        while place < size:
            end = min(size, place + _PAGE)
            yield from _entry_lines(source, place, end)
            place = end
        yield _line({"checkpoint": note})


def _entry_lines(source: Source, start: int, end: int) -> Iterator[bytes]:
    entries = source.storage.entries(start, end)
    if len(entries) != end - start:
        raise Failed("log_corrupt", f"log {source.origin} lacks entries below its checkpoint")
    claimed = frozenset(source.parties)
    stored = source.openings.read(start, end) if claimed else []
    openings = {one.index: one.opening for one in stored}
    for place, leaf in enumerate(entries, start=start):
        opening = openings.get(place)
        try:
            fields: dict[str, object] = {"leaf": leaf.decode()}
            if opening is not None and _party_of(leaf) in claimed:
                fields["opening"] = _opening(opening)
        except UnicodeDecodeError as error:
            cause = f"entry {place} of log {source.origin} is not text"
            raise Failed("log_corrupt", cause, stage="consent log") from error
        yield _line(fields)


def _party_of(leaf: bytes) -> str | None:
    try:
        return parse_leaf(leaf).party
    except ProofError:
        return None  # what the database holds is exported as it is; the audit names it


def _opening(opening: Opening) -> dict[str, str]:
    return {"body": opening.body.decode(), "salt": opening.salt.hex()}


def _line(fields: dict[str, object]) -> bytes:
    return canonical_json(fields) + b"\n"
