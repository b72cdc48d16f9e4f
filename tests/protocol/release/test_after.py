"""Stages, flows and rankings from released cells: a withheld cell counts nowhere."""

from __future__ import annotations

from typing import Any

from protocol.release.after import flow, rankings, stages

ORDER = ("none", "aware", "loyal")


def cell(a: str, b: str, count: int | None, tgi: float | None = None) -> dict[str, Any]:
    reason = None if count is not None else "below_min_cohort"
    return {"x/a": a, "y/b": b, "count": count, "tgi": tgi, "withheld": reason}


CELLS = [
    cell("none", "none", 100), cell("none", "loyal", 40), cell("aware", "none", None),
    cell("aware", "aware", 7), cell("loyal", "aware", None), cell("unknown", "loyal", 3),
    cell("unknown", "other", 2),
]  # fmt: skip


def test_a_person_is_at_the_highest_stage_of_all_companies() -> None:
    found = stages(CELLS, ("x/a", "y/b"), ORDER)
    assert [(s["stage"], s["count"], s["released"], s["cells"]) for s in found] == [
        ("loyal", 43, 2, 3), ("aware", 7, 1, 2), ("none", 100, 1, 1), ("unknown", 2, 1, 1),
    ]  # fmt: skip
    (only,) = [s for s in stages(CELLS[4:5], ("x/a",), ORDER) if s["cells"]]
    assert (only["count"], only["withheld"]) == (None, "below_min_cohort")


def test_a_flow_is_from_one_moment_to_the_other() -> None:
    found = {(f["before"], f["now"]): f["count"] for f in flow(CELLS, ("x/a",), ("y/b",), ORDER)}
    assert found["none", "loyal"] == 40
    assert found["loyal", "aware"] is None
    assert found["unknown", "loyal"] == 3
    assert found["aware", "loyal"] == 0  # no such cell, so nobody
    assert len(found) == 16  # three stages and unknown, each with each


def test_rankings_are_by_lift_then_popularity_and_of_released_cells_only() -> None:
    cells = [
        cell("food", "travel", 10, 150.0), cell("food", "games", 30, 90.0),
        cell("food", "cooking", 40, 180.0), cell("food", "other", 99, 300.0),
        cell("tech", "travel", 10, 100.0), cell("tech", "games", 60, 99.0),
        cell("tech", "cooking", None), cell("tech", "other", 9, 20.0),
    ]  # fmt: skip
    found = rankings(cells, ("x/a",), "y/b")
    assert found.popular == ("games", "cooking", "travel")
    assert found.personal == {("food",): ("cooking", "travel", "games")}
    for hidden in (0, 7, 10_000):  # what is withheld changes nothing
        again = [c | ({"count": hidden, "tgi": 500.0} if c["withheld"] else {}) for c in cells]
        assert rankings(again, ("x/a",), "y/b") == found
