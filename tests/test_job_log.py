"""Whole jobs and what parties say of them: before a row is read, once, whatever falls over."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
import pytest

from consent.audit import audit_bundle
from consent.audit_jobs import JobRule
from consent.audit_rules import ConsentRule
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED, parse_leaf
from consent.local import LocalConsent
from consent.trust import AUDITOR
from party_node.dataset import Dataset
from protocol.errors import Failed, ProtocolViolation, Refused
from tests.faulty_world import BEGIN, COMMITTED, KILL_COORDINATOR, KILL_NODE, MADE, FaultyWorld
from tests.test_jobs import companies, crosstab_job
from tests.world import World


def entries(world):
    """(party, type, body) of every entry of the job log."""
    page = world.stand.ledger.page(world.stand.ledger.jobs, 0)
    return [
        (leaf.party, leaf.type, json.loads(entry.opening.body))
        for entry in page.entries
        for leaf in [parse_leaf(entry.leaf)]
    ]


async def all_said(world):
    await world.until(lambda: not any(n.ctx.job_log.waiting() for n in world.nodes.values()))


async def report(world):
    """The auditor's over everything, as `assent audit verify` makes it."""
    ledger = world.stand.ledger
    for origin in ledger.origins:
        if (renewing := ledger.renewed(origin)) is not None:
            await asyncio.wrap_future(renewing)
    rules = [ConsentRule(), JobRule({n: world.keys[n].card.signing_key for n in world.companies})]
    policy = world.stand.trust.policy(*ledger.origins)
    return audit_bundle(ledger.bundle(AUDITOR), policy, rules=rules)


async def test_a_job_is_admitted_and_closed_by_every_party_and_the_audit_agrees(tmp_path):
    tables = companies(31)
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**crosstab_job())
        assert outcome.state == "released"
        await world.until(lambda: len(entries(world)) == 4)
        await all_said(world)
        said = {(party, type): body for party, type, body in entries(world)}
        assert set(said) == {(p, t) for p in tables for t in (JOB_ADMITTED, JOB_CLOSED)}
        for party in tables:
            first, last = said[party, JOB_ADMITTED], said[party, JOB_CLOSED]
            assert first["job"] == outcome.job_id
            assert first["eligible"] == outcome.own[party]["consent"]["eligible"] > 0
            assert (first["purpose"], first["requester"]) == ("audience_insight", "shop")
            assert first["eligible_set"] == last["eligible_set"]
            assert last["outcome"] == "released"
            assert [name for name, _ in last["stages"]][:2] == ["offer", "admit"]
            times = [at for _, at in last["stages"]]
            assert times == sorted(times)
        assert said["shop", JOB_CLOSED]["overlap"] == outcome.result["overlap"]["count"]
        assert said["media", JOB_CLOSED]["overlap"] is None
        assert len(bytes.fromhex(said["shop", JOB_CLOSED]["output"])) == 32
        audit = outcome.result["audit"]
        assert audit["log"] == world.stand.ledger.jobs
        assert audit["log"] in audit["checkpoint"]
        party, type, body = entries(world)[audit["index"]]
        assert (party, type, body["job"]) == ("shop", JOB_ADMITTED, outcome.job_id)
        found = await report(world)
        assert (found.exit_code, found.findings) == (0, ())


async def test_no_row_is_read_before_the_log_has_the_admission(tmp_path, monkeypatch):
    reads = []
    real = Dataset.eligible_rows

    def noting(dataset, *arguments):
        reads.append({(party, type) for party, type, _ in entries(world)})
        return real(dataset, *arguments)

    monkeypatch.setattr(Dataset, "eligible_rows", noting)
    async with World(tmp_path, companies(32)) as world:
        assert (await world.run(**crosstab_job())).state == "released"
    assert reads
    # whoever reads first has said so; a party never reads without its own entry
    assert all(any(type == JOB_ADMITTED for _, type in seen) for seen in reads)


async def test_when_no_witness_would_see_it_no_row_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Dataset, "eligible_rows", lambda *_: pytest.fail("a row was read"))

    async def refuse(port, event):
        raise Refused("witness_quorum_missing", "no quorum", stage="consent log")

    async with World(tmp_path, companies(33)) as world:
        monkeypatch.setattr(LocalConsent, "log_job", refuse)
        for name in list(world.nodes):
            await world.stop_node(name)
            await world.start_node(name)
        outcome = await world.run(**crosstab_job())
    assert (outcome.state, outcome.code) == ("refused", "witness_quorum_missing")


