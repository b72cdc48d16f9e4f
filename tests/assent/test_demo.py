"""The demo's own part: what it prints and writes, around a sandbox that is played."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from assent import demo, show
from protocol.errors import Failed
from tests.assent.test_report import cell, result


def printed(*results: dict[str, Any]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=140, color_system=None)
    for one in results:
        demo.show(one, console)
    demo.show_sides(results, console)
    return out.getvalue()


def test_withheld_cells_are_marked_with_their_reason() -> None:
    cells = [cell("high", "travel", 812), cell("high", "games", None, "below_min_cohort")]
    text = printed(result(cells))
    for words in ("812", "TGI 131", "withheld", "group too small", "7,980 people (± 17"):
        assert words in text, words


def test_cost_funnel_and_sides_are_told() -> None:
    text = printed(result())
    for words in (
        "20,000 rows, 16,120 may take part (left out: 1,900 refused, 1,980 no consent on record)",
        "cost: 9.1 s, retailer sent 31 MB, 60,000 ciphertexts, privacy: rho 0.02",
        "what each side could see",
        "encrypted rows",
        "keyed match tokens",
    ):
        assert words in text, words


def test_refusals_are_told_in_words_and_show_no_side() -> None:
    error = {"code": "budget_exhausted", "party": "media", "stage": "admission",
             "cause": "0.013 left", "next_step": "wait", "retryable": False}  # fmt: skip
    text = printed(
        {"job": "j", "status": "refused", "requester": "r", "with": ["media"], "error": error}
    )
    assert "media admission: 0.013 left (budget_exhausted)" in text
    assert "next: wait" in text
    assert "what each side" not in text


def test_labels_are_no_markup() -> None:
    assert "[red]x[/red]" in printed(result([cell("[red]x[/red]", "[link=a]b[/link]", 40)]))


def test_the_run_writes_data_result_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Path, Path, dict[str, Any]]] = []

    def run(federation: Path, job: Path, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        calls.append((federation, job, options))
        return 3, [result(), {**result(), "status": "refused"}]

    monkeypatch.setitem(sys.modules, "assent.sandbox", types.SimpleNamespace(run=run))
    story = result(job="rfm_by_rfm")
    monkeypatch.setattr(demo, "win_back", lambda folder, seed, say, progress: [story])
    monkeypatch.setattr(demo, "tell", lambda folder, say, progress: say(f"story in {folder}"))
    assert demo.main(["--folder", str(tmp_path)]) == 3  # the worst of all jobs
    ((federation, job, options),) = calls
    assert federation == tmp_path / "data/FEDERATION.yaml"
    assert job == tmp_path / "data/JOB.yaml"
    assert options["out"] == tmp_path / "result.json"
    assert options["keep"] is None
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "made up by the demo" in page
    assert "rfm_by_rfm" in page
    assert len(json.loads((tmp_path / "result.json").read_text("utf-8"))) == 3
    said = capsys.readouterr().out
    assert "report.html" in said
    assert f"story in {tmp_path / 'withdrawal'}" in said.replace("\n", "")


def test_an_error_is_one_sentence_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise Failed("not_started", "the process of media ended at once", party="media")

    monkeypatch.setitem(sys.modules, "assent.sandbox", types.SimpleNamespace(run=run))
    assert demo.main(["--folder", str(tmp_path)]) == 4
    assert "the process of media ended at once" in capsys.readouterr().err


def test_a_crosstab_of_people_is_a_heat_map_in_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells = [cell(row, column, 50) for row in ("high", "low") for column in ("travel", "games")]
    counts = [{k: v for k, v in one.items() if not k.startswith(("sum", "mean"))} for one in cells]
    show.result(result(counts))
    lines = capsys.readouterr().out.splitlines()
    (head,) = [line for line in lines if "travel" in line and "games" in line]
    assert head.split() == ["tier", "travel", "games"]
    assert sum(line.split().count("50") for line in lines) == 4
    show.result(result(cells))
    assert sum("travel" in line for line in capsys.readouterr().out.splitlines()) == 2
