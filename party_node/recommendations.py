"""What each of a party's own people is recommended: by lift of the released cells, or popularity.

Who runs it: the requester's node, when a cross-tab with `then: {recommend: …}` has opened.
protocols.md section 4.  Learns: that party, about its own people; the file never leaves.

Personal is only what a person permits for the job and has not switched off: everybody else in
the table, and whoever's own value has no lift, gets the popular items.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from party_node import admission, local_files
from party_node.session import Session
from protocol.crosstab.requester import joint_codes
from protocol.crosstab.spec import CrosstabSpec
from protocol.release.after import rankings
from protocol.secure_sum.model import Local

FOLDER = "recommendations"
PERSONAL, POPULAR = "personal", "popular"


def write(session: Session, spec: CrosstabSpec, cells: Sequence[dict[str, Any]]) -> None:
    """recommendations/JOB.parquet: row, item_1 …, basis; a row of the table each."""
    then = session.spec.then
    assert then is not None
    rows = [attribute.name for attribute in spec.rows]
    ranked = rankings(cells, rows, spec.columns[0].name)
    values = list(product(*(attribute.vocabulary for attribute in spec.rows)))
    lists = [ranked.personal.get(value, ranked.popular) for value in (*values, ())]
    table = np.full((len(lists), then.recommend), None, dtype=object)
    for at, items in enumerate(lists):
        found = items[: then.recommend]
        table[at, : len(found)] = found
    own = admission.admitted_rows(session)
    sizes = [len(attribute.vocabulary) for attribute in spec.rows]
    codes = joint_codes([own.labels[_short(name)] for name in rows], sizes, len(own))
    personal = np.array([value in ranked.personal for value in values])[codes]
    if then.non_personal:
        personal &= own.labels[_short(then.non_personal)] == 0
    place = np.full(session.ctx.dataset.rows, len(values))  # the popular list
    place[own.index[personal]] = codes[personal]
    columns: dict[str, Any] = {f"item_{n + 1}": table[place, n] for n in range(then.recommend)}
    columns["basis"] = np.where(place < len(values), PERSONAL, POPULAR)
    everybody = np.arange(session.ctx.dataset.rows)
    local_files.write(session.ctx.folder, session.spec.name, everybody, Local(FOLDER, columns))


def _short(attribute: str) -> str:
    return attribute.partition("/")[2]
