"""A part that is measured again replaces its own rows, in the file and on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import results


def row(name: str, value: float) -> results.Row:
    return {"name": name, "value": value, "unit": "s", "peer": None, "peer_value": None,
            "ratio": None}  # fmt: skip


def test_a_part_again_changes_that_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    monkeypatch.setattr(results, "DOCS", tmp_path)
    parts = {
        "one": bench.Part(lambda quick: [row("first", 1.0)]),
        "two": bench.Part(lambda quick: [row("second", 2.0)]),
        "big": bench.Part(lambda quick: [row("third", 3.0)], bench.LARGE),
    }
    monkeypatch.setattr(bench, "PARTS", parts)
    for name in ("two", "one", "big"):
        bench.measure(name, quick=False)
    page = tmp_path / bench.USUAL
    assert page.read_text("utf-8").index("| first | 1.0 |") < page.read_text("utf-8").index(
        "second"
    )
    assert "third" not in page.read_text("utf-8")
    assert "| third | 3.0 |" in (tmp_path / bench.LARGE).read_text("utf-8")
    parts["one"] = bench.Part(lambda quick: [row("first", 1.5)])
    bench.measure("one", quick=True)  # a trial is not written down
    assert "| first | 1.0 |" in page.read_text("utf-8")
    bench.measure("one", quick=False)
    assert "| first | 1.5 |" in page.read_text("utf-8")
    assert "| second | 2.0 |" in page.read_text("utf-8")
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert list(kept) == ["one", "two", "big"]
    assert kept["one"]["load_before"] >= 0


def test_the_pages_are_those_of_the_file() -> None:
    for page, beginning in bench.BEGINNINGS.items():
        mine = {name: part for name, part in results.kept().items() if
                bench.PARTS[name].page == page}  # fmt: skip
        assert (results.DOCS / page).read_text("utf-8") == results.page(beginning, mine)
