"""Files of tags: YAML to a checked TagSet, or one sentence about what is wrong and where.

Who runs it: a node for its own file, `assent tags`.  Refused with line, place and fix: unknown
words, names that are not there, wrong types, bands that overlap or leave a gap, circles.
Learns: nobody, anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from catalog.federation import AttributeName, PartyName, Purpose
from catalog.tag_bands import TitleFile, bands_of, title_of
from catalog.tag_models import filled, spelled_out
from catalog.tag_packs import extended
from catalog.tag_rules import Scope, Sources, condition, kind_of, measure
from catalog.tag_terms import MEASURES, OF_MODEL, OF_TIER, OPTIONS, Measure
from catalog.tags import (
    ASPECTS,
    BANDS,
    CLASSES,
    REFRESHES,
    REPLACED,
    RULES,
    WORDS,
    Grant,
    Mapping_,
    Place,
    Tag,
    TagSet,
    TagValue,
    Title,
    Version,
)
from catalog.vocabulary import CATEGORIES, MAX_LABELS
from catalog.yaml import (
    Document,
    Strict,
    Text,
    Where,
    Whole,
    as_words,
    build,
    nearest,
    one_of,
    read_one,
)

_VERSION = re.compile(r"([1-9][0-9]{0,3})-([0-9]{1,4})-([0-9]{1,4})")


class _ValueFile(Strict):
    value: Text
    title: TitleFile | None = None
    when: Any = None
    otherwise: Any = None


class _TagFile(Strict):
    title: TitleFile
    kind: Annotated[Text, one_of(CLASSES)] = Field(alias="class")
    aspect: Annotated[Text, one_of(ASPECTS)]
    category: Annotated[Text, one_of(CATEGORIES)]
    owner: Text
    goal: Text
    refresh: Annotated[Text, one_of(REFRESHES)] = "daily"
    version: Text = "1-0-0"
    under: Text | None = None
    values: Any = None
    measure: Any = None
    bands: Any = None
    map: Text | None = None
    unknown: Text | None = None
    replaced_by: Text | None = None


class _MappingFile(Strict):
    words: dict[str, Text]
    otherwise: Text | None = None
    titles: dict[str, TitleFile] = Field(default_factory=dict)  # of our words
    source: Text = Field(default="", alias="from")


class _PlaceFile(Strict):
    title: TitleFile
    under: Text | None = None


class _GrantFile(Strict):
    tag: Text
    model: Annotated[Whole, Field(ge=1)]
    party: PartyName
    purposes: Annotated[tuple[Purpose, ...], BeforeValidator(as_words)]
    until: Text


class _SetFile(Strict):
    catalogue: Text
    tags: dict[AttributeName, Any]
    taxonomy: dict[AttributeName, Any] = Field(default_factory=dict)
    mappings: dict[AttributeName, Any] = Field(default_factory=dict)
    grants: tuple[Any, ...] = ()


def load_tags(path: Path, sources: Sources | None = None) -> TagSet:
    """A file of tags.  sources: the party's attributes and events, to check names and types."""
    return parse_tags(read_one(path, "catalogue of tags"), sources)


def parse_tags(document: Document, sources: Sources | None = None) -> TagSet:
    """As `load_tags`, of a document that is read already.  Raises BadInput."""
    document = spelled_out(extended(document))
    file = build(_SetFile, document.value, document)
    places = {name: _place(name, value, document, file) for name, value in file.taxonomy.items()}
    mappings = {name: _mapping(name, value, document) for name, value in file.mappings.items()}
    heads = {
        name: build(_TagFile, value, document, ("tags", name)) for name, value in file.tags.items()
    }
    drafts = {name: _draft(name, head, document, mappings) for name, head in heads.items()}
    drafts = filled(drafts, {name: head.measure for name, head in heads.items()}, _known_now)
    for name, tag in drafts.items():
        _distinct(tag, ("tags", name), document)
    known = {name: _now(name, drafts).vocabulary if _ends(name, drafts) else () for name in drafts}
    scope = Scope(document, known, sources)
    tags = {name: _ruled(tag, heads[name], scope) for name, tag in drafts.items()}
    for name, tag in tags.items():
        if tag.under is not None and tag.under not in places:
            raise document.error(
                ("tags", name, "under"), f'no place "{tag.under}"', "add it under taxonomy:"
            )
    grants = tuple(_grant(i, value, document, tags) for i, value in enumerate(file.grants))
    order = _order(tags, document)
    _circles({name: place.under for name, place in places.items()}, ("taxonomy",), document)
    return TagSet(file.catalogue, tags, places, mappings, grants, order)


# -- what a tag says without its conditions --------------------------------------------------


