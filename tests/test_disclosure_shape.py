"""What the coordinator sees does not depend on the data: same padded sizes, same messages.

Protects "rounded sizes" in docs/DISCLOSURE.md: number and length of all messages of a job are
the same for tables of other people, labels, consents and match counts, as long as the number of
rows rounds to the same size.  Left out are calls whose number is a matter of timing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.test_wire import members, question
from tests.wire import secrets
from tests.wire.secrets import HOBBIES, JOB_NAMES, RANKS
from tests.wire.world import WireWorld
from tests.world import Company

TIMED = {"Lease", "Heartbeat", "Watch", "Hello", ""}
Shape = Counter[tuple[str, str, str, int]]
ECDH = {"on": ["phone", "email"], "mode": "ecdh"}


def disjoint() -> dict[str, Company]:
    """Nobody in common, one label each, no phones, no consents of half the people."""
    tables = secrets.companies(21, 40, 48)
    for number, row in enumerate(tables["media"].rows):
        row[:3] = [f"other{number}@elsewhere.example", "", HOBBIES[0]]
    for row in tables["shop"].rows:
        row[2] = RANKS[0]
    # Eight records a person; over 12 eligible: 13 to 76 round to the same size.
    tables["shop"].consents = tables["shop"].consents[:200]
    return tables


def identical() -> dict[str, Company]:
    """Everybody in common and everybody consents; more rows, which round to the same size."""
    tables = secrets.companies(22, 70, 74)
    for left, right in zip(tables["shop"].rows, tables["media"].rows, strict=False):
        right[:2] = left[:2] = [left[0] or f"known{right[3]}@here.example", left[1]]
    tables["shop"].consents = "all"
    return tables


async def shape(
    folder: Path, patch: pytest.MonkeyPatch, tables: dict[str, Company]
) -> tuple[int, Shape]:
    """How many are in common, and what the coordinator saw."""
    with patch.context() as inner:
        async with WireWorld(folder, tables).watch(inner) as world:
            for job in (
                question(JOB_NAMES[0], privacy={"rho": 0.1}),
                question(JOB_NAMES[1], match=ECDH),
                members(JOB_NAMES[2]),
            ):
                outcome = await world.run(**job)
                assert outcome.state == "released", outcome.error
    seen = Counter(
        (link, message.method, message.direction, len(message.data))
        for link, recording in world.links.items()
        for message in recording.messages
        if link.endswith("-coordinator") and not message.head and message.method not in TIMED
    )
    return outcome.result["overlap"]["count"], seen


async def test_other_data_looks_the_same_to_the_coordinator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none, nobody = await shape(tmp_path / "nobody", monkeypatch, disjoint())
    many, everybody = await shape(tmp_path / "everybody", monkeypatch, identical())
    assert none == 0
    assert many > 60
    assert nobody == everybody
    assert {method for _, method, _, _ in nobody} == {
        "Submit", "UploadStatus", "Upload", "Download", "Complete",
    }  # fmt: skip
    # The comparison can fail: a table that rounds to another size shows.
    _, larger = await shape(tmp_path / "larger", monkeypatch, secrets.companies(23, 140, 48))
    assert larger != nobody
