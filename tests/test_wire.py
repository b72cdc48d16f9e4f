"""Nothing of a run leaks: whole jobs over mTLS, every message read inside TLS, every disk.

Protects the central promise (docs/DISCLOSURE.md): neither what crosses a link nor what lies
at the coordinator or the consent service, during a job or after it, holds an identifier, a
label, a name, a value or a key of the run, in any form in which programs write them.
"""

from __future__ import annotations

import contextlib
import logging
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from protocol import transcript
from protocol.errors import ProtocolViolation
from protocol.transcript import ArtifactTag
from protocol.wire import coordinator_pb2 as pb
from protocol.wire import job_pb2
from tests.wire import secrets
from tests.wire.scan import Finding, Scanner
from tests.wire.secrets import JOB_NAMES, UNKNOWN_ATTRIBUTE
from tests.wire.world import SERVICES, WireWorld

NODE_CALLS = {"Hello", "Lease", "Heartbeat", "UploadStatus", "Upload", "Download", "Complete"}
CONSENT_CALLS = {"Hello", "Append", "Replicate"}
# Ciphertexts under an own key without noise in them: docs/adr/0013-what-overlaps.md.
ENCRYPTED_ONLY = {"encrypt", "encrypt_cells", "features", "flags"}
_LOGGERS = ("assent.coordinator", "coordinator", "consent.service", "consent.ledger")


def question(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "job": name,
        "purpose": "audience_insight",
        "protocol": "crosstab",
        "requester": "shop",
        "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed"},
        "rows": "shop/loyalty_rank_qv",
        "columns": "media/hobby_group_wj",
        "measures": ["count", {"sum": "media/spent_amount_wj"}, {"mean": "media/spent_amount_wj"}],
        "privacy": {"noise": "off"},
    } | changes


def members(name: str) -> dict[str, Any]:
    return {
        "job": name,
        "purpose": "overlap_measurement",
        "protocol": "psi",
        "requester": "shop",
        "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed", "reveal": "members"},
    }


def sum_of_both(name: str) -> dict[str, Any]:
    return {
        "job": name,
        "purpose": "audience_insight",
        "protocol": "secure_sum",
        "requester": "shop",
        "with": ["media"],
        "columns": {"shop": ["loyalty_rank_qv"], "media": ["hobby_group_wj"]},
        "privacy": {"noise": "off"},
    }


def lookalike(name: str) -> dict[str, Any]:
    return {
        "job": name,
        "purpose": "lookalike_modelling",
        "protocol": "lookalike",
        "requester": "shop",
        "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed"},
        "seed_flag": "shop/chosen_few_qv",
        "features": ["media/spent_amount_wj"],
        "curve": 2,
        "privacy": {"noise": "off"},
    }


def segments(name: str, mode: str) -> dict[str, Any]:
    reveal = "members" if mode == "exact" else "hidden"
    return {
        "job": name,
        "purpose": "segmentation",
        "protocol": "kmeans",
        "mode": mode,
        "requester": "shop",
        "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed", "reveal": reveal},
        "features": {"shop": ["visits_made_qv"], "media": ["spent_amount_wj"]},
        "k": 2,
        "iterations": 2,
        "privacy": {"noise": "off"},
    }


def leaks(
    world: WireWorld, scanner: Scanner, services: tuple[str, ...] = SERVICES
) -> list[Finding]:
    """Everything that crossed to, and everything that lies or lay at, these services."""
    found = []
    for name, recording in world.links.items():
        if name.endswith(services):
            found += scanner.find(recording.blob(), f"link {name}")
    for folder in (world.folder, *world.snapshots):
        for service in services:
            for path in sorted((folder / service).rglob("*")):
                where = str(path.relative_to(world.folder))
                found += scanner.find(where.encode(), f"name of {where}")
                if path.is_file():
                    found += scanner.find(path.read_bytes(), where)
    return found


def artifacts(folders: list[Path]) -> int:
    return sum(
        path.stat().st_size
        for folder in folders
        for path in folder.glob("coordinator/artifacts/*/*")
    )


def left_early(world: WireWorld) -> set[str]:
    """Kinds of steps whose bytes went out before the node had committed their output."""
    found = set()
    for party in world.companies:
        for message in world.links[f"{party}-coordinator"].messages:
            if (message.method, message.direction, message.head) == ("Upload", "up", False):
                part = pb.UploadChunk.FromString(message.data)
                if part.WhichOneof("part") == "head" and not part.head.sha256:
                    found.add(part.head.key.step.partition("/")[0])
    return found


