"""Verifies a bundle offline: every entry re-hashed, every root rebuilt, every opening opened.

Who runs it: an auditor, with a policy file and the checkpoints kept from earlier audits; no
database, no network.  One pass; memory grows with missing openings only.
Learns: what is in the bundle.

The order of checks for each log:
1. every note is signed by the log and, the newest, cosigned by the auditor's own quorum;
2. the tree over the entries so far has the root of every checkpoint, hence all checkpoints
   are consistent with each other; 3. and with the one that the auditor kept;
4. every opening is what its entry committed to; 5. of the parties whose openings the bundle
claims to have, a missing one is listed as erased; entries of others are counted as closed;
6. a log that says it replaces another names that one's end, which continues what was kept;
7. times of entries and of each witness do not go back; 8. further rules (`Rule`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consent.audit_report import LogSummary, Report
from consent.bundle import VERSION, end_line, parse_claims
from consent.checkpoint import Checkpoint, parse_checkpoint
from consent.entry_line import MAX_LINE, entry_of, opening_of
from consent.errors import NoteError, ProofError
from consent.findings import Finding, Severity
from consent.leaf import (
    CONSENT,
    ERASED,
    MIGRATED,
    Leaf,
    LeafReader,
    Opening,
    check_opening,
    migrated_note,
    parse_object,
    read_body,
)
from consent.merkle import CompactRange, hash_leaf
from consent.note import parse_note
from consent.policy import CheckedCheckpoint, Policy, check_checkpoint, misnamed_witness
from consent.trust import party_of
from protocol.errors import BadInput

MAX_OF_A_KIND = 20  # findings of one code and log that are listed one by one


class Rule(Protocol):
    """A rule over what entries say; one object audits one bundle."""

    def see(self, log: str, index: int, leaf: Leaf, body: bytes | None) -> Iterable[Finding]:
        """Called for every well-formed entry in order.

        body: a canonical JSON object that the entry committed to; None without an opening.
        """

    def checkpoint(self, log: str, checked: CheckedCheckpoint) -> Iterable[Finding]:
        """Called for every checkpoint whose root is that of the entries so far."""

    def finish(self) -> Iterable[Finding]:
        """Called once after the last log."""


def audit_bundle(
    lines: Iterable[bytes],
    policy: Policy,
    kept: Sequence[str] = (),
    rules: Sequence[Rule] = (),
) -> Report:
    """lines: a bundle's, each with its newline, as an open file gives them.

    policy: the auditor's own.  kept: notes that the auditor kept.  Raises BadInput when `kept`
    is not genuine or the file is no bundle at all; everything else is a finding.
    """
    audit = _Audit(policy, _read_kept(kept, policy), rules)
    for line in lines:
        audit.line(line)
    return audit.report()


def _read_kept(notes: Sequence[str], policy: Policy) -> dict[str, list[Checkpoint]]:
    kept: dict[str, list[Checkpoint]] = {}
    for note in notes:
        try:
            checkpoint = check_checkpoint(note, policy).checkpoint
        except NoteError as error:
            raise BadInput(f"a kept checkpoint is not valid: {error.info.cause}") from error
        kept.setdefault(checkpoint.origin, []).append(checkpoint)
    return kept


@dataclass
class _LogState:
    """What is known of the log that is being read."""

    origin: str
    claimed: frozenset[str]  # parties whose openings the bundle says it has
    tree: CompactRange = field(default_factory=CompactRange)
    newest: CheckedCheckpoint | None = None
    checkpoints: int = 0
    covered: int = 0  # entries under a checkpoint whose root was right
    time: str = ""
    opened: int = 0
    closed: int = 0
    missing: list[int] = field(default_factory=list)
    erased: dict[int, int] = field(default_factory=dict)  # index → entry that lists it
    not_erasable: set[int] = field(default_factory=set)
    witness_times: dict[str, int] = field(default_factory=dict)
    root_wrong: bool = False


class _Audit:
    """One pass; `line` for every line, then `report`."""

    def __init__(
        self, policy: Policy, kept: Mapping[str, list[Checkpoint]], rules: Sequence[Rule]
    ) -> None:
        self._policy = policy
        self._kept = kept
        self._rules = rules
        self._findings: list[Finding] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._logs: list[LogSummary] = []
        self._log: _LogState | None = None
        self._digest = hashlib.sha256()
        self._leaves = LeafReader()
        self._replaced: dict[str, CheckedCheckpoint] = {}  # log → the head it ended with
        self._number = 0
        self._recognised = False
        self._ended = False

    def line(self, line: bytes) -> None:
        self._number += 1
        self._line(line)
        self._digest.update(line)

    def _line(self, line: bytes) -> None:
        try:
            if self._log is not None and (entry := entry_of(line)) is not None:
                self._entry(self._log, *entry)
                return
            fields = self._fields(line)
            keys = set(fields)
            if keys == {"end"}:
                self._end(line)
            elif self._number == 1 or keys == {"assent_bundle"}:
                self._header(fields)
            elif keys == {"log", "openings"}:
                self._begin(fields["log"], parse_claims(fields["openings"]))
            elif self._log is None:
                raise ProofError("no log has begun")
            elif keys == {"checkpoint"}:
                self._checkpoint(self._log, fields["checkpoint"])
            elif "leaf" in keys and keys <= {"leaf", "opening"}:
                text = fields["leaf"]
                if not isinstance(text, str):
                    raise ProofError("a leaf is text")
                self._entry(self._log, text.encode(), fields.get("opening"))
            else:
                raise ProofError("unknown fields")
        except ProofError as error:
            self._find("bad_line", line=self._number, cause=error.info.cause)

    def report(self) -> Report:
        if not self._recognised:
            raise BadInput("this is not an Assent bundle", next_step="give the exported file")
        if not self._ended:
            self._log_done()
            self._find("file_cut")
        for origin, kept in self._kept.items():
            if origin not in {log.origin for log in self._logs}:
                self._absent(origin, kept)
        for rule in self._rules:
            self._add(rule.finish())
        for (code, log), count in self._counts.items():
            if count > MAX_OF_A_KIND:
                severity = Finding(code).severity
                kind = "more" if severity is Severity.BROKEN else "more_missing"
                values: dict[str, int | str] = {"count": count - MAX_OF_A_KIND, "kind": code}
                self._findings.append(Finding(kind, log, values))
        order = sorted(self._findings, key=lambda one: one.severity)
        return Report(tuple(order), tuple(self._logs))

    # -- lines --------------------------------------------------------------------------------

    def _fields(self, line: bytes) -> dict[str, object]:
        if self._ended:
            raise ProofError("a line after the end")
        if len(line) > MAX_LINE or not line.endswith(b"\n"):
            raise ProofError("cut off or too long")
        return parse_object(line[:-1], "it")

    def _header(self, fields: Mapping[str, object]) -> None:
        if self._number != 1 or fields != {"assent_bundle": VERSION}:
            raise ProofError("not the first line of a bundle of this version")
        self._recognised = True

    def _end(self, line: bytes) -> None:
        self._recognised = True
        self._ended = True
        self._log_done()
        if line != end_line(self._number - 1, self._digest.hexdigest()):
            self._find("file_altered")

    def _begin(self, origin: object, claimed: tuple[str, ...]) -> None:
        self._log_done()
        if not isinstance(origin, str) or not origin:
            raise ProofError("a log without a name")
        if any(log.origin == origin for log in self._logs):
            self._find("log_twice", origin)
        self._log = _LogState(origin, frozenset(claimed))

    def _checkpoint(self, log: _LogState, note: object) -> None:
        if not isinstance(note, str):
            raise ProofError("a checkpoint is text")
        try:
            checked = check_checkpoint(note, self._policy, log.origin)
        except NoteError as error:
            cause = error.info.cause
            self._find("bad_checkpoint", log.origin, line=self._number, cause=cause)
            return
        if witness := misnamed_witness(note, self._policy):
            self._find("cosignature_misnamed", log.origin, line=self._number, witness=witness)
        head, entries = checked.checkpoint, log.tree.size
        if head.size != entries or (log.newest and log.newest.checkpoint.size >= head.size):
            self._find("checkpoint_order", log.origin, size=head.size, entries=entries)
            return
        log.newest = checked
        log.checkpoints += 1
        for witness, time in checked.times.items():
            if time < log.witness_times.get(witness, 0):
                self._find("witness_backwards", log.origin, witness=witness, size=head.size)
            log.witness_times[witness] = time
        if log.tree.root() == head.root:
            log.covered = head.size
            for rule in self._rules:
                self._add(rule.checkpoint(log.origin, checked))
        elif not log.root_wrong:  # every later root is wrong as well; the first says where
            log.root_wrong = True
            last = max(head.size - 1, 0)
            self._find("root_differs", log.origin, first=log.covered, last=last, size=head.size)

    def _entry(self, log: _LogState, data: bytes, opening: object) -> None:
        """opening: an Opening, or whatever the line has in its place."""
        index = log.tree.size
        log.tree.append(hash_leaf(data))
        for kept in self._kept.get(log.origin, ()):
            if kept.size == log.tree.size and kept.root != log.tree.root():
                self._find("kept_differs", log.origin, size=kept.size)
        try:
            leaf = self._leaves.read(data)
        except ProofError as error:
            self._find("bad_leaf", log.origin, index=index, cause=error.info.cause)
            return
        if leaf.time < log.time:
            self._find("time_backwards", log.origin, index=index)
        log.time = leaf.time
        body = self._open(log, index, leaf, opening)
        for rule in self._rules:
            self._add(rule.see(log.origin, index, leaf, body))

    def _open(self, log: _LogState, index: int, leaf: Leaf, opening: object) -> bytes | None:
        if leaf.type != CONSENT:
            log.not_erasable.add(index)
        if leaf.party not in log.claimed:
            log.closed += 1
            if opening is not None:
                self._find("opening_unclaimed", log.origin, index=index, party=leaf.party)
            return None
        if opening is None:
            log.missing.append(index)
            return None
        try:
            given = opening if isinstance(opening, Opening) else opening_of(opening)
            check_opening(leaf, given)
            body = read_body(given.body)
        except ProofError as error:
            self._find("bad_opening", log.origin, index=index, cause=error.info.cause)
            return None
        log.opened += 1
        if leaf.type == ERASED:
            self._erasure(log, index, body)
        elif leaf.type == MIGRATED:
            self._migration(log, index, body)
        return given.body

    def _erasure(self, log: _LogState, index: int, body: Mapping[str, object]) -> None:
        listed = body.get("indexes")
        numbers = [n for n in listed if type(n) is int] if isinstance(listed, list) else []
        if not isinstance(listed, list) or len(numbers) != len(listed):
            self._find("bad_erasure", log.origin, index=index)
            return
        if any(not 0 <= n < index or n in log.not_erasable for n in numbers):
            self._find("bad_erasure", log.origin, index=index)
        log.erased.update(dict.fromkeys(numbers, index))

    def _migration(self, log: _LogState, index: int, body: Mapping[str, object]) -> None:
        """Which log this one replaces: said first, by that log's last checkpoint."""
        try:
            note = migrated_note(body)
            if index or note is None:
                raise NoteError("it is not a first entry that carries one checkpoint")
            origin = parse_checkpoint(parse_note(note).text).origin
            if origin == log.origin or party_of(origin) != party_of(log.origin):
                raise NoteError(f"{origin!r} is not an earlier log of this kind")
            if origin not in {key.name for key in self._policy.logs}:
                self._find("replaced_unknown", log.origin, index=index, replaced=origin)
                return
            self._replaced[origin] = check_checkpoint(note, self._policy, origin)
        except NoteError as error:
            self._find("bad_migration", log.origin, index=index, cause=error.info.cause)

    def _absent(self, origin: str, kept: Sequence[Checkpoint]) -> None:
        """A log of which something was kept and that the bundle has not: replaced, or left out."""
        end = self._replaced.get(origin)
        if end is None:
            self._find("log_missing", origin)
            return
        size = end.checkpoint.size
        for one in kept:
            if one.size > size:
                self._find("replaced_behind", origin, size=size, kept=one.size)
            elif one.size == size and one.root != end.checkpoint.root:
                self._find("kept_differs", origin, size=size)
            elif one.size < size and not end.has_quorum:
                # Nobody vouches that the end continues what was kept.
                self._find("log_missing", origin)

    def _log_done(self) -> None:
        log, self._log = self._log, None
        if log is None:
            return
        absent = set(log.missing)
        for index in log.missing:
            if index not in log.erased:
                self._find("opening_missing", log.origin, index=index)
        for index in sorted(set(log.erased) - absent):
            self._find("erased_present", log.origin, index=index)
        size = log.newest.checkpoint.size if log.newest else 0
        if log.newest is None:
            self._find("no_checkpoint", log.origin)
        elif not log.newest.has_quorum:
            self._find("quorum_missing", log.origin, size=size)
        if log.tree.size > size:
            self._find("uncovered", log.origin, first=size)
        for kept in self._kept.get(log.origin, ()):
            if kept.size > log.tree.size:
                self._find("kept_ahead", log.origin, kept=kept.size, size=log.tree.size)
        self._logs.append(
            LogSummary(
                log.origin,
                log.tree.size,
                log.tree.root().hex(),
                log.checkpoints,
                log.opened,
                len(absent & set(log.erased)),
                log.closed,
                log.newest.quorum_time if log.newest else None,
            )
        )

    # -- findings -----------------------------------------------------------------------------

    def _find(self, code: str, log: str = "", **values: int | str) -> None:
        self._add([Finding(code, log, values)])

    def _add(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            self._counts[one.code, one.log] += 1
            if self._counts[one.code, one.log] <= MAX_OF_A_KIND:
                self._findings.append(one)
