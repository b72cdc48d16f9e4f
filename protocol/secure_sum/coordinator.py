"""H's half: the product of all uploads, position by position.

Who runs it: H.  Learns: nothing; every factor and the product are ciphertexts under A's key.
Source: protocols.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation

Bytes = npt.NDArray[np.uint8]


def multiply(n: int, uploads: Sequence[Bytes]) -> Bytes:
    """uint8[m, width]: Π over parties mod n² of uint8[m, width] each.

    Raises ProtocolViolation('bad_ciphertext') for a number that is none mod n².
    """
    square, width = n * n, uploads[0].shape[1]
    found = np.zeros_like(uploads[0])
    for row in range(len(found)):
        product = 1
        for upload in uploads:
            factor = int.from_bytes(upload[row].tobytes(), "little")
            if not 0 < factor < square:
                raise ProtocolViolation("bad_ciphertext", "an upload holds no ciphertext")
            product = product * factor % square
        found[row] = np.frombuffer(product.to_bytes(width, "little"), dtype=np.uint8)
    return found
