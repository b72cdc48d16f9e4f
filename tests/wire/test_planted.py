"""The leak test finds leaks: each way of writing a secret, and mistakes that people make.

Without these, `tests/test_wire.py` would pass as well if it looked in the wrong place.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest

from consent.pseudonyms import Pseudonyms
from coordinator.jobs import Coordinator
from party_node import node, steps_terms
from protocol.errors import BadInput
from protocol.psi.tokens import TOKEN
from protocol.transport.port import JobRequest, JobStatus
from tests.test_wire import leaks, question
from tests.wire import secrets
from tests.wire.scan import Finding, Scanner
from tests.wire.secrets import HOBBIES, JOB_NAMES, RANKS, UNKNOWN_ATTRIBUTE
from tests.wire.world import WireWorld
from tests.world import Outcome


def _sha(name: str, value: str) -> bytes:
    return hashlib.new(name, value.encode()).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


# How an e-mail address gets into a text field of a message.
FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda email: f"failed at {email}.",
    "upper case": lambda email: email.upper(),
    "hex": lambda email: "x" + email.encode().hex(),
    "HEX": lambda email: email.encode().hex().upper(),
    "base64 at 0": lambda email: _b64(b"abc" + email.encode()),
    "base64 at 1": lambda email: _b64(b"{" + email.encode() + b"}"),
    "base64 at 2": lambda email: _b64(b'["' + email.encode() + b'"]'),
    "base64 urlsafe": lambda email: _url(b"key" + email.encode()),
    "percent": lambda email: f"?q={quote(email, safe='')}",
    "md5": lambda email: _sha("md5", email).hex(),
    "sha1 HEX": lambda email: _sha("sha1", email).hex().upper(),
    "sha256": lambda email: _sha("sha256", email).hex(),
    "sha256, cut": lambda email: _sha("sha256", email).hex()[:32],
    "sha256, base64": lambda email: _b64(_sha("sha256", email)),
    "sha256, base64 urlsafe": lambda email: _url(b"a" + _sha("sha256", email)),
    "sha512": lambda email: _sha("sha512", email).hex(),
    "sha256 with its type": lambda email: _sha("sha256", f"email:{email}").hex(),
}
WORDS: dict[str, str] = {
    "label": RANKS[0],
    "label in Chinese": HOBBIES[1],
    "attribute": "media/hobby_group_wj",
    "column": secrets.IDS["shop"]["phone"],
    "hashed label": _sha("sha256", RANKS[1]).hex(),
    "job name": JOB_NAMES[0],
}


@dataclass
class Planting:
    """A port that adds a note to the public parameters of every job."""

    port: Any
    note: str = ""
    sent: list[JobRequest] = field(default_factory=list)

    async def submit(self, request: JobRequest) -> JobStatus:
        planted = replace(request, params=dict(request.params) | {"note": self.note})
        self.sent.append(planted)
        return await self.port.submit(planted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


def _notes(tables: Any) -> Iterator[tuple[str, str]]:
    """Each form with a person of its own, so that no plant is found for another's sake."""
    shop = tables["shop"]
    emails = [row[0].strip().lower() for row in shop.rows if row[0]]
    for (form, write), email in zip(FORMS.items(), emails, strict=False):
        yield form, write(email)
    yield from WORDS.items()
    values = [row[-1] for row in tables["media"].rows]
    yield "measured value", values[0]
    yield "measured value, scaled", values[1].replace(".", "")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Per form where it was found.  One world for all of them: each is a job, cancelled."""
    tables = secrets.companies(11)
    found: dict[str, set[str]] = {}

    async def run(patch: pytest.MonkeyPatch) -> None:
        world = WireWorld(tmp_path_factory.mktemp("planted"), tables).watch(patch)
        async with world:
            scanner = Scanner(secrets.of_run(world, []))
            assert leaks(world, scanner) == []
            desk = world.desks["shop"]
            desk._port = port = Planting(desk._port)
            recording, known = world.links["shop-coordinator"], 0
            for form, note in _notes(tables):
                port.note = note
                job = await world.submit(dry_run=True, **question(JOB_NAMES[0]))
                await desk.cancel(job)
                crossed = b"".join(m.data for m in recording.messages[known:])
                known = len(recording.messages)
                found[form] = {f.where for f in scanner.find(crossed, "link")}
                assert json.dumps(note)[1:-1].encode() in crossed or note.encode() in crossed
            world.snapshots = []  # twenty copies of the same
            found["disk"] = {
                finding.what
                for finding in leaks(world, scanner)
                if finding.where.startswith("coordinator/coordinator.sqlite")
            }

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(run(patch))
    return found


@pytest.mark.parametrize("form", [*FORMS, *WORDS, "measured value", "measured value, scaled"])
def test_a_planted_secret_is_found_in_every_form(form: str, planted: dict[str, set[str]]) -> None:
    assert planted[form] == {"link"}


def test_what_was_planted_is_found_on_the_coordinators_disk(planted: dict[str, set[str]]) -> None:
    assert planted["disk"] >= {"email", "word of a job", "measured value", "column of shop"}


# -- mistakes that people make -----------------------------------------------------------------


async def _run(
    folder: Path, patch: pytest.MonkeyPatch, **changes: Any
) -> tuple[Outcome, list[Finding]]:
    tables = secrets.companies(12)
    async with WireWorld(folder, tables).watch(patch) as world:
        outcome = await world.run(**question(JOB_NAMES[0], **changes))
        results = [outcome.result] if outcome.result else []
        scanner = Scanner(secrets.of_run(world, results))
    return outcome, leaks(world, scanner)


def _where(found: list[Finding]) -> set[str]:
    return {finding.where.split("/")[0] for finding in found}


async def test_tokens_without_a_key_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unkeyed:
        def tokens(self, kind: str, ids: pa.StringArray) -> np.ndarray:
            digests = [_sha("sha256", v)[:TOKEN] if v else bytes(TOKEN) for v in ids.to_pylist()]
            return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, TOKEN)

    monkeypatch.setattr(node, "duckdb_prf", lambda k: Unkeyed())
    outcome, found = await _run(tmp_path, monkeypatch)
    assert outcome.state == "released"
    assert {"link shop-coordinator", "link media-coordinator", "snapshot-0"} <= _where(found)
    assert {finding.form for finding in found} == {"sha256"}


async def test_points_that_nobody_blinded_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_terms, "random_scalar", lambda random: (1).to_bytes(32, "little"))
    match = {"on": ["phone", "email"], "mode": "ecdh"}
    outcome, found = await _run(tmp_path, monkeypatch, match=match)
    assert outcome.state == "released"
    points = [f for f in found if f.what.startswith("unblinded point")]
    assert {"link shop-coordinator", "link media-coordinator", "snapshot-0"} <= _where(points)


async def test_pseudonyms_without_a_key_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unkeyed(self: Pseudonyms, kind: str, ids: pa.StringArray) -> np.ndarray:
        digests = [_sha("sha256", f"{kind}:{value}") for value in ids.to_pylist()]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)

    monkeypatch.setattr(Pseudonyms, "tokens", unkeyed)
    _, found = await _run(tmp_path, monkeypatch)
    assert {"link shop-consent", "link media-consent", "consent"} <= _where(found)


async def test_words_of_a_refusal_that_are_not_sealed_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "seal_error", lambda info, job, key: info)
    outcome, found = await _run(
        tmp_path, monkeypatch, columns=f"media/{UNKNOWN_ATTRIBUTE}", measures=["count"]
    )
    assert outcome.code == "unknown_attribute"
    # The provider says it, the coordinator keeps it and tells it to the requester.
    assert {"link media-coordinator", "link shop-coordinator", "coordinator"} <= _where(found)


async def test_words_in_the_trailers_of_a_refused_call_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Coordinator, peer: str, request: JobRequest) -> JobStatus:
        raise BadInput(f"no such thing as {RANKS[0]}")

    monkeypatch.setattr(Coordinator, "submit", refuse)
    async with WireWorld(tmp_path, secrets.companies(13)).watch(monkeypatch) as world:
        with pytest.raises(BadInput, match=RANKS[0]):
            await world.run(**question(JOB_NAMES[0]))
        found = leaks(world, Scanner(secrets.of_run(world, [])))
    assert _where(found) == {"link shop-coordinator"}


async def test_a_key_beside_the_proof_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requester's Paillier primes appended to the encrypted rows."""
    from party_node import handlers

    encrypt = handlers.STEPS["encrypt"]

    def careless(session: Any, task: Any) -> Any:
        made = encrypt(session, task)
        p = session.paillier_key.p
        tail = np.frombuffer(p.to_bytes(128, "little"), np.uint8)
        return replace(made, chunks=[*made.chunks, tail])

    monkeypatch.setattr(handlers, "STEPS", dict(handlers.STEPS) | {"encrypt": careless})
    _, found = await _run(tmp_path, monkeypatch)
    assert "Paillier p" in {finding.what for finding in found}


