"""Parties that do not keep the protocol: bad keys, ciphertexts, points, tokens, outputs.

Whole jobs in the in-memory world.  What a party sends that an honest one cannot
send ends the job as failed, in words, with nothing released (docs/ATTACKS.md).
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from party_node import steps_terms
from party_node.session import KeyMaker
from protocol.frames import frame_head, parse_head
from protocol.paillier.keys import generate
from protocol.paillier.proof import prove
from protocol.wire import crosstab_pb2, psi_pb2
from tests.faulty_world import MADE, FaultyWorld
from tests.test_jobs import companies, crosstab_job

NOISY = {"privacy": {"noise": "on", "rho": 0.02}}
COST = 20_000_000
ECDH = {"match": {"on": ["phone", "email"], "mode": "ecdh"}}


def spoiling(step, kind, spoil):
    """`step`'s author is hostile: it signs and sends what `spoil(rows of the body)` made of it."""

    def on(moment):
        if (moment.name, moment.step) == (MADE, step):
            head, offset = parse_head(moment.output.read_bytes(), kind)
            body = np.frombuffer(moment.output.read_bytes()[offset:], np.uint8).copy()
            changed = spoil(head, body)
            moment.output.write_bytes(frame_head(head) + changed.tobytes())

    return on


# -- a hostile requester -------------------------------------------------------------------


def ciphertexts(head, body):
    return body.reshape(-1, 2 * head.key_bits // 8)


def zero(head, body):
    ciphertexts(head, body)[:] = 0
    return body


def above_the_modulus(head, body):
    ciphertexts(head, body)[:] = 0xFF
    return body


def one_row_twice(head, body):
    rows = ciphertexts(head, body)
    rows[1::2] = rows[0 : len(rows) - len(rows) % 2 : 2]
    return body


def short(head, body):
    return body[:-1]


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (zero, "bad_ciphertext", "ciphertext"),
        (above_the_modulus, "bad_ciphertext", "ciphertext"),
        (one_row_twice, "bad_ciphertext", "same ciphertext was sent twice"),
        (short, "bad_artifact", "not as long as it says"),
    ],
)
async def test_bad_ciphertexts(tmp_path, spoil, code, words):
    on = spoiling("encrypt", crosstab_pb2.RowUpload, spoil)
    async with FaultyWorld(tmp_path, companies(41), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", code, words)


async def test_a_key_whose_proof_does_not_hold(tmp_path, monkeypatch):
    def forged(key, context):
        return [bytes(len(sigma)) for sigma in prove(key, context)]

    monkeypatch.setattr(steps_terms.proof, "prove", forged)
    async with FaultyWorld(tmp_path, companies(42)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "bad_key", "key", party="media")


async def test_a_proof_made_for_another_job(tmp_path, monkeypatch):
    monkeypatch.setattr(steps_terms.proof, "prove", lambda key, context: prove(key, b"other job"))
    async with FaultyWorld(tmp_path, companies(42)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "bad_key", "proof", party="media")


async def test_a_key_that_is_too_short(tmp_path):
    """The provider of a real collaboration: the tests' small keys are not for it."""
    async with FaultyWorld(tmp_path, companies(43)) as world:
        node = world.nodes["media"]
        object.__setattr__(node.ctx, "make_key", KeyMaker(generate))
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "bad_key", "2048", party="media")


async def test_a_proposal_that_differs_from_party_to_party(tmp_path):
    """The requester itself equivocates: media sees a count, shop runs a sum."""
    async with FaultyWorld(tmp_path, companies(44)) as world:
        desk = world.desks["shop"]
        honest = desk._proposals

        def two_faced(job_id, spec, dry_run):
            asked = honest(job_id, spec, dry_run)
            harmless = replace(spec, measures=spec.measures[:1])
            return asked | {"media": honest(job_id, harmless, dry_run)["media"]}

        desk._proposals = two_faced
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "bad_signature", "signed for this job")


# -- points ------------------------------------------------------------------------------------


def identity_point(head, body):
    body.reshape(-1, 32)[3] = 0
    return body


def not_canonical(head, body):
    body.reshape(-1, 32)[3] = 0xFF
    return body


def off_the_group(head, body):
    body.reshape(-1, 32)[3] = 0
    body.reshape(-1, 32)[3, 0] = 3  # odd: negative, so no encoding
    return body


def point_twice(head, body):
    points = body.reshape(-1, 32)
    points[5] = points[3]
    return body


@pytest.mark.parametrize("author", ["shop", "media"])
@pytest.mark.parametrize(
    ("spoil", "code"),
    [(identity_point, "bad_point"), (not_canonical, "bad_point"), (off_the_group, "bad_point"),
     (point_twice, "duplicate_point"), (short, "bad_artifact")],
)  # fmt: skip
async def test_bad_points(tmp_path, spoil, code, author):
    reader = {"shop": "media", "media": "shop"}[author]
    on = spoiling(f"points/{author}", psi_pb2.Points, spoil)
    async with FaultyWorld(tmp_path, companies(45, 30, 30), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY, **ECDH))
        await world.assert_ended(outcome, "failed", code, party=reader)


def same_token_everywhere(head, body):
    body.reshape(-1, head.types * head.width)[:, : head.width] = 7
    return body


async def test_one_token_for_everybody(tmp_path):
    on = spoiling("tokens/media", psi_pb2.TokenUpload, same_token_everywhere)
    async with FaultyWorld(tmp_path, companies(46), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "duplicate_token", "one token twice")


async def test_tokens_of_another_number_than_was_admitted(tmp_path):
    def fewer(head, body):
        row = head.types * head.width
        head.handles -= 1
        return body[:-row]

    on = spoiling("tokens/media", psi_pb2.TokenUpload, fewer)
    async with FaultyWorld(tmp_path, companies(46), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "bad_artifact", "another size")


# -- a hostile provider ------------------------------------------------------------------------


def garbage(head, body):
    rows = ciphertexts(head, body)
    rows[:] = np.frombuffer(os.urandom(rows.size), np.uint8).reshape(rows.shape)
    rows[:, -1] = 0  # below the modulus' square
    return body


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(garbage, "out_of_range"), (zero, "bad_ciphertext"), (short, "bad_artifact"),
     (one_row_twice, "bad_ciphertext")],
)  # fmt: skip
async def test_bad_outputs(tmp_path, spoil, code):
    """Budget is spent: outputs left."""
    on = spoiling("aggregate/media", crosstab_pb2.Outputs, spoil)
    async with FaultyWorld(tmp_path, companies(47), on=on) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", code, party="shop", spent=COST)
