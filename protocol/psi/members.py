"""`members`: from H's marks to the rows that all parties have in common.

Who runs it: every party of a `members` job, each for itself.
Learns: the party, which of its own eligible rows matched at every other party.
Source: protocols.md section 1, "What comes out".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.psi.tokens import DUMMY, PADDING


def matched_rows(
    marks: npt.NDArray[np.bool_], row_of_handle: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Positions in the eligible rows, ascending; dummies stripped.

    marks: bool[handles], as H sent them.  Every dummy agrees at all parties and nobody can
    share padding, so an honest H marks all of the first and none of the second.
    Raises ProtocolViolation('bad_membership') otherwise.
    """
    if len(marks) != len(row_of_handle):
        raise ProtocolViolation("bad_membership", "marks for another number of handles")
    if bool(marks[row_of_handle == PADDING].any()) or not bool(marks[row_of_handle == DUMMY].all()):
        raise ProtocolViolation(
            "bad_membership",
            "the coordinator's marks are not those of an honest join",
            next_step="ask the coordinator's operator, or run again",
        )
    rows = row_of_handle[marks]
    return np.sort(rows[rows >= 0])
