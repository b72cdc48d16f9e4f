"""One running federation that the journeys share, and the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assent import main
from assent.progress import Progress
from assent.sandbox import Sandbox, check
from tests.journeys import companies

# A third company, whose owner decides every job.
MANUAL = """\
  bank:
    table: users.parquet
    ids: {email: mail}
    consents: all
    approval: manual
    policy: {min_cohort: 1, noise: optional}
"""


@dataclass(frozen=True)
class Up:
    """sandbox: running.  made: what its first two companies' files hold."""

    sandbox: Sandbox
    made: companies.Companies

    @property
    def root(self) -> Path:
        return self.sandbox.root


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    made = companies.write(folder / "data", seed=21, rows=40)
    made.federation.write_text(companies.FEDERATION + MANUAL, encoding="utf-8")
    federation, _ = check(made.federation, made.job)
    with Sandbox(federation, keep=folder / "kept", progress=Progress.quiet()) as sandbox:
        yield Up(sandbox, made)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Assent = Callable[..., Said]


@pytest.fixture
def assent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Assent:
    """`assent(…)` runs the command in this process: much faster than one of its own."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["assent", *map(str, arguments)])
        monkeypatch.setattr(main, "_stop_in_order", lambda code=None: None)  # keep pytest's own
        capsys.readouterr()
        code: object = 0
        try:
            main.run()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(int(str(code or 0)), said.out, said.err)

    return run
