"""Bundles and kept checkpoints on an auditor's disk.

Who runs it: `assent audit …`, the party console.  Learns: what is in the bundle.

Kept checkpoints are one file per log: what this auditor has verified last, or a note that
somebody kept elsewhere.  A bundle that does not continue them is a log that told two stories,
or an old bundle.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from consent.audit import Rule, audit_bundle
from consent.audit_report import Report
from consent.cells import safe_cell
from consent.checkpoint import parse_checkpoint
from consent.entry_line import MAX_LINE
from consent.errors import NoteError
from consent.leaf import MIGRATED, migrated_note
from consent.note import MAX_NOTE_BYTES, parse_note
from consent.policy import Policy
from consent.trust import Trust, party_of
from protocol.encoding import canonical_json
from protocol.errors import BadInput

_SUFFIX = ".checkpoint"
_LEAF, _REPLACING = b'{"leaf"', MIGRATED.encode()
CSV_COLUMNS = ("log", "index", "time", "party", "type", "commitment", "opened", "body")


@dataclass
class Contents:
    """What a bundle says that it is, before anything is verified."""

    origins: list[str] = field(default_factory=list)
    newest: dict[str, str] = field(default_factory=dict)  # origin → last note
    replaced: list[str] = field(default_factory=list)  # last notes of logs that others replace


def lines_of(path: Path) -> Iterator[bytes]:
    """The file's lines; one that is too long comes in pieces, which no audit takes for a line."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                yield line
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror})", next_step="name the exported file"
        ) from error


def contents(path: Path) -> Contents:
    found = Contents()
    few = (line for line in lines_of(path) if not line.startswith(_LEAF) or _REPLACING in line)
    for fields in _objects(few):
        log, note = fields.get("log"), fields.get("checkpoint")
        if isinstance(log, str):
            found.origins.append(log)
        elif isinstance(note, str) and found.origins:
            found.newest[found.origins[-1]] = note
        elif isinstance(opening := fields.get("opening"), dict):
            for said in _objects([str(opening.get("body")).encode("utf-8", "replace")]):
                if (last := migrated_note(said)) is not None:
                    found.replaced.append(last)
    return found


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
    for line in lines:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the audit says what is wrong with it
        if isinstance(fields, dict):
            yield fields


def default_policy(trust: Trust, path: Path, kept: Iterable[str] = ()) -> Policy:
    """For those logs of a bundle, and of kept notes, that the collaboration's consent service
    may have or have had: one that is in no bundle any more is a finding, not a stranger."""
    found = contents(path)
    origins = [*found.origins, *map(_origin, [*kept, *found.replaced])]
    known = [origin for origin in origins if party_of(origin) is not None]
    return trust.policy(*dict.fromkeys(known))


def verify(
    path: Path, policy: Policy, rules: list[Rule], keep: Path | None, kept: Sequence[str] = ()
) -> Report:
    """Audits a bundle against the notes `kept`; what it verified is kept in the folder `keep`.

    Raises BadInput when the file is no bundle or a kept checkpoint is not genuine.
    """
    report = audit_bundle(lines_of(path), policy, kept, rules)
    if keep is not None and report.exit_code == 0:
        keep_notes(keep, contents(path).newest)
    return report


def kept_notes(folder: Path | None, files: Iterable[Path] = ()) -> list[str]:
    """The notes in a folder of earlier audits, if there is one, and in single files."""
    found = sorted(folder.glob(f"*{_SUFFIX}")) if folder else []
    return [_read_note(path) for path in (*found, *files)]


def _read_note(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_NOTE_BYTES + 1)
        if len(data) > MAX_NOTE_BYTES:
            raise BadInput(f"{path}: is too long for a checkpoint")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(
            f"{path}: a kept checkpoint cannot be read ({why})",
            next_step="name a file that holds one checkpoint, as the log served it",
        ) from error


def keep_notes(folder: Path, newest: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for origin, note in newest.items():
        path = folder / (hashlib.sha256(origin.encode()).hexdigest()[:32] + _SUFFIX)
        if path.exists() and _size(path.read_text("utf-8")) > _size(note):
            continue
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def _size(note: str) -> int:
    try:
        return parse_checkpoint(parse_note(note).text).size
    except NoteError:
        return 0


def _origin(note: str) -> str:
    try:
        return parse_checkpoint(parse_note(note).text).origin
    except NoteError:
        return ""  # the audit says what is wrong with it


# -- exports ---------------------------------------------------------------------------------


def json_lines(path: Path) -> Iterator[bytes]:
    """One canonical JSON object per entry: log, index, leaf, opening.  Evidence."""
    for log, index, leaf, opening in _entries(path):
        yield canonical_json({"index": index, "leaf": leaf, "log": log, "opening": opening}) + b"\n"


def csv_lines(path: Path) -> Iterator[str]:
    """One row per entry for a spreadsheet, which must not run what a cell begins with."""
    yield _row(CSV_COLUMNS)
    for log, index, leaf, opening in _entries(path):
        try:
            said = json.loads(leaf)
        except ValueError:
            said = {}
        said = said if isinstance(said, dict) else {}
        body = opening.get("body", "") if isinstance(opening, dict) else ""
        fields = [said.get(name, "") for name in ("time", "party", "type", "commitment")]
        yield _row([log, str(index), *fields, "yes" if body else "no", body])


def _entries(path: Path) -> Iterator[tuple[str, int, str, object]]:
    log, index = "", 0
    for fields in _objects(lines_of(path)):
        if isinstance(fields.get("log"), str):
            log, index = str(fields["log"]), 0
        elif isinstance(fields.get("leaf"), str):
            yield log, index, str(fields["leaf"]), fields.get("opening")
            index += 1


def _row(cells: object) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([safe_cell(str(cell)) for cell in cells])  # type: ignore[attr-defined]
    return out.getvalue()
