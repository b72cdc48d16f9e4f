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
    party, spec = session.ctx.party, session.spec
    used = {
        name: party.attributes[name].tag
        for name in sorted(spec.own_attributes(session.ctx.name))
        if party.attributes[name].tag is not None
    }
    tags = tags_of(party) if used else None
    if tags is None:
        return
    today = datetime.fromtimestamp(session.ctx.now(), UTC).date()
    for tag in used.values():
        assert tag is not None
        if session.is_requester or tags.allows(tag, spec.requester, spec.purpose, today):
            continue
        raise Refused(
            "tag_not_granted",
            f"no grant lets {spec.requester} use the tag {tag} for {spec.purpose} today",
            party=session.ctx.name,
            stage="admit",
            next_step=f"ask {tags.now(tag).owner} at {session.ctx.name} for a grant",
        )
    session.ctx.records.put(
        session.job_id, USED, {str(tag): tag_id(tags, str(tag)) for tag in used.values()}
    )
