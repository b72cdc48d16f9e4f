"""`assent consent import|check|migrate|verify-receipt`: a file of consents, the databases of the
service, logs that take the place of others, and what a person checks alone."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.service_commands import (
    CollaborationFile,
    DataFolder,
    KeyFolder,
    LogUrl,
    NodeFolder,
    OpeningsUrl,
)
from assent.service_commands import consent as consent
from protocol.errors import BadInput, Failed, ProtocolViolation

if TYPE_CHECKING:
    from consent.policy import Policy
    from consent.receipt import Receipt
    from protocol.identity import Card


@consent.command("verify-receipt")
def verify_receipt(
    receipt: Annotated[Path, typer.Argument(metavar="FILE")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Policy file: logs, witnesses, quorum.")
    ] = None,
    collaboration: Annotated[
        Path | None, typer.Option("--collaboration", help="collaboration.yaml, in its place.")
    ] = None,
    old_card: Annotated[
        Path | None,
        typer.Option(
            "--old-card", help="card.yaml of the consent service when its keys were others."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Verify a person's receipt offline.  Exit 0: it holds; 1: it does not; 2: bad input."""
    from consent import receipt as receipts

    if (policy is None) == (collaboration is None):
        raise BadInput(
            "whose signatures count is for you to say",
            next_step="pass --policy FILE or --collaboration FILE, one of them",
        )
    if old_card is not None and collaboration is None:
        raise BadInput(
            "--old-card is of a service in collaboration.yaml",
            next_step="pass --collaboration FILE, or the old keys in the policy file",
        )
    data = _read(receipt)
    try:
        text = data.decode("ascii")
        trusted, cards = _trust(text, policy, collaboration, old_card)
        found = receipts.verify_receipt(text, trusted, cards)
    except (ProtocolViolation, UnicodeDecodeError) as error:
        cause = "this is not a receipt: it is not text"
        if isinstance(error, ProtocolViolation):
            cause = error.info.cause
        if as_json:
            typer.echo(json.dumps({"verified": False, "cause": cause}, ensure_ascii=False))
        typer.echo(f"{receipt}: does not verify: {cause}", err=True)
        raise typer.Exit(1) from None
    typer.echo(_as_json(found) if as_json else _in_words(found))


