"""Documents keep up with the program: commands, samples, messages and links are real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assent import docs
from tests.architecture import sources

# node.proto never leaves the machine: whoever opens the node's socket is the party itself.
LOCAL_SCHEMAS = {"node.proto"}


def fences(text: str, language: str) -> list[tuple[int, str]]:
    """(line, body) of every fenced block of `language`."""
    return [
        (text[: match.start()].count("\n") + 1, match[1])
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


# -- commands ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return docs.blocks()


@pytest.mark.parametrize("path", sources.documents(), ids=sources.name)
def test_generated_blocks_are_what_the_program_says(path: Path, made: dict[str, str]) -> None:
    text = path.read_text("utf-8")
    assert docs.rewrite(text, made, path.name) == text, "run `make docs`"


def test_help_in_the_documents_is_the_real_output(made: dict[str, str]) -> None:
    """Our way of asking for help gives what a person's shell shows."""
    for command in ([], ["sandbox", "run"], ["node", "consent"]):
        code = "import sys; sys.argv[0] = 'assent'; from assent.main import run; run()"
        shown = subprocess.run(
            [sys.executable, "-c", code, *command, "--help"],
            cwd=sources.ROOT, capture_output=True, text=True, check=True,
            env=os.environ | {"COLUMNS": str(docs.WIDTH), "NO_COLOR": "1", "TERM": "dumb"},
        ).stdout  # fmt: skip
        said = made[" ".join(["help", *command])]
        assert (
            said == f"```text\n$ {' '.join(['assent', *command])} --help\n{shown.rstrip()}\n```\n"
        )


def test_every_command_and_flag_is_documented_and_explained() -> None:
    text = "\n".join(path.read_text("utf-8") for path in sources.documents())
    commands = dict(docs.commands())
    assert {"assent sandbox run", "assent job submit", "assent doctor"} <= commands.keys()
    for command, shown in commands.items():
        assert f"$ {command} --help" in text, f"{command} is in no document"
        options = shown.partition("Options:\n")[2].partition("\n\n")[0]
        for line in re.findall(r"^  (-.*(?:\n {6,}.*)*)", options, re.MULTILINE):
            flag, _, words = re.sub(r"\s*\n\s*", "  ", line).partition("  ")
            assert len(words.strip()) > 5, f"{command}: {flag} is not explained"


def test_marks_that_do_not_pair_are_found() -> None:
    from protocol.errors import BadInput

    with pytest.raises(BadInput, match="pair"):
        docs.rewrite("<!-- begin:help -->\n", {"help": "x\n"}, "a.md")
    with pytest.raises(BadInput, match="no block"):
        docs.rewrite("<!-- begin:no -->\n<!-- end:no -->", {"help": "x\n"}, "a.md")
    text = "a\n<!-- begin:help -->\nold\n<!-- end:help -->\nb"
    assert docs.rewrite(text, {"help": "new\n"}, "a.md") == text.replace("old", "new")


# -- samples -----------------------------------------------------------------------------


def samples() -> list[object]:
    return [
        pytest.param(path, body, id=f"{sources.name(path)}:{line}")
        for path in sources.documents()
        for line, body in fences(path.read_text("utf-8"), "ya?ml")
    ]


@pytest.mark.parametrize(("path", "body"), samples())
def test_yaml_samples_load(path: Path, body: str, tmp_path: Path) -> None:
    """Each YAML block of a document is a whole file that the catalog takes.

    A job is checked against the last federation before it in the same document, if any.
    """
    from catalog.federation import load_federation, load_party
    from catalog.job import load_jobs
    from catalog.tag_file import load_tags
    from consent.notices import load_notices
    from consent.portal.settings import load_settings

    file = tmp_path / "sample.yaml"
    file.write_text(body, encoding="utf-8")
    keys = set(re.findall(r"^(\w+):", body, re.MULTILINE))
    if "federation" in keys:
        assert load_federation(file).parties
    elif "job" in keys:
        before = path.read_text("utf-8").partition(body)[0]
        federations = [b for _, b in fences(before, "ya?ml") if "\nparties:" in b]
        federation = None
        if federations:
            (tmp_path / "federation.yaml").write_text(federations[-1], encoding="utf-8")
            federation = load_federation(tmp_path / "federation.yaml")
        assert load_jobs(file, federation)
    elif "catalogue" in keys:
        assert load_tags(file).tags
    elif "table" in keys:
        assert load_party(file).name
    elif "notices" in keys:
        assert load_notices(file).versions
    elif "public_url" in keys:
        file.chmod(0o600)
        assert load_settings(file, {"retailer": None, "media": None}).smtp
    else:
        pytest.fail(f"not a known kind of file: keys {sorted(keys)}")


def test_the_demos_files_load(tmp_path: Path) -> None:
    from assent.demo_data import write_demo
    from assent.demo_winback_data import write_winback
    from catalog.federation import load_federation
    from catalog.job import load_jobs

    files = write_demo(tmp_path, retailer_rows=50, media_rows=60, common=20)
    federation = load_federation(files.federation)
    assert [job.name for job in load_jobs(files.job, federation)] == ["overlap", "tier_by_interest"]
    story = write_winback(tmp_path / "winback", shop=60, media=70, common=40)
    jobs = load_jobs(story.job, load_federation(story.federation))
    assert jobs[0].name == "winback_by_interest"


# -- who learns what -----------------------------------------------------------------------


def network_messages() -> list[str]:
    return [
        statement.name
        for schema in sorted((sources.ROOT / "proto").glob("*.proto"))
        if schema.name not in LOCAL_SCHEMAS
        for statement in sources.statements(schema.read_text("utf-8"))
        if statement.kind == "message"
    ]


def rows_of_disclosure() -> list[str]:
    text = (sources.ROOT / "docs/DISCLOSURE.md").read_text("utf-8")
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_every_message_of_the_network_has_one_row_in_disclosure() -> None:
    rows = rows_of_disclosure()
    assert len(rows) == len(set(rows)), "a message has two rows"
    assert set(network_messages()) - set(rows) == set(), "messages without a row"
    assert set(rows) - set(network_messages()) == set(), "rows without a message"


def test_messages_of_the_report_are_those_of_disclosure() -> None:
    """The report's table of who learns what speaks of nothing that DISCLOSURE.md leaves out."""
    from assent.who_learns import (
        who_learns,
        who_learns_of_exact,
        who_learns_of_grid,
        who_learns_of_sum,
    )
    from assent.who_learns_lookalike import who_learns_of_lookalike

    text = (sources.ROOT / "docs/DISCLOSURE.md").read_text("utf-8")
    for mode in ("keyed", "ecdh"):
        for members in (False, True):
            for line in who_learns("a", ["b"], mode=mode, members=members):
                assert f"*{line.message}*" in text, f"DISCLOSURE.md does not name {line.message!r}"
    of_models = (who_learns_of_sum, who_learns_of_exact, who_learns_of_grid)
    turned = who_learns_of_lookalike("a", "b", mode="keyed", noise=True, curve=True)
    for line in (*turned, *(line for of_model in of_models for line in of_model("a", ["b"]))):
        assert f"*{line.message}*" in text, f"DISCLOSURE.md does not name {line.message!r}"


# -- links -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources.documents(), ids=sources.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_tests_that_documents_promise_exist() -> None:
    """`tests/…` in a document is a file or folder of this checkout."""
    for path in sources.documents():
        for target in re.findall(r"`(tests/[\w./]+?)`", path.read_text("utf-8")):
            assert (sources.ROOT / target).exists(), f"{path.name}: {target}"
