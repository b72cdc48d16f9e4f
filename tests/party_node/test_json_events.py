"""Events as JSON: a list or one a line, values as they are, and bad lines by their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from party_node import json_events
from protocol.errors import BadInput
from tests.party_node.test_profile import desk, rows
from tests.party_node.test_tags_golden import shop

ONE = ('{"order": 1, "email": "fay@example.com", "at": "2026-03-09", "amount": 1.10, '
       '"brand": "A\u2028B", "gift": true}')  # fmt: skip


def test_json_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_events, "_PIECE", 2)
    profile = shop(tmp_path)
    body = f"\ufeff{ONE}\r\n\n" + "".join(
        ONE.replace('"order": 1', f'"order": {number}') + "\n" for number in (10**30, "null", 3)
    )
    with pytest.raises(BadInput, match='the body line 4: column "order" is empty, in 1 rows'):
        desk(profile).push("purchase", body.encode(), "json")
    body = body.replace("null", '"1"')
    done = desk(profile).push("purchase", body.encode(), "json")
    assert (done.new, done.again) == (3, 1)
    found = rows(profile, 'select "field amount", "field gift", key, "field brand" '
                 'from "event purchase" where person = 5 order by seq')  # fmt: skip
    assert found == [(110, True, key, "A\u2028B") for key in ("1", "1" + 30 * "0", "3")]
    listed = "[" + ONE.replace("1,", "4,", 1) + "]"
    assert desk(profile).push("purchase", listed.encode(), "json").new == 1
    file = tmp_path / "more.jsonl"
    file.write_text(ONE.replace("1,", "5,", 1), encoding="utf-8")
    said = desk(profile).ingest("purchase", str(file), b"", "")
    assert said.startswith("purchase: 1 new events of 1 people")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", "the body line 3: is not JSON"),
        ("17", "the body line 3: is no object"),
        (ONE.replace("1.10", "NaN"), "the body line 3: is not JSON"),
        (ONE.replace("1.10", "[1]"), 'the body line 3: "amount" holds no single value'),
        (ONE.replace('"A\u2028B"', r'"\ud800"'), 'the body line 3: "brand" holds no single value'),
        (ONE.replace("2026-03-09", "9 March"), 'the body line 3: column "at": the value is no'),
        (ONE.replace("1.10", '"much"'), 'the body line 3: column "amount": the value is'),
    ],
)
def test_a_bad_line_is_named_and_nothing_of_its_body_is_taken(
    tmp_path: Path, line: str, cause: str
) -> None:
    profile = shop(tmp_path)
    with pytest.raises(BadInput) as caught:
        desk(profile).push("purchase", f"{ONE}\n\n{line}\n{ONE}\n".encode(), "json")
    assert cause in str(caught.value)
    assert "much" not in str(caught.value)  # values stay out of messages
    assert rows(profile, 'select count(*) from "event purchase"') == [(9,)]


def test_bodies_that_hold_no_events(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    for body, cause in (
        (b" \n", "holds no events"), (b"[]", "holds no events"), (b"[{]", "line 1: is not JSON"),
        (b"{}\n\xff", "line 2: is not UTF-8"), (b'{"order": 1}', 'no event has "email"'),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=cause):
            desk(profile).push("purchase", body, "json")
