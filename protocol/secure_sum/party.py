"""A party's half: its vector, its own full noise and its masks, encrypted under A's key.

Who runs it: every party of the sum, A too.  Learns: nobody anything.
Source: protocols.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PublicKey
from protocol.paillier.packing import RandomBytes
from protocol.release.noise import NoiseSource, draw
from protocol.secure_sum.spec import SumSpec

Bytes = npt.NDArray[np.uint8]
Vector = list[list[int]]  # per output its numbers, exact integers of any size


def protect(
    spec: SumSpec,
    kernel: Kernel,
    public: PublicKey,
    vector: Vector,
    masks: Sequence[int],
    noise: NoiseSource,
    random: RandomBytes,
    later: int = 0,
) -> Bytes:
    """uint8[spec.ciphertexts, width], ready to leave.

    later: about how many ciphertexts the rounds after this one may need.
    Raises Failed('out_of_bounds') for a number beyond the bound that everybody derived: the
    total would not open, or open to something else.
    """
    slots = iter(_slots(spec, vector, noise))
    plain = []
    for layout, mask in zip(spec.layouts, masks, strict=True):
        packed = layout.pack_one([next(slots) for _ in layout.widths])
        plain.append((packed + mask) % public.n)
    ones = np.zeros((spec.ciphertexts, public.width), dtype=np.uint8)
    ones[:, 0] = 1  # Enc(0) with r = 1; re-randomised below, before anything leaves
    bare = kernel.linear(public, [(ones, 1)], plain)
    return kernel.rerandomise(public, bare, random, later=later)


def _slots(spec: SumSpec, vector: Vector, noise: NoiseSource) -> list[int]:
    found: list[int] = []
    for output, values in zip(spec.outputs, vector, strict=True):
        if len(values) != output.length:
            raise ValueError(f"{output.name} has {len(values)} numbers, not {output.length}")
        if values and not -output.u_minus <= min(values) <= max(values) <= output.u_plus:
            raise Failed("out_of_bounds", f"{output.name} lies outside its declared bounds")
        bias = spec.opening(output).bias
        drawn = draw(noise, output.scale, output.length).tolist()
        found += [bias + value + n for value, n in zip(values, drawn, strict=True)]
    return found
