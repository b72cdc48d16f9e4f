"""`assent audit …`: what an auditor runs, and a party that looks at its own logs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.service_commands import CollaborationFile, DataFolder, KeyFolder
from protocol.errors import BadInput

if TYPE_CHECKING:
    from consent.policy import Policy

audit = typer.Typer(help="Watch, export and verify the logs.", no_args_is_help=True)

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="File of `audit bundle`.")]
OptionalCollaboration = Annotated[
    Path | None,
    typer.Option(
        "--collaboration", help="collaboration.yaml: the default policy, more than half of all."
    ),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="A policy file of your own (C2SP tlog-policy).")
]
Language = Annotated[str, typer.Option("--lang", help="en or zh.")]


@audit.command("witness")
def audit_witness(
    collaboration: CollaborationFile,
    data: DataFolder = Path("auditor"),
    keys: KeyFolder = None,
) -> None:
    """Run the auditor's witness: cosigns the logs; keeps the notes of a log that tells two."""
    from consent.auditor import run

    run(collaboration, data, keys or data / "keys")


@audit.command("bundle")
def audit_bundle(
    collaboration: CollaborationFile,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("audit.bundle"),
    keys: Annotated[
        Path, typer.Option("--keys", help="Your `kit create` folder: the auditor's or a party's.")
    ] = Path("keys"),
) -> None:
    """Fetch all logs with the contents that you may see, in one file for `audit verify`."""
    from assent.results import check_target
    from catalog.collaboration import load_collaboration
    from consent.auditor import whose_keys
    from consent.client import AuditorClient

    check_target(out)
    found = load_collaboration(collaboration)
    client_keys = whose_keys(found, keys)

    async def fetch() -> tuple[int, int]:
        client = AuditorClient(found.consent.card(), client_keys)
        try:
            return await _written(client.bundle(), out)
        finally:
            await client.close()

    lines, size = asyncio.run(fetch())
    typer.echo(f"{out}: {lines} lines, {size / 1e6:.1f} MB, as {client_keys.card.name} may see")


async def _written(lines: AsyncIterator[bytes], out: Path) -> tuple[int, int]:
    count = size = 0
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as file:
            async for line in lines:
                file.write(line)
                count, size = count + 1, size + len(line)
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return count, size


@audit.command("verify")
def audit_verify(
    bundle: BundleFile,
    collaboration: OptionalCollaboration = None,
    policy: PolicyFile = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints that earlier audits kept; newer ones are added."),
    ] = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--kept", metavar="NOTE",
            help="File of one checkpoint that you kept; may be given several times.",
        ),
    ] = None,
    lang: Language = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:  # fmt: skip
    """Verify a bundle offline.  Exit 0 verified, 1 tampering, 2 bad input, 3 incomplete."""
    from assent.words import check_language
    from consent.audit import Rule
    from consent.audit_files import kept_notes, verify
    from consent.audit_jobs import JobRule
    from consent.audit_rules import ConsentRule

    check_language(lang)
    rules: list[Rule] = [ConsentRule(), JobRule(_signers(collaboration))]
    notes = kept_notes(keep, kept or ())
    report = verify(bundle, _policy(bundle, collaboration, policy, notes), rules, keep, notes)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        typer.echo(report.to_text(lang), nl=False)
    raise typer.Exit(report.exit_code)


@audit.command("export")
def audit_export(
    bundle: BundleFile,
    out: Annotated[Path, typer.Option(help="File to write; - for standard output.")] = Path("-"),
    form: Annotated[
        str, typer.Option("--as", help="jsonl (evidence) or csv (for spreadsheets).")
    ] = "jsonl",
) -> None:
    """Entries of a bundle, one a line.  Verify the bundle first: this checks nothing."""
    from consent.audit_files import csv_lines, json_lines

    if form not in ("jsonl", "csv"):
        raise BadInput(f"{form!r} is not a form of export", next_step="use --as jsonl or --as csv")
    lines = (
        json_lines(bundle)
        if form == "jsonl"
        else (line.encode("utf-8") for line in csv_lines(bundle))
    )
    if str(out) == "-":
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    with out.open("wb") as file:
        file.writelines(lines)
    typer.echo(f"wrote {out}")


@audit.command("policy")
def audit_policy(bundle: BundleFile, collaboration: CollaborationFile) -> None:
    """Print the default policy for a bundle's logs, to be checked, changed and kept."""
    from catalog.collaboration import load_collaboration
    from consent.audit_files import contents
    from consent.trust import Trust, party_of

    origins = [one for one in contents(bundle).origins if party_of(one) is not None]
    if not origins:
        raise BadInput(f"{bundle}: names no log", next_step="give the file of `audit bundle`")
    typer.echo(Trust.of(load_collaboration(collaboration)).policy_text(*origins), nl=False)


def _signers(collaboration: Path | None) -> dict[str, bytes]:
    """Who signs statements about jobs; without the cards their signatures stay unchecked."""
    from catalog.collaboration import load_collaboration

    if collaboration is None:
        return {}
    cards = load_collaboration(collaboration).cards()
    return {name: card.signing_key for name, card in cards.items()}


def _policy(
    bundle: Path, collaboration: Path | None, policy: Path | None, kept: Sequence[str]
) -> Policy:
    from catalog.collaboration import load_collaboration
    from consent.audit_files import default_policy
    from consent.policy import parse_policy
    from consent.trust import Trust

    if policy is not None:
        try:
            return parse_policy(policy.read_bytes())
        except OSError as error:
            raise BadInput(f"{policy}: cannot be read ({error.strerror})") from error
    if collaboration is None:
        raise BadInput(
            "nothing says whom you trust",
            next_step="pass --collaboration collaboration.yaml, or a --policy of your own",
        )
    return default_policy(Trust.of(load_collaboration(collaboration)), bundle, kept)
