"""The one command line.  Mounts each part's commands; turns errors into one sentence.

Exit codes: 0 done or released, 2 bad input, 3 refused, 4 failed.  Heavy imports happen
inside the commands, so that `assent --help` answers at once.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from assent import (
    audit_commands,
    consent_commands,
    job_commands,
    portal_commands,
    report_command,
    service_commands,
    tag_commands,
)
from assent.lifeline import hold
from protocol.errors import AssentError

app = typer.Typer(
    name="assent",
    help="Federated audience profiles with the person's assent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
sandbox = typer.Typer(help="A whole federation on this machine.", no_args_is_help=True)
app.add_typer(sandbox, name="sandbox")
app.add_typer(job_commands.job, name="job")
app.add_typer(tag_commands.tags, name="tags")
app.add_typer(service_commands.kit, name="kit")
app.add_typer(service_commands.node, name="node")
app.add_typer(service_commands.coordinator, name="coordinator")
app.add_typer(audit_commands.audit, name="audit")
app.add_typer(consent_commands.consent, name="consent")
app.add_typer(portal_commands.portal, name="portal")
app.command("report")(report_command.report)
app.command("doctor")(service_commands.doctor)
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@sandbox.command("run")
def sandbox_run(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.yaml")],
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml")],
    out: Annotated[Path | None, typer.Option(help="Write result.json here.")] = None,
    html: report_command.Html = None,
    lang: report_command.Language = "en",
    keep: Annotated[Path | None, typer.Option(help="Leave every party's folder here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Start every process, run the jobs, write the result, stop everything."""
    from assent import show
    from assent.progress import Progress
    from assent.sandbox import run as run_sandbox

    _stop_in_order()
    code, results = run_sandbox(
        federation, job, out=out, html=html, lang=lang, keep=keep, progress=Progress.stderr()
    )
    if as_json:
        typer.echo(json.dumps(results if len(results) > 1 else results[0], ensure_ascii=False))
    else:
        for result in results:
            show.result(result)
    raise typer.Exit(code)


@sandbox.command("up")
def sandbox_up(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.yaml")],
    keep: Annotated[Path | None, typer.Option(help="Leave every party's folder here.")] = None,
) -> None:
    """Start the federation and leave it running until Ctrl-C."""
    from assent.progress import Progress
    from assent.sandbox import Sandbox, check_federation
    from assent.sandbox_people import demo_person, watch

    _stop_in_order(0)
    loaded = check_federation(federation)
    person = demo_person(loaded)
    with Sandbox(loaded, keep=keep, progress=Progress.stderr(), portal=True) as running:
        for line in running.addresses():
            typer.echo(line)
        if person is not None:
            typer.echo(f"sign in there as {person}, for example: the code is printed here")
        typer.echo("press Ctrl-C to stop")
        watch(running, typer.echo)


def _stop_in_order(code: int | None = None) -> None:
    """Any signal that asks us to end becomes an exception: children and folders go first.

    code: the exit code; None: 128 + the signal's number, as shells have it.
    """

    def stop(number: int, frame: object) -> None:
        for other in _STOPPING:  # once is enough: stopping has its own deadlines
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number if code is None else code)

    for number in _STOPPING:
        signal.signal(number, stop)


def run() -> None:
    """Entry point: any AssentError is one sentence on stderr and its exit code."""
    hold()
    try:
        app(standalone_mode=True)
    except AssentError as error:
        sys.stderr.write(f"assent: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(4)
    except Exception:  # a defect of ours; scripts still get the code for "failed"
        traceback.print_exc()
        sys.stderr.write("assent: this is a defect of assent; please report the lines above\n")
        sys.exit(4)
