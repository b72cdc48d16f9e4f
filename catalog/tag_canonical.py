"""A tag as canonical JSON with its SHA-256 id, and what a change of it asks for.

Who runs it: a node, `assent tags`.  The id covers what decides a person's value: the rule, the
mapping, and the ids of the tags that it is made from; two parties with the same id mean the same.
Learns: nobody, anything; a definition holds no data.

MODEL-REVISION-ADDITION: MODEL grows when the tag means something else (class, aspect, category,
what kinds of data it reads, a value gone): grants end and, where a category is new, consent is
asked again.  REVISION grows when people may move between values.  ADDITION: words only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.tag_rules import Sources
from catalog.tag_terms import Measure, number_text, written
from catalog.tags import BANDS, REPLACED, RULES, Tag, TagSet, TagValue, Title
from catalog.yaml import dump_yaml
from protocol.encoding import content_id

MODEL, REVISION, ADDITION = "MODEL", "REVISION", "ADDITION"


# -- the file again ------------------------------------------------------------------------


def set_fields(tags: TagSet) -> dict[str, Any]:
    """The whole file as plain values; canonical JSON of it is the same for the same file."""
    fields: dict[str, Any] = {"catalogue": tags.name}
    if tags.taxonomy:
        fields["taxonomy"] = {
            name: {"title": _title(place.title)} | _some(under=place.under)
            for name, place in tags.taxonomy.items()
        }
    if tags.mappings:
        fields["mappings"] = {
            name: mapping_fields(tags, name)
            | (
                {"titles": {w: _title(t) for w, t in mapping.titles.items()}}
                if mapping.titles
                else {}
            )
            for name, mapping in tags.mappings.items()
        }
    fields["tags"] = {name: tag_fields(tag) for name, tag in tags.tags.items()}
    if tags.grants:
        fields["grants"] = [
            {"tag": g.tag, "model": g.model, "party": g.party, "purposes": list(g.purposes),
             "until": g.until.isoformat()}
            for g in tags.grants
        ]  # fmt: skip
    return fields


def set_yaml(tags: TagSet) -> str:
    """A file that reads back as `tags`."""
    return dump_yaml(set_fields(tags))


def mapping_fields(tags: TagSet, name: str) -> dict[str, Any]:
    found = tags.mappings[name]
    return {"words": dict(found.words)} | _some(otherwise=found.otherwise) | (
        {"from": found.source} if found.source else {}
    )  # fmt: skip


def tag_fields(tag: Tag) -> dict[str, Any]:
    """A tag as it is written in a file."""
    fields: dict[str, Any] = {
        "title": _title(tag.title),
        "class": tag.kind,
        "aspect": tag.aspect,
        "category": tag.category,
        "owner": tag.owner,
        "goal": tag.goal,
        "refresh": tag.refresh,
        "version": str(tag.version),
    }
    return fields | _some(under=tag.under) | _rule(tag)


def _rule(tag: Tag) -> dict[str, Any]:
    if tag.form == REPLACED:
        return {"replaced_by": tag.replaced_by}
    if tag.form == RULES:
        return {"values": [_value(value, rule=True) for value in tag.values]}
    assert tag.measure is not None
    fields: dict[str, Any] = {"measure": written(tag.measure)}
    if tag.form == BANDS:
        fields["bands"] = [
            _value(value)
            | ({} if band.low is None else {"from": number_text(band.low)})
            | ({} if band.high is None else {"below": number_text(band.high)})
            for band, value in zip(tag.bands, tag.values, strict=True)
        ]
    else:
        fields |= _some(map=tag.mapping) | {"values": [_value(value) for value in tag.values]}
    return fields | _some(unknown=tag.unknown)


def _value(value: TagValue, *, rule: bool = False) -> dict[str, Any]:
    fields: dict[str, Any] = {"value": value.value}
    if value.title is not None:
        fields["title"] = _title(value.title)
    if rule:
        fields |= {"otherwise": "yes"} if value.when is None else {"when": written(value.when)}
    return fields


def _title(title: Title) -> dict[str, str]:
    return {"zh": title.zh, "en": title.en}


def _some(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


# -- ids -----------------------------------------------------------------------------------


def compiled(tags: TagSet, name: str) -> dict[str, Any]:
    """What decides a person's value of the tag, and nothing else: no titles, owner or goal."""
    tag = tags.now(name)
    fields: dict[str, Any] = {
        "schema": "assent/tag/v1",
        "class": tag.kind,
        "aspect": tag.aspect,
        "category": tag.category,
        "vocabulary": list(tag.vocabulary),
        "rule": _bare(_rule(tag)),
        "uses": {used: tag_id(tags, used) for used in tag.uses},
    }
    if tag.mapping is not None:
        fields["mapping"] = mapping_fields(tags, tag.mapping)
    return fields


