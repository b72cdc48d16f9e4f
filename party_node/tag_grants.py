"""The gate of tags: another party's job may read a tag only while its owner's grant lasts.

Who runs it: every party's node, with the policy gate, for its own tags.  What a job used is
noted for lineage and last use.  Learns: nobody, anything; the requester gets the refusal.
"""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.party_tags import tags_of
from catalog.tag_canonical import tag_id
from party_node.session import Session
from protocol.errors import Refused

USED = "own.tags"


def check_grants(session: Session) -> None:
    """Raises Refused('tag_not_granted') for the first tag without a grant."""
    spec, used = session.spec, _used(session)
    tags = tags_of(session.ctx.party) if used and not session.is_requester else None
    if tags is None:
        return
    today = datetime.fromtimestamp(session.ctx.now(), UTC).date()
    for tag in used:
        if tags.allows(tag, spec.requester, spec.purpose, today):
            continue
        raise Refused(
            "tag_not_granted",
            f"no grant lets {spec.requester} use the tag {tag} for {spec.purpose} today",
            party=session.ctx.name,
            stage="admit",
            next_step=f"ask {tags.now(tag).owner} at {session.ctx.name} for a grant",
        )


def note_tags(session: Session) -> None:
    """Keeps which definitions an admitted job used."""
    used = _used(session)
    tags = tags_of(session.ctx.party) if used else None
    if tags is not None:
        ids = {tag: tag_id(tags, tag) for tag in used}
        session.ctx.records.put(session.job_id, USED, ids)


def _used(session: Session) -> list[str]:
    attributes = session.ctx.party.attributes
    own = sorted(session.spec.own_attributes(session.ctx.name))
    return [tag for name in own if (tag := attributes[name].tag) is not None]
