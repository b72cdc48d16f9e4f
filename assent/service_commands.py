"""`assent kit|node|coordinator|consent|doctor`: what each company and operator runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from protocol.errors import BadInput

kit = typer.Typer(help="Keys and cards, made at each company.", no_args_is_help=True)
node = typer.Typer(help="A company's node.", no_args_is_help=True)
coordinator = typer.Typer(help="The coordinator.", no_args_is_help=True)
consent = typer.Typer(help="The consent service.", no_args_is_help=True)

CollaborationFile = Annotated[
    Path, typer.Option("--collaboration", help="collaboration.yaml: all public cards.")
]
DataFolder = Annotated[Path, typer.Option("--data", help="Folder for state, artifacts and log.")]
KeyFolder = Annotated[
    Path | None, typer.Option("--keys", help="Folder of `kit create`; default: DATA/keys.")
]
LogUrl = Annotated[
    str,
    typer.Option(
        "--log-url",
        envvar="ASSENT_LOG_URL",
        help="Database of the logs, sqlite:/// or postgresql://; default: in DATA.",
    ),
]
OpeningsUrl = Annotated[
    str,
    typer.Option(
        "--openings-url",
        envvar="ASSENT_OPENINGS_URL",
        help="Database of what can be erased; default: in DATA.",
    ),
]
InSandbox = Annotated[bool, typer.Option("--sandbox", hidden=True)]
NodeFolder = Annotated[
    Path, typer.Option("--node", help="Data folder of the running node.", envvar="ASSENT_NODE")
]


@kit.command("create")
def kit_create(
    name: Annotated[str, typer.Option(help="The party's name, as in job files.")],
    role: Annotated[
        str, typer.Option(help="party, coordinator, consent, portal or auditor.")
    ] = "party",
    address: Annotated[str, typer.Option(help="host:port others dial; servers only.")] = "",
    folder: Annotated[Path, typer.Option(help="Where the keys go.")] = Path("keys"),
) -> None:
    """Make this company's keys here; print the public card to send to the others."""
    from catalog.collaboration import card_text, check_card
    from protocol.transport.kit import create_kit

    check_card(name, role, address)
    card = create_kit(folder, name, role, address=address).card
    text = card_text(card)
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    typer.echo(text, nl=False)
    typer.echo(f"compare by phone: {_spoken(card.fingerprint)}", err=True)


@kit.command("join")
def kit_join(
    cards: Annotated[list[Path], typer.Argument(metavar="CARD.yaml…")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("collaboration.yaml"),
) -> None:
    """Join the cards of coordinator, consent service and parties into collaboration.yaml."""
    from catalog.collaboration import dump_collaboration, join_cards

    collaboration = join_cards(cards)
    out.write_text(dump_collaboration(collaboration), encoding="utf-8")
    for name, fingerprint in collaboration.fingerprints().items():
        typer.echo(f"{name}\t{_spoken(fingerprint)}")
    typer.echo("compare each line with its owner before you use the file", err=True)


def _spoken(fingerprint: str) -> str:
    """In groups of four, as people read it to each other."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


@node.command("run")
def node_run(
    party: Annotated[Path, typer.Option("--party", help="party.yaml of this company.")],
    collaboration: CollaborationFile,
    data: DataFolder = Path("node"),
    keys: KeyFolder = None,
    ingest: Annotated[
        int, typer.Option(help="Also take events by HTTP on this port of 127.0.0.1; 0: do not.")
    ] = 0,
    window: Annotated[
        float,
        typer.Option(
            "--consent-window", min=5.0, max=900.0,
            help="Seconds that the consents which a quorum of witnesses has seen may be old.",
        ),
    ] = 300.0,
    new_log: Annotated[
        bool,
        typer.Option(
            "--new-log",
            help="Once, after the operator began new logs: say there again what people have said.",
        ),
    ] = False,
    sandbox: InSandbox = False,
) -> None:  # fmt: skip
    """Run this company's node; it only dials out."""
    from party_node.main import run

    run(
        party, collaboration, data, keys or data / "keys", sandbox=sandbox, ingest=ingest,
        window=window, new_log=new_log,
    )  # fmt: skip


@node.command("ingest")
def node_ingest(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="Name of the event; default: all sources.")
    ] = "",
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV, Parquet or .jsonl with its columns.")
    ] = None,
    node: NodeFolder = Path("node"),
) -> None:
    """Take in new events: from FILE, or from the declared sources that changed."""
    from party_node.control_client import NodeClient

    typer.echo(NodeClient(node).ingest(event, file))


@node.command("identity")
def node_identity(
    identifier: Annotated[str, typer.Argument(help="An e-mail, phone, device …")],
    id_type: Annotated[str, typer.Option("--type", help="Identifier type.")] = "email",
    apart: Annotated[bool, typer.Option(help="From now on it merges nobody.")] = False,
    together: Annotated[bool, typer.Option(help="Undo --apart.")] = False,
    node: NodeFolder = Path("node"),
) -> None:
    """Who is behind an identifier, and why; as JSON."""
    from party_node.control_client import NodeClient

    if apart and together:
        raise BadInput("--apart and --together exclude each other", next_step="pass one")
    decision = "apart" if apart else "together" if together else ""
    found = NodeClient(node).identity(id_type, identifier, decision)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=1))


