"""Packs of ready tags, and files that extend them.

Who runs it: whoever reads a file of tags that says `extends:`.  A pack is a file of tags of this
package, or a company's own; what the file itself says replaces what a pack says under the same
name.  An error in a tag of a pack names the pack and its line.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from catalog.tag_models import spelled_out
from catalog.tag_terms import Measure
from catalog.tags import TagSet
from catalog.yaml import Document, Where, as_words, nearest, parse_documents, read_one
from protocol.errors import BadInput

PACKS = ("retail", "media", "bank")
_MERGED = ("taxonomy", "mappings", "tags")


@dataclass(frozen=True)
class Extended(Document):
    """packs: a tag's name → the document of the pack that it comes from."""

    packs: Mapping[str, Document]

    def line(self, path: Where) -> int:
        pack = self._pack(path)
        return super().line(path) if pack is None else pack.line(path)

    def error(self, path: Where, cause: str, fix: str = "", *, at: Where | None = None) -> BadInput:
        pack = self._pack(path)
        if pack is None:
            return super().error(path, cause, fix, at=at)
        leave = f"or leave the tag out with without: [{path[1]}]"
        return pack.error(path, cause, f"{fix}; {leave}" if fix else leave, at=at)

    def _pack(self, path: Where) -> Document | None:
        return self.packs.get(str(path[1])) if len(path) > 1 and path[0] == "tags" else None


def pack_text(name: str) -> str:
    """A pack as it is written."""
    return resources.files("catalog").joinpath(f"packs/{name}.yaml").read_text(encoding="utf-8")


def extended(document: Document) -> Document:
    """`document` with what it extends, in the order of the packs, then its own."""
    value = document.value
    if not isinstance(value, Mapping) or "extends" not in value:
        return document
    names = _words(value, "extends", document)
    without = set(_words(value, "without", document))
    own = value.get("tags")
    own = own if isinstance(own, Mapping) else {}
    merged: dict[str, dict[str, Any]] = {key: {} for key in _MERGED}
    packs: dict[str, Document] = {}
    for name in names:
        pack = spelled_out(_pack(name, document))
        for tag in pack.value["tags"]:
            if tag in packs and tag not in without and tag not in own:
                raise document.error(
                    ("extends",), f'two packs have a tag "{tag}"',
                    f"write your own {tag} under tags:, or without: [{tag}]",
                )  # fmt: skip
            packs[tag] = pack
        for key in _MERGED:
            merged[key] |= pack.value.get(key, {})
    for tag in without:
        if tag not in merged["tags"]:
            raise document.error(
                ("without",), f'no pack has a tag "{tag}"', nearest(tag, merged["tags"])
            )
        del merged["tags"][tag], packs[tag]
    made = {key: item for key, item in value.items() if key not in ("extends", "without")}
    for key in _MERGED:
        said = value.get(key)
        if said is None or isinstance(said, Mapping):
            made[key] = {**merged[key], **(said or {})}
    for tag in own:
        packs.pop(tag, None)
    return Extended(document.source, made, document.lines, packs)


def _words(value: Mapping[str, Any], key: str, document: Document) -> tuple[str, ...]:
    written = value.get(key, ())
    if not isinstance(written, str | list | tuple):
        raise document.error((key,), "must be a list of names", "write [A, B]")
    return tuple(str(word) for word in as_words(written))


def _pack(name: str, document: Document) -> Document:
    if name in PACKS:
        (found,) = parse_documents(pack_text(name), f"the pack {name}")
        return found
    if Path(name).suffix not in (".yaml", ".yml"):
        raise document.error(("extends",), f'no pack "{name}"', nearest(name, PACKS))
    found = read_one(Path(document.source).parent / name, "catalogue of tags")
    if not isinstance(found.value, Mapping) or "tags" not in found.value:
        raise found.error((), "has no tags", "write tags: and a tag under it")
    for key in _MERGED:
        if not isinstance(found.value.get(key, {}), Mapping):
            raise found.error((key,), "must be a block of keys")
    if "extends" in found.value:
        raise found.error(("extends",), "a pack extends nothing", "name both in your own file")
    return found


def needs(tags: TagSet) -> tuple[str, ...]:
    """What a party must declare for them: attributes, events and their fields."""
    found: dict[str, None] = {}
    for tag in tags.live:
        for measure in tag.measures:
            found |= dict.fromkeys(_reads(measure))
    return tuple(sorted(found))


def _reads(measure: Measure) -> list[str]:
    if measure.how == "attribute":
        return [f"attribute {measure.of[0]}"]
    fields = [measure.field] if measure.field else []
    fields += [item.field for item in measure.where]
    return [*measure.events, *(f"{measure.event}.{field}" for field in fields)]