@consent.command("import")
def consent_import(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    node: NodeFolder = Path("node"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Record a CSV or Parquet file of consents, once.  Exit 2 if rows were left out as bad."""
    from party_node.control_client import NodeClient

    if not file.is_file():
        raise BadInput(f"{file}: {'is not a file' if file.exists() else 'does not exist'}")
    report, said_last = "", ("", -1)
    live = sys.stderr.isatty()
    for step in NodeClient(node).import_consents(file):
        report = step.report or report
        share = f" {step.done:,} of {step.total:,}" if step.total else ""
        tenths = 10 * step.done // step.total if step.total else 0
        if live:
            typer.echo(f"\r\x1b[K{step.doing}{share}", nl=False, err=True)
        elif (step.doing, tenths) != said_last:  # a file of lines: ten of them are enough
            typer.echo(f"{step.doing}{share}", err=True)
        said_last = (step.doing, tenths)
    if live:
        typer.echo(err=True)
    if not report:
        raise Failed("node_error", "the node sent no report", next_step="import the file again")
    said = json.loads(report)
    if as_json:
        typer.echo(report)
    else:
        typer.echo(
            f"{said['rows']:,} rows: {said['recorded']:,} recorded, {said['held']:,} held "
            f"already, {said['repeated']:,} repeated, {said['refused_before']:,} left out "
            f"because the person had said no, {said['bad']:,} bad"
        )
    if said["bad"]:
        for row, reason in said["bad_rows"]:
            typer.echo(f"{file} row {row}: {reason}", err=True)
        if said["bad"] > len(said["bad_rows"]):
            typer.echo(f"… and {said['bad'] - len(said['bad_rows']):,} more", err=True)
        raise BadInput(
            f"{file}: {said['bad']:,} of {said['rows']:,} rows were left out",
            next_step="correct them and import the file again; the others are recorded",
        )


@consent.command("check")
def consent_check(
    collaboration: CollaborationFile,
    data: DataFolder = Path("consent"),
    log_url: LogUrl = "",
    openings_url: OpeningsUrl = "",
    lang: Annotated[str, typer.Option("--lang", help="en or zh.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check the service's databases from end to end while it is stopped, or a copy of them.

    Exit 0 verified, 1 damage or tampering, 2 bad input, 3 incomplete.
    """
    from assent.words import check_language
    from catalog.collaboration import load_collaboration
    from consent.ledger import Places
    from consent.log_check import check_stores
    from consent.log_database import check_there
    from consent.trust import Trust
    from protocol.transport.hub import alone

    check_language(lang)
    trust = Trust.of(load_collaboration(collaboration))
    places = Places.in_folder(data, log_url, openings_url)
    for url in (places.tree, places.openings):
        check_there(url)
    # Both databases may be on a server: then there is no folder, and nobody to keep out of it.
    with alone(data, "consent", "consent service") if data.is_dir() else nullcontext():
        report = check_stores(places, trust)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        typer.echo(report.to_text(lang), nl=False)
    raise typer.Exit(report.exit_code)


@consent.command("migrate")
def consent_migrate(
    collaboration: CollaborationFile,
    data: DataFolder = Path("consent"),
    keys: KeyFolder = None,
    old: Annotated[
        str, typer.Option("--from", help="Data folder, or database URL, of the old logs.")
    ] = "",
    notes: Annotated[
        list[Path] | None,
        typer.Option(
            "--note", metavar="NOTE",
            help="File of an old log's checkpoint, as a witness or auditor kept it.",
        ),
    ] = None,
    old_card: Annotated[
        Path | None, typer.Option("--old-card", help="card.yaml of the service's earlier keys.")
    ] = None,
    log_url: LogUrl = "",
    openings_url: OpeningsUrl = "",
) -> None:  # fmt: skip
    """Begin new logs in DATA where old ones cannot go on; their first entries name the old ends.

    For a log that was restored behind its last checkpoint, or whose signing key is lost.
    """
    import os
    import time

    from catalog.collaboration import load_card, load_collaboration
    from consent.audit_files import kept_notes
    from consent.ledger import Places
    from consent.migration import last_heads, migrate, notes_of
    from consent.trust import Trust
    from protocol.transport.kit import load_kit

    found = load_collaboration(collaboration)
    own = load_kit(keys or data / "keys", found.consent.card())
    trust = Trust.of(found)
    if old_card is not None:
        trust = replace(trust, consent=load_card(old_card).card())
    given = kept_notes(None, notes or ())
    if old:
        given += notes_of(_old_logs(old))
    if not given:
        raise BadInput(
            "nothing says which logs are replaced",
            next_step="pass --from OLD, or --note with a checkpoint that somebody kept",
        )
    heads = last_heads(given, trust)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    places = Places.in_folder(data, log_url, openings_url)
    for one in migrate(places, own, list(found.parties), heads, time.time, os.urandom):
        before = f"replaces {one.replaced}, {one.size:,} entries" if one.replaced else "is new"
        typer.echo(f"{one.origin} {before}")


def _old_logs(place: str) -> str:
    """The URL of the old logs' database.  Raises BadInput when there is none."""
    from consent.ledger import Places
    from consent.log_database import check_there

    if "://" in place:
        check_there(place)
        return place
    if not (Path(place) / "log.sqlite").is_file():
        raise BadInput(
            f"{place}: has no log.sqlite",
            next_step="name the old data folder, a database URL, or pass --note instead",
        )
    return Places.in_folder(Path(place)).tree


def _read(path: Path) -> bytes:
    from consent.receipt import MAX_RECEIPT

    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECEIPT + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_RECEIPT:
        raise BadInput(f"{path}: is too long for a receipt")
    return data


def _trust(
    text: str, policy: Path | None, collaboration: Path | None, old_card: Path | None
) -> tuple[Policy, dict[str, Card] | None]:
    from catalog.collaboration import load_card, load_collaboration
    from consent.errors import ProofError
    from consent.policy import parse_policy
    from consent.receipt import claimed_origin
    from consent.trust import Trust, party_of

    if policy is not None:
        try:
            return parse_policy(_read(policy)), None
        except Failed as error:
            raise BadInput(f"{policy}: {error.info.cause}") from error
    assert collaboration is not None
    loaded = load_collaboration(collaboration)
    origin = claimed_origin(text)
    if party_of(origin) not in loaded.parties:
        raise ProofError("the receipt's log is no consent log of a party of the collaboration")
    trust = Trust.of(loaded)
    if old_card is not None:
        trust = replace(trust, consent=load_card(old_card).card())
    return trust.policy(origin), {card.name: card for card in loaded.all_cards()}


def _as_json(found: Receipt) -> str:
    from consent.dpv import records_of_batch

    head = found.checkpoint.checkpoint
    said = {
        "verified": True,
        "party": found.party,
        "record": records_of_batch(found.record, found.party)[0],
        "log": {"origin": head.origin, "index": found.index, "size": head.size},
        "logged": found.leaf.time,
        "witnesses": dict(found.checkpoint.times),
        "signer": found.signer or None,
    }
    return json.dumps(said, ensure_ascii=False, indent=1)


def _in_words(found: Receipt) -> str:
    from consent.dpv import records_of_batch

    record = records_of_batch(found.record, found.party)[0]
    scope = found.record.scopes[0]
    event, head = record["event"], found.checkpoint.checkpoint
    said = [event["event_state"] or "", *event["assent:flags"]]
    until = event["validity_duration"]["until"]
    lines = [
        "this receipt holds",
        f"  what    {', '.join(word.removeprefix('dpv:') for word in said if word)}",
        f"  by      {found.party}, for {', '.join(scope.recipients)}",
        f"  uses    {', '.join(scope.purposes)}",
        f"  data    {', '.join(scope.categories)}",
        f"  said    {event['event_time']}" + (f", until {until}" if until else ""),
        f"  log     {head.origin}, entry {found.index} of {head.size}, in {found.leaf.time}",
        f"  seen by {', '.join(found.checkpoint.times) or 'no witness'}",
        f"  signed  by {found.signer or 'a key that is on no card of yours'}",
    ]
    return "\n".join(lines)