def _draft(name: str, file: _TagFile, document: Document, mappings: Mapping[str, Mapping_]) -> Tag:
    """Everything but conditions and measure, which need to know the other tags' values."""
    at = ("tags", name)
    match = _VERSION.fullmatch(file.version)
    if match is None:
        raise document.error(
            (*at, "version"),
            f'"{file.version}" is no version',
            "write MODEL-REVISION-ADDITION: 1-0-0",
        )
    form = _form(file, document, at)
    title = Title(file.title.zh, file.title.en)
    tag = Tag(
        name, title, file.kind, file.aspect, file.category, file.owner, file.goal, file.refresh,
        Version(int(match[1]), int(match[2]), int(match[3])), form,
        mapping=file.map, unknown=file.unknown, under=file.under, replaced_by=file.replaced_by,
    )  # fmt: skip
    if form == REPLACED:
        return tag
    if form == BANDS:
        bands, values = bands_of(file.bands, (*at, "bands"), document)
        tag = replace(tag, bands=bands, values=values)
    else:
        tag = replace(tag, values=_values(file, form, at, document, mappings))
    return tag


def _form(file: _TagFile, document: Document, at: Where) -> str:
    if file.replaced_by is not None:
        for key in ("values", "measure", "bands", "map", "unknown"):
            if getattr(file, key) is not None:
                raise document.error((*at, key), "a replaced tag has no rule", f"delete {key}")
        return REPLACED
    if file.measure is None:
        for key in ("bands", "map", "unknown"):
            if getattr(file, key) is not None:
                raise document.error((*at, key), f"{key} needs a measure", "add measure: {…}")
        if file.values is None:
            raise document.error(at, "no rule", "add values: with when:, or measure: with bands:")
        return RULES
    if file.bands is None:
        return WORDS
    for key in ("values", "map"):
        if getattr(file, key) is not None:
            raise document.error((*at, key), f"bands and {key} exclude each other", "keep one")
    return BANDS


def _values(
    file: _TagFile, form: str, at: Where, document: Document, mappings: Mapping[str, Mapping_]
) -> tuple[TagValue, ...]:
    if file.map is not None and file.map not in mappings:
        raise document.error((*at, "map"), f'no mapping "{file.map}"', "add it under mappings:")
    if form == WORDS and file.values is None:
        if file.map is None:
            return ()  # a model's, filled in later
        mapping = mappings[file.map]
        return tuple(TagValue(word, mapping.titles.get(word)) for word in mapping.targets)
    place = (*at, "values")
    if not isinstance(file.values, list) or not file.values:
        raise document.error(place, "must be a list of values", "write one per line, - value: NAME")
    made = []
    for i, item in enumerate(file.values):
        value = build(
            _ValueFile,
            item if isinstance(item, Mapping) else {"value": item},
            document,
            (*place, i),
        )
        if form == WORDS and (value.when is not None or value.otherwise is not None):
            raise document.error((*place, i), "a tag with a measure has no when", "delete it")
        made.append(TagValue(value.value, title_of(value.title)))
    if file.map is not None:
        words = [item.value for item in made]
        for target in mappings[file.map].targets:
            if target not in words:
                raise document.error(
                    (*at, "map"), f'{file.map} leads to "{target}", which is no value',
                    "add it to values:",
                )  # fmt: skip
    return tuple(made)


def _distinct(tag: Tag, at: Where, document: Document) -> None:
    words = [value.value for value in tag.values]
    key = "bands" if tag.form == BANDS else "values"
    if not words and tag.form != REPLACED:
        raise document.error(at, "no values", "add values: [A, B], or map: NAME")
    for i, word in enumerate(words):
        if not word.strip() or not word.isprintable():
            raise document.error((*at, key, i), "an empty value", "give it a name")
        if word in words[:i]:
            raise document.error((*at, key, i), f'the value "{word}" is here twice', "rename one")
    if len(tag.vocabulary) > MAX_LABELS:
        raise document.error(
            (*at, key), f"{len(words)} values; a label has at most {MAX_LABELS}", "merge some"
        )


# -- conditions and measures -----------------------------------------------------------------


def _ruled(tag: Tag, file: _TagFile, scope: Scope) -> Tag:
    at = ("tags", tag.name)
    if tag.form == REPLACED:
        return tag
    if tag.form == RULES:
        return replace(tag, values=_when(tag, file, scope, (*at, "values")))
    place = (*at, "measure")
    if isinstance(file.measure, Mapping):
        _no_tests(file.measure, place, scope)
    found = measure(file.measure, place, scope)
    needs_sources = found.how == "attribute" or (found.field and found.how != "top")
    if scope.sources is not None or not needs_sources:
        _fits(tag, found, kind_of(found, scope.sources).kind, place, scope)
    return replace(tag, measure=found)


def _no_tests(value: Mapping[str, Any], at: Where, scope: Scope) -> None:
    words = (*MEASURES, *OPTIONS, *OF_MODEL, *OF_TIER)
    for key in value:
        if key not in words:
            raise scope.document.error(
                at, f'unknown word "{key}" in a measure', nearest(str(key), words), at=(*at, key)
            )


