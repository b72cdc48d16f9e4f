"""One ID: what merges, what never does, and that every merge can be undone."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from party_node.one_id import Identity, Records, resolve


def records(source: str, **columns: list[str | None]) -> Records:
    return Records(source, {k: pa.array(v, pa.string()) for k, v in columns.items()})


def who(found: Identity) -> dict[tuple[str, str], tuple[int, str]]:
    return {(r["type"], r["value"]): (r["person"], r["reason"])
            for r in found.identifiers.to_pylist()}  # fmt: skip


def test_channels_of_one_person_are_one() -> None:
    rows = records("table", email=["a@x", None, "c@x"], phone=[None, "2", "3"])
    logins = records("logins", email=["a@x"], phone=["2"])
    found = resolve(rows, [logins])
    assert found.person.tolist() == [0, 0, 2]
    assert who(found)["phone", "2"] == (0, "merged")
    assert found.identifiers["source"].to_pylist()[0] == "table"
    assert resolve(rows, []).person.tolist() == [0, 1, 2]


def test_shared_devices_never_merge() -> None:
    rows = records("table", email=["a@x", "b@x", "c@x"])
    visits = records("visits", email=["a@x", "b@x", "c@x"], device=["tv", "tv", "mine"])
    found = resolve(rows, [visits], weak=frozenset({"device"}))
    assert found.person.tolist() == [0, 1, 2]
    assert who(found)["device", "tv"] == (-1, "shared")
    assert who(found)["device", "mine"] == (2, "merged")
    # Declared strong, the same device would have joined them.
    assert resolve(rows, [visits]).person.tolist() == [0, 0, 2]


def test_a_person_with_too_many_identifiers_is_taken_apart() -> None:
    n = 6
    rows = records("table", phone=[str(i) for i in range(n)])
    switchboard = records("calls", phone=[str(i) for i in range(n)], email=["hotline@x"] * n)
    found = resolve(rows, [switchboard], most={"phone": 3})
    assert found.person.tolist() == list(range(n))
    assert who(found)["email", "hotline@x"] == (-1, "over_most")
    assert resolve(rows, [switchboard], most={"phone": n}).person.tolist() == [0] * n
    # Rows alone can be too many, too.
    family = records("table", phone=[str(i) for i in range(n)], email=["family@x"] * n)
    assert resolve(family, [], most={"phone": 3}).person.tolist() == list(range(n))


def test_an_identifier_can_be_kept_apart_and_put_back() -> None:
    rows = records("table", email=["a@x", "b@x"], phone=["1", "1"])
    assert resolve(rows, []).person.tolist() == [0, 0]
    split = resolve(rows, [], apart=[("phone", "1")])
    assert split.person.tolist() == [0, 1]
    assert who(split)["phone", "1"] == (-1, "apart")


def naive(
    rows: list[tuple[str | None, str | None]], links: list[tuple[str | None, str | None]]
) -> list[int]:
    """Persons by spreading the lowest row until nothing changes; for tests only."""
    person: dict[object, int] = {}
    holders: list[tuple[object, list[object]]] = [
        ((where, i), [(k, v) for k, v in zip("ep", pair, strict=True) if v is not None])
        for where, part in (("row", rows), ("link", links))
        for i, pair in enumerate(part)
    ]
    for name, _ in holders:
        if name[0] == "row":  # type: ignore[index]
            person[name] = name[1]  # type: ignore[index]
    changed = True
    while changed:
        changed = False
        for name, held in holders:
            seen = [person[x] for x in (name, *held) if x in person]
            for x in (name, *held):
                if seen and person.get(x) != min(seen):
                    person[x] = min(seen)
                    changed = True
    return [person["row", i] for i in range(len(rows))]


PAIRS = st.lists(
    st.tuples(st.none() | st.sampled_from("abcdef"), st.none() | st.sampled_from("123456")),
    min_size=1, max_size=8,
)  # fmt: skip


@given(PAIRS, PAIRS)
@settings(max_examples=150, deadline=None)
def test_persons_are_those_of_the_naive_spreading_and_merges_are_undone(
    rows: list[tuple[str | None, str | None]], links: list[tuple[str | None, str | None]]
) -> None:
    def made(source: str, pairs: list[tuple[str | None, str | None]]) -> Records:
        return records(source, email=[a for a, _ in pairs], phone=[b for _, b in pairs])

    table, link = made("table", rows), made("link", links)
    assert resolve(table, [link]).person.tolist() == naive(rows, links)
    assert resolve(table, []).person.tolist() == naive(rows, [])
