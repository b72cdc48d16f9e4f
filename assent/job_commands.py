"""`assent job …`: what an analyst does, through the requester's own node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocol.errors import ErrorInfo, from_info

if TYPE_CHECKING:
    from party_node.control_client import NodeClient

job = typer.Typer(help="Plan, submit and follow jobs through your node.", no_args_is_help=True)

NodeFolder = Annotated[
    Path, typer.Option("--node", help="Data folder of the running node.", envvar="ASSENT_NODE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml")]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
_HERE = Path("node")


def _client(folder: Path) -> NodeClient:
    from party_node.control_client import NodeClient

    return NodeClient(folder)


@job.command("plan")
def plan(file: JobFile, node: NodeFolder = _HERE, as_json: AsJson = False) -> None:
    """What the job would cost, who would refuse, and what each company would learn."""
    from assent import show
    from assent.progress import Progress
    from catalog.job import load_jobs

    client, progress = _client(node), Progress.stderr()
    for spec in load_jobs(file, None):
        job_id = client.submit(spec.canonical(), dry_run=True)
        _follow(client, spec.name, job_id, progress)
        record = client.record(job_id)
        if as_json:
            typer.echo(json.dumps(record["plan"], ensure_ascii=False))
        else:
            show.plan(spec.name, record["plan"])


@job.command("submit")
def submit(
    file: JobFile,
    node: NodeFolder = _HERE,
    wait: Annotated[bool, typer.Option(help="Follow the job and print its result.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --wait: write result.json here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hand the job to your node; prints its id."""
    from catalog.job import load_jobs

    client = _client(node)
    for spec in load_jobs(file, None):
        job_id = client.submit(spec.canonical())
        typer.echo(json.dumps({"job": spec.name, "id": job_id}) if as_json else job_id)
        if wait:
            watch(job_id, node=node, as_json=False)
            result(job_id, node=node, out=out, as_json=as_json)


@job.command("watch")
def watch(job_id: JobId, node: NodeFolder = _HERE, as_json: AsJson = False) -> None:
    """Follow a job to its end: stage, party, share done, time left."""
    from assent.progress import Progress

    client = _client(node)
    if not as_json:
        _follow(client, job_id, job_id, Progress.stderr())
        return
    for view in client.follow(job_id):
        typer.echo(
            json.dumps(
                {
                    "state": view.state,
                    "stage": view.stage,
                    "party": view.party,
                    "fraction": round(view.fraction, 4),
                    "attempt": view.attempt,
                    "error": json.loads(view.error) if view.error else None,
                }
            )
        )


@job.command("result")
def result(
    job_id: JobId,
    node: NodeFolder = _HERE,
    out: Annotated[Path | None, typer.Option(help="Write result.json here.")] = None,
    as_json: AsJson = False,
) -> None:
    """The result that your node stores; results are at the recipient's node only."""
    from assent import show
    from protocol.errors import BadInput

    record = _client(node).record(job_id)
    found = record.get("result")
    if not found:
        raise BadInput(
            f"{job_id}: this node has no result of that job",
            next_step="results are kept by the requester's node; see `assent job list`",
        )
    if out is not None:
        out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        show.result(found)


@job.command("list")
def list_jobs(node: NodeFolder = _HERE, as_json: AsJson = False) -> None:
    """This party's jobs, newest first."""
    rows = [
        {"id": j.job_id, "name": j.name, "requester": j.requester, "state": j.state,
         "sentence": j.sentence}
        for j in _client(node).jobs()
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo("\t".join(row.values()))
    if not rows:
        typer.echo("no jobs yet")


@job.command("cancel")
def cancel(job_id: JobId, node: NodeFolder = _HERE) -> None:
    """End a job; nothing of it is released."""
    typer.echo(_client(node).cancel(job_id))


def _follow(client: NodeClient, name: str, job_id: str, progress: object) -> None:
    """Shows the job to its end; raises what ended it, if it was not released."""
    from assent.progress import Progress

    assert isinstance(progress, Progress)
    view = None
    for view in client.follow(job_id):
        progress.show(name, view)
    progress.done()
    if view is not None and view.error:
        fields = json.loads(view.error)
        fields.pop("retryable", None)
        raise from_info(ErrorInfo(**fields), view.state)