def _fits(tag: Tag, found: Measure, kind: str, at: Where, scope: Scope) -> None:
    said = f"{found.how} gives a {kind}"
    if tag.form == BANDS and kind != "number":
        raise scope.document.error(at, f"{said}; bands are of numbers", "use values: or map:")
    if tag.form == WORDS and kind != "label":
        fix = "use bands:" if kind == "number" else "use values: with when: {…, is: yes}"
        raise scope.document.error(at, f"{said}; a label is needed here", fix)


def _when(tag: Tag, file: _TagFile, scope: Scope, at: Where) -> tuple[TagValue, ...]:
    made = []
    for i, item in enumerate(file.values):
        place = (*at, i)
        written = item if isinstance(item, Mapping) else {}
        last = i == len(file.values) - 1
        if "when" in written and "otherwise" not in written:
            when = condition(written["when"], (*place, "when"), scope)
            made.append(replace(tag.values[i], when=when))
        elif str(written.get("otherwise")).lower() in ("yes", "true") and "when" not in written:
            if not last:
                raise scope.document.error(
                    place, "values after otherwise are never reached", "move it to the end"
                )
            made.append(tag.values[i])
        else:
            raise scope.document.error(
                place, f'nothing says who is "{tag.values[i].value}"',
                "add when: {…}, or otherwise: yes on the last value",
            )  # fmt: skip
    if len(made) == 1 and made[0].when is None:
        raise scope.document.error(at, "everybody would have the same value", "add a value")
    return tuple(made)


# -- the rest of the file ---------------------------------------------------------------------


def _place(name: str, value: Any, document: Document, file: _SetFile) -> Place:
    found = build(_PlaceFile, value, document, ("taxonomy", name))
    if found.under is not None and found.under not in file.taxonomy:
        raise document.error(
            ("taxonomy", name, "under"), f'no place "{found.under}"', "add it under taxonomy:"
        )
    return Place(Title(found.title.zh, found.title.en), found.under)


def _mapping(name: str, value: Any, document: Document) -> Mapping_:
    found = build(_MappingFile, value, document, ("mappings", name))
    if not found.words:
        raise document.error(("mappings", name, "words"), "no word", "add one, theirs: ours")
    titles = {word: Title(title.zh, title.en) for word, title in found.titles.items()}
    made = Mapping_(name, dict(found.words), found.otherwise, found.source, titles)
    for word in titles:
        if word not in made.targets:
            raise document.error(
                ("mappings", name, "titles"), f'it never gives "{word}"',
                nearest(word, made.targets), at=("mappings", name, "titles", word),
            )  # fmt: skip
    return made


def _grant(i: int, value: Any, document: Document, tags: Mapping[str, Tag]) -> Grant:
    at = ("grants", i)
    found = build(_GrantFile, value, document, at)
    if found.tag not in tags:
        raise document.error((*at, "tag"), f'no tag "{found.tag}"', nearest(found.tag, tags))
    try:
        until = date.fromisoformat(found.until)
    except ValueError as error:
        raise document.error(
            (*at, "until"), f'"{found.until}" is no day', "write 2027-12-31"
        ) from error
    return Grant(found.tag, found.model, found.party, found.purposes, until)


def _now(name: str, tags: Mapping[str, Tag]) -> Tag:
    tag = tags[name]
    while tag.replaced_by is not None:
        tag = tags[tag.replaced_by]
    return tag


def _known_now(tags: Mapping[str, Tag], name: str) -> Tag | None:
    return _now(name, tags) if name in tags and _ends(name, tags) else None


def _ends(name: str, tags: Mapping[str, Tag]) -> bool:
    """Whether the replacements of `name` lead to a tag with a rule; `_order` says why not."""
    seen: set[str] = set()
    at: str | None = name
    while at is not None and at in tags and at not in seen:
        seen.add(at)
        at = tags[at].replaced_by
    return at is None


def _order(tags: Mapping[str, Tag], document: Document) -> tuple[str, ...]:
    """Names, each after what it uses.  Raises BadInput for a circle or a missing replacement."""
    edges: dict[str, tuple[str, ...]] = {}
    for name, tag in tags.items():
        if tag.replaced_by is not None and tag.replaced_by not in tags:
            raise document.error(
                ("tags", name, "replaced_by"), f'no tag "{tag.replaced_by}"',
                nearest(tag.replaced_by, tags),
            )  # fmt: skip
        edges[name] = tag.uses if tag.replaced_by is None else (tag.replaced_by,)
    try:
        return tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        raise document.error(
            ("tags", circle[0]), f"a circle: {' → '.join(circle)}",
            "a tag cannot be made from itself; take one of these out of a rule",
        ) from error  # fmt: skip


def _circles(under: Mapping[str, str | None], at: Where, document: Document) -> None:
    edges = {name: (above,) if above is not None else () for name, above in under.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        raise document.error(
            (*at, circle[0]), f"a circle: {' → '.join(circle)}", "delete one under:"
        ) from error
