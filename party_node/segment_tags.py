"""Which of a party's own tags are frequent in its segments: for its eyes only.

Who runs it: every party of a k-means job, after it wrote the labels of its own people.
Learns: that party, about its own people, what its own table and labels say together; nothing
of it leaves, so no budget pays for it.
Source: issue of profiles, segment cards (TGI as protocols.md section 5 has it: 100 times the
share of a tag in the segment over its share in all).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from catalog.vocabulary import OTHER, UNKNOWN
from party_node.admission import described_rows
from party_node.titles import own_titles

if TYPE_CHECKING:
    from party_node.session import Session

MOST = 5  # per segment
FALSE = "false"  # a flag that is not set describes nobody

Whole = npt.NDArray[np.int64]


def keep(session: Session, index: Whole, labels: Whole) -> None:
    """Notes, for this party's own result, what stands out in each segment.

    index: rows from 0, ascending.  labels: per row its segment; masked where it has none.
    """
    known = ~np.ma.getmaskarray(labels)
    index, near = index[known], np.asarray(labels)[known]
    rows = described_rows(session, index)
    least = session.ctx.party.policy.min_cohort
    found: list[tuple[int, dict[str, Any]]] = []
    for attribute, codes in sorted(rows.labels.items()):
        vocabulary = session.ctx.dataset.vocabulary(attribute)
        found += _standing_out(attribute, vocabulary, near, codes, least)
    segments: list[list[dict[str, Any]]] = [[] for _ in range(int(near.max(initial=-1)) + 1)]
    for segment, tag in sorted(found, key=lambda one: (-one[1]["tgi"], -one[1]["people"])):
        if len(segments[segment]) < MOST:
            segments[segment].append(tag)
    session.ctx.records.put(session.job_id, "own.segment_tags", segments)
    told = {tag["attribute"] for segment in segments for tag in segment}
    if titles := own_titles(session.ctx.party, sorted(told)):
        session.ctx.records.put(session.job_id, "own.titles", titles)


def _standing_out(
    attribute: str,
    vocabulary: tuple[str, ...],
    near: Whole,
    codes: npt.NDArray[np.int32],
    least: int,
) -> list[tuple[int, dict[str, Any]]]:
    """(segment, tag) of every value that is more frequent there than in all.

    least: a value that fewer people of the segment have is left out.
    """
    k, v = int(near.max(initial=-1)) + 1, len(vocabulary)
    if k == 0:
        return []
    counts = np.bincount(near * v + codes, minlength=k * v).reshape(k, v)
    inside = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    overall = counts.sum(axis=0) / len(near)
    found = []
    for segment, value in zip(*np.nonzero((inside > overall) & (counts >= least)), strict=True):
        word = vocabulary[value]
        if word in (OTHER, UNKNOWN, FALSE):
            continue
        found.append(
            (
                int(segment),
                {
                    "attribute": attribute,
                    "value": word,
                    "people": int(counts[segment, value]),
                    "share": float(inside[segment, value]),
                    "tgi": float(100 * inside[segment, value] / overall[value]),
                },
            )
        )
    return found
