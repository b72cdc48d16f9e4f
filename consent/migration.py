"""A log that takes the place of one that cannot go on: its first entry names the old one's end.

Who runs it: the operator of the consent service, once, before the first start of the new logs
(`assent consent migrate`): a log was restored behind its last signed head, its signing key was
lost or changed, its database is damaged.
Learns: sizes and roots of the old logs, as every reader of a checkpoint.

A log is never continued under a name that signed something else (docs/adr/0008): the new one
has a new name, and `log.migrated` carries the last checkpoint of the old one as it was signed
and cosigned, so that whoever kept an earlier one sees where that story ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consent.checkpoint import parse_checkpoint
from consent.errors import NoteError
from consent.leaf import migrated_note, read_body
from consent.ledger import Places
from consent.log import Log
from consent.log_sql import SqlLog, SqlOpenings, origins
from consent.note import parse_note
from consent.policy import CheckedCheckpoint, check_checkpoint
from consent.records import record_ids
from consent.trust import Trust, base_of, consent_origin, jobs_origin, log_signer, party_of
from protocol.errors import BadInput
from protocol.identity import Keys


@dataclass(frozen=True)
class Migrated:
    """origin: of the new log.  replaced, size: the old one and its last head; "" and 0 where
    nothing is known of one."""

    origin: str
    replaced: str = ""
    size: int = 0


def notes_of(url: str) -> Iterator[str]:
    """The newest checkpoint of every log in the database at `url`."""
    for origin in origins(url):
        storage = SqlLog(url, origin)
        try:
            note = storage.checkpoint()
        finally:
            storage.close()
        if note is not None:
            yield note


def last_heads(notes: Iterable[str], trust: Trust) -> dict[str, CheckedCheckpoint]:
    """By party, "" for the job log: the largest of the checkpoints given.

    trust: under whose keys the old logs signed.  Raises BadInput for a note that its log did
    not sign, for logs of two services, and for two stories of one size.
    """
    given = [_checked(note, trust) for note in notes]
    if len({base_of(one.checkpoint.origin) for one in given}) > 1:
        raise BadInput(
            "the checkpoints are of logs of two consent services",
            next_step="name those of the one that is replaced",
        )
    found: dict[str, CheckedCheckpoint] = {}
    for checked in given:
        head = checked.checkpoint
        party = party_of(head.origin)
        assert party is not None  # `_checked` takes no other
        before = found.get(party)
        if before and before.checkpoint.size == head.size and before.checkpoint.root != head.root:
            raise BadInput(
                f"{head.origin}: two different trees of size {head.size} are signed",
                next_step="keep both notes as evidence, and name the one that witnesses cosigned",
            )
        if before is None or before.checkpoint.size < head.size:
            found[party] = checked
    return found


def _checked(note: str, trust: Trust) -> CheckedCheckpoint:
    try:
        origin = parse_checkpoint(parse_note(note).text).origin
        if party_of(origin) is None:
            raise NoteError(f"{origin!r} is not the name of a log of a consent service")
        return check_checkpoint(note, trust.policy(origin), origin)
    except NoteError as error:
        raise BadInput(
            f"an old checkpoint is not valid: {error.info.cause}",
            next_step="if the service had other keys then, name its old card with --old-card",
        ) from error


def migrate(
    places: Places,
    keys: Keys,
    parties: Sequence[str],
    heads: Mapping[str, CheckedCheckpoint],
    clock: Callable[[], float],
    random: Callable[[int], bytes],
) -> list[Migrated]:
    """Makes the logs in the new databases `places`, each with what it replaces in its first entry.

    keys: of the consent service as it is now.  heads: of `last_heads`.  Killed in between and run
    again, it goes on.  Raises Refused('log_not_new') when a log has another first entry.
    """
    known = {base for origin in origins(places.tree) if (base := base_of(origin))}
    base = min(known) if known else random(8).hex()
    if base in {base_of(head.checkpoint.origin) for head in heads.values()}:
        raise BadInput(
            "the new logs would be the old ones",
            next_step="name a new data folder or database with --data or --log-url",
        )
    logs = [(party, consent_origin(base, party)) for party in parties]
    made = []
    for party, origin in (*logs, ("", jobs_origin(base))):
        # In the job log, which has entries of every party, the service speaks for itself.
        made.append(_begin(places, keys, origin, party or keys.card.name, heads.get(party),
                           clock, random))  # fmt: skip
    return made


def _begin(
    places: Places, keys: Keys, origin: str, speaker: str, head: CheckedCheckpoint | None,
    clock: Callable[[], float], random: Callable[[int], bytes],
) -> Migrated:  # fmt: skip
    storage, openings = SqlLog(places.tree, origin), SqlOpenings(places.openings, origin)
    try:
        log = Log(storage, openings, log_signer(keys, origin), clock, random)
        if head is None:
            return Migrated(origin)
        if _says(openings, log.size) != head.note:
            id = record_ids(1, int(clock() * 1000), random)[0].tobytes()
            log.begin_after(speaker, id, head.note)
        return Migrated(origin, head.checkpoint.origin, head.checkpoint.size)
    finally:
        storage.close()
        openings.close()


def _says(openings: SqlOpenings, size: int) -> str | None:
    """The checkpoint that the log of one entry names already."""
    if size != 1:
        return None
    (stored,) = openings.read(0, 1)
    return None if stored.opening is None else migrated_note(read_body(stored.opening.body))