async def test_while_the_ledger_is_away_jobs_run_and_their_statements_follow(tmp_path, monkeypatch):
    real, away = LocalConsent.log_job, [True]

    async def log_job(port, event):
        if away[0]:
            raise Failed("unavailable", "away")
        return await real(port, event)

    monkeypatch.setattr(LocalConsent, "log_job", log_job)
    monkeypatch.setattr("party_node.job_log._RETRY", 0.05)
    async with World(tmp_path, companies(34)) as world:
        outcome = await world.run(**crosstab_job())
        assert outcome.state == "released"
        assert outcome.result["audit"] == {"log": None, "index": None, "checkpoint": None}
        assert entries(world) == []
        away[0] = False
        await world.until(lambda: len(entries(world)) == 4)
        assert (await report(world)).exit_code == 0


async def test_an_end_that_could_not_be_logged_is_logged_after_a_restart(tmp_path, monkeypatch):
    real, away = LocalConsent.log_job, [True]

    async def log_job(port, event):
        if away[0] and event.type == JOB_CLOSED:
            raise Failed("unavailable", "away")
        return await real(port, event)

    monkeypatch.setattr(LocalConsent, "log_job", log_job)
    async with World(tmp_path, companies(41)) as world:
        assert (await world.run(**crosstab_job())).state == "released"
        logs = {name: node.ctx.job_log for name, node in world.nodes.items()}
        await world.until(lambda: all(len(log.waiting()) == 1 for log in logs.values()))
        kept = {name: log.waiting()[0].body for name, log in logs.items()}
        for name in logs:
            await world.stop_node(name)
        assert not any(type == JOB_CLOSED for _, type, _ in entries(world))
        away[0] = False
        for name in logs:
            await world.start_node(name)
        await all_said(world)
        closed = [(party, body) for party, type, body in entries(world) if type == JOB_CLOSED]
        assert sorted(party for party, _ in closed) == sorted(kept)
        assert all(body == json.loads(kept[party]) for party, body in closed)
        assert (await report(world)).exit_code == 0


async def test_a_refusal_is_said_with_its_code(tmp_path):
    tables = companies(35)
    tables["media"].config["policy"] |= {"purposes": ["activation"]}
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**crosstab_job())
        assert outcome.state == "refused"
        await world.until(lambda: len(entries(world)) == 3)  # shop admitted it and closes it
        await all_said(world)
        ((party, body),) = [(p, b) for p, t, b in entries(world) if t == JOB_REFUSED]
        assert (party, body["code"], body["stage"]) == ("media", "purpose_not_allowed", "admit")
        assert (await report(world)).exit_code == 0


@pytest.mark.parametrize("fall", [KILL_NODE, KILL_COORDINATOR])
@pytest.mark.parametrize("moment", [BEGIN, MADE, COMMITTED])
@pytest.mark.parametrize("step", ["admit/media", "admit/shop", "aggregate/media"])
async def test_whoever_falls_every_statement_is_there_once(tmp_path, fall, moment, step):
    fallen = []

    def on(now):
        if (now.name, now.step) == (moment, step) and not fallen:
            fallen.append(now)
            return fall
        return None

    async with FaultyWorld(tmp_path, companies(36), on=on) as world:
        outcome = await world.run(**crosstab_job())
        assert outcome.state == "released", outcome.error
        await world.until(lambda: len(entries(world)) >= 4)
        await all_said(world)
        kinds = sorted((party, type) for party, type, _ in entries(world))
        assert kinds == sorted((p, t) for p in world.companies for t in (JOB_ADMITTED, JOB_CLOSED))
        assert (await report(world)).findings == ()
    assert fallen


async def test_a_person_sees_the_jobs_that_had_their_row(tmp_path):
    tables = companies(37)
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        await world.until(lambda: len(entries(world)) == 4)
        history = world.nodes["media"].ctx.job_history
        (use,) = history.uses(np.array([3]))
        assert (use.purpose, use.requester, use.outcome) == ("audience_insight", "shop", "released")
        assert use.categories == ("behaviour", "content")
        assert history.uses(np.array([len(tables["media"].rows) + 5])) == []


