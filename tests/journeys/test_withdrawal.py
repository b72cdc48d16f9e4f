"""A click in the portal, a count that drops by one, an audit, a flipped byte; all is real."""

from __future__ import annotations

from pathlib import Path

import pytest

from assent.demo_consent import PEOPLE, tell

pytestmark = pytest.mark.slow


def test_one_person_withdraws(tmp_path: Path) -> None:
    said: list[str] = []
    story = tell(tmp_path / "story", said.append)
    assert (story.before, story.after) == (PEOPLE, PEOPLE - 1)
    assert story.audit[0] == 0
    assert story.audit[1].startswith("Verified")
    assert story.flipped[0] == 1
    assert "the content of entry 0 is not what was logged" in story.flipped[1]
    assert any("entry 0 is not what was logged" in line for line in said)
