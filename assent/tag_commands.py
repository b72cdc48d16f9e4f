"""`assent tags …`: what the owner of tags does with their file, and with a running node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocol.errors import BadInput

if TYPE_CHECKING:
    from catalog.tag_rules import Sources
    from catalog.tags import TagSet

tags = typer.Typer(help="Tags: check, explain, compare, compute, trace.", no_args_is_help=True)

TagFile = Annotated[Path, typer.Argument(metavar="TAGS.yaml")]
PartyFile = Annotated[
    Path | None,
    typer.Option("--party", help="party.yaml: also check names and types against its data."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@tags.command("check")
def check(file: TagFile, party: PartyFile = None, as_json: AsJson = False) -> None:
    """Check a file of tags; print each tag's id and version."""
    from catalog.tag_canonical import tag_id

    found, _ = _load(file, party)
    rows = [
        {"tag": name, "version": str(found.tags[name].version), "id": tag_id(found, name)}
        for name in found.tags
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['id'][:16]}  {row['version']:8}  {row['tag']}")
    if party is None:
        typer.echo("names and types of data were not checked; pass --party for that", err=True)


@tags.command("show")
def show(
    file: TagFile,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="One tag; default: all.")] = "",
    party: PartyFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what tags mean, in Chinese and English; with --json the canonical definition."""
    from catalog.tag_canonical import compiled, reads, tag_id
    from catalog.tag_words import sentence

    found, sources = _load(file, party)
    for name in _named(found, tag):
        shown = {
            "tag": name,
            "id": tag_id(found, name),
            "version": str(found.tags[name].version),
            "place": list(found.path(name)),
            "values": list(found.now(name).vocabulary),
            "zh": sentence(found, name, "zh"),
            "en": sentence(found, name, "en"),
        }
        if sources is not None:
            shown["reads"] = list(reads(found, name, sources))
        if as_json:
            typer.echo(
                json.dumps(shown | {"definition": compiled(found, name)}, ensure_ascii=False)
            )
            continue
        typer.echo(f"{name}  {shown['version']}  {shown['id']}")
        typer.echo(f"  {shown['zh']}\n  {shown['en']}")
        typer.echo(f"  values: {', '.join(found.now(name).vocabulary)}")
        if sources is not None:
            typer.echo(f"  reads: {', '.join(reads(found, name, sources))}")


@tags.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD.yaml")],
    new: Annotated[Path, typer.Argument(metavar="NEW.yaml")],
    party: PartyFile = None,
    as_json: AsJson = False,
) -> None:
    """What changed between two files; exit 2 when a version has not grown as it must."""
    from catalog.tag_canonical import MODEL, changes

    before, sources = _load(old, party)
    found = changes(before, _load(new, party)[0], sources)
    for change in found:
        if as_json:
            typer.echo(json.dumps(vars(change), ensure_ascii=False))
            continue
        typer.echo(f"{change.tag}: {change.needs}: {'; '.join(change.why)}")
        if change.needs == MODEL:
            typer.echo("  grants for the earlier MODEL end")
        if change.consent:
            typer.echo(f"  consent is needed for: {', '.join(change.consent)}")
    short = [change for change in found if not change.enough]
    if short:
        raise BadInput(
            f"{new}: {short[0].tag}: its version has not grown",
            next_step=f"raise {short[0].needs} in MODEL-REVISION-ADDITION"
            + (f" (and of {len(short) - 1} more tags)" if len(short) > 1 else ""),
        )
    if not found and not as_json:
        typer.echo("nothing changed")


def _load(file: Path, party: Path | None) -> tuple[TagSet, Sources | None]:
    from catalog.federation import load_party
    from catalog.party_tags import sources_of
    from catalog.tag_file import load_tags

    sources = None if party is None else sources_of(load_party(party))
    return load_tags(file, sources), sources


def _named(found: TagSet, tag: str) -> tuple[str, ...]:
    from catalog.yaml import nearest

    if tag and tag not in found.tags:
        raise BadInput(f'no tag "{tag}"', next_step=nearest(tag, found.tags))
    return (tag,) if tag else tuple(found.tags)
