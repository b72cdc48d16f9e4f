"""A coordinator that lies: other inputs, other authors, other steps, steps given again.

Whole jobs in the in-memory world, most with the product's coordinator in hostile hands: its
leases are changed on the way, or it runs another function than it should.  The nodes end the
job as failed, in words, with nothing released (docs/ATTACKS.md).
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coordinator.protocols import matched
from coordinator.rows import OPEN, STEPS, ref_dict
from protocol import identity, transcript
from protocol.encoding import sha256
from protocol.frames import frame_head, parse_head
from protocol.transcript import ArtifactTag
from protocol.transport.digest import step_digest
from protocol.transport.port import COORDINATOR, StepKey
from protocol.wire import job_pb2
from tests.faulty_world import BEGIN, FaultyWorld, lying
from tests.test_jobs import assert_equal, companies, crosstab_job, expected

NOISY = {"privacy": {"noise": "on", "rho": 0.02}}
COST = 20_000_000
ECDH = {"match": {"on": ["phone", "email"], "mode": "ecdh"}}


def renamed(refs, name, **changes):
    return tuple(replace(ref, **changes) if ref.name == name else ref for ref in refs)


@pytest.mark.parametrize(
    ("step", "name", "changes", "code"),
    [
        ("admit/media", "offer/shop", {"signature": bytes(64)}, "bad_signature"),
        ("admit/media", "offer/shop", {"recipient": "shop"}, "bad_signature"),
        ("admit/media", "offer/shop", {"author": "media"}, "bad_signature"),
        ("recheck", "rows", {"attempt": 2}, "session_lost"),
    ],
)
async def test_references_that_are_not_what_was_signed(tmp_path, step, name, changes, code):
    def lie(lease):
        if lease.key.step != step:
            return lease
        return lying(lease, inputs=renamed(lease.inputs, name, **changes))

    async with FaultyWorld(tmp_path, companies(48), lie=lie) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", code)


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("admit/media", lambda inputs: inputs[:1]),  # an offer is kept back
        ("admit/shop", lambda inputs: ()),
        ("key/media", lambda inputs: inputs[:1]),
        ("tokens/media", lambda inputs: tuple(ref for ref in inputs if ref.name != "key")),
        ("encrypt", lambda inputs: inputs[:1]),
        ("aggregate/media", lambda inputs: inputs[:2]),
        ("admit/media", lambda inputs: tuple(  # one party's offer in the place of the other's
            replace(ref, name={"offer/shop": "offer/media", "offer/media": "offer/shop"}[ref.name])
            for ref in inputs)),
    ],
)  # fmt: skip
async def test_inputs_that_a_step_does_not_take(tmp_path, step, change):
    def lie(lease):
        return lying(lease, inputs=change(lease.inputs)) if lease.key.step == step else lease

    async with FaultyWorld(tmp_path, companies(49), lie=lie) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "equivocation", step)
        assert "do not trust this coordinator" in outcome.error["next_step"]


async def test_what_an_earlier_attempt_left(tmp_path):
    """Rightly signed, by the right author, for the right step, of the attempt before."""
    first = []

    def on(moment):
        if (moment.name, moment.step, moment.attempt) == (BEGIN, "recheck", 1):
            world.withdraw("shop", "email", email)

    def lie(lease):
        if lease.key.step != "recheck":
            return lease
        (ref,) = lease.inputs
        path = world.coordinator.files.path(ref.job, ref.id)
        if lease.key.attempt == 1:
            first[:] = [ref, path.read_bytes()]
            return lease
        path.write_bytes(first[1])
        return lying(lease, inputs=(replace(first[0], id=ref.id),))

    tables = companies(57)
    email = next(row[0] for row in tables["shop"].rows[4:] if row[0])
    async with FaultyWorld(tmp_path, tables, on=on, lie=lie) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(
            outcome, "failed", "equivocation", "another job or attempt", party="shop"
        )


async def test_a_matching_key_of_the_coordinators_own(tmp_path):
    """It can seal to anybody and sign for itself: with its own K it could test identifiers."""
    forged = {}

    def forge(lease):
        if lease.key.step != "tokens/media":
            return lease
        (real,) = [ref for ref in lease.inputs if ref.name == "key"]
        admit = world.coordinator.files.path(lease.key.job, lease.inputs[0].id)
        job_hash = parse_head(admit.read_bytes(), job_pb2.Admission)[0].job_hash
        message = job_pb2.KeyDelivery(k=b"k" * 32).SerializeToString()
        info = ArtifactTag(job_hash, "key/media", 1, "shop", "media").info()
        sealed = identity.seal(world.keys["media"].card.sealing_key, message, info)
        data = frame_head(job_pb2.Sealed(sealed=sealed))
        world.coordinator.files.path(lease.key.job, real.id).write_bytes(data)
        tag = ArtifactTag(job_hash, "key/media", 1, COORDINATOR, "media")
        signature = transcript.sign(tag, sha256(data), world.keys["coordinator"].signing)
        forged.update(author=COORDINATOR, sha256=sha256(data), size=len(data), signature=signature)
        return lying(lease, inputs=renamed(lease.inputs, "key", **forged))

    async with FaultyWorld(tmp_path, companies(50), lie=forge) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        assert forged
        await world.assert_ended(
            outcome, "failed", "equivocation", "key/media of shop", "of coordinator", party="media"
        )


async def test_a_job_in_another_mode_than_was_asked(tmp_path):
    """`ecdh` asked, `keyed` run: tokens a coordinator and a party could test guesses against."""

    async def downgraded(ctx):
        ctx.job = replace(ctx.job, params=dict(ctx.job.params) | {"mode": "keyed"})
        await matched.run(ctx)

    registry = {("crosstab", 1): downgraded}
    async with FaultyWorld(tmp_path, companies(51), registry=registry) as world:
        outcome = await world.run(**crosstab_job(**NOISY, **ECDH))
        await world.assert_ended(outcome, "failed", "equivocation", "is no step of this party")


async def test_members_of_a_hidden_match(tmp_path):
    async def revealing(ctx):
        ctx.job = replace(ctx.job, params=dict(ctx.job.params) | {"reveal": "members"})
        await matched.run(ctx)

    registry = {("crosstab", 1): revealing}
    async with FaultyWorld(tmp_path, companies(51), registry=registry) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "equivocation", "members/")
        assert not list(tmp_path.glob("*/members/*"))


async def test_a_plan_that_is_run(tmp_path):
    async def eager(ctx):
        ctx.job = replace(ctx.job, params=dict(ctx.job.params) | {"dry_run": False})
        await matched.run(ctx)

    registry = {("crosstab", 1): eager}
    async with FaultyWorld(tmp_path, companies(52), registry=registry) as world:
        outcome = await world.run(**crosstab_job(**NOISY), dry_run=True)
        await world.assert_ended(outcome, "failed", "equivocation", "admit/shop is no step")


async def test_the_last_look_at_consent_left_out(tmp_path, monkeypatch):
    from coordinator.engine import JobContext

    honest = JobContext.party_step

    async def hasty(ctx, step_id, *args, **options):
        return None if step_id == "recheck" else await honest(ctx, step_id, *args, **options)

    monkeypatch.setattr(JobContext, "party_step", hasty)
    async with FaultyWorld(tmp_path, companies(53)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(
            outcome, "failed", "equivocation", "last look at consent", party="shop", spent=COST
        )


async def test_a_step_under_a_second_name_for_a_second_noise(tmp_path):
    """The average of many answers would be the exact one; one payment, one answer."""

    async def averaging(ctx):
        honest = ctx.party_step

        async def twice(step_id, party, inputs=None, **options):
            if step_id == "aggregate/media":
                await honest(step_id, party, inputs, **options)
                step_id = "aggregate/media/again"
            return await honest(step_id, party, inputs, **options)

        ctx.party_step = twice
        await matched.run(ctx)

    registry = {("crosstab", 1): averaging}
    async with FaultyWorld(tmp_path, companies(54), registry=registry) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(
            outcome, "failed", "equivocation", "aggregate/media/again is no step", spent=COST
        )


def reopen(world, key, **changes):
    """The coordinator gives a finished step again, as if it had never got its output."""
    board, store = world.coordinator.board, world.coordinator.store
    row = store.step(key)
    inputs = changes.get("inputs", row.inputs)
    digest = step_digest(key, row.party, row.recipient, row.params, inputs)
    with store._engine.begin() as db:
        db.execute(
            STEPS.update()
            .where(STEPS.c.job == key.job, STEPS.c.attempt == key.attempt, STEPS.c.step == key.step)
            .values(
                state=OPEN, sha256=None, upload_sha256=None, size=None, signature=None,
                digest=digest,
                inputs=json.dumps([ref_dict(ref) for ref in inputs]),
            )
        )  # fmt: skip
    board._parties.bell(row.party).ring()
    return row


@pytest.mark.parametrize("privacy", [NOISY, {}])
async def test_a_replayed_step_gives_the_same_bytes(tmp_path, privacy):
    """Noise included: nothing is averaged away by asking again."""
    seen = []

    async def again(world, key):
        before = reopen(world, key)
        await world.until(lambda: world.coordinator.store.step(key).state != OPEN)
        after = world.coordinator.store.step(key)
        seen.append((before.sha256, after.sha256))

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, "open") and not seen:
            world.now_in_loop(again(world, StepKey(moment.task.job, 1, "aggregate/media")))

    tables = companies(55)
    async with FaultyWorld(tmp_path, tables, on=on) as world:
        outcome = await world.run(**crosstab_job(**privacy))
        assert outcome.state == "released", outcome.error
        await world.assert_over(outcome)
        world.assert_spent(outcome.job_id, COST if privacy else 0)
    ((before, after),) = seen
    assert before == after
    if not privacy:
        assert_equal(outcome, *expected(tables))


async def test_a_finished_step_with_another_input(tmp_path):
    """Equivocation: the second layout is never looked at, the job ends on both sides."""
    seen = []

    async def again(world, key):
        row = world.coordinator.store.step(key)
        other = renamed(row.inputs, "layout", sha256=bytes(32))
        seen.append(reopen(world, key, inputs=other))
        await world.until(lambda: world.coordinator.store.step(key).state != OPEN)

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, "open") and not seen:
            world.now_in_loop(again(world, StepKey(moment.task.job, 1, "aggregate/media")))

    async with FaultyWorld(tmp_path, companies(56), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        assert (outcome.state, outcome.code) == ("failed", "equivocation"), outcome.error
        assert "asked for aggregate/media again with another input" in outcome.error["cause"]
        await world.assert_over(outcome)
        world.assert_spent(outcome.job_id, COST)
