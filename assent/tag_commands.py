"""`assent tags …`: what the owner of tags does with their file, and with a running node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocol.errors import BadInput

if TYPE_CHECKING:
    from catalog.tag_rules import Sources
    from catalog.tags import TagSet
    from party_node.control_client import NodeClient

tags = typer.Typer(help="Tags: check, explain, compare, compute, trace.", no_args_is_help=True)

TagFile = Annotated[Path, typer.Argument(metavar="TAGS.yaml")]
PartyFile = Annotated[
    Path | None,
    typer.Option("--party", help="party.yaml: also check names and types against its data."),
]
NodeFolder = Annotated[
    Path, typer.Option("--node", help="Data folder of the running node.", envvar="ASSENT_NODE")
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


@tags.command("pack")
def pack(
    name: Annotated[str, typer.Argument(metavar="PACK", help="Print it; default: list all.")] = "",
) -> None:
    """Packs of ready tags: what each needs, or one as a file to read and to extend."""
    from catalog.tag_file import parse_tags
    from catalog.tag_packs import PACKS, needs, pack_text
    from catalog.yaml import nearest, parse_documents

    if name and name not in PACKS:
        raise BadInput(f'no pack "{name}"', next_step=nearest(name, PACKS))
    if name:
        typer.echo(pack_text(name), nl=False)
        return
    for each in PACKS:
        found = parse_tags(parse_documents(pack_text(each), each)[0])
        typer.echo(f"{each}: {len(found.tags)} tags; needs {', '.join(needs(found))}")


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


@tags.command("run")
def run(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="One tag; default: all.")] = "",
    as_of: Annotated[str, typer.Option(help="Moment to compute for; default: now.")] = "",
    node: NodeFolder = Path("node"),
    as_json: AsJson = False,
) -> None:
    """Compute tags at the running node; print how many people have each value."""
    _print_runs(_node(node).tags("run", tag, as_of), as_json)


@tags.command("history")
def history(
    tag: Annotated[str, typer.Argument(metavar="TAG")],
    node: NodeFolder = Path("node"),
    as_json: AsJson = False,
) -> None:
    """Earlier runs of a tag, newest first: coverage, null rate, drift, last use."""
    _print_runs(_node(node).tags("history", tag), as_json)


@tags.command("lineage")
def lineage(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Tag, attribute, event, field, job.")],
    node: NodeFolder = Path("node"),
    as_json: AsJson = False,
) -> None:
    """What it is made from, and which tags, jobs and releases it went into."""
    found = _node(node).tags("lineage", name)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for item in found:
        typer.echo(item["node"])
        for side in ("from", "to"):
            for other in item[side]:
                typer.echo(f"  {side:4}  {other}")


def _node(folder: Path) -> NodeClient:
    from party_node.control_client import NodeClient

    return NodeClient(folder)


def _print_runs(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        drift = "" if row["psi"] is None else f", drift {row['psi']:.3f}{_much(row['psi'])}"
        typer.echo(
            f"{row['tag']}  {row['version']}  {row['id'][:16]}  {row['as_of']}  "
            f"coverage {row['coverage']:.1%}{drift}"
        )
        typer.echo("  " + ", ".join(f"{word}: {n:,}" for word, n in row["counts"].items()))
        if row.get("last_use"):
            used = row["last_use"]
            typer.echo(f"  last used by job {used['job']} of {used['requester']} ({used['state']})")
    if not rows:
        typer.echo("no runs yet")


def _much(psi: float) -> str:
    # The usual reading of the index.
    return " (much)" if psi >= 0.25 else " (some)" if psi >= 0.1 else ""


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
