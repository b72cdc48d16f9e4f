"""docs/THREE_COMPANIES.md, command by command: three folders, nothing but cards copied.

The page's HTML comments say who runs a block: `step` (and wait for it), `background`, `file`
(write the block there), `submit` (its output is $JOB), `copy` (from everybody to everybody).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.journeys import shell

PAGE = ROOT / "docs" / "THREE_COMPANIES.md"
_MARKED = re.compile(
    r"<!-- (?P<kind>step|background|file|submit|copy): (?P<what>[^>]*?) -->"
    r"(?:\n```\w+\n(?P<block>.*?)\n```$)?",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^assent ", re.MULTILINE)

# name: e-mail and phone as the retailer writes them, its tier, what was said about consent.
CUSTOMERS = """\
email,phone,tier
ada@example.com,13800138001,gold
b@example.com,138-0013-8002,gold
c@example.com,,gold
d@example.com,13800138004,gold
e@example.com,13800138005,gold
f@example.com,13800138006,gold
g@example.com,13800138007,gold
h@example.com,13800138008,silver
i@example.com,13800138009,silver
j@example.com,13800138010,silver
k@example.com,13800138011,silver
l@example.com,13800138012,silver
m@example.com,13800138013,silver
n@example.com,13800138014,gold
o@example.com,13800138015,gold
"""
CONSENTS = "email,purpose,recipient,category,status\n" + "".join(
    f"{letter}@example.com,audience_insight,media,purchases,{status}\n"
    for letter, status in [
        ("ada", "given"), *((x, "given") for x in "bcdefghijkl"), ("m", "refused"),
    ]  # n and o never said anything
)  # fmt: skip
USERS = """\
mail,mobile,interest,minutes
,+86 138 0013 8001,travel,10
b@example.com,008613800138002,travel,20
C@Example.COM,,travel,30
,13800138004,travel,40
e@example.com,,food,5
f@example.com,,food,5
g@example.com,13800138007,food,8
h@example.com,13800138008,travel,100
i@example.com,13800138009,travel,700
j@example.com,13800138010,food,1
k@example.com,13800138011,food,2
l@example.com,13800138012,food,3
m@example.com,13800138013,food,50
n@example.com,13800138014,travel,60
z@example.com,13800138099,food,70
"""
# (tier, interest): count, sum of minutes (700 is clipped to 600), mean, TGI.
EXPECTED = {
    ("gold", "travel"): (4, 100.0, 25.0, (4 / 7) / (6 / 12) * 100),
    ("gold", "food"): (3, 18.0, 6.0, (3 / 7) / (6 / 12) * 100),
    ("silver", "travel"): (2, 700.0, 350.0, (2 / 5) / (6 / 12) * 100),
    ("silver", "food"): (3, 6.0, 2.0, (3 / 5) / (6 / 12) * 100),
}


@dataclass
class Places:
    """One folder per machine, an environment that holds PATH only."""

    root: Path
    ports: dict[str, str]
    environment: dict[str, str]
    said: list[tuple[str, str, str]] = field(default_factory=list)
    job: str = ""

    def folder(self, who: str) -> Path:
        return self.root / who

    def text(self, block: str) -> str:
        for written, used in self.ports.items():
            block = block.replace(written, used)
        return block

    def run(self, who: str, block: str) -> str:
        """The block's commands in `who`'s shell; what they print on standard output."""
        done = subprocess.run(
            ["/bin/sh", "-euc", self.text(block)], cwd=self.folder(who), capture_output=True,
            text=True, timeout=90,
            env=self.environment | ({"JOB": self.job} if self.job else {}),
        )  # fmt: skip
        assert done.returncode == 0, f"{who}: {block}\n{done.stdout}{done.stderr}"
        self.said.append((who, block, done.stdout + done.stderr))
        return done.stdout

    def copy(self, pattern: str) -> None:
        for file in sorted(self.root.glob(f"*/{pattern}")):
            for folder in self.root.iterdir():
                if folder != file.parent and folder.is_dir():
                    shutil.copy(file, folder)

    @contextlib.contextmanager
    def background(self, who: str, block: str, number: int) -> Iterator[None]:
        with (self.folder(who) / f"log{number}.txt").open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {self.text(block)}"], cwd=self.folder(who),
                env=self.environment, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        with shell.running(process):
            yield
            assert process.poll() is None, Path(log.name).read_text()
        assert process.returncode == 0, Path(log.name).read_text()
        assert "Traceback" not in Path(log.name).read_text()


def test_the_pages_marks_cover_every_command() -> None:
    """A block that nobody follows would rot."""
    text = PAGE.read_text("utf-8")
    shells = re.findall(r"^```sh\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    marked = [m for m in _MARKED.finditer(text) if m["block"] and _COMMAND.search(m["block"])]
    assert len(shells) == len(marked) > 8
    assert {m["kind"] for m in _MARKED.finditer(text)} == {
        "step", "background", "file", "submit", "copy",
    }  # fmt: skip


@pytest.mark.slow
def test_three_machines_from_keys_to_the_exact_result(tmp_path: Path) -> None:
    places = _places(tmp_path)
    with contextlib.ExitStack() as processes:
        for number, marked in enumerate(_MARKED.finditer(PAGE.read_text("utf-8"))):
            _follow(places, processes, number, marked)
        said = {block.split(" --")[0]: text for _, block, text in places.said}
        _check_what_was_said(said, places.job)
        _check_result(json.loads((places.folder("retailer") / "result.json").read_text("utf-8")))
    _check_keys_stayed(places)


def _places(root: Path) -> Places:
    commands = shell.command_folder(root / "bin")
    places = Places(
        root / "machines",
        {"7443": str(shell.free_port()), "7444": str(shell.free_port())},
        shell.empty_environment(commands),
    )
    for who in ("hub", "retailer", "media"):
        places.folder(who).mkdir(parents=True)
    (places.folder("retailer") / "customers.csv").write_text(CUSTOMERS)
    (places.folder("retailer") / "consents.csv").write_text(CONSENTS)
    (places.folder("media") / "users.csv").write_text(USERS)
    return places


def _follow(
    places: Places, processes: contextlib.ExitStack, number: int, marked: re.Match[str]
) -> None:
    kind, what, block = marked["kind"], marked["what"], marked["block"]
    if kind == "copy":
        places.copy(what)
    elif kind == "file":
        who, name = what.split()
        (places.folder(who) / name).write_text(block + "\n", encoding="utf-8")
    elif kind == "background":
        processes.enter_context(places.background(what, block, number))
        if "node run" not in block:
            port = int(places.ports["7443" if "coordinator" in block else "7444"])
            shell.until(lambda: shell.listens(port), 30, block)
    elif kind == "submit":
        places.job = places.run(what, block).strip()
    elif block.startswith("assent job list"):
        # A person looks again; so do we.
        shell.until(
            lambda: f"{places.job}  tier_by_interest  waiting for approval"
            in places.run(what, block), 30, "the job is not in the list",
        )  # fmt: skip
    else:
        for who in what.split():
            places.run(who, block)


def _check_what_was_said(said: dict[str, str], job: str) -> None:
    plan = said["assent job plan job.yaml"]
    assert "nobody would refuse" in plan
    assert "media learns nothing about retailer's customers" in plan
    assert "retailer asks for audience_insight" in said["assent job list"]
    assert "tier_by_interest (plan)  released" in said["assent job list"]
    assert said["assent node approve $JOB"] == f"{job} is approved by media\n"
    # What two people compare is the same at both.
    made = said["assent kit create"].removeprefix("compare by phone: ").strip()
    assert made in said["assent kit join coordinator.card.yaml consent.card.yaml "
                        "retailer.card.yaml media.card.yaml"]  # fmt: skip
    assert f"{job} is released\n" in said["assent job watch $JOB"]
    assert said["assent node consent ada@example.com withdrawn"].startswith(
        "withdrawn for 1 row(s) of retailer: recorded"
    )
    assert "FIX" not in said["assent doctor"]
    for block, text in said.items():
        assert "Traceback" not in text, block
        assert not re.search(r"^[IWE]\d{4}", text, re.MULTILINE), f"gRPC noise: {text}"


def _check_result(result: dict) -> None:
    assert result["status"] == "released"
    assert result["overlap"] == {"count": 12, "withheld": None}
    cells = {
        (cell["retailer/tier"], cell["media/interest"]): (
            cell["count"], cell["sum:media/minutes"], cell["mean:media/minutes"], cell["tgi"],
        )
        for cell in result["cells"]
    }  # fmt: skip
    assert cells.keys() == EXPECTED.keys()
    for key, wanted in EXPECTED.items():
        assert cells[key] == pytest.approx(wanted, abs=0.1), key
        assert cells[key][:2] == wanted[:2], key
    assert result["privacy"]["noise"] == "off"


def _check_keys_stayed(places: Places) -> None:
    """No private key is anywhere but in the folder in which it was made."""
    files = [path for path in places.root.rglob("*") if path.is_file()]
    keys = [path for path in files if path.parent.name == "keys" and path.name != "card.yaml"]
    assert len(keys) == 4 * 4
    for key in keys:
        assert key.stat().st_mode & 0o077 == 0
        secret = key.read_bytes().strip()
        holders = [path for path in files if secret in path.read_bytes()]
        assert holders == [key]
