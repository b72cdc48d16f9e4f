"""H's half: lay A's ciphertexts out in B's handle order.

Who runs it: H.  Learns: nothing beyond the pairing it made itself (protocols.md section 1).
Source: protocols.md section 2, step 4.  The layout is an index over A's upload, never a
copy; a layout is never patched, a new attempt is a new upload.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation


def layout(pairing: npt.NDArray[np.int64], handles_a: int) -> npt.NDArray[np.int64]:
    """int64[handles_b]: for each handle of B the row of A's upload that it gets.

    pairing: int64[handles_b], the matched handle of A or -1.  A's upload is `handles_a` rows
    and then one Enc(0) per handle of B; every row is handed out at most once, ever.
    Raises ProtocolViolation('bad_pairing') when a handle of A is unknown or matched twice:
    B could tell repeated ciphertexts apart from fresh ones.
    """
    matched = pairing >= 0
    used = pairing[matched]
    if len(used) and (int(used.max()) >= handles_a or len(np.unique(used)) != len(used)):
        raise ProtocolViolation("bad_pairing", "a handle is matched twice or does not exist")
    index = pairing.astype(np.int64, copy=True)
    unmatched = int(len(pairing) - len(used))
    index[~matched] = handles_a + np.arange(unmatched, dtype=np.int64)
    return index
