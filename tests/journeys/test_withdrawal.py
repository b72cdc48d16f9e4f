"""A click in the portal, a count that drops by one, an audit, a flipped byte; all is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assent.demo_consent import PEOPLE, tell

pytestmark = pytest.mark.slow
README = Path(__file__).parents[2] / "README.md"


def test_one_person_withdraws(tmp_path: Path) -> None:
    said: list[str] = []
    story = tell(tmp_path / "story", said.append)
    assert (story.before, story.after) == (PEOPLE, PEOPLE - 1)
    assert story.audit[0] == 0
    assert story.audit[1].startswith("Verified")
    assert story.flipped[0] == 1
    assert "the content of entry 0 is not what was logged" in story.flipped[1]
    assert any("entry 0 is not what was logged" in line for line in said)
    # The README shows these lines: all but the address and the time as they are.
    (block,) = re.findall(r"```text\n(in common, exactly: .*?)```", README.read_text("utf-8"), re.S)
    assert [_masked(line) for line in block.splitlines()] == [_masked(line) for line in said[:5]]


def _masked(line: str) -> str:
    return re.sub(r"(?<=127\.0\.0\.1:)\d+|\d+\.\d(?= s after)", "…", line)
