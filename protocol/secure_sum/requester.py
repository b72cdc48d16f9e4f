"""A's half: open the total of one round.

Who runs it: A, who holds the key.  Learns: the total under every party's noise; no party's own
numbers, not even together with H (the masks of the others do not cancel alone).
Source: protocols.md section 3; section 7 formula 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import SumSpec


def open_total(
    spec: SumSpec, kernel: Kernel, key: PrivateKey, cts: npt.NDArray[np.uint8]
) -> Vector:
    """Per output its noisy totals.

    Raises Failed('out_of_range') when masks are left (a party is missing, or two disagree): then
    a plaintext is a random number, and its bits above the slots are not zero.
    """
    kernel.check(key.public, cts)
    plaintexts = kernel.decrypt(key, cts)
    slots: list[int] = []
    for layout, row in zip(spec.layouts, plaintexts, strict=True):
        plain = int.from_bytes(row.tobytes(), "little")
        if plain >> layout.declared_bits:
            raise Failed(
                "out_of_range",
                "the total does not open: a party's part is missing or was changed",
                stage="total",
                next_step="run the job again; if it repeats, compare the parties' versions",
            )
        slots += layout.unpack_one(plain)
    values = iter(slots)
    return [
        [spec.opening(output).open(next(values), output.name) for _ in range(output.length)]
        for output in spec.outputs
    ]