def sole(rows):
    """Numbers of the rows that have an e-mail and a phone, both their own."""
    columns = [[row[at] for row in rows] for at in (0, 1)]
    return [n for n, row in enumerate(rows)
            if all(row[at] and columns[at].count(row[at]) == 1 for at in (0, 1))]  # fmt: skip


async def test_a_table_sorted_anew_keeps_everybodys_history(tmp_path):
    tables = companies(39)
    rows = tables["media"].rows
    there, late = (rows[n] for n in sole(rows)[:2])
    later = [row for row in rows if row is not late]
    tables["media"].rows = later
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        await world.until(lambda: len(entries(world)) == 4)
        await world.stop_node("media")
        moved = [there[0], "+8613900000001", *there[2:]]  # a new phone
        now = [late, *(moved if row is there else row for row in reversed(later))]
        tables["media"].rows = now
        await world.start_node("media")
        history = world.nodes["media"].ctx.job_history
        assert len(history.uses(np.array([now.index(moved)]))) == 1
        assert history.uses(np.array([0])) == []


async def test_an_erasure_in_the_ledger_ends_a_persons_history(tmp_path):
    tables = companies(40)
    gone, other = sole(tables["media"].rows)[:2]
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        await world.until(lambda: len(entries(world)) == 4)
        gate, history = world.gates["media"], world.nodes["media"].ctx.job_history
        assert len(history.uses(np.array([gone]))) == 1
        subjects = gate.lookup.subjects
        tokens = subjects.index.tokens(np.array([column[gone] for column in subjects.columns]))
        database = world.folder / "media" / "node.sqlite"
        assert any(tokens[0].tobytes()[:8] in path.read_bytes() for path in files_of(database))
        # "everybody permits" is recorded under the first identifier; the other goes with it
        await LocalConsent(world.stand.ledger, "media").erase(tokens[0].tobytes())
        await gate.sync()
        assert history.uses(np.array([gone])) == []
        assert len(history.uses(np.array([other]))) == 1
        for token in tokens:
            prefix = token.tobytes()[:8]
            assert not any(prefix in path.read_bytes() for path in files_of(database))


def files_of(database):
    return [path for path in database.parent.iterdir() if path.name.startswith(database.name)]


async def test_a_stored_answer_and_a_plan_say_nothing_new(tmp_path):
    async with World(tmp_path, companies(38)) as world:
        first = await world.run(**crosstab_job())
        await world.until(lambda: len(entries(world)) == 4)
        again = await world.run(**crosstab_job())
        assert again.result.get("answered_from_store") is True
        assert again.result["audit"] == first.result["audit"]
        await world.run(dry_run=True, **crosstab_job(job="other", columns="media/interest"))
        await all_said(world)
        requesters = [t for p, t, _ in entries(world) if p == "shop"]
        assert requesters.count(JOB_ADMITTED) == 1


async def test_erasing_a_person_erases_their_row_from_the_jobs(tmp_path):
    tables = companies(39)
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        await world.until(lambda: len(entries(world)) == 4)
        gate, history = world.gates["media"], world.nodes["media"].ctx.job_history
        person = next(i for i, row in enumerate(tables["media"].rows) if row[0])
        found = gate.lookup.of_address("email", tables["media"].rows[person][0])
        assert found.rows.tolist() == [person]
        # What the company's own sign-in would say of this customer.
        token = world.desks["media"].subject("email", f" {tables['media'].rows[person][0].upper()}")
        assert token == gate.lookup.pseudonyms.text(found.subjects[0])
        assert len(history.uses(found.rows)) == 1
        for subject in found.subjects:
            with contextlib.suppress(ProtocolViolation):  # recorded under the other identifier
                await world.stand.port("media").erase(subject)
        await gate.sync()
        assert history.uses(found.rows) == []
        rows = gate.eligible("audience_insight", ["shop"], ["content"]).rows
        assert person not in rows
        # Their row is still in the table, and `consents: all` still says all.
        await world.stop_node("media")
        await world.start_node("media")
        again = world.gates["media"].eligible("audience_insight", ["shop"], ["content"]).rows
        assert again == rows
