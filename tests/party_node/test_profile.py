"""Events into a node, tags out of it: what is read again, what one event touches, what is kept."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from catalog.federation import load_party
from party_node.event_sources import read_source
from party_node.profile import Profile, check_sources
from party_node.profile_desk import ProfileDesk
from party_node.records import Records
from party_node.tag_grants import USED
from party_node.tag_values import stability
from protocol.errors import BadInput
from tests.consent import postgres
from tests.party_node.profile_world import again, values
from tests.party_node.test_tags_golden import shop


def rows(profile: Profile, query: str) -> list[tuple[object, ...]]:
    with profile.store.transaction() as db:
        return db.execute(query).fetchall()


def push(profile: Profile, event: str, text: str) -> str:
    return desk(profile).ingest(event, "", text.encode(), "csv")


def desk(profile: Profile) -> ProfileDesk:
    return ProfileDesk(profile, Records(sa.create_engine("sqlite://"), lambda: 0.0))


HEADER = "order,email,at,amount,brand,gift\n"


# -- events ------------------------------------------------------------------------------------


def test_an_event_sent_twice_counts_once_and_of_nobody_is_kept(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    assert rows(profile, 'select count(*), count(person) from "event purchase"') == [(9, 8)]
    new = "o77,bob@example.com,2026-03-01,7,A,no\n"
    said = push(profile, "purchase", HEADER + "o1,ann@example.com,2026-01-05,1,A,no\n" + 2 * new)
    assert said == "purchase: 1 new events of 1 people, 2 known already, 0 of nobody in the table"


def test_one_event_touches_that_person_only(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    # A mark that no refresh of everybody would leave.
    with profile.store.transaction() as db:
        db.execute('update tag_values set "tag spender" = 2, "tag recency" = 3')
    before = rows(profile, "select * from tag_values order by row")
    push(profile, "purchase", HEADER + "o90,fay@example.com,2026-03-09,1500.00,A,yes\n")
    after = rows(profile, "select * from tag_values order by row")
    assert after[:5] == before[:5]
    assert after[5] != before[5]
    assert values(profile, "spender")[5] == "high"
    assert values(profile, "recency")[5] == "active"


def test_tags_of_some_people_are_what_a_refresh_of_everybody_gives(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    push(profile, "purchase", HEADER + "o90,bob@example.com,2026-03-09,1500.00,A,yes\n"
         "o91,fay@example.com,2026-03-08,3.00,B,no\n")  # fmt: skip
    push(profile, "cart", "email,at\nfay@example.com,2026-03-09\n")
    some = rows(profile, "select * from tag_values order by row")
    profile.refresh()
    assert rows(profile, "select * from tag_values order by row") == some


def test_the_attribute_of_jobs_follows(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    dataset, version = profile.dataset, profile.dataset.version
    assert dataset.vocabulary("tier") == ("high", "gifts", "low")
    everybody = np.arange(6)
    assert dataset.labels("tier", everybody).tolist() == [0, 2, 2, 2, 2, 2]
    push(profile, "purchase", HEADER + "o90,fay@example.com,2026-03-09,1500.00,A,yes\n")
    assert dataset.labels("tier", everybody).tolist() == [0, 2, 2, 2, 2, 0]
    assert dataset.version != version
    assert profile.party.categories("tier") == ("purchases",)


def test_a_node_that_starts_again_reads_what_changed(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    push(profile, "cart", "email,at\nfay@example.com,2026-03-09\n")
    assert profile.ingest_sources() == []
    profile.close()
    purchases = tmp_path / "purchases.csv"
    purchases.write_text(purchases.read_text() + "o50,eve@example.com,2026-03-01,9,A,no\n")
    # Without an id, a changed source replaces what came from it; what was pushed stays.
    (tmp_path / "carts.csv").write_text("email,at\nbob@example.com,2026-03-09T08:00:00\n")
    profile = again(tmp_path)
    assert rows(profile, 'select count(*) from "event purchase"') == [(10,)]
    assert rows(profile, 'select person, pushed from "event cart" order by 1') == [
        (1, False), (5, True),
    ]  # fmt: skip
    assert values(profile, "basket")[4] == "small"


@pytest.mark.parametrize(
    ("written", "local"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 8)),
        ("2026-01-01T00:00:00+08:00", datetime(2026, 1, 1)),
        ("2026-01-01 00:00:00.5-0130", datetime(2026, 1, 1, 9, 30, 0, 500000)),
        ("2026-01-01 07:30", datetime(2026, 1, 1, 7, 30)),
        ("2026-01-01", datetime(2026, 1, 1)),
        ("1767225600", datetime(2026, 1, 1, 8)),
        ("1767225600123", datetime(2026, 1, 1, 8, 0, 0, 123000)),
        ("2026/1/1 00:00:00+00", datetime(2026, 1, 1, 8)),
        ("2026-01-01 00:00:00 UTC", datetime(2026, 1, 1, 8)),
        ("2026-01-01T00:00-05", datetime(2026, 1, 1, 13)),
    ],
)
def test_times_are_the_partys_own(tmp_path: Path, written: str, local: datetime) -> None:
    profile = shop(tmp_path)
    push(profile, "cart", f"email,at\nfay@example.com,{written}\n")
    assert rows(profile, 'select moment from "event cart" where person = 5') == [(local,)]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (
            HEADER + "x,ann@example.com,yesterday,1,A,no\n",
            'the body row 1 (line 2): column "at": the value is no moment —',
        ),
        (
            HEADER + "x,ann@example.com,2026-01-01,much,A,no\n",
            'the body row 1 (line 2): column "amount"',
        ),
        (HEADER + "x,ann@example.com,2026-01-01,1,A,maybe\n", 'column "gift"'),
        (
            HEADER + ",ann@example.com,2026-01-01,1,A,no\n",
            'row 1 (line 2): column "order" is empty, in 1 rows',
        ),
        ("order,email,at,amount,brand\nx,a@x,2026-01-01,1,A\n", 'the body: has no column "gift"'),
    ],
)
def test_bad_events_are_refused_and_leave_nothing(tmp_path: Path, body: str, cause: str) -> None:
    profile = shop(tmp_path)
    with pytest.raises(BadInput) as caught:
        push(profile, "purchase", body)
    assert cause in str(caught.value)
    assert rows(profile, 'select count(*) from "event purchase"') == [(9,)]
    with pytest.raises(BadInput, match=r'no event "purchas".*purchase'):
        push(profile, "purchas", body)


@pytest.mark.parametrize(
    "written", ["2026-01-01 08:00 Asia/Shanghai", "2026-01-01T08:00+99:99", "-infinity", "8:00"]
)
def test_a_time_that_would_be_read_wrong_is_no_moment(tmp_path: Path, written: str) -> None:
    profile = shop(tmp_path)
    with pytest.raises(BadInput, match="is no moment"):
        push(profile, "cart", f"email,at\nfay@example.com,{written}\n")


def test_events_are_kept_when_their_tags_cannot_be_computed(tmp_path: Path) -> None:
    """Else the sender would send again what is there, and events without an id count twice."""
    profile = shop(tmp_path)
    scores = tmp_path / "node" / "scores"
    scores.mkdir()
    (scores / "vips.parquet").write_bytes(b"damaged")
    said = push(profile, "cart", "email,at\nfay@example.com,2026-03-09\n")
    assert said.startswith("cart: 1 new events of 1 people")
    assert "tags are not computed: " in said
    assert "vips.parquet" in said
    # A tag that has nothing to do with it is; nobody forgets whose other tags wait.
    profile.refresh("recency")
    (scores / "vips.parquet").unlink()
    assert profile.refresh_touched() == 1


# -- sources -------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    table = pa.table({"who": ["a@x", None, "c@x"], "n": pa.array([1, 2, None], pa.int64()),
                      "t": ["", "x", "y"]})  # fmt: skip
    wanted = {"who": "ids", "n": "field", "t": "field"}
    pq.write_table(table, tmp_path / "e.parquet")
    (tmp_path / "e.csv").write_text("who,n,t\na@x,1,\n,2,x\nc@x,,y\n")
    with duckdb.connect(str(tmp_path / "e.duckdb")) as db:
        db.register("arrow", table)
        db.execute("create table visits as select * from arrow")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'e.sqlite'}")
    with engine.begin() as sql:
        sql.exec_driver_sql("create table visits (who text, n integer, t text)")
        sql.exec_driver_sql("insert into visits values ('a@x',1,''),(null,2,'x'),('c@x',null,'y')")
    url = f"sqlite:///{tmp_path}/${{NAME}}.sqlite"
    sources = [(str(tmp_path / "e.parquet"), None), (str(tmp_path / "e.csv"), None),
               (str(tmp_path / "e.duckdb"), "visits"), (url, "visits")]  # fmt: skip
    for source, name in sources:
        found = read_source(source, name, wanted, {"NAME": "e"})
        columns = {key: column.to_pylist() for key, column in found.columns.items()}
        assert columns == {"who": ["a@x", None, "c@x"], "n": ["1", "2", None],
                           "t": [None, "x", "y"]}, source  # fmt: skip
        assert found.rows == 3
        with pytest.raises(BadInput, match=r'no column "whom".*who'):
            read_source(source, name, {"whom": "ids"}, {"NAME": "e"})
    with pytest.raises(BadInput, match="NAME is not set"):
        read_source(url, "visits", wanted, {})
    with pytest.raises(BadInput) as caught:
        read_source("postgresql://crm:secret@127.0.0.1:1/x", "visits", wanted, {})
    assert "secret" not in str(caught.value)


def test_a_postgresql_server_is_a_source() -> None:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        url = postgres.create(server, "shop")
        engine = sa.create_engine(url)
        with engine.begin() as sql:
            sql.exec_driver_sql("create schema crm")
            sql.exec_driver_sql("create table crm.visits (who text, n numeric(6,2), at timestamp)")
            sql.exec_driver_sql(
                "insert into crm.visits values ('a@x', 1.5, '2026-03-09 10:00'), (null, null, null)"
            )
        engine.dispose()
        plain = url.replace("postgresql+psycopg://postgres@", "postgresql://postgres:${WORD}@")
        wanted = {"who": "ids", "n": "field", "at": "field"}
        found = read_source(plain, "crm.visits", wanted, {"WORD": "sesame"})
        columns = {key: column.to_pylist() for key, column in found.columns.items()}
        assert columns == {"who": ["a@x", None], "n": ["1.50", None],
                           "at": ["2026-03-09T10:00:00", None]}  # fmt: skip
        with pytest.raises(BadInput, match=r"crm\.visit cannot be read") as caught:
            read_source(plain, "crm.visit", wanted, {"WORD": "sesame"})
        assert "sesame" not in str(caught.value)


def test_sources_are_checked_before_anything_starts(tmp_path: Path) -> None:
    shop(tmp_path).close()
    check_sources(load_party(tmp_path / "party.yaml"))
    (tmp_path / "views.csv").write_text("cookie,at,topic\nc,never,x\n")
    with pytest.raises(BadInput, match=r'events view: .*views.csv row 1 \(line 2\): column "at"'):
        check_sources(load_party(tmp_path / "party.yaml"))


# -- who is who ----------------------------------------------------------------------------------


def test_an_identifier_kept_apart_and_put_back(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    assert [i["reason"] for i in profile.identity("device", "c-tv")] == ["shared"]
    found = profile.identity("device", "c-ann")
    assert {(i["type"], i["value"]) for i in found} == {
        ("device", "c-ann"), ("email", "ann@example.com"), ("phone", "+8613800000001"),
    }  # fmt: skip
    people = tmp_path / "people.csv"
    people.write_text(people.read_text() + "ann2@example.com,13800000001,上海,34,yes,1\n")
    profile.close()
    profile = again(tmp_path)
    assert values(profile, "spender")[6] == "high"  # the same person in another row
    profile.keep_apart("phone", "138 0000 0001", True)
    assert values(profile, "spender")[6] == "low"
    profile.keep_apart("phone", "13800000001", False)
    assert values(profile, "spender")[6] == "high"


# -- tags ----------------------------------------------------------------------------------------


def test_model_tags_read_what_a_job_left(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    scores = tmp_path / "node" / "scores"
    scores.mkdir()
    table = pa.table({"row": [0, 2, 3], "score": [0.9, 0.5, 0.49999]})
    pq.write_table(table, scores / "vips.parquet")
    profile.refresh("similar")
    assert values(profile, "similar") == ["near", "unknown", "near", "far", "unknown", "unknown"]


def test_rfm_and_ltv_are_read_by_column(tmp_path: Path) -> None:
    shop(tmp_path).close()
    head = (
        "title: {zh: t, en: t}, class: value, aspect: did, category: purchases, owner: o, goal: g"
    )
    (tmp_path / "tags.yaml").write_text(
        f"catalogue: c\ntags:\n  spender: {{{head}, measure: {{model: rfm, job: r}},"
        " values: [Champions, Lost]}\n"
        f"  alive: {{{head}, measure: {{model: ltv, job: l, column: p_alive}},"
        " bands: [{value: lost, below: 0.5}, {value: alive, from: 0.5}]}\n"
    )
    scores = tmp_path / "node" / "scores"
    scores.mkdir()
    segments = pa.table({"row": [0, 1, 5], "segment_8": ["Champions", "Odd", None]})
    pq.write_table(segments, scores / "r.parquet")
    pq.write_table(pa.table({"row": [0, 5], "p_alive": [0.5, None]}), scores / "l.parquet")
    profile = again(tmp_path)
    nobody = ["unknown"] * 4
    assert values(profile, "spender") == ["Champions", "other", *nobody]
    assert values(profile, "alive") == ["alive", "unknown", *nobody]
    pq.write_table(segments, scores / "l.parquet")
    with pytest.raises(BadInput, match="has no p_alive"):
        profile.refresh()


def test_history_coverage_and_drift(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    profile.refresh("recency", "2026-06-01")
    newest, first = profile.history("recency")
    assert first["counts"] == {"active": 2, "cooling": 0, "lost": 2, "never": 2}
    assert newest["counts"] == {"active": 0, "cooling": 1, "lost": 3, "never": 2}
    assert first["coverage"] == pytest.approx(4 / 6, abs=1e-6)
    assert first["psi"] is None
    least = 1e-4
    p, q = [2 / 6, least, 2 / 6, 2 / 6], [least, 1 / 6, 3 / 6, 2 / 6]
    psi = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert newest["psi"] == pytest.approx(psi, abs=1e-5)
    # One tag alone left the others as they were.
    assert values(profile, "spender")[0] == "high"
    assert len(profile.history("spender")) == 1
    assert profile.history("spending") == profile.history("spender")
    assert stability({"a": 0}, {"a": 1}) is None
    assert stability({"a": 5, "b": 5}, {"a": 50, "b": 50}) == 0


def test_tags_become_due_as_they_say(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    profile.party = profile.party.model_copy(update={"as_of": None})
    assert "spender" in profile.refresh_due()  # daily, and the last run is long ago
    assert profile.refresh_due() == []


def test_lineage_both_ways(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    found = desk(profile)
    records = found._records
    records.seen("j-1", "tier_by_interest", "media", "…")
    records.put("j-1", USED, ["spender"])
    records.set_state("j-1", "released")
    (tag,) = found.tags("lineage", "spender", "")
    assert "column purchases.csv amount" in tag["from"]
    assert "column purchases.csv gift" in tag["from"]
    assert {"tag winback", "attribute tier", "job j-1"} <= set(tag["to"])
    (column,) = found.tags("lineage", "purchases.csv amount", "")
    assert "release to media of tier_by_interest" in column["to"]
    assert column["from"] == []
    (release,) = found.tags("lineage", "release to media of tier_by_interest", "")
    assert "column logins.csv email" not in release["from"]
    assert {"column purchases.csv brand", "event purchase", "tag spender"} <= set(release["from"])
    (run, *_) = found.tags("history", "spender", "")
    assert run["last_use"]["job"] == "j-1"
    with pytest.raises(BadInput, match='nothing here is called "x"'):
        found.tags("lineage", "x", "")