@node.command("approve")
def node_approve(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    node: NodeFolder = Path("node"),
    refuse: Annotated[bool, typer.Option(help="Refuse instead.")] = False,
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
) -> None:
    """Approve, or refuse, a job that waits for this company."""
    from party_node.control_client import NodeClient

    typer.echo(NodeClient(node).approve(job_id, not refuse, reason))


@node.command("status")
def node_status(
    node: NodeFolder = Path("node"),
    wait: Annotated[
        float, typer.Option(help="Wait so many seconds until the node is ready.")
    ] = 0.0,
) -> None:
    """State of the running node as JSON."""
    from party_node.control_client import NodeClient

    client = NodeClient(node)
    status = client.status() if wait <= 0 else client.ready(wait)
    typer.echo(json.dumps(status, ensure_ascii=False, indent=1))


@node.command("consent")
def node_consent(
    identifier: Annotated[str, typer.Argument(help="The person's e-mail, phone …")],
    state: Annotated[str, typer.Argument(help="given, renewed, refused or withdrawn")],
    purpose: Annotated[str, typer.Option(help="Purpose, or all.")] = "all",
    recipient: Annotated[str, typer.Option(help="Recipient party, or all.")] = "all",
    category: Annotated[str, typer.Option(help="Data category, or all.")] = "all",
    id_type: Annotated[str, typer.Option("--type", help="Identifier type.")] = "email",
    node: NodeFolder = Path("node"),
) -> None:
    """Record one person's consent event, for example a withdrawal at the counter."""
    from party_node.control_client import NodeClient

    message = NodeClient(node).consent(
        id_type=id_type, identifier=identifier, state=state, purpose=purpose,
        recipient=recipient, category=category,
    )  # fmt: skip
    typer.echo(message)


@node.command("console")
def node_console(folder: NodeFolder = Path("node")) -> None:
    """Print the link that opens this node's pages, once; the next call prints another."""
    from party_node.console.serve import ADDRESS

    try:
        typer.echo((folder / ADDRESS).read_text("utf-8"), nl=False)
    except OSError as error:
        raise BadInput(
            f"{folder / ADDRESS}: cannot be read ({error.strerror})",
            next_step="start the node, or name its folder with --node",
        ) from error


@coordinator.command("run")
def coordinator_run(
    collaboration: CollaborationFile,
    data: DataFolder = Path("coordinator"),
    keys: KeyFolder = None,
    listen: Annotated[str, typer.Option(help="host:port to bind; default: the card's.")] = "",
    sandbox: InSandbox = False,
) -> None:
    """Run the coordinator: matching and ciphertexts; no keys, no results."""
    from coordinator.main import run

    run(collaboration, data, keys or data / "keys", listen=listen, sandbox=sandbox)


@consent.command("run")
def consent_run(
    collaboration: CollaborationFile,
    data: DataFolder = Path("consent"),
    keys: KeyFolder = None,
    listen: Annotated[str, typer.Option(help="host:port to bind; default: the card's.")] = "",
    files: Annotated[
        str, typer.Option(help="host:port to serve the logs as static files over HTTPS.")
    ] = "",
    log_url: LogUrl = "",
    openings_url: OpeningsUrl = "",
    replaced: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD",
            help="Data folder, or URL of the openings, of logs that these took the place of: "
            "whoever is erased is erased there too.",
        ),
    ] = None,
    heartbeat: Annotated[
        float,
        typer.Option(
            min=1.0, max=300.0,
            help="Seconds after which a log's head is cosigned anew; below half of every window.",
        ),
    ] = 60.0,
    sandbox: InSandbox = False,
) -> None:  # fmt: skip
    """Run the consent service: one verifiable log per party, and one for jobs."""
    from consent.ledger import Places
    from consent.main import run

    earlier = [
        old if "://" in old else Places.in_folder(Path(old)).openings for old in replaced or ()
    ]
    run(
        collaboration, data, keys or data / "keys", listen=listen,
        places=Places.in_folder(data, log_url, openings_url),
        replaced=earlier, files=files, heartbeat=heartbeat, sandbox=sandbox,
    )  # fmt: skip


def doctor(
    collaboration: CollaborationFile = Path("collaboration.yaml"),
    name: Annotated[str, typer.Option(help="Whose keys these are.")] = "",
    keys: Annotated[Path, typer.Option("--keys", help="Folder of `kit create`.")] = Path("keys"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Check keys, certificates, clock, versions, proxy and the real path; say what to fix."""
    from assent.doctor import examine

    findings = examine(collaboration, name, keys)
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            typer.echo(finding.line())
    if any(not finding.ok for finding in findings):
        raise BadInput("something above needs attention")
