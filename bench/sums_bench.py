"""Secure sums and the models on them: seconds of the parts, beside scikit-learn where it can.

Three parties in one process with 2048-bit keys and this machine's own kernel; no network, so
what is measured is the arithmetic and each party's own work, one party after the other.

    python -m bench.sums_bench [--quick]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from protocol.paillier.choose import choose
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey, generate
from protocol.release.noise import NoNoise, noise_scale
from protocol.rows import EligibleRows, Number
from protocol.secret import Secret
from protocol.secure_sum.coordinator import multiply
from protocol.secure_sum.masks import masks
from protocol.secure_sum.model import Column, Ground, Model
from protocol.secure_sum.party import Vector, protect
from protocol.secure_sum.requester import open_total
from protocol.secure_sum.spec import Output, SumSpec

Row = dict[str, Any]
BITS, PARTIES = 2048, ("a", "b", "c")
REPEATS = 5  # of k-means; the smallest of each side counts


@dataclass
class Federation:
    """Kernels of the parties, the first one's key, a clock per part of a round; bytes sent."""

    kernels: Mapping[str, Kernel]
    key: PrivateKey
    seconds: dict[str, float] = field(default_factory=dict)
    sent: int = 0
    rounds: int = 0

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started

    def total(
        self, outputs: tuple[Output, ...], vectors: Mapping[str, Vector], rounds: int = 1
    ) -> Vector:
        """One round of so many, as the parties, the coordinator and the requester do it."""
        spec = SumSpec(outputs, PARTIES, self.key.public.bits)
        shared = Secret(bytes(32))  # the same work as with one seed per pair
        about, n = str(self.rounds).encode(), self.key.public.n
        self.rounds += 1
        later = (rounds - self.rounds) * spec.ciphertexts
        uploads = []
        for party in PARTIES:
            with self.timed("encrypt"):
                seeds = dict.fromkeys(PARTIES, shared)
                mine = masks(party, PARTIES, seeds, about, n, spec.ciphertexts)
                uploads.append(
                    protect(spec, self.kernels[party], self.key.public, vectors[party], mine,
                            NoNoise(), os.urandom, later)
                )  # fmt: skip
            self.sent += uploads[-1].nbytes
        with self.timed("multiply"):
            product = multiply(n, uploads)
        with self.timed("open"):
            return open_total(spec, self.kernels[PARTIES[0]], self.key, product)

    def run(self, model: Model, rows: Mapping[str, EligibleRows]) -> Any:
        """All rounds of a model; its result."""
        turn = model.begin()
        while turn.result is None:
            vectors = {}
            for party in PARTIES:
                with self.timed("vector"):
                    vectors[party] = model.vector(turn.question, party, rows[party])
            totals = self.total(model.outputs(turn.question), vectors, model.rounds)
            turn = model.advance(turn, totals)
        return turn.result


def _row(name: str, value: float, unit: str, peer: str = "", peer_value: float = 0.0,
         *, less: bool = True) -> Row:  # fmt: skip
    ratio = round((peer_value / value) if less else (value / peer_value), 2) if peer else None
    return {
        "name": name, "value": round(value, 3), "unit": unit, "peer": peer or None,
        "peer_value": round(peer_value, 3) if peer else None, "ratio": ratio,
    }  # fmt: skip


def _ground(columns: tuple[Column, ...], n: int, settings: Mapping[str, Any]) -> Ground:
    return Ground(
        names=tuple(column.attribute for column in columns),
        columns=dict.fromkeys(PARTIES, columns), handles=dict.fromkeys(PARTIES, n),
        rho_nano=0, min_cohort=1, settings=settings, seed=1,
    )  # fmt: skip


def _rows(table: Mapping[str, np.ndarray], columns: tuple[Column, ...]) -> dict[str, EligibleRows]:
    found = {}
    for at, party in enumerate(PARTIES):
        numbers = {
            c.attribute: Number(
                np.ascontiguousarray(table[c.attribute][at::3]),
                np.zeros(len(table[c.attribute][at::3]), dtype=np.bool_), c.lo, c.hi, c.decimals,
            )
            for c in columns
        }  # fmt: skip
        found[party] = EligibleRows(np.arange(len(next(iter(numbers.values())).values)), {},
                                    numbers=numbers)  # fmt: skip
    return found


def values(federation: Federation) -> list[Row]:
    """1,000 numbers over three parties of a million people each."""
    output = Output("count", 1000, noise_scale(1, 0, 1), 3 << 20)
    rng = np.random.default_rng(1)
    vectors = {party: [rng.integers(0, 1000, 1000).tolist()] for party in PARTIES}
    want = [sum(column) for column in zip(*(v[0] for v in vectors.values()), strict=True)]
    if federation.total((output,), vectors) != [want]:
        sys.exit("a secure sum is wrong")
    name = "secure_sum of 1,000 counts, 3 parties, 2048 bits"
    parts = federation.seconds
    return [
        _row(f"{name}, one party", parts["encrypt"] / 3, "s"),
        _row(f"{name}, coordinator", parts["multiply"], "s"),
        _row(f"{name}, requester opens", parts["open"], "s"),
        _row(f"{name}, bytes per party", federation.sent / 3, "bytes"),
    ]


