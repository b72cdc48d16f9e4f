"""What is looked up in a long log is found by an index, never by walking through it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from consent.log_sql import SqlOpenings
from tests.consent import logs

LOOK_UPS: dict[str, tuple[Callable[[SqlOpenings], object], str]] = {
    "people": (lambda o: o.of_subjects([logs.subject_of("p-1"), bytes(32)]), "subject=?"),
    "one person": (lambda o: o.of_subject(logs.subject_of("p-1")), "subject=?"),
    "events sent again": (lambda o: o.find([logs.consents("p", 2)[1].id]), "event=?"),
    "a page": (lambda o: o.read(1, 3), "place>? AND place<?"),
}


def plans(engine: sa.Engine, look_up: Callable[[], object]) -> list[str]:
    """How SQLite does each thing that `look_up` asks for."""
    asked: list[tuple[str, Any]] = []

    def listen(_db: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # The newest id alone is asked for as well, as the end of an index.
        if statement.lstrip().upper().startswith("SELECT") and "LIMIT" not in statement:
            asked.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", listen)
    assert look_up()
    sa.event.remove(engine, "before_cursor_execute", listen)
    assert asked
    found = []
    for statement, parameters in asked:
        with engine.connect() as db:
            plan = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        found.append("; ".join(str(row[3]) for row in plan))
    return found


@pytest.mark.parametrize("name", LOOK_UPS)
def test_an_index_finds_it(tmp_path: Path, name: str) -> None:
    look_up, by = LOOK_UPS[name]
    stores = logs.sqlite(tmp_path)
    stores.log().append(logs.consents("p", 5))
    openings = stores.openings()
    for plan in plans(openings._engine, lambda: look_up(openings)):
        assert by in plan
        assert "SCAN" not in plan
    openings.close()


def test_reading_back_costs_the_same_in_a_long_log(tmp_path: Path) -> None:
    stores = logs.sqlite(tmp_path)
    stores.log().append(logs.consents("p", 5))
    storage = stores.storage()
    head, entries, edge = plans(storage._engine, lambda: storage.above(3))
    assert "rowid=?" in head
    assert "place>? AND place<?" in entries
    assert edge.count("log=? AND level=? AND place>?") == 8
    assert "SCAN" not in head + entries + edge
    storage.close()


def test_what_is_found_is_in_the_order_of_the_log(tmp_path: Path) -> None:
    stores = logs.sqlite(tmp_path)
    stores.log().append(logs.consents("p", 5))
    openings = stores.openings()
    people = [logs.subject_of(f"p-{number}") for number in (4, 0, 2)]
    assert [one.index for one in openings.of_subjects(people)] == [0, 2, 4]
    assert [one.index for one in openings.read(1, 4)] == [1, 2, 3]
    openings.close()
