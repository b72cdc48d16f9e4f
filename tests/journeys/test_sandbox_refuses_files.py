"""Wrong files: one line that names the file and the fix, exit 2, before any process starts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.journeys import companies
from tests.journeys.conftest import Assent

Change = Callable[[Path], None]


def edited(name: str, old: str, new: str) -> Change:
    """The file `name` with `old` replaced, which must be in it."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def written(name: str, content: bytes | str) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def line_changed(number: int, new: str) -> Change:
    """客户.csv with line `number` (1 = header) replaced."""

    def change(folder: Path) -> None:
        lines = (folder / "客户.csv").read_bytes().split(b"\r\n")
        lines[number - 1] = new.encode()
        (folder / "客户.csv").write_bytes(b"\r\n".join(lines))

    return change


def parquet(**columns: list[object]) -> Change:
    return lambda folder: pq.write_table(pa.table(columns), folder / "users.parquet")


CONSENTS = "email,purpose,recipient,category,status\n"


def consents(text: str) -> Change:
    """The retailer's consents in a file with `text`."""

    def change(folder: Path) -> None:
        edited("FEDERATION.yaml", "consents: all", "consents: 同意.csv")(folder)
        (folder / "同意.csv").write_text(text, encoding="utf-8")

    return change


# name: (what is wrong, the file that is named, words of the cause, words of the fix).
CASES: dict[str, tuple[Change, str, str, str]] = {
    # tables
    "no such table": (lambda f: (f / "客户.csv").unlink(), "客户.csv", "does not exist", "path"),
    "missing column": (
        edited("FEDERATION.yaml", "phone: 手机}", "phone: 手机号}"),
        "客户.csv", 'has no column "手机号"', "手机",
    ),
    "missing attribute column": (
        edited("FEDERATION.yaml", "column: 兴趣标签", "column: 兴趣签"),
        "users.parquet", 'has no column "兴趣签"', "兴趣标签",
    ),
    "wrong type": (
        parquet(
            mail=["a@example.com"], mobile=["1"], 兴趣标签=["旅行"], minutes=["a lot"],
        ), "users.parquet", "row 1", "digits",
    ),
    "ragged line": (
        line_changed(7, "a,b@example.com,13800138000,金卡,one too many"),
        "客户.csv", "line 7: has 5 cells, the header has 4", "quotes",
    ),
    "short line": (line_changed(3, "a,b"), "客户.csv", "line 3: has 2 cells", "cells"),
    "open quote": (line_changed(4, '"a,b,c,d'), "客户.csv", "quote", "quote"),
    "empty file": (written("客户.csv", b""), "客户.csv", "empty", ""),
    "header only": (written("客户.csv", "备注,邮箱,手机,会员等级\r\n"), "客户.csv", "no row", ""),
    "not UTF-8": (
        written("客户.csv", "备注,邮箱,手机,会员等级\n,a@example.com,1,金卡\n".encode("gb18030")),
        "客户.csv", "UTF-8", "UTF-8",
    ),
    "semicolons": (
        written("客户.csv", "备注;邮箱;手机;会员等级\n;a@example.com;1;金卡\n"),
        "客户.csv", "has no column", "commas",
    ),
    "a damaged Parquet file": (
        written("users.parquet", b"PAR1 and then nothing"), "users.parquet", "Parquet", "export",
    ),
    "a spreadsheet": (
        edited("FEDERATION.yaml", "客户.csv", "客户.xlsx"), "客户.xlsx", "not supported", ".csv",
    ),
    # consents
    "unknown status": (
        consents(CONSENTS + "a@example.com,audience_insight,media,purchases,yes\n"),
        "同意.csv", "yes", "given",
    ),
    "unknown purpose": (
        consents(CONSENTS + "a@example.com,audience_insigt,media,purchases,given\n"),
        "同意.csv", "audience_insigt", "audience_insight",
    ),
    "no identifier": (
        consents("purpose,recipient,category,status\naudience_insight,media,purchases,given\n"),
        "同意.csv", "identifier", "email",
    ),
    "no such consents file": (
        edited("FEDERATION.yaml", "consents: all", "consents: nowhere.csv"),
        "nowhere.csv", "does not exist", "path",
    ),
    # FEDERATION.yaml
    "no such federation": (
        lambda f: (f / "FEDERATION.yaml").unlink(), "FEDERATION.yaml", "cannot be read", "path",
    ),
    "unknown key": (
        edited("FEDERATION.yaml", "min_cohort:", "min_cohorts:"),
        "FEDERATION.yaml", "min_cohorts", "min_cohort",
    ),
    "unknown top key": (
        edited("FEDERATION.yaml", "key_bits:", "keybits:"),
        "FEDERATION.yaml", "keybits", "key_bits",
    ),
    "duplicate key": (
        edited("FEDERATION.yaml", "key_bits: 2048\n", "key_bits: 2048\nkey_bits: 3072\n"),
        "FEDERATION.yaml", "key_bits", "",
    ),
    "no YAML": (written("FEDERATION.yaml", "parties: [\n"), "FEDERATION.yaml", "line", ""),
    "an empty federation": (written("FEDERATION.yaml", ""), "FEDERATION.yaml", "", ""),
    "not UTF-8 YAML": (
        written("FEDERATION.yaml", companies.FEDERATION.encode("gb18030")),
        "FEDERATION.yaml", "UTF-8", "UTF-8",
    ),
    "weak keys": (
        edited("FEDERATION.yaml", "key_bits: 2048", "key_bits: 1024"),
        "FEDERATION.yaml", "1024", "2048",
    ),
    "unknown kind": (
        edited("FEDERATION.yaml", "kind: number", "kind: numbr"), "FEDERATION.yaml", "numbr",
        "number",
    ),
    "bounds the wrong way": (
        edited("FEDERATION.yaml", "[-50, 600]", "[600, -50]"), "FEDERATION.yaml", "bounds", "low",
    ),
    # JOB.yaml
    "no such job file": (lambda f: (f / "JOB.yaml").unlink(), "JOB.yaml", "cannot be read", "path"),
    "unknown key in a job": (
        edited("JOB.yaml", "purpose:", "purposes:"), "JOB.yaml", "purposes", "purpose",
    ),
    "duplicate key in a job": (
        edited("JOB.yaml", "rows:", "rows: 零售商/会员等级\nrows:"), "JOB.yaml", "rows", "",
    ),
    "unknown attribute": (
        edited("JOB.yaml", "columns: media/兴趣", "columns: media/兴"), "JOB.yaml", "兴", "兴趣",
    ),
    "unknown party": (edited("JOB.yaml", "[media]", "[medias]"), "JOB.yaml", "medias", "media"),
    "a measure of a label": (
        edited("JOB.yaml", "{sum: media/minutes}", "{sum: media/兴趣}"),
        "JOB.yaml", "兴趣", "number",
    ),
    "unknown protocol": (
        edited("JOB.yaml", "protocol: crosstab", "protocol: crosstable"),
        "JOB.yaml", "crosstable", "crosstab",
    ),
    "a protocol of later": (
        edited("JOB.yaml", "protocol: crosstab", "protocol: kmeanz"),
        "JOB.yaml", "kmeanz", "",
    ),
    "asks itself": (edited("JOB.yaml", "[media]", "[零售商]"), "JOB.yaml", "零售商", ""),
    "noise is a word": (
        edited("JOB.yaml", "noise: off", "noise: offf"), "JOB.yaml", "offf", "off",
    ),
}  # fmt: skip


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: object, **more: object) -> None:
        raise AssertionError(f"a process was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", start)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("name", CASES)