def kmeans(federation: Federation, n: int) -> list[Row]:
    """n people × 20 features × k = 8 × 10 iterations beside scikit-learn, both on all cores."""
    from sklearn.cluster import KMeans

    from protocol.kmeans.horizontal import Horizontal

    rng, d, k = np.random.default_rng(2), 20, 8
    middles = rng.uniform(1000, 9000, (k, d))
    x = np.clip(middles[rng.integers(0, k, n)] + rng.normal(0, 1500, (n, d)), 0, 10000).round()
    columns = tuple(Column(f"f{j}", "number", lo=0, hi=10000) for j in range(d))
    init = x[rng.choice(n, k, replace=False)]
    settings = {"k": [k], "restarts": 1, "iterations": 10, "scale": "none",
                "init": [[str(int(v)) for v in centre] for centre in init]}  # fmt: skip
    rows = _rows({f"f{j}": x[:, j].astype(np.int64) for j in range(d)}, columns)
    runs = []
    for _ in range(REPEATS):  # each beside the other, so that both have the same neighbours
        fresh = replace(federation, seconds={}, sent=0, rounds=0)
        started = time.perf_counter()
        result = fresh.run(Horizontal(_ground(columns, n, settings)), rows)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        plain = KMeans(k, init=init, n_init=1, max_iter=10, tol=0, algorithm="lloyd").fit(x)
        theirs = time.perf_counter() - started
        if np.abs(np.array(result["centres"]) - plain.cluster_centers_).max() > 1e-6:
            sys.exit("k-means differs from scikit-learn")
        crypto = sum(s for part, s in fresh.seconds.items() if part != "vector")
        runs.append((ours, theirs, crypto))
    ours, theirs, crypto = (min(each) for each in zip(*runs, strict=True))
    name = f"k-means horizontal, {n:,} × 20, k = 8, {result['iterations']} iterations, 3 parties"
    return [
        _row(name, ours, "s", "scikit-learn on the pooled table", theirs),
        _row(f"{name}, of it encryption", crypto, "s"),
        _row(f"{name}, bytes per party", fresh.sent / 3, "bytes"),
    ]


def ltv(federation: Federation, n: int) -> list[Row]:
    """Seconds of one Newton step (three starts, both models) of n people."""
    from protocol.ltv.model import Ltv

    rng = np.random.default_rng(3)
    age = rng.uniform(2500, 3900, n).round().astype(np.int64)
    rate, stop = rng.gamma(0.8, 1 / 500, n), rng.beta(0.9, 2.5, n)
    x = np.minimum(rng.poisson(rate * age), rng.geometric(np.clip(stop, 1e-6, 1)))
    recency = np.where(x > 0, age * rng.beta(np.maximum(x, 1), 1.5), 0).astype(np.int64)
    mean = rng.gamma(6 * np.maximum(x, 1), 1 / rng.gamma(3.7, 1 / 15.4, n)) / np.maximum(x, 1)
    table = {"frequency": x.astype(np.int64), "recency": recency, "T": age,
             "monetary": np.clip(100 * mean, 1, 50000).astype(np.int64)}  # fmt: skip
    bounds = {"frequency": (1000, 0), "recency": (4000, 2), "T": (4000, 2), "monetary": (50000, 2)}
    columns = tuple(Column(c, "number", lo=0, hi=hi, decimals=s) for c, (hi, s) in bounds.items())
    model = Ltv(_ground(columns, n, {"horizon": "39", "discount": "0"}))
    started = time.perf_counter()
    federation.run(model, _rows(table, columns))
    seconds = (time.perf_counter() - started) / federation.rounds
    crypto = sum(s for part, s in federation.seconds.items() if part != "vector")
    name = f"LTV Newton step, {n:,} people, 3 parties"
    return [
        _row(name, seconds, "s"),
        _row(f"{name}, of it encryption", crypto / federation.rounds, "s"),
        _row(f"{name}, steps to the fit", federation.rounds, "steps"),
    ]


def run(quick: bool) -> list[Row]:
    """Every part with clocks of its own; the key is made once."""
    people = 30_000 if quick else 1_000_000
    key = generate(BITS, os.urandom)
    parts: tuple[Callable[[Federation], list[Row]], ...] = (
        values,
        lambda federation: kmeans(federation, people),
        lambda federation: ltv(federation, people // 10),
    )
    found = []
    with ExitStack() as started:
        kernels = {party: started.enter_context(choose("").start()) for party in PARTIES}
        for part in parts:
            found += part(Federation(kernels, key))
    return found


if __name__ == "__main__":
    for line in run("--quick" in sys.argv):
        print(line)
