"""One attempt of one job at one party: what it knows, and how its messages open.

Who runs it: every node.  `NodeContext` is the composition root's gift: keys, cards, table,
consent gate, ledger, arithmetic, clock, randomness.  `Session` opens the proposal and the
offers, computes the job hash, and keeps the job's secrets in the vault.
Learns: this party learns the question, the other parties' offers, never a row of theirs.
(protocols.md section 0.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.federation import Party
from catalog.job import JobSpec
from party_node.grid_terms import is_grid, table_of
from party_node.sequence import Inputs, steps_of
from party_node.vault import Vault
from protocol import identity, transcript
from protocol.crosstab.spec import AttributeSpec, CrosstabSpec, MeasureSpec
from protocol.errors import ProtocolViolation
from protocol.frames import parse_head
from protocol.identity import Card, Keys
from protocol.paillier.keys import PrivateKey, PublicKey
from protocol.secret import Secret
from protocol.transcript import ArtifactTag
from protocol.wire import job_pb2 as pb

if TYPE_CHECKING:
    from party_node.consent_gate import NodeGate
    from party_node.dataset import Dataset
    from party_node.job_history import JobHistory
    from party_node.job_log import JobLog
    from party_node.ledger import Ledger
    from party_node.records import Records
    from party_node.rights_requests import RightsRequests
    from protocol.paillier.kernel import Kernel
    from protocol.psi.ecdh import Curve
    from protocol.psi.tokens import KeyedPrf
    from protocol.release.noise import NoiseSource

NONCE = 32
# Before a job hash exists, artifacts are bound to the proposal instead.
BEFORE_HASH = frozenset({"offer", "admit", "plan"})


@dataclass(frozen=True)
class KeyMaker:
    """How a requester makes its Paillier key; tests make smaller ones, insecurely.

    insecure_bits: only tests set it; then the floor of 2048 bits does not hold.
    """

    make: Callable[[int, Callable[[int], bytes]], PrivateKey]
    insecure_bits: int | None = None

    def __call__(self, bits: int, random: Callable[[int], bytes]) -> PrivateKey:
        return self.make(self.insecure_bits or bits, random)

    def received(self, data: bytes) -> PublicKey:
        """A stranger's modulus, checked; its proof must follow."""
        if self.insecure_bits is not None:
            return PublicKey.insecure_from_bytes(data, 8 * len(data))
        return PublicKey.from_bytes(data, 8 * len(data))


def nothing_to_do() -> None:
    """For a party without tags."""


@dataclass(frozen=True)
class NodeContext:
    """Everything a step may use; no step reaches further.

    freshen: computes the tags that are made from what an earlier job left, if it left it since.
    """

    name: str
    keys: Keys
    cards: Mapping[str, Card]  # every party of the collaboration, by name
    party: Party
    key_bits: int
    dataset: Dataset
    gate: NodeGate
    ledger: Ledger
    records: Records
    job_log: JobLog
    job_history: JobHistory
    rights: RightsRequests
    kernel: Kernel
    curve: Callable[[], Curve]
    prf: Callable[[bytes], KeyedPrf]
    noise: NoiseSource
    folder: Path
    now: Callable[[], float]
    random: Callable[[int], bytes]
    make_key: KeyMaker
    freshness: float = 300.0
    freshen: Callable[[], object] = nothing_to_do