async def test_a_run_leaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tables = secrets.companies(7)
    async with WireWorld(tmp_path, tables).watch(monkeypatch) as world:
        noisy = await world.run(**question(JOB_NAMES[0], privacy={"rho": 0.1}))
        ecdh = {"on": ["phone", "email"], "mode": "ecdh"}
        exact = await world.run(**question(JOB_NAMES[1], match=ecdh))
        common = await world.run(**members(JOB_NAMES[2]))
        refused = await world.run(
            **question(JOB_NAMES[3], columns=f"media/{UNKNOWN_ATTRIBUTE}", measures=["count"])
        )
        plan = await world.run(dry_run=True, **question(JOB_NAMES[4]))
        summed = await world.run(**sum_of_both(JOB_NAMES[6]))
        models = [
            await world.run(**lookalike(JOB_NAMES[7])),
            await world.run(**segments(JOB_NAMES[8], "grid")),
            await world.run(**segments(JOB_NAMES[9], "exact")),
        ]
        person = next(row[1] for row in tables["media"].rows if row[1])
        said = await world.desks["media"].consent("phone", person, "all", "all", "all", "withdrawn")
        later = await world.run(**question(JOB_NAMES[5]))
        world.snapshot()
        outcomes = [noisy, exact, common, plan, summed, later, *models]
        assert [(o.state, o.error) for o in outcomes] == [("released", None)] * 9
        assert refused.code == "unknown_attribute"
        assert UNKNOWN_ATTRIBUTE in refused.error["cause"]  # so the words did travel
        assert "1 row(s)" in said
        assert "recorded" in said
        patterns = list(secrets.of_run(world, [o.result for o in outcomes if o.result]))
        for outcome in (noisy, exact, summed, later, *models):
            record = world.nodes["shop"].ctx.records.record(outcome.job_id)
            patterns += secrets.commitment_key(record)
        stated = Scanner(secrets.of_statements(world))
    scanner = Scanner(patterns)
    for party in tables:
        assert world.links[f"{party}-consent"].methods() >= CONSENT_CALLS
        assert world.links[f"{party}-coordinator"].methods() >= NODE_CALLS
    assert world.links["shop-coordinator"].methods() >= {"Submit", "Watch"}
    assert "Fail" in world.links["media-coordinator"].methods()
    assert left_early(world) == ENCRYPTED_ONLY
    assert artifacts(world.snapshots) > 100_000  # so the snapshots are of the middle of jobs
    assert leaks(world, scanner) == []
    assert leaks(world, stated, ("coordinator",)) == []
    # They did cross to the consent service, where this scanner finds every kind of them.
    found = {finding.what.partition(" ")[0] for finding in leaks(world, stated, ("consent",))}
    assert found == {"id", "signature", "eligible_set", "policy", "root", "name"}
    for record in caplog.records:
        if record.name.startswith(_LOGGERS):
            assert scanner.find(record.getMessage().encode(), record.name) == []


async def test_no_signature_tests_a_guess_of_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator holds signatures and public keys, so it must lack something signed.

    Before the parties' nonces are known, offers, admissions and plans are bound to the proposal;
    a proposal of guessable words alone would let the coordinator try questions until one fits.
    """
    asked = question(JOB_NAMES[4])
    async with WireWorld(tmp_path, secrets.companies(8)).watch(monkeypatch) as world:
        outcome = await world.run(dry_run=True, **asked)
        assert outcome.state == "released"
    canonical = world.job(**asked).canonical()
    proposal = next(value for name, value in world.vault if name == "proposal")
    nonce = job_pb2.Proposal.FromString(proposal).nonce  # a secret of the run, see secrets.py
    assert len(nonce) == 32
    assert any(nonce)
    signed, verified = set(), set()
    for party in world.companies:
        for message in world.links[f"{party}-coordinator"].messages:
            if (message.method, message.direction, message.head) != ("Complete", "up", False):
                continue
            done = pb.CompleteRequest.FromString(message.data)
            key, card = done.key, world.keys[party].card
            signed.add(key.step)
            for known, recipient in product((b"", bytes(32), nonce), ("*", *world.keys)):
                guess = transcript.proposal_hash(
                    outcome.job_id, canonical, nonce=known, dry_run=True
                )
                tag = ArtifactTag(guess, key.step, key.attempt, party, recipient)
                with contextlib.suppress(ProtocolViolation):
                    transcript.verify(tag, done.sha256, done.signature, card.signing_key)
                    assert known == nonce, f"{key.step} tells a guess of the question"
                    verified.add(key.step)
    assert signed == verified == {"offer/shop", "offer/media", "plan/shop", "plan/media"}
