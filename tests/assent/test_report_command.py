"""`assent report`: a page of a result.json, or one sentence about what is wrong with the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.main import app
from protocol.errors import BadInput
from tests.assent.report_samples import ALL, CROSSTAB


def test_a_page_of_one_result_or_of_several(tmp_path: Path) -> None:
    file, page = tmp_path / "result.json", tmp_path / "page.html"
    for results, language, heading in (
        (CROSSTAB, "en", "<h1>worth_by_interest</h1>"),
        (list(ALL), "zh", f"<h1>{len(ALL)} 个任务的结果</h1>"),
    ):
        file.write_text(json.dumps(results), "utf-8")
        asked = ["report", str(file), "--html", str(page), "--lang", language]
        done = CliRunner().invoke(app, asked, catch_exceptions=False)
        assert done.output == f"wrote {page}\n"
        text = page.read_text("utf-8")
        assert heading in text
        assert f'<html lang="{language}' in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "has no result"),
        ('[{"job": "a", "status": "released", "requester": "b"}, 7]', "result 2 has no job"),
        ('{"job": "a"}', "has no requester, status"),
        ('{"job": "a", "status": "released", "requester": "b", "cells": 7}', "is not as a node"),
        ('{"job": "a", "status": "released", "requester": "b", "overlap": 7}', "is not as a node"),
        (
            '{"job": "a", "status": "released", "requester": "b", '
            '"privacy": {"sigmas": {"count": Infinity}}}',
            "is not as a node",
        ),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(
    text: str | None, words: str, tmp_path: Path
) -> None:
    file, page = tmp_path / "result.json", tmp_path / "page.html"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(BadInput, match=words) as found:
        CliRunner().invoke(app, ["report", str(file), "--html", str(page)], catch_exceptions=False)
    assert str(file) in str(found.value)
    assert not page.exists()
