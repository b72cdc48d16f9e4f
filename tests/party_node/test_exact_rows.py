"""What a party makes of offers, rows and the coordinator's numbers for exact k-means."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from catalog.job import parse_jobs
from party_node.exact_rounds import State, after, row_at_place
from party_node.exact_rows import layout, matchable, values
from protocol.errors import ProtocolViolation, Refused
from protocol.kmeans.exact import codec
from protocol.psi.tokens import DUMMY, PADDING
from protocol.rows import EligibleRows, Number
from protocol.wire import job_pb2 as pb
from protocol.wire import kmeans_exact_pb2 as exact_pb


def job(**changes):
    fields = {
        "job": "a", "purpose": "segmentation", "requester": "shop", "with": ["media"],
        "protocol": "kmeans", "mode": "exact", "k": 2,
        "features": {"media": ["minutes"], "shop": ["spend", "vip"]},
    } | changes  # fmt: skip
    return parse_jobs(json.dumps(fields), "J.yaml", None)[0]


def offers(spend_hi=90000):
    spend = pb.AttributeOffer(name="spend", kind="number", lo=0, hi=spend_hi, decimals=2)
    vip = pb.AttributeOffer(name="vip", kind="flag")
    minutes = pb.AttributeOffer(name="minutes", kind="number", lo=-10, hi=600)
    return {"shop": pb.Offer(attributes=[spend, vip]), "media": pb.Offer(attributes=[minutes])}


def test_a_layout_is_in_steps_and_one_unit_of_distance_is_that_of_the_finest_feature():
    found = layout(job().vertical, offers(), seed=5)
    assert [(f.party, f.name, f.low, f.high) for f in found.features] == [
        ("media", "minutes", -10, 600), ("shop", "spend", 0, 90000), ("shop", "vip", 0, 1),
    ]  # fmt: skip
    assert found.factors.tolist() == [10_000, 1, 10_000]
    assert found.largest == 10_000 * 610**2 + 90000**2 + 10_000
    assert found.unit_of_distance == 1e-4
    assert found.of("shop") == [1, 2]
    assert (found.starts >= [-10, 0, 0]).all()
    assert (found.starts <= [600, 90000, 1]).all()
    assert (found.starts == layout(job().vertical, offers(), seed=5).starts).all()
    assert (found.starts != layout(job().vertical, offers(), seed=6).starts).all()


def test_a_start_outside_the_bounds_widens_what_distances_may_be():
    found = layout(job(init=[[0, 1000.5, 0], [700, 5, 2]]).vertical, offers(), seed=0)
    assert found.starts.tolist() == [[0, 100050, 0], [700, 500, 2]]
    assert [(f.low, f.high) for f in found.features] == [(-10, 700), (0, 100050), (0, 2)]


def test_offers_that_do_not_fit():
    with pytest.raises(Refused, match="shop/spend has bounds that are too wide"):
        layout(job().vertical, offers(1 << 54), seed=0)
    missing = offers()
    del missing["shop"].attributes[:]
    with pytest.raises(ProtocolViolation, match="not offered"):
        layout(job().vertical, missing, seed=0)


def test_a_row_that_lacks_a_feature_matches_nobody_in_such_a_job_only():
    null = np.array([False, True, False])
    rows = EligibleRows(
        np.arange(3),
        {"email": pa.array(["a@b.example", "c@d.example", None])},
        {"vip": np.array([1, 0, 1], dtype=np.int32)},
        {"spend": Number(np.array([5, 0, 7]), null, 0, 9, 0)},
    )
    assert matchable(job(), rows).identifiers["email"].to_pylist() == ["a@b.example", None, None]
    assert matchable(job(mode="grid"), rows) is rows
    assert values(rows, ("spend", "vip")).tolist() == [[5, 0, 7], [1, 0, 1]]


@pytest.mark.parametrize(
    ("numbers", "common"),
    [
        ([1, -1, 0, -1], 2),  # a dummy is not in it
        ([1, 2, 0, 3], 4),  # padding is
        ([1, 2, 1, -1], 3),  # one number twice
        ([1, 3, 0, -1], 3),  # a number beyond
        ([1, 2, 0, -1], 4),  # fewer than said
    ],
)
def test_numbers_of_no_honest_join(numbers, common):
    of_handle = np.array([7, DUMMY, 9, PADDING])
    assert row_at_place(np.array([1, 2, 0, -1]), 3, of_handle).tolist() == [9, 7, DUMMY]
    with pytest.raises(ProtocolViolation, match="not those of an honest join"):
        row_at_place(np.array(numbers), common, of_handle)


def test_artifacts_that_are_not_those_of_the_job(tmp_path):
    body = np.zeros(8, dtype=np.uint8)
    with pytest.raises(ProtocolViolation, match="another number of handles"):
        codec.places_body((exact_pb.Places(handles=2, common=3), body), 2)
    with pytest.raises(ProtocolViolation, match="another number of rows"):
        codec.nearest_body((exact_pb.NearestColumns(rows=7), body), 8)
    with pytest.raises(ProtocolViolation, match="out of range"):
        codec.spread_of(codec.spread(901))
    for centres, inertia in ((np.zeros((2, 2)), -1.0), (np.full((2, 2), np.nan), 1.0)):
        with pytest.raises(ProtocolViolation, match="another party's centres"):
            codec.centres_of(codec.centres(centres, inertia), 2, 2)
    short = tmp_path / "short"
    head = codec.frame_head(codec.distances_head(3, 2, last=False, done=False))
    short.write_bytes(head + bytes(47))
    with pytest.raises(ProtocolViolation, match="not what their header says"):
        codec.masked(short)
    short.write_bytes(head + bytes(48))
    assert codec.masked(short).shape == (3, 2)


@pytest.mark.parametrize(
    ("round_", "changed", "early", "final", "last"),
    [
        (1, None, True, False, False),
        (2, 0, False, True, False),  # nobody changed cluster: these labels are the last
        (2, 1, False, False, False),
        (2, 1, True, False, True),  # 1 of 2,000 is under 0.1 %
        (2, 2, True, False, False),  # 2 of 2,000 is not
        (3, 900, False, False, True),  # as often as was asked for
        (3, 0, False, True, True),
    ],
)
def test_when_it_is_over(round_, changed, early, final, last):
    asked = job(iterations=3, stop_early=early).vertical
    found = after(asked, round_, changed, 2000)
    assert (found.final, found.iterations) == (final, round_)
    assert found.last == last
    assert after(job(iterations=1).vertical, 1, None, 2000) == State(False, True, 1)
