"""Sums and dot products by group: which rows are multiplied with which, decided by numpy.

Who runs it: `protocol.paillier.native`, at B.
Learns: what B holds.
Source: protocols.md section 2, steps 4 and 5; the buckets are Pippenger's.

C multiplies runs of rows, eight runs abreast.  A group's rows are cut into runs of nearly equal
length, the products of its runs multiplied in the next round, until every group has one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol.paillier.kernel import Bytes, Progress
from protocol.paillier.native_keys import LANES, SharedKey

Integers = npt.NDArray[np.int64]
LONGEST = 128  # rows in a run: C keeps the power of Montgomery's R for each length
SHORTEST = 8  # shorter runs would multiply more in the following rounds than they spread
RUNS = 64  # runs per call into C
BUCKET_BYTES = 32 << 20  # buckets held at a time
MAX_WINDOW = 12


class Each(Protocol):
    """`NativeKernel._each`: work(start, end) for chunks of 0 … n, on all threads."""

    def __call__(
        self, n: int, limit: int, work: Callable[[int, int], None], progress: Progress | None
    ) -> None: ...


def sums(
    shared: SharedKey,
    cts: Bytes,
    groups: npt.NDArray[np.int32],
    n_groups: int,
    each: Each,
    progress: Progress | None,
) -> Bytes:
    """uint8[n_groups, width]: per group the product of its rows, 1 without any."""
    order, keys = _sorted(groups)
    found, products = _products(shared, cts, order, keys, each, progress)
    return _spread(shared, found, products, n_groups)


def dots(
    shared: SharedKey,
    cts: Bytes,
    groups: npt.NDArray[np.int32],
    n_groups: int,
    weights: npt.NDArray[np.uint64],
    bits: int,
    each: Each,
    progress: Progress | None,
) -> Bytes:
    """uint8[n_groups, width]: per group Π c^weight, slice by slice of groups."""
    order, keys = _sorted(groups)
    window = bucket_window(len(order), n_groups, bits)
    places = -(-bits // window)
    per_group = places * ((1 << window) - 1) * shared.public.width
    step = max(1, min(n_groups, BUCKET_BYTES // per_group))
    out = np.empty((n_groups, shared.public.width), dtype=np.uint8)
    for first in range(0, n_groups, step):
        last = min(first + step, n_groups)
        start, end = np.searchsorted(keys, [first, last])
        here = order[start:end]
        buckets = _buckets(
            shared, cts, here, keys[start:end] - first, last - first, weights[here], window,
            places, each,
        )  # fmt: skip
        _collect(shared, buckets, window, places, out[first:last], each)
        if progress is not None:
            progress(int(end), len(order))
    return out


def bucket_window(rows: int, groups: int, bits: int) -> int:
    """Bits per digit with the fewest multiplications."""

    def work(window: int) -> int:
        places = -(-bits // window)
        abreast = -(-groups * places // LANES) * LANES  # idle lanes cost as much
        return places * rows + 2 * abreast * (1 << window)

    return min(range(1, min(MAX_WINDOW, bits) + 1), key=work)


def _sorted(groups: npt.NDArray[np.int32]) -> tuple[Integers, Integers]:
    """Rows that belong to a group, by group, and the group of each."""
    rows = np.flatnonzero(groups >= 0)
    order = rows[np.argsort(groups[rows], kind="stable")].astype(np.int64)
    return order, groups[order].astype(np.int64)


def _products(
    shared: SharedKey,
    cts: Bytes,
    order: Integers,
    keys: Integers,
    each: Each,
    progress: Progress | None = None,
) -> tuple[Integers, Bytes]:
    """Different keys, ascending, and per key the product of its rows; `keys` is sorted."""
    while True:
        found, first, counts = np.unique(keys, return_index=True, return_counts=True)
        runs, of = _runs(first, counts)
        lengths = runs[:, 1] - runs[:, 0]
        longest_first = np.argsort(-lengths, kind="stable")  # lanes beside each other end together
        runs, of = np.ascontiguousarray(runs[longest_first]), of[longest_first]
        done = np.concatenate([[0], np.cumsum(lengths[longest_first])])
        out = np.empty((len(runs), shared.public.width), dtype=np.uint8)

        def part(
            a: int, b: int, cts: Bytes = cts, order: Integers = order, runs: Integers = runs,
            out: Bytes = out,
        ) -> None:  # fmt: skip
            shared.products(cts, order, runs[a:b], out[a:b])

        each(len(runs), RUNS, part, _by_rows(progress, done))
        progress = None  # what follows is small
        # The next round's rows are these products, in the order of their keys again.
        order = np.argsort(of, kind="stable").astype(np.int64)
        if len(runs) == len(found):
            return found, out[order]
        cts, keys = out, found[of[order]]


def _by_rows(progress: Progress | None, done: Integers) -> Progress | None:
    if progress is None:
        return None
    call = progress
    return lambda run, _: call(int(done[run]), int(done[-1]))


def _runs(first: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """(start, end) of runs that cover each key's rows, and the key's place of each run."""
    total = int(counts.sum())
    length = min(LONGEST, max(SHORTEST, total // RUNS))
    pieces = -(-counts // length)
    of = np.repeat(np.arange(len(counts)), pieces)
    within = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    edges = [first[of] + (within + side) * counts[of] // pieces[of] for side in (0, 1)]
    return np.stack(edges, axis=1).astype(np.int64), of


def _spread(shared: SharedKey, found: Integers, products: Bytes, n: int) -> Bytes:
    """uint8[n, width] with the products in their places and 1 elsewhere."""
    out = np.zeros((n, shared.public.width), dtype=np.uint8)
    out[:, 0] = 1
    out[found] = products
    return out


def _buckets(
    shared: SharedKey, cts: Bytes, order: Integers, groups: Integers, n_groups: int,
    weights: npt.NDArray[np.uint64], window: int, places: int, each: Each,
) -> Bytes:  # fmt: skip
    """Bucket [place, group, digit - 1]: the product of the rows with that digit there."""
    top = (1 << window) - 1
    out = np.zeros((places * n_groups * top, shared.public.width), dtype=np.uint8)
    out[:, 0] = 1
    for place in range(places):
        shift = np.uint64(place * window)
        digits = (weights >> shift & np.uint64(top)).astype(np.int64)
        rows = np.flatnonzero(digits)
        keys = (groups[rows] + place * n_groups) * top + digits[rows] - 1
        by_key = np.argsort(keys, kind="stable")
        if len(by_key):
            found, products = _products(shared, cts, order[rows[by_key]], keys[by_key], each)
            out[found] = products
    return out


def _collect(
    shared: SharedKey, buckets: Bytes, window: int, places: int, out: Bytes, each: Each
) -> None:
    """Π bucket_d^d per place and group, then the places by Horner."""
    top, groups = (1 << window) - 1, len(out)
    digits = np.empty((places * groups, shared.public.width), dtype=np.uint8)
    each(
        len(digits),
        LANES,
        lambda a, b: shared.weighted(buckets[a * top : b * top], top, digits[a:b]),
        None,
    )

    def horner(a: int, b: int) -> None:
        out[a:b] = digits[(places - 1) * groups + a : (places - 1) * groups + b]
        for place in range(places - 2, -1, -1):
            shared.power(out[a:b], 1 << window, out[a:b])
            shared.multiply(out[a:b], digits[place * groups + a : place * groups + b], out[a:b])

    each(groups, LANES, horner, None)
