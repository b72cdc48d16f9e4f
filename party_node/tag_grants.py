"""The gate of tags: another party's job may read a tag only while its owner's grant lasts.

Who runs it: every party's node, with the policy gate, for its own tags.  What a job used is
noted for lineage and last use.  Learns: nobody, anything; the requester gets the refusal.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from catalog.party_tags import tags_of
from party_node.session import Session
from protocol.errors import BadInput, Refused

USED = "own.tags"
_log = logging.getLogger("assent.tags")


def check_grants(session: Session, recipients: Sequence[str]) -> None:
    """Raises Refused('tag_not_granted') for the first tag without a grant to a recipient of
    what this party's rows become."""
    purpose, used = session.spec.purpose, _used(session)
    if not used or not recipients:
        return
    try:  # read anew for every job: a grant that its owner takes out of the file ends at once
        tags = tags_of(session.ctx.party)
    except BadInput as error:
        _log.error("no other company may use a tag: %s", error.info.sentence())
        tags = None
    today = datetime.fromtimestamp(session.ctx.now(), UTC).date()
    for tag, recipient in product(used, recipients):
        if tags is None or tag not in tags.tags or not tags.allows(tag, recipient, purpose, today):
            raise Refused(
                "tag_not_granted",
                f"no grant lets {recipient} use the tag {tag} for {purpose} today",
                party=session.ctx.name,
                stage="admit",
                next_step=f"ask {session.ctx.name}'s owner of the tag for a grant",
            )


def note_tags(session: Session) -> None:
    """Keeps which tags an admitted job used."""
    used = _used(session)
    if used:
        session.ctx.records.put(session.job_id, USED, used)


def _used(session: Session) -> list[str]:
    attributes = session.ctx.party.attributes
    own = sorted(session.spec.own_attributes(session.ctx.name))
    return [tag for name in own if (tag := attributes[name].tag) is not None]
