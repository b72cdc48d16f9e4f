"""Checks a log's databases from end to end: entries, tiles, head, checkpoints, openings.

Who runs it: whoever runs the consent service (`assent consent check`), after a crash, a restore
or a doubt.  Changes no row.  Learns: nothing new; the findings name positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from consent.audit import audit_bundle
from consent.audit_report import Report
from consent.bundle import Source, bundle_lines
from consent.errors import ProofError
from consent.findings import Finding
from consent.leaf import ERASURE_MARK, read_body, subject_text
from consent.ledger import Places
from consent.log_sql import SqlLog, SqlOpenings, origins
from consent.log_storage import StoredOpening
from consent.merkle import hash_leaf
from consent.note_keys import VerifierKey
from consent.policy import Policy, majority_policy, parse_policy
from consent.tiles import TileTree
from consent.trust import AUDITOR, Trust, party_of
from protocol.errors import BadInput, Failed

_PAGE = 2_048


def check_log(
    source: Source, key: VerifierKey, policy: Policy | None = None, *, databases: bool = True
) -> Report:
    """Everything that `audit_bundle` sees, and that the databases agree with themselves.

    databases: also look at what all logs in them share.  policy: whose quorum counts; without
    one only the log's own signature does.  A database that cannot be read raises Failed.
    """
    if policy is None:
        policy = parse_policy(majority_policy([key], {}).encode())
    report = audit_bundle(bundle_lines([source]), policy)
    found = [
        *report.findings,
        *(_databases(source) if databases else ()),
        *_tree(source),
        *_columns(source),
    ]
    # The lines never were a file, so that they have no end to be missing.
    found = [one for one in found if one.code != "file_cut"]
    return Report(tuple(sorted(found, key=lambda one: one.severity)), report.logs)


def check_stores(places: Places, trust: Trust) -> Report:
    """`check_log` of every log in the service's databases; nobody must be writing to them.

    A file that cannot even be read is a finding; a newest head that waits for its witnesses
    is none.  Raises BadInput when there is no log.
    """
    reports: list[Report] = []
    findings: list[Finding] = []
    named = tuple(name for name in trust.witnesses if name != AUDITOR)
    everybody = (*named, trust.consent.name)
    names: list[str] = []
    with _damage(places, "", findings):
        names = origins(places.tree)
    for origin in names:
        with (
            _damage(places, origin, findings),
            closing(SqlLog(places.tree, origin)) as storage,
            closing(SqlOpenings(places.openings, origin)) as openings,
        ):
            parties = (party,) if (party := party_of(origin)) else everybody
            source = Source(origin, storage, openings, parties)
            key, policy = trust.log_key(origin), trust.policy(origin)
            reports.append(check_log(source, key, policy, databases=not reports))
    if not names and not findings:
        raise BadInput("there is no log in this place", next_step="name the service's data folder")
    # A service that stopped between a signature and its cosignatures asks for them as it starts.
    for report in reports:
        findings += [one for one in report.findings if one.code != "quorum_missing"]
    logs = tuple(log for report in reports for log in report.logs)
    return Report(tuple(sorted(findings, key=lambda one: one.severity)), logs)


@contextmanager
def _damage(places: Places, origin: str, findings: list[Finding]) -> Iterator[None]:
    """What a file of ours cannot give is damage; of a server it may be a password or the line."""
    try:
        yield
    except Failed as error:
        if not all(url.startswith("sqlite:") for url in (places.tree, places.openings)):
            raise
        said = {"name": "log or openings", "cause": error.info.cause}
        findings.append(Finding("database_broken", origin, said))


def _databases(source: Source) -> Iterator[Finding]:
    for name, store in (("log", source.storage), ("openings", source.openings)):
        for cause in store.faults():
            yield Finding("database_broken", source.origin, {"name": name, "cause": cause})


def _tree(source: Source) -> Iterator[Finding]:
    """Tiles and head, made again from the entries."""
    head = source.storage.head()
    tree = TileTree()
    expected: dict[tuple[int, int], bytes] = {}
    stored = source.storage.tiles()
    for start in range(0, head.size, _PAGE):
        entries = source.storage.entries(start, min(head.size, start + _PAGE))
        expected.update(tree.extend([hash_leaf(entry) for entry in entries]))
    if (tree.size, tree.root()) != (head.size, head.root):
        yield Finding("head_differs", source.origin, {"size": head.size})
    if source.storage.entries(head.size, head.size + 1):
        yield Finding("entry_beyond", source.origin, {"index": head.size})
    for level, index, hashes in stored:
        if expected.pop((level, index), None) != hashes:
            yield Finding("tile_differs", source.origin, {"tile": f"{level}/{index}"})
    for level, index in expected:
        yield Finding("tile_differs", source.origin, {"tile": f"{level}/{index}"})
    signed = max((size for size, _ in source.storage.checkpoints()), default=0)
    if head.size > signed:
        yield Finding("uncovered", source.origin, {"first": signed})


def _columns(source: Source) -> Iterator[Finding]:
    """The columns by which openings are found say what their bodies say."""
    size = source.storage.head().size
    for start in range(0, size, _PAGE):
        end = min(size, start + _PAGE)
        stored = {one.index: one for one in source.openings.read(start, end)}
        for index in range(start, end):
            # Also an erased entry keeps its row: it says that the event's id was logged.
            one = stored.get(index)
            if one is None or (one.opening is not None and not _agrees(one)):
                yield Finding("opening_misfiled", source.origin, {"index": index})


def _agrees(one: StoredOpening) -> bool:
    assert one.opening is not None
    try:
        body = read_body(one.opening.body)
    except ProofError:
        return True  # `audit_bundle` has said so
    said = body.get("subject")
    if said is None and one.subject == ERASURE_MARK:
        return one.id.hex() == body.get("id") and "indexes" in body
    filed = None if one.subject is None else subject_text(one.subject)
    return one.id.hex() == body.get("id") and filed == said
