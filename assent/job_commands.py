"""`assent job …`: what an analyst does, through the requester's own node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.report_command import Html, Language, check_language, write
from protocol.errors import AssentError, BadInput, ErrorInfo, from_info

if TYPE_CHECKING:
    from assent.progress import Progress
    from catalog.job import JobSpec
    from party_node.control_client import NodeClient
    from protocol.wire.node_pb2 import NodeJobView

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

    client, progress = _client(node), Progress.stderr()
    for spec in _jobs(file):
        job_id = client.submit(spec.canonical(), dry_run=True)
        _follow(client, spec.name, job_id, progress)
        found = client.record(job_id)["plan"]
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            show.plan(spec.name, found)


@job.command("submit")
def submit(
    file: JobFile,
    node: NodeFolder = _HERE,
    wait: Annotated[bool, typer.Option(help="Follow the jobs and print their results.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --wait: write result.json here.")] = None,
    html: Html = None,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Hand the jobs of a file to your node; prints their ids."""
    from assent import show
    from assent.progress import Progress
    from assent.results import check_target, exit_code, write_results

    for option, path in (("--out", out), ("--html", html)):
        if path is not None and not wait:
            raise BadInput(
                f"{option} needs --wait", next_step=f"or use `assent job result JOB_ID {option} …`"
            )
        check_target(path)
    check_language(lang)
    client = _client(node)
    submitted = [(spec, client.submit(spec.canonical())) for spec in _jobs(file)]
    if not wait:
        for spec, job_id in submitted:
            typer.echo(json.dumps({"job": spec.name, "id": job_id}) if as_json else job_id)
        return
    progress, results = Progress.stderr(), []
    for spec, job_id in submitted:
        progress.say(f"{spec.name}: {job_id}")
        results.append(_outcome(client, job_id, _last(client, spec.name, job_id, progress)))
    if out is not None:
        write_results(out, results)
    if html is not None:
        write(results, html, lang)
    for found in results:
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            show.result(found)
    raise typer.Exit(exit_code(results))


@job.command("watch")
def watch(job_id: JobId, node: NodeFolder = _HERE, as_json: AsJson = False) -> None:
    """Follow a job to its end: stage, party, share done, time left."""
    from assent.progress import Progress

    client = _client(node)
    if not as_json:
        _follow(client, job_id, job_id, Progress.stderr())
        typer.echo(f"{job_id} is released")
        return
    view = None
    for view in client.follow(job_id):
        fields = {
            "state": view.state,
            "stage": view.stage,
            "party": view.party,
            "fraction": round(view.fraction, 4),
            "attempt": view.attempt,
            "error": json.loads(view.error or "null"),
        }
        typer.echo(json.dumps(fields, ensure_ascii=False))
    if view is not None and view.error:
        raise _error(view)


@job.command("result")
def result(
    job_id: JobId,
    node: NodeFolder = _HERE,
    out: Annotated[Path | None, typer.Option(help="Write result.json here.")] = None,
    html: Html = None,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """The result that your node stores: what this company learnt from the job."""
    from assent import show
    from assent.results import check_target, exit_code, write_results

    for path in (out, html):
        check_target(path)
    check_language(lang)
    found = _outcome(_client(node), job_id, None)
    if out is not None:
        write_results(out, [found])
    if html is not None:
        write([found], html, lang)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        show.result(found)
    raise typer.Exit(exit_code([found]))


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
        typer.echo(f"{row['id']}  {row['name']}  {row['state']}")
        typer.echo(f"  {row['sentence']}")
    if not rows:
        typer.echo("no jobs yet")


@job.command("cancel")
def cancel(job_id: JobId, node: NodeFolder = _HERE, as_json: AsJson = False) -> None:
    """End a job; nothing of it is released."""
    message = _client(node).cancel(job_id)
    typer.echo(json.dumps({"id": job_id, "message": message}) if as_json else message)


def _jobs(file: Path) -> list[JobSpec]:
    from catalog.job import load_jobs

    return load_jobs(file, None)


def _outcome(client: NodeClient, job_id: str, view: NodeJobView | None) -> dict[str, Any]:
    found = client.result(job_id, view)
    if found is None:
        raise BadInput(
            f"{job_id}: this node has no result of that job",
            next_step="it has none before the end, and of most jobs only the requester's node ever "
            "has one; see `assent job list`",
        )
    return found


def _last(client: NodeClient, name: str, job_id: str, progress: Progress) -> NodeJobView | None:
    """Shows the job to its end; its last state."""
    view = None
    for view in client.follow(job_id):
        progress.show(name, view)
    progress.done()
    return view


def _follow(client: NodeClient, name: str, job_id: str, progress: Progress) -> None:
    """Shows the job to its end; raises what ended it, if it was not released."""
    view = _last(client, name, job_id, progress)
    if view is not None and view.error:
        raise _error(view)


def _error(view: NodeJobView) -> AssentError:
    fields = json.loads(view.error)
    fields.pop("retryable", None)
    return from_info(ErrorInfo(**fields), view.state)
