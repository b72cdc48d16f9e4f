"""`assent consent import` against a running node, as a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.journeys.conftest import Assent, Up

pytestmark = pytest.mark.slow
REQUESTER = "零售商"


def test_a_file_is_recorded_and_its_bad_rows_are_named(
    up: Up, assent: Assent, tmp_path: Path
) -> None:
    node = up.root / REQUESTER
    file = tmp_path / "old.csv"
    head = "email,purpose,recipient,category,status,evidence_form\n"
    rows = [
        f"import-{number}@new.example,personalisation,media,device,given,form-{number}\n"
        for number in range(50)
    ]
    file.write_text(head + "".join(rows), "utf-8")
    said = assent("consent", "import", file, "--node", node, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["recorded"] == 50
    assert "recording 50 of 50\n" in said.err  # progress, also where there is no terminal
    file.write_text(head + "".join(rows) + "x@y.example,activation,media,gossip,given,\n", "utf-8")
    said = assent("consent", "import", file, "--node", node)
    assert said.code == 2
    assert "row 51: category is not known" in said.err
    assert "51 rows: 0 recorded, 50 held already" in said.out
    said = assent("consent", "import", tmp_path / "nothing.csv", "--node", node)
    assert (said.code, "does not exist" in said.err) == (2, True)
