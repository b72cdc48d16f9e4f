"""`assent portal run` and what a company does with people's requests.

Who runs it: the portal's operator; each company's data owner on the node's machine.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from assent.service_commands import CollaborationFile, DataFolder, InSandbox, KeyFolder, NodeFolder
from assent.service_commands import node as node_commands

portal = typer.Typer(help="The people's portal.", no_args_is_help=True)


@portal.command("run")
def portal_run(
    collaboration: CollaborationFile,
    data: DataFolder = Path("portal"),
    keys: KeyFolder = None,
    listen: Annotated[str, typer.Option(help="host:port for browsers.")] = "127.0.0.1:8080",
    nodes: Annotated[
        str, typer.Option(help="host:port to bind for nodes; default: the card's.")
    ] = "",
    outbox: Annotated[
        Path | None, typer.Option(help="Write codes into this folder instead of sending them.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="portal.yaml: TLS, mail, SMS, sign-in of parties.")
    ] = None,
    sandbox: InSandbox = False,
) -> None:
    """Run the portal: where people see, give and take back consent."""
    from consent.portal.main import run

    run(
        collaboration, data, keys or data / "keys", listen=listen, nodes=nodes, outbox=outbox,
        settings_file=settings, sandbox=sandbox,
    )  # fmt: skip


@node_commands.command("subject")
def node_subject(
    identifier: Annotated[str, typer.Argument(help="An e-mail address, phone number, …")],
    id_type: Annotated[str, typer.Option("--type", help="Type of the identifier.")] = "email",
    node: NodeFolder = Path("node"),
) -> None:
    """The token of a customer that this company's own sign-in gives to the portal."""
    from party_node.control_client import NodeClient

    typer.echo(NodeClient(node).subject(id_type, identifier))


@node_commands.command("requests")
def node_requests(
    node: NodeFolder = Path("node"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """What people asked this company for in the portal, unanswered ones first."""
    from party_node.control_client import NodeClient

    found = NodeClient(node).rights()
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for one in found:
        due = time.strftime("%Y-%m-%d", time.gmtime(one["due_ms"] / 1000))
        rows = ", ".join(map(str, one["rows"])) or "none"
        about = f" {one['attribute']}" if one["attribute"] else ""
        typer.echo(f"{one['id']}  {one['state']}  {one['right']}{about}  rows {rows}  due {due}")
        if one["words"]:
            typer.echo("    " + " ".join(one["words"].split()))
    if not found:
        typer.echo("no requests")


@node_commands.command("settle")
def node_settle(
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID")],
    state: Annotated[str, typer.Argument(help="working, done or refused")],
    answer: Annotated[str, typer.Option(help="What the person reads in the portal.")] = "",
    node: NodeFolder = Path("node"),
) -> None:
    """Tell a person how far their request is."""
    from party_node.control_client import NodeClient

    typer.echo(NodeClient(node).settle(request, state, answer))