def test_one_line_names_the_file_and_the_fix(name: str, tmp_path: Path, assent: Assent) -> None:
    change, file, cause, fix = CASES[name]
    made = companies.write(tmp_path, seed=5, rows=12)
    change(tmp_path)
    out, kept = tmp_path / "result.json", tmp_path / "kept"
    said = assent("sandbox", "run", made.federation, made.job, "--out", out, "--keep", kept)
    assert said.err.count("\n") == 1, said.err
    assert said.out == ""
    assert said.code == 2, said.err
    assert said.err.startswith("assent: ")
    line = said.err.removeprefix("assent: ").rstrip("\n")
    what, dash, step = line.partition(" — ")
    assert file in what, line
    assert cause in line, line
    assert dash, f"no fix: {line}"
    assert step, f"no fix: {line}"
    assert fix in step, line
    assert not out.exists()
    assert not kept.exists()


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "{}/missing/result.json"), "missing/result.json: its folder does not exist"),
        (("--html", "{}/missing/report.html"), "missing/report.html: its folder does not exist"),
        (("--out", "{}"), "is a folder"),
        (("--lang", "fr"), "'fr' is not a language of reports"),
        (("--keep", "{}"), "holds files that are not of an earlier run"),
        (("--keep", "{}/客户.csv"), "is not a folder"),
        (("--keep", "{}/客户.csv/kept"), "cannot be written"),
    ],
)
def test_places_that_cannot_be_written_are_found_before_the_run(
    options: tuple[str, str], words: str, tmp_path: Path, assent: Assent
) -> None:
    made = companies.write(tmp_path, seed=5, rows=12)
    before = sorted(tmp_path.iterdir())
    filled = [option.format(tmp_path) for option in options]
    said = assent("sandbox", "run", made.federation, made.job, *filled)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert words in said.err
    assert " — " in said.err
    # --keep never deletes what it did not make.
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["ragged line", "unknown attribute"])
def test_the_same_from_a_shell(name: str, tmp_path: Path) -> None:
    from tests.journeys.test_sandbox import sandbox

    change, file, _, _ = CASES[name]
    made = companies.write(tmp_path, seed=5, rows=12)
    change(tmp_path)
    done = sandbox(made.federation, made.job, "--out", tmp_path / "result.json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert file in done.stderr
    assert not (tmp_path / "result.json").exists()
