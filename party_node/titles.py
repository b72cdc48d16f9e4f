"""What attributes and their values are called: words for reports, beside the names of jobs.

Who runs it: every party, for its offer and its own part of a result; the requester's node puts
all of them into the result.  Titles are words of the definition: they say nothing about rows.
Learns: the parties of a job each other's titles of what the job reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from catalog.federation import Party
from catalog.party_tags import tags_of
from catalog.tags import LANGUAGES, TagSet
from protocol.errors import BadInput
from protocol.wire import job_pb2 as pb

if TYPE_CHECKING:
    from party_node.session import Session  # it offers what this module finds

MOST = 200  # characters of a title that another company sent
_log = logging.getLogger("assent.titles")

Titles = Mapping[str, Mapping[str, Any]]  # name → zh, en and, if values have titles, values


def own_titles(party: Party, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Of this party's attributes `names`, those that have a title or values with one."""
    declared = {name: party.attributes[name] for name in names}
    tags = _tags(party) if any(a.tag is not None for a in declared.values()) else None
    found: dict[str, dict[str, Any]] = {}
    for name, attribute in declared.items():
        said: dict[str, Any] = {}
        if attribute.tag is not None and tags is not None and attribute.tag in tags.tags:
            tag = tags.now(attribute.tag)
            said = {language: tag.title.of(language) for language in LANGUAGES}
            values = {
                value.value: {language: value.title.of(language) for language in LANGUAGES}
                for value in tag.values
                if value.title is not None
            }
            said |= {"values": values} if values else {}
        if attribute.title is not None:
            said |= {"zh": attribute.title.zh, "en": attribute.title.en}
        if said:
            found[name] = said
    return found


def put_titles(offered: pb.AttributeOffer, titles: Titles) -> None:
    """Writes the title of an attribute and those of its vocabulary, if it has any."""
    said = titles.get(offered.name)
    if said is None:
        return
    offered.title.zh, offered.title.en = said["zh"], said["en"]
    values = said.get("values", {})
    if any(word in values for word in offered.vocabulary):
        offered.value_titles.extend(pb.Title(**values.get(word, {})) for word in offered.vocabulary)


def offered_titles(session: Session) -> dict[str, dict[str, Any]]:
    """result.json's `titles`: every attribute that the job reads and that has one, by its name
    in the result: party/attribute, and in a job over secure sums also the common name."""
    found: dict[str, dict[str, Any]] = {}
    for party, offer in session.offers.items():
        for offered in offer.attributes:
            if offered.HasField("title"):
                found[f"{party}/{offered.name}"] = _received(offered)
    if (asked := session.spec.model) is not None:
        own = asked.columns[session.spec.requester]
        for common, column in zip(asked.names, own, strict=True):
            if (said := found.get(f"{session.spec.requester}/{column}")) is not None:
                found.setdefault(common, said)
    return found


def _received(offered: pb.AttributeOffer) -> dict[str, Any]:
    said: dict[str, Any] = _title(offered.title)
    values = {
        word: _title(title)
        for word, title in zip(offered.vocabulary, offered.value_titles, strict=False)
        if title.zh and title.en
    }
    return said | ({"values": values} if values else {})


def _title(title: pb.Title) -> dict[str, str]:
    return {"zh": _line(title.zh), "en": _line(title.en)}


def _line(text: str) -> str:
    """One printable line, whatever another company sent."""
    return "".join(c for c in text if c.isprintable())[:MOST]


def _tags(party: Party) -> TagSet | None:
    try:
        return tags_of(party)
    except BadInput as error:
        _log.error("results go without the titles of tags: %s", error.info.sentence())
        return None
