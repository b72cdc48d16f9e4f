"""Where a tag comes from and where it goes: source column → tag → attribute → job → release.

Who runs it: the node that owns the tags, `assent tags lineage`.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from catalog.events import shown
from catalog.federation import Party
from catalog.tag_terms import Measure
from catalog.tags import TagSet

Edge = tuple[str, str]  # from → to, as `column purchases.csv amount`, `tag spender`, `job j-7`


def edges(tags: TagSet, party: Party) -> tuple[Edge, ...]:
    """What the definitions say; jobs are added by who knows them."""
    found: list[Edge] = []
    for tag in tags.live:
        for measure in tag.measures:
            for name in _inputs(measure):
                found += _from(name, party)
                found.append((name, f"tag {tag.name}"))
    for tag in tags.tags.values():
        if tag.replaced_by is not None:
            found.append((f"tag {tag.name}", f"tag {tag.replaced_by}"))
    for name, attribute in party.attributes.items():
        if attribute.tag is not None:
            found.append((f"tag {attribute.tag}", f"attribute {name}"))
            if tags.now(attribute.tag).name != attribute.tag:
                found.append((f"tag {tags.now(attribute.tag).name}", f"attribute {name}"))
    return tuple(dict.fromkeys(found))


def _inputs(measure: Measure) -> list[str]:
    if measure.how in ("attribute", "tag"):
        return [f"{measure.how} {measure.of[0]}"]
    if measure.how == "model":
        return [f"model {measure.model} {measure.of[0]}"]
    fields = [measure.field] if measure.field else []
    fields += [item.field for item in measure.where]
    return [f"event {event}" for event in measure.events] + [
        f"event {measure.event}.{field}" for field in dict.fromkeys(fields)
    ]


def _from(name: str, party: Party) -> list[Edge]:
    """The source columns behind an attribute, event or event's field."""
    kind, _, of = name.partition(" ")
    if kind == "attribute":
        return [(f"column {party.table.name} {party.column(of)}", name)]
    if kind != "event":
        return []
    event_name, _, field = of.partition(".")
    event = party.events[event_name]
    source = shown(event.source).rpartition("/")[2]
    source += f".{event.table}" if event.table else ""
    columns = [event.column(field)] if field else [*event.ids.values(), event.time]
    return [(f"column {source} {column}", name) for column in columns]


def reach(start: str, found: Sequence[Edge], *, down: bool) -> list[str]:
    """Everything that comes from `start` (down) or that it comes from, nearest first."""
    seen: dict[str, None] = {start: None}
    queue = [start]
    while queue:
        here = queue.pop(0)
        for next_ in _next(here, found, down):
            if next_ not in seen:
                seen[next_] = None
                queue.append(next_)
    return [name for name in seen if name != start]


def _next(here: str, found: Sequence[Edge], down: bool) -> Iterable[str]:
    for source, target in found:
        if (source if down else target) == here:
            yield target if down else source


def matching(name: str, found: Sequence[Edge]) -> list[str]:
    """Nodes that a person may mean by `name`: whole, or without the word before it."""
    nodes = dict.fromkeys(node for edge in found for node in edge)
    return [node for node in nodes if name in (node, node.partition(" ")[2])]
