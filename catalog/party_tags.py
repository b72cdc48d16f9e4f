"""A party's tags beside its attributes and events: what fits together and what does not.

Who runs it: whoever loads a party, and the node that computes its tags.
Learns: nobody, anything.
"""

from __future__ import annotations

from datetime import datetime

from catalog.federation import Party
from catalog.tag_canonical import reads
from catalog.tag_file import load_tags
from catalog.tag_rules import Sources, Typed
from catalog.tags import TagSet
from catalog.yaml import Document, nearest
from protocol.errors import BadInput


def sources_of(party: Party) -> Sources:
    """What rules may name: attributes that are columns, and events."""
    attributes = {
        name: Typed(attribute.kind, attribute.decimals, attribute.category)
        for name, attribute in party.plain_attributes.items()
    }
    return Sources(attributes, party.events)


def tags_of(party: Party) -> TagSet | None:
    """The party's file of tags, checked against the party.  Raises BadInput."""
    return None if party.tags is None else load_tags(party.tags, sources_of(party))


def moment(text: str) -> datetime:
    """An as-of: a day (its first moment) or a day and time, in the party's own time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            f'"{text}" is no moment', next_step="write 2026-11-25 or 2026-11-25T08:00:00"
        ) from error
    if found.tzinfo is not None:
        raise BadInput(
            f'"{text}" has an offset', next_step="leave it out: as-of is in the party's own time"
        )
    return found


def check_party_tags(party: Party, document: Document, at: tuple[str, ...]) -> Party:
    """`party` with the categories of its tag attributes.  Raises BadInput."""
    named = {name: a.tag for name, a in party.attributes.items() if a.tag is not None}
    for kind, words in (("event", party.events), ("link", party.one_id.links)):
        key = "events" if kind == "event" else "one_id"
        for name, table in words.items():
            for type_ in table.ids:
                if type_ not in _types(party):
                    raise document.error(
                        (*at, key), f'{name}: no record ties "{type_}" to this party\'s people',
                        "use a type of ids:, or add a link to one under one_id.links",
                    )  # fmt: skip
    if party.as_of is not None:
        try:
            moment(party.as_of)
        except BadInput as error:
            raise document.error((*at, "as_of"), error.info.cause, error.info.next_step) from error
    if party.tags is None:
        for name in named:
            raise document.error(
                (*at, "attributes", name, "tag"), "this party has no file of tags", "add tags: FILE"
            )
        return party
    tags = tags_of(party)
    assert tags is not None
    for name, tag in named.items():
        place = (*at, "attributes", name, "tag")
        if tag not in tags.tags:
            raise document.error(place, f'no tag "{tag}"', nearest(str(tag), tags.tags))
        category = tags.now(str(tag)).category
        if party.attributes[name].category != category:
            raise document.error(
                (*at, "attributes", name, "category"), f"the tag's category is {category}",
                f"write category: {category}",
            )  # fmt: skip
        party._reads[name] = reads(tags, str(tag), sources_of(party))
    return party


def _types(party: Party) -> set[str]:
    """Identifier types that a record of this party can lead to one of its people."""
    known, before = set(party.ids), -1
    while len(known) != before:
        before = len(known)
        for link in party.one_id.links.values():
            if known & set(link.ids):
                known |= set(link.ids)
    return known
