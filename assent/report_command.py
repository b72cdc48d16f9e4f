"""`assent report`, and the options of every command that writes a report.

Who runs it: whoever has a result.json; an analyst's `assent job`, the sandbox.
Learns: nothing new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from protocol.errors import BadInput

Html = Annotated[
    Path | None, typer.Option(help="Write the HTML report here, in English and Chinese.")
]
Language = Annotated[
    str, typer.Option("--lang", help="en or zh: what the report opens in; it can be switched.")
]
_KEYS = frozenset({"job", "status", "requester"})  # what every result has, however it ended


def report(
    file: Annotated[Path, typer.Argument(metavar="RESULT.json")],
    html: Annotated[Path, typer.Option(help="File to write.")] = Path("report.html"),
    lang: Language = "en",
    title: Annotated[str, typer.Option(help="Its heading; default: the job's name.")] = "",
) -> None:
    """Write the HTML report of a result.json."""
    from jinja2 import TemplateError

    from assent.results import check_target

    check_target(html)
    check_language(lang)
    results = read(file)
    try:
        write(results, html, lang, title)
    except (
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError,
    ) as error:  # fmt: skip
        raise BadInput(
            f"{file}: is not as a node writes it ({type(error).__name__}: {error})",
            next_step="write it anew with `assent job result JOB_ID --out …`",
        ) from error
    typer.echo(f"wrote {html}")


def check_language(lang: str) -> None:
    """Raises BadInput before anything runs."""
    from assent.words import check_language as check

    check(lang)


def write(results: Sequence[dict[str, Any]], html: Path, lang: str, title: str = "") -> None:
    """title: '' for the name of the job, or how many there are."""
    from assent.report import write_report
    from assent.words import LANGUAGES, say

    several = {each: say(each, "title_jobs", count=len(results)) for each in LANGUAGES}
    heading = title or (several if len(results) > 1 else str(results[0]["job"]))
    write_report(results, html, title=heading, language=lang, at=datetime.now().astimezone())


def read(file: Path) -> list[dict[str, Any]]:
    """The results of a result.json: one object, or a list of them.  Raises BadInput."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BadInput(
            f"{file}: is not JSON ({error})", next_step="give the result.json of a job"
        ) from error
    results = found if isinstance(found, list) else [found]
    for place, result in enumerate(results, start=1):
        missing = _KEYS - result.keys() if isinstance(result, dict) else _KEYS
        if missing:
            raise BadInput(
                f"{file}: result {place} has no {', '.join(sorted(missing))}",
                next_step="give the result.json of a job",
            )
    if not results:
        raise BadInput(f"{file}: has no result", next_step="give the result.json of a job")
    return results