@dataclass(frozen=True)
class Session:
    ctx: NodeContext
    job_id: str
    attempt: int

    @cached_property
    def vault(self) -> Vault:
        """Secrets of this attempt."""
        folder = self.ctx.folder / "jobs" / self.job_id
        return Vault(folder, self.ctx.keys.storage, self.job_id, self.attempt)

    @cached_property
    def _shared(self) -> Vault:
        """What all attempts of the job share: the proposal (as attempt 0)."""
        return Vault(self.vault.folder, self.ctx.keys.storage, self.job_id, 0)

    # -- the proposal ------------------------------------------------------------------

    def accept_proposal(self, sealed: bytes, requester: str) -> None:
        """Opens, verifies and keeps the requester's proposal; the same one every time."""
        message = pb.Proposal.FromString(
            identity.unseal(
                self.ctx.keys.sealing, sealed, proposal_info(self.job_id, requester, self.ctx.name)
            )
        )
        spec = JobSpec.from_canonical(json.loads(message.job))
        if spec.requester != requester:
            raise ProtocolViolation("equivocation", "the proposal names another requester")
        if len(message.nonce) != NONCE:
            raise ProtocolViolation("bad_artifact", "the proposal has no nonce", party=requester)
        identity.verify(
            self.card(requester).signing_key,
            _hash_of(self.job_id, spec, message),
            message.signature,
            "the proposal",
        )
        kept = message.SerializeToString(deterministic=True)
        if self._shared.has("proposal"):
            if self._shared.get("proposal") != kept:
                raise ProtocolViolation("equivocation", "two different proposals under one job id")
            return
        self._shared.put("proposal", kept)

    @property
    def accepted(self) -> bool:
        """Whether a proposal of this job was ever accepted here."""
        return self._shared.has("proposal")

    @cached_property
    def _proposal(self) -> pb.Proposal:
        return pb.Proposal.FromString(self._shared.get("proposal"))

    @cached_property
    def spec(self) -> JobSpec:
        return JobSpec.from_canonical(json.loads(self._proposal.job))

    @property
    def dry_run(self) -> bool:
        """The requester asked for a plan only, whatever the coordinator says."""
        return bool(self._proposal.dry_run)

    @cached_property
    def proposal_hash(self) -> bytes:
        return _hash_of(self.job_id, self.spec, self._proposal)

    @cached_property
    def steps(self) -> Mapping[str, Inputs]:
        """This party's part in one attempt."""
        return steps_of(self.ctx.name, self.spec, dry_run=self.dry_run)

    @property
    def is_requester(self) -> bool:
        return self.spec.requester == self.ctx.name

    @property
    def others(self) -> list[str]:
        return [party for party in self.spec.parties if party != self.ctx.name]

    def card(self, party: str) -> Card:
        try:
            return self.ctx.cards[party]
        except KeyError:
            raise ProtocolViolation(
                "unknown_party",
                f"{party} is not in this company's collaboration.yaml",
                next_step="exchange cards and add the party",
            ) from None

    @cached_property
    def paillier_key(self) -> PrivateKey:
        """The requester's own key of this attempt."""
        return PrivateKey.from_secret(Secret(self.vault.get("paillier")))

    # -- tags and seals ----------------------------------------------------------------

    def tag(self, step: str, author: str, recipient: str) -> ArtifactTag:
        early = step.split("/")[0] in BEFORE_HASH
        bound = self.proposal_hash if early else self.job_hash
        return ArtifactTag(bound, step, self.attempt, author, recipient)

    def seal(self, recipient: str, step: str, plaintext: bytes) -> bytes:
        info = self.tag(step, self.ctx.name, recipient).info()
        return identity.seal(self.card(recipient).sealing_key, plaintext, info)

    def unseal(self, author: str, step: str, sealed: bytes) -> bytes:
        info = self.tag(step, author, self.ctx.name).info()
        return identity.unseal(self.ctx.keys.sealing, sealed, info)

    # -- offers and the job hash -------------------------------------------------------

    def open_offers(self, bundles: Mapping[str, Path]) -> None:
        """Keeps every party's offer (own one included) and the job hash over all of them."""
        opened = {self.ctx.name: self.vault.get("offer")}
        for party in self.others:
            bundle, _ = parse_head(bundles[party].read_bytes(), pb.OfferBundle)
            sealed = bundle.sealed.get(self.ctx.name)
            if sealed is None:
                raise ProtocolViolation("missing_offer", "an offer for this party is missing",
                                        party=party, stage="offer")  # fmt: skip
            opened[party] = self.unseal(party, f"offer/{party}", sealed)
            if pb.Offer.FromString(opened[party]).party != party:
                raise ProtocolViolation("equivocation", "an offer names another party", party=party)
        kept = pb.OfferBundle(sealed=opened)  # opened, and encrypted again by the vault
        self.vault.put("offers", kept.SerializeToString(deterministic=True))
        digest = transcript.job_hash(self.job_id, self._bound_job(), opened)
        self.vault.put("hash", digest)

    def _bound_job(self) -> dict[str, object]:
        """The canonical job and the public keys of all who take part."""
        fingerprints = {party: self.card(party).fingerprint for party in self.spec.parties}
        return {"job": self.spec.canonical(), "cards": fingerprints}

    @cached_property
    def job_hash(self) -> bytes:
        return self.vault.get("hash")

    @cached_property
    def offers(self) -> dict[str, pb.Offer]:
        bundle = pb.OfferBundle.FromString(self.vault.get("offers"))
        return {party: pb.Offer.FromString(data) for party, data in bundle.sealed.items()}

    @property
    def min_cohort(self) -> int:
        """The strictest of all parties."""
        return max(offer.min_cohort for offer in self.offers.values())

    def check_admissions(self, paths: Mapping[str, Path]) -> dict[str, int]:
        """Every party's admitted handles; refuses if one admitted another job."""
        handles = {}
        for party in self.spec.parties:
            message, _ = parse_head(paths[party].read_bytes(), pb.Admission)
            if message.job_hash != self.job_hash:
                raise ProtocolViolation(
                    "equivocation",
                    f"{party} and {self.ctx.name} were shown different jobs or offers",
                    party=self.ctx.name,
                    stage="admit",
                    next_step="do not trust this coordinator until its operator explains it",
                )
            if not 0 < message.handles <= 1 << 32:
                raise ProtocolViolation("bad_artifact", "an admitted size is out of range",
                                        party=party, stage="admit")  # fmt: skip
            handles[party] = int(message.handles)
        return handles

    # -- what both sides of a cross-tab derive alike -------------------------------------

    def crosstab_spec(self, handles: Mapping[str, int]) -> CrosstabSpec:
        """The layout that requester and provider compute from the same signed facts."""
        spec = self.spec
        if is_grid(spec):
            return table_of(self, handles)
        (provider,) = spec.providers
        return CrosstabSpec(
            rows=tuple(self._attribute(name) for name in spec.rows),
            columns=tuple(self._attribute(name) for name in spec.columns),
            measures=tuple(self._measure(name) for name in spec.summed),
            noise=spec.noise,
            rho_nano=spec.rho_nano,
            key_bits=self.key_bits,
            handles_a=handles[spec.requester],
            handles_b=handles[provider],
            min_cohort=self.min_cohort,
        )

    @property
    def key_bits(self) -> int:
        return self.key_bits_of(self.spec.requester)

    def key_bits_of(self, party: str) -> int:
        return 8 * len(self.offers[party].paillier_n)

    def opens_sums(self, party: str) -> bool:
        """Whether sums come to `party`: who receives a result holds the key."""
        asked = self.spec.lookalike
        if asked is None:
            return party == self.spec.requester
        return party != self.spec.requester or bool(asked.curve)

    def offered(self, name: str) -> pb.AttributeOffer:
        party, _, attribute = name.partition("/")
        for offered in self.offers[party].attributes:
            if offered.name == attribute:
                return offered
        raise ProtocolViolation("missing_offer", "an attribute of the job is not offered",
                                party=party, stage="offer")  # fmt: skip

    def _attribute(self, name: str) -> AttributeSpec:
        offered = self.offered(name)
        values: tuple[str | bool, ...] = tuple(offered.vocabulary)
        if offered.kind == "flag":
            values = (False, True)
        return AttributeSpec(name, values)

    def _measure(self, name: str) -> MeasureSpec:
        offered = self.offered(name)
        return MeasureSpec(name, offered.lo, offered.hi, offered.decimals, offered.nullable)


def _hash_of(job_id: str, spec: JobSpec, message: pb.Proposal) -> bytes:
    return transcript.proposal_hash(
        job_id, spec.canonical(), nonce=message.nonce, dry_run=message.dry_run
    )


def proposal_info(job_id: str, requester: str, recipient: str) -> bytes:
    """HPKE info of a proposal: it opens for this job id and recipient only."""
    return ArtifactTag(
        transcript.proposal_hash(job_id, {}), "propose", 0, requester, recipient
    ).info()
