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

from catalog.job_then import Then
from party_node import admission, local_files
from party_node.session import Session
from protocol.crosstab.requester import joint_codes
from protocol.crosstab.spec import CrosstabSpec
from protocol.release.after import rankings
from protocol.rows import EligibleRows
from protocol.secure_sum.model import Local

FOLDER = "recommendations"
PERSONAL, POPULAR = "personal", "popular"


def write(session: Session, spec: CrosstabSpec, cells: Sequence[dict[str, Any]]) -> None:
    """recommendations/JOB.parquet: row, item_1 …, basis; a row of the table each."""
    then, people = session.spec.then, session.ctx.dataset.rows
    assert then is not None
    found = lists(spec, then, cells, admission.admitted_rows(session), people)
    local_files.write(session.ctx.folder, session.spec.name, np.arange(people), found)


def lists(
    spec: CrosstabSpec, then: Then, cells: Sequence[dict[str, Any]], own: EligibleRows, people: int
) -> Local:
    """What everybody in a table of so many people gets.  own: who permits the job."""
    rows = [attribute.name for attribute in spec.rows]
    ranked = rankings(cells, rows, spec.columns[0].name)
    values = list(product(*(attribute.vocabulary for attribute in spec.rows)))
    ranking = [ranked.personal.get(value, ranked.popular) for value in (*values, ())]
    table = np.full((len(ranking), then.recommend), None, dtype=object)
    for at, items in enumerate(ranking):
        found = items[: then.recommend]
        table[at, : len(found)] = found
    sizes = [len(attribute.vocabulary) for attribute in spec.rows]
    codes = joint_codes([own.labels[_short(name)] for name in rows], sizes, len(own))
    personal = np.array([value in ranked.personal for value in values])[codes]
    if then.non_personal:
        personal &= own.labels[_short(then.non_personal)] == 0
    place = np.full(people, len(values))  # the popular list
    place[own.index[personal]] = codes[personal]
    columns: dict[str, Any] = {f"item_{n + 1}": table[place, n] for n in range(then.recommend)}
    columns["basis"] = np.where(place < len(values), PERSONAL, POPULAR)
    return Local(FOLDER, columns)


def _short(attribute: str) -> str:
    return attribute.partition("/")[2]