def tag_id(tags: TagSet, name: str) -> str:
    """Hex SHA-256 of `compiled`."""
    return content_id(compiled(tags, name))


def _bare(value: Any) -> Any:
    """Without titles."""
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items() if key != "title"}
    return [_bare(item) for item in value] if isinstance(value, list) else value


# -- what it reads ---------------------------------------------------------------------------


def reads(tags: TagSet, name: str, sources: Sources) -> tuple[str, ...]:
    """Categories of everything that goes into the tag, its own first: what consent is asked for."""
    tag = tags.now(name)
    found = [tag.category]
    for measure in tag.measures:
        found += _read_by(tags, measure, sources)
    return tuple(dict.fromkeys(found))


def _read_by(tags: TagSet, measure: Measure, sources: Sources) -> tuple[str, ...]:
    if measure.how == "tag":
        return reads(tags, measure.of[0], sources)
    if measure.how == "attribute":
        return (sources.attributes[measure.of[0]].category,)
    return tuple(sources.events[event].category for event in measure.events)


# -- changes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """needs: MODEL, REVISION or ADDITION.  why: sentences.  consent: categories newly read."""

    tag: str
    needs: str
    why: tuple[str, ...]
    consent: tuple[str, ...] = ()
    enough: bool = True  # the version has grown as `needs` asks


def changes(old: TagSet, new: TagSet, sources: Sources | None) -> tuple[Change, ...]:
    """What changed, tag by tag in the order of the new file; tags that are gone last."""
    found = [_change(old, new, name, sources) for name in new.tags if name in old.tags]
    gone = [
        Change(name, MODEL, ("the tag is gone; write replaced_by to keep its history",), (), False)
        for name in old.tags
        if name not in new.tags
    ]
    return (*(change for change in found if change is not None), *gone)


def _change(old: TagSet, new: TagSet, name: str, sources: Sources | None) -> Change | None:
    before, after = old.tags[name], new.tags[name]
    model: list[str] = []
    for key, was, now in (
        ("class", before.kind, after.kind),
        ("aspect", before.aspect, after.aspect),
        ("category", before.category, after.category),
        ("replaced_by", before.replaced_by, after.replaced_by),
    ):
        if was != now:
            model.append(f"{key} was {was}, is {now}")
    lost = [v for v in old.now(name).vocabulary if v not in new.now(name).vocabulary]
    if lost:
        model.append(f"values gone: {', '.join(lost)}")
    consent: tuple[str, ...] = ()
    if sources is not None:
        known = reads(old, name, sources)
        consent = tuple(c for c in reads(new, name, sources) if c not in known)
        if consent:
            model.append(f"reads data of a new category: {', '.join(consent)}")
    needs, why = MODEL, model
    if not model:
        needs, why = REVISION, ["people may move between values"]
        if tag_id(old, name) == tag_id(new, name):
            needs, why = ADDITION, ["words about the tag"]
            if tag_fields(before) | {"version": ""} == tag_fields(after) | {"version": ""}:
                return None
    grown = {
        MODEL: after.version.model > before.version.model,
        REVISION: (after.version.model, after.version.revision)
        > (before.version.model, before.version.revision),
        ADDITION: after.version > before.version,
    }
    return Change(name, needs, tuple(why), consent, grown[needs])