# -- the scanner itself ------------------------------------------------------------------------


def test_a_secret_is_found_wherever_it_stands() -> None:
    from tests.wire import scan

    value = "unusual_word_kz"
    scanner = Scanner(scan.text("word", value))
    size = scan._BLOCK
    for at in (0, 1, size - 8, size - 4, size, 2 * size - len(value)):
        blob = bytearray(2 * size)
        blob[at : at + len(value)] = value.encode()
        assert [(f.form, f.offset) for f in scanner.find(bytes(blob), "")] == [("raw", at)]


def test_numbers_are_found_in_binary_forms() -> None:
    import struct

    from tests.wire import scan

    scanner = Scanner(scan.number("value", "284179302.1766", 4))
    scaled = 2841793021766
    for blob in (
        struct.pack("<q", scaled), struct.pack(">q", scaled), struct.pack("<d", 284179302.1766),
        b"x" + _b64(b"12" + struct.pack("<q", scaled)).encode(), str(scaled).encode(),
    ):  # fmt: skip
        assert scanner.find(b"....." + blob + b".....", ""), blob
    assert not scanner.find(struct.pack("<q", scaled + 1), "")


def test_a_pattern_that_chance_would_meet_is_refused() -> None:
    from tests.wire import scan

    with pytest.raises(ValueError, match="too short"):
        Scanner([scan.Pattern("count", "raw", b"1234")])
