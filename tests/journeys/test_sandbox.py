"""`assent sandbox run` on files as people have them: exact results, codes, folders, no noise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assent.results import exit_code
from tests.architecture.sources import ROOT
from tests.journeys import companies

PARTS = ("零售商", "media", "coordinator", "consent", "auditor")


def sandbox(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "assent", "sandbox", "run", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, encoding="utf-8",
    )  # fmt: skip


@pytest.mark.slow
def test_peoples_files_give_the_exact_table(tmp_path: Path) -> None:
    """Several jobs in one file: a released one, a refused one, another released one."""
    jobs = "---\n".join((companies.CROSSTAB, companies.REFUSED, companies.OVERLAP))
    made = companies.write(tmp_path / "数据", seed=11, job=jobs)
    kept, out, page = tmp_path / "kept", tmp_path / "result.json", tmp_path / "report.html"
    done = sandbox(
        made.federation, made.job, "--out", out, "--html", page, "--keep", kept, cwd=tmp_path
    )
    assert done.returncode == 3, done.stderr
    crosstab, refused, overlap = json.loads(out.read_text("utf-8"))
    made.assert_exact(crosstab)
    assert crosstab["match"]["reveal"] == "hidden"
    assert crosstab["match"]["ambiguous"].keys() == {"零售商", "media"}
    # `consents: all` is about people, and a row without any identifier is nobody's.
    nobody = sum(not row["email"] and not row["phone"] for row in made.right)
    assert nobody
    assert crosstab["consent"]["media"] == {
        "rows": 150, "eligible": 150 - nobody, "excluded": {"no_record": nobody},
    }  # fmt: skip
    assert crosstab["cost"]["seconds"] > 0
    assert crosstab["cost"]["bytes"]["零售商"] > 100_000
    assert overlap["overlap"] == {"count": made.expected()[0], "withheld": None}
    assert overlap["match"]["mode"] == "ecdh"
    _check_refusal(refused)
    _check_what_is_printed(done)
    _check_folders(kept)
    assert "等级与兴趣" in page.read_text("utf-8")


def _check_refusal(refused: dict) -> None:
    assert refused["status"] == "refused"
    assert "cells" not in refused
    assert "overlap" not in refused
    error = refused["error"]
    assert error.keys() == {"code", "party", "stage", "cause", "next_step", "retryable"}
    assert (error["code"], error["party"]) == ("purpose_not_allowed", "media")
    assert "activation" in error["cause"]
    assert error["next_step"]
    assert error["retryable"] is False


def _check_what_is_printed(done: subprocess.CompletedProcess[str]) -> None:
    """On a pipe: no line is cut, no control character, nothing of gRPC's own."""
    assert "等级与兴趣: released" in done.stdout
    assert "零售商/会员等级" in done.stdout
    assert "mean:media/minutes" in done.stdout
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert not re.search(r"^[IWEF]\d{4} ", done.stderr, re.MULTILINE), done.stderr
    for line in done.stderr.splitlines():
        assert re.match(r"(starting|等级与兴趣:|refused:|overlap:) ", line), line


def _check_folders(kept: Path) -> None:
    """What --keep leaves: every process in a folder of its own, with its log."""
    assert {path.name for path in kept.iterdir() if path.is_dir()} == set(PARTS)
    for name in PARTS:
        log = (kept / name / "log.txt").read_text("utf-8")
        assert "Traceback" not in log, log
        assert not re.search(r"^[IWEF]\d{4} ", log, re.MULTILINE), log
        assert (kept / name).stat().st_mode & 0o077 == 0
    # No row's word is in a log.
    logs = "".join((kept / name / "log.txt").read_text("utf-8") for name in PARTS)
    for word in ("@example.com", "金卡", "旅行", "会员等级"):
        assert word not in logs


@pytest.mark.slow
def test_one_job_gives_one_object_and_json_on_request(tmp_path: Path) -> None:
    made = companies.write(tmp_path, seed=12, job=companies.OVERLAP, rows=40)
    done = sandbox(made.federation, made.job, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["overlap"]["count"] == made.expected()[0]


def test_the_exit_code_is_the_worst_of_all_jobs() -> None:
    def code(*states: str) -> int:
        return exit_code({"status": state} for state in states)

    assert code("released", "released") == 0
    assert code("released", "refused") == 3
    assert code("refused", "failed", "released") == 4
    assert code("cancelled") == 4
