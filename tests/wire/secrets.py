"""Everything of a run that neither coordinator nor consent service may ever hold.

Two companies whose every word and number is unusual, so that finding one of them means
something, and the list of all secrets of a run with them.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from consent.pseudonyms import Pseudonyms
from consent.trust import base_of
from party_node.consent_gate import NodeGate
from protocol.identity import Keys
from protocol.psi.ecdh import Curve
from protocol.psi.identifiers import canonicalise
from protocol.psi.tokens import type_key
from protocol.wire import job_pb2
from tests.wire import scan
from tests.wire.scan import Pattern
from tests.wire.world import WireWorld
from tests.world import Company

RANKS = ["diamond_guild_xa", "黄金会员档", "bronze_guild_xa"]
HOBBIES = ["glider_flying_wj", "竹笛演奏会", "sourdough_wj"]
DECIMALS = 4
IDS = {"shop": {"email": "contact_mail_kz", "phone": "mobile_no_kz"},
       "media": {"email": "post_addr_wj", "phone": "handy_col_wj"}}  # fmt: skip
TAGS = {"shop": {"loyalty_rank_qv": "loyalty_tier_kz"},
        "media": {"hobby_group_wj": "hobby_col_wj", "spent_amount_wj": "spent_col_wj"}}  # fmt: skip
JOB_NAMES = ("keyed_question_zq", "ecdh_question_zq", "members_question_zq",
             "refused_question_zq", "planned_question_zq", "later_question_zq",
             "summed_question_zq")  # fmt: skip
UNKNOWN_ATTRIBUTE = "never_offered_tag_vb"
REGION = "CN"
# Secrets of a job that its own vault names; the others there are public or no secret.
KEYS_IN_VAULT = ("k", "scalar")
ARRAYS_IN_VAULT = ("eligible", "rows_of_handles")
MESSAGES_IN_VAULT = ("proposal", "offer", "offers")


def companies(seed: int, n_left: int = 40, n_right: int = 48) -> dict[str, Company]:
    """About half of the smaller table in common; dirty formatting, gaps, consents of two kinds."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    people = [
        (f" Zhang.Wei{i:03d}@Kunden-{seed}.Example ", f"138 {rng.randrange(10**8):08d}")
        for i in range(n_left + n_right // 2)
    ]

    def ids(i: int) -> list[str]:
        email, phone = people[i]
        return [email if rng.random() > 0.15 else "", phone if rng.random() > 0.15 else ""]

    left = [[*ids(i), rng.choice(RANKS)] for i in range(n_left)]
    right = [
        [*ids(i), rng.choice(HOBBIES), f"{rng.randrange(2 * 10**12, 9 * 10**12) / 10**4:.4f}"]
        for i in range(n_left - n_right // 2, n_left + n_right // 2)
    ]
    policy = {"min_cohort": 1, "noise": "optional", "reveal": "members"}
    common = {"default_region": REGION, "policy": policy}
    label = {"kind": "label", "category": "purchases", "column": "loyalty_tier_kz"}
    hobby = {"kind": "label", "category": "content", "column": "hobby_col_wj"}
    spent = {"kind": "number", "category": "behaviour", "column": "spent_col_wj",
             "bounds": [1, 10**9], "decimals": DECIMALS}  # fmt: skip
    said = [
        [row[0], purpose, "media", category, "given" if rng.random() > 0.1 else "refused"]
        for row in left
        for purpose in ("audience_insight", "overlap_measurement")
        for category in ("purchases", "content")
        if row[0]
    ]
    return {
        "shop": Company(
            [*IDS["shop"].values(), "loyalty_tier_kz"], left,
            common | {"ids": IDS["shop"],
                      "attributes": {"loyalty_rank_qv": label | {"values": RANKS}}},
            [["email", "purpose", "recipient", "category", "status"], *said],
        ),
        "media": Company(
            [*IDS["media"].values(), "hobby_col_wj", "spent_col_wj"], right,
            common | {"ids": IDS["media"],
                      "attributes": {"hobby_group_wj": hobby | {"values": HOBBIES},
                                     "spent_amount_wj": spent}},
        ),
    }  # fmt: skip


def of_run(world: WireWorld, results: list[Mapping[str, Any]]) -> Iterator[Pattern]:
    """Every pattern of everything secret of a run."""
    for name in world.companies:
        yield from _table(name, world.companies[name])
        yield from _own_keys(name, world.keys[name], world.gates[name])
    for service in ("coordinator", "consent"):
        yield from _kit(service, world.keys[service])
    for word in (*JOB_NAMES, UNKNOWN_ATTRIBUTE, *RANKS, *HOBBIES):
        yield from scan.text("word of a job", word)
    for name, value in {*world.vault}:
        yield from _vault(name, value)
    for result in results:
        yield from _result(result)


def _table(party: str, company: Company) -> Iterator[Pattern]:
    for word in company.columns:
        yield from scan.text(f"column of {party}", word)
    for word in TAGS[party]:
        yield from scan.text(f"attribute of {party}", word)
    for position, kind in enumerate(IDS[party]):
        canonical = set()
        for raw in {row[position] for row in company.rows if row[position]}:
            found = canonicalise(kind, raw, REGION)
            assert found is not None
            canonical.add(found)
            for value in {raw, raw.strip(), found, found.lstrip("+")}:
                yield from scan.identifier(kind, value)
        points = Curve(1).hash_to_group(kind, pa.array(sorted(canonical), pa.string()))
        for point in points:
            yield from scan.written(f"unblinded point of {kind}", point.tobytes())
    for row in company.rows:
        if party == "media":
            yield from scan.number("measured value", row[-1], DECIMALS)


def _own_keys(party: str, keys: Keys, gate: NodeGate) -> Iterator[Pattern]:
    yield from _kit(party, keys)
    pseudonyms: Pseudonyms = gate._pseudonyms
    yield from scan.key(f"pseudonym key of {party}", pseudonyms.key.reveal())
    yield from scan.key(f"derived pseudonym key of {party}", pseudonyms._derived())


def _kit(name: str, keys: Keys) -> Iterator[Pattern]:
    from cryptography.hazmat.primitives import serialization

    yield from scan.key(f"storage key of {name}", keys.storage.reveal())
    yield from scan.key(f"signing key of {name}", keys.signing.reveal())
    yield from scan.key(f"sealing key of {name}", keys.sealing.reveal())
    pem = keys.tls_key.reveal()
    yield Pattern(f"TLS key of {name}", "PEM", pem.splitlines()[2])
    loaded = serialization.load_pem_private_key(pem, None)
    number = loaded.private_numbers().private_value  # type: ignore[union-attr]
    yield from scan.big(f"TLS key of {name}", number)


def _vault(name: str, value: bytes) -> Iterator[Pattern]:
    if name in KEYS_IN_VAULT or name.startswith("seed-"):
        yield from scan.key(f"{name} of a job", value)
    if name == "k":
        for kind in ("email", "phone"):
            yield from scan.key(f"{kind} key under K", type_key(value, kind).reveal())
    if name in ARRAYS_IN_VAULT:
        yield from scan.written(f"{name} of a job", value)
    if name == "paillier":
        yield from _paillier(value)
    if name in MESSAGES_IN_VAULT or name.startswith("turn-"):
        yield from scan.written(f"{name} of a job", value)
    if name == "proposal":
        proposal = job_pb2.Proposal.FromString(value)
        yield from scan.text("the question", proposal.job.decode())
        yield from scan.written("signature under the question", proposal.signature)
        yield from scan.key("nonce of the question", proposal.nonce)
    if name == "offer":
        # Whoever had the nonces could test guesses of the question against the job hash.
        offer = job_pb2.Offer.FromString(value)
        yield from scan.key("nonce of an offer", offer.nonce)
        yield from scan.key("data version", offer.data_version)


def _paillier(value: bytes) -> Iterator[Pattern]:
    fields = json.loads(value)
    p, q = int(fields["p"], 16), int(fields["q"], 16)
    lam = math.lcm(p - 1, q - 1)
    for name, secret in {
        "p": p, "q": q, "p-1": p - 1, "q-1": q - 1, "lambda": lam, "phi": (p - 1) * (q - 1),
        "mu": pow(lam, -1, p * q),
    }.items():  # fmt: skip
        yield from scan.big(f"Paillier {name}", secret)
    for factors in (fields["p_factors"], fields["q_factors"]):
        # The large prime of p-1; the small ones are met everywhere.
        yield from scan.big("Paillier factor", max(int(factor, 16) for factor in factors))


def _result(result: Mapping[str, Any]) -> Iterator[Pattern]:
    """Sums and means; counts are too small to search for."""
    for cell in result.get("cells", ()):
        for name, value in cell.items():
            if name[:4] not in ("sum:", "mean") or value is None or abs(value) < 1e6:
                continue  # noise can make them small, and small ones mean nothing
            if name.startswith("sum:"):
                decimal = Decimal(str(value)).quantize(Decimal(1).scaleb(-DECIMALS))
                yield from scan.number("a released sum", str(decimal), DECIMALS)
            else:
                yield from scan.written("a released mean", repr(value).encode())


def of_statements(world: WireWorld) -> Iterator[Pattern]:
    """What parties state about jobs in the job log, and the names of the logs: between them and
    the consent service, nothing of the coordinator's."""
    for name, node in world.nodes.items():
        for said, _ in node.ctx.job_log.statements():
            what = f"{said['type']} of {name}"
            yield from scan.written(f"id of {what}", bytes.fromhex(said["id"]))
            yield from scan.written(f"signature of {what}", base64.b64decode(said["signature"]))
            for key in ("eligible_set", "policy"):
                if key in said:
                    yield from scan.written(f"{key} of {what}", bytes.fromhex(said[key]))
            if "consent" in said:
                yield from scan.written(f"root in {what}", bytes.fromhex(said["consent"]["root"]))
    for origin in world.ledger.origins:
        yield from scan.text("name of a log", origin)
        yield Pattern("name of the logs", "raw", str(base_of(origin)).encode())


def commitment_key(record: Mapping[str, Any]) -> Iterator[Pattern]:
    """r of the requester's commitment: with it guesses of the result could be tested."""
    yield from scan.key("r of the commitment", base64.b64decode(record["signed"]["r"]))
