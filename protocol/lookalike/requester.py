"""A's half: multiply the laid-out ciphertexts of its seeds, then protect what leaves.

Who runs it: A, whose seeds are summed and whose noise goes on last.
Learns: A nothing; it cannot tell a matched row's ciphertext from an Enc(0).  B gets every
declared slot under A's noise, and nothing of what B may have packed outside its layout.
Source: protocols.md section 4 (lookalike), section 2 steps 5 and 6 with the roles turned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.lookalike.spec import LookalikeSpec
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PublicKey
from protocol.paillier.packing import PackedBound, RandomBytes
from protocol.release.noise import NoiseSource, draw

Bytes = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]


def gather(
    spec: LookalikeSpec,
    kernel: Kernel,
    public: PublicKey,
    layout: Bytes,
    seeds: npt.NDArray[np.bool_],
    noise: NoiseSource,
    random: RandomBytes,
    progress: Progress | None = None,
) -> Bytes:
    """uint8[k, width]: the protected sums, ready to leave.

    layout: uint8[handles_a, k·width] (may be a memory map; never copied whole).
    seeds: bool[handles_a]; dummies, padding and everybody who is no seed: False.
    Raises ProtocolViolation for a layout that an honest H and B cannot have made.
    """
    width = spec.ciphertext_width
    if public.bits != spec.key_bits:
        raise ProtocolViolation("bad_key", "the provider's key has another size than declared")
    if layout.shape != (spec.handles_a, spec.ciphertexts_per_row * width):
        raise ProtocolViolation("bad_layout", "the layout has another size than announced")
    if seeds.shape != (spec.handles_a,):
        raise ValueError("there is not one mark per announced handle")
    kernel.check(public, layout.reshape(-1, width), progress)
    groups = np.where(seeds, np.int32(0), np.int32(-1)).astype(np.int32)
    totals, adds = [], []
    for position, block in enumerate(spec.blocks):
        column = layout[:, position * width : (position + 1) * width]
        totals.append(kernel.sum_by_group(public, column, groups, 1))
        adds.append(_addition(spec, public, block, noise, random))
    protected = kernel.linear(public, [(np.concatenate(totals), 1)], adds)
    return kernel.rerandomise(public, protected, random)


def _addition(
    spec: LookalikeSpec, public: PublicKey, block: range, noise: NoiseSource, random: RandomBytes
) -> int:
    """Bias and noise of every slot, and random bits above: what B packed there is lost.

    The total may be negative in single slots and borrow from the next; the bias lifts each of
    them to where B reads it, so that the sum as an integer has no borrow left.
    """
    layout, slots = spec.layout(block), []
    for slot in block:
        output = spec.outputs[slot]
        # However many seeds there are, no more than n_pad of them are a person of B.
        row = PackedBound(spec.lowest[slot], spec.highest[slot], spec.width)
        output.opening.check_fits(row.sum_of(spec.people))
        slots.append(output.opening.bias + int(draw(noise, output.scale, 1)[0]))
    return layout.pack_one(slots) + layout.top_fill(public.n, random)
