"""One exact k-means at one party: who is in common, its features, and what each round made.

Who runs it: every party.  protocols.md section 4 (k-means, vertical, exact).
Learns: the party, which of its own people are in common and in which cluster each of them is.

What a round leaves behind is in the vault under its number, so that a step that is done again
makes the same: `labels-t` of round t, `centres-t` after it, `state-t` of what follows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from catalog.vertical import Vertical
from party_node import admission, exact_rows
from party_node.exact_rows import Layout
from party_node.session import Session
from party_node.steps import Incoming
from party_node.sum_models import seed_of
from protocol.errors import ProtocolViolation
from protocol.kmeans.exact import codec, party, scale
from protocol.kmeans.exact.party import Labels, OwnFeatures, Role
from protocol.kmeans.exact.secrets import Secrets
from protocol.psi.tokens import DUMMY, PADDING
from protocol.secret import Secret
from protocol.wire import kmeans_exact_pb2 as exact_pb

Floats = npt.NDArray[np.float64]
SETTLED = 0.001  # of the people: below it a run that asks for it stops


@dataclass(frozen=True)
class State:
    """What this party makes of a round.

    final: the labels of this round are those of the job.  last: else, those of the next will be.
    iterations: how often centres moved.
    """

    final: bool
    last: bool
    iterations: int


@dataclass(frozen=True)
class ExactRun:
    """One attempt of an exact k-means at this party."""

    session: Session

    @cached_property
    def asked(self) -> Vertical:
        found = self.session.spec.vertical
        assert found is not None  # these steps are in the sequence of such jobs only
        return found

    @cached_property
    def layout(self) -> Layout:
        return exact_rows.layout(self.asked, self.session.offers, seed_of(self.session))

    @cached_property
    def mine(self) -> list[int]:
        return self.layout.of(self.session.ctx.name)

    # -- who is in common ------------------------------------------------------------------------

    def place(self, task: Incoming) -> None:
        """Keeps who has which number, and the features by number; once."""
        session, vault = self.session, self.session.vault
        if vault.has("features"):
            return
        of_handle = vault.get_array("rows_of_handles")
        numbers, common = codec.places_body(task.framed("places", exact_pb.Places), len(of_handle))
        rows = row_at_place(numbers, common, of_handle)
        own = admission.admitted_rows(session)
        drawn = np.frombuffer(session.ctx.random(8 * int((rows < 0).sum())), dtype="<u8")
        copied = party.stand_ins(rows, drawn)
        values = exact_rows.values(own, self.asked.of(session.ctx.name))
        if len(values[0]):
            values = values[:, np.maximum(copied, 0)]
        values = np.where(copied < 0, self._middle(), values)
        vault.put_array("places", rows)
        vault.put_array("features", values)

    def _middle(self) -> npt.NDArray[np.int64]:
        features = [self.layout.features[j] for j in self.mine]
        return np.array([[round((f.low + f.high) / 2)] for f in features], dtype=np.int64)

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """int64[places]: position among the admitted rows, negative for dummies."""
        return self.session.vault.get_array("places")

    @cached_property
    def people(self) -> npt.NDArray[np.int64]:
        """Row numbers in the table of the people in common, in the order of their places."""
        return self.session.vault.get_array("eligible")[self.rows[self.rows >= 0]]

    @cached_property
    def own(self) -> OwnFeatures:
        """With zscore, what one standard deviation of the people in common is counts 1."""
        values = self.session.vault.get_array("features").reshape(len(self.mine), -1).astype(float)
        real = self.rows >= 0
        features = [self.layout.features[j] for j in self.mine]
        factor = self.layout.factors[self.mine]
        if self.layout.zscore:
            spread = values[:, real].var(axis=1) if real.any() else np.zeros(len(values))
            still = np.array([feature.step**2 for feature in features])
            factor = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), still)
        low = np.array([feature.low for feature in features])
        high = np.array([feature.high for feature in features])
        return OwnFeatures(values, real, factor, low, high)

    # -- rounds ----------------------------------------------------------------------------------

    @cached_property
    def role(self) -> Role:
        spec, vault = self.session.spec, self.session.vault
        largest = float(vault.get("largest")) if self.layout.zscore else self.layout.largest
        at = spec.parties.index(self.session.ctx.name)
        return Role(at, len(spec.parties), scale.unit(self.layout.k, len(spec.parties), largest))

    def secrets(self, round_: int) -> Secrets:
        """Those of one round; the seed is of K, which the parties share and H never has."""
        k = self.session.vault.get("k")
        seed = HKDF(SHA256(), 32, salt=None, info=b"assent/kmeans-exact/seed/v1").derive(k)
        about = self.session.tag(f"distances/{round_}", "*", "*").info()
        return Secrets(Secret(seed), about, len(self.rows), self.layout.k)

    def centres(self, round_: int) -> Floats:
        """float64[k, own features] after that round, in steps; 0: the start."""
        if round_ == 0:
            return np.ascontiguousarray(self.layout.starts[:, self.mine])
        data = self.session.vault.get(f"centres-{round_}")
        return np.frombuffer(data, dtype="<f8").reshape(self.layout.k, -1)

    def labels(self, round_: int) -> Labels:
        return self.session.vault.get_array(f"labels-{round_}")

    def state(self, round_: int) -> State:
        return State(**json.loads(self.session.vault.get(f"state-{round_}")))

    def take(self, task: Incoming, round_: int) -> State:
        """Reads what was nearest in a round, moves the centres, and says what follows."""
        vault = self.session.vault
        artifact = task.framed("nearest", exact_pb.NearestColumns)
        positions = codec.nearest_body(artifact, len(self.rows))
        labels = party.labels_of(positions, self.secrets(round_))
        if vault.has(f"state-{round_}"):
            if not np.array_equal(labels, self.labels(round_)):
                raise ProtocolViolation("equivocation", "one round has two different outcomes")
            return self.state(round_)
        before = self.state(round_ - 1) if round_ > 1 else State(False, False, 0)
        vault.put_array(f"labels-{round_}", labels)
        if before.last:
            state = State(final=True, last=False, iterations=before.iterations)
        else:
            moved = party.moved(self.own, labels, self.centres(round_ - 1))
            vault.put(f"centres-{round_}", np.ascontiguousarray(moved, dtype="<f8").tobytes())
            other = None
            if round_ > 1:
                other = party.changed(self.own, labels, self.labels(round_ - 1))
            state = after(self.asked, round_, other, len(self.people))
        vault.put(f"state-{round_}", json.dumps(vars(state)).encode())
        return state


def after(asked: Vertical, round_: int, changed: int | None, people: int) -> State:
    """What follows a round in which centres moved; all parties come to the same.

    changed: how many people changed cluster since the round before, None in the first.
    """
    if changed is None:
        return State(final=False, last=round_ == asked.iterations, iterations=round_)
    settled = asked.stop_early and changed < SETTLED * people
    return State(changed == 0, settled or round_ == asked.iterations, round_)


def row_at_place(
    numbers: npt.NDArray[np.int64], common: int, of_handle: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """int64[common]: position among the admitted rows, or DUMMY.

    Every dummy agrees at all parties and nobody can share padding, so an honest H numbers all of
    the first and none of the second, each number once.  Raises ProtocolViolation otherwise.
    """
    some = numbers >= 0
    given = numbers[some]
    whole = len(given) == common and bool((np.sort(given) == np.arange(common)).all())
    if not whole or bool(some[of_handle == PADDING].any()) or not some[of_handle == DUMMY].all():
        raise ProtocolViolation(
            "bad_membership",
            "the coordinator's numbers are not those of an honest join",
            next_step="ask the coordinator's operator, or run again",
        )
    found = np.empty(common, dtype=np.int64)
    found[given] = of_handle[some]
    return found
