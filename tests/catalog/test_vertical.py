"""k-means over the same people as files: what is read, what is refused and how it is said."""

from __future__ import annotations

import json

import pytest

from catalog.federation import load_federation
from catalog.job import JobSpec, parse_jobs
from protocol.errors import BadInput, ProtocolViolation

GRID = {
    "job": "a", "purpose": "segmentation", "requester": "shop", "with": ["media"],
    "protocol": "kmeans", "mode": "grid", "k": 3,
    "features": {"media": ["minutes"], "shop": ["spend", "vip"]},
}  # fmt: skip
EXACT = GRID | {"mode": "exact"}
INIT = [[1, 2, 0], [3, 4.50, 1], [5, 6, 0]]


def parsed(fields, federation=None):
    return parse_jobs(json.dumps(fields), "J.yaml", federation)[0]


def test_what_a_file_leaves_out_follows_from_the_mode():
    grid, exact = parsed(GRID), parsed(EXACT)
    assert grid.attributes == ("media/minutes", "shop/spend", "shop/vip")  # the file's order
    assert grid.parties == ("shop", "media")
    assert grid.own_attributes("shop") == ("spend", "vip")
    assert (grid.vertical.cells, grid.vertical.restarts, grid.vertical.iterations) == (6, 10, 100)
    assert (grid.match.reveal, grid.noise, grid.procedure) == ("hidden", True, "kmeans_grid")
    assert (exact.vertical.cells, exact.vertical.restarts, exact.vertical.iterations) == (0, 1, 10)
    assert (exact.match.reveal, exact.noise, exact.rho_nano) == ("members", False, 0)
    assert exact.procedure == "kmeans_exact"
    assert parsed({k: v for k, v in GRID.items() if k != "with"}) == grid
    assert parsed(GRID | {"k": [2, 40]}).vertical.cells == 64
    wide = {"media": ["m"], "shop": [f"f{i}" for i in range(64)]}
    assert len(parsed(GRID | {"features": wide}).own_attributes("shop")) == 64


@pytest.mark.parametrize(
    "fields",
    [
        GRID,
        GRID | {"k": [2, 4], "restarts": 3, "scale": "zscore", "cells": 12, "seed": 4},
        GRID | {"init": INIT, "match": {"on": ["email"], "mode": "ecdh", "reveal": "hidden"}},
        GRID | {"init": "auto", "privacy": {"rho": 0.25}},
        EXACT | {"init": INIT, "iterations": 3, "privacy": {"noise": "off"}},
        EXACT | {"match": {"reveal": "members"}, "scale": "zscore", "stop_early": True},
    ],
)
def test_the_canonical_form_gives_the_job_back(fields):
    found = parsed(fields)
    again = JobSpec.from_canonical(json.loads(json.dumps(found.canonical())))
    assert again == found
    assert again.content_id == found.content_id


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (GRID | {"people": ["shop", "media"]}, "people names parties of mode horizontal"),
        (GRID | {"with": ["shop"]}, "shop is the requester"),
        (GRID | {"with": ["media", "bank"]}, "mode grid is between two parties"),
        (GRID | {"features": ["spend"]}, "does not say whose they are"),
        (GRID | {"features": {"shop": ["spend"]}}, "names no attribute of media"),
        (GRID | {"features": {"shop": [], "media": ["m"]}}, "names no attribute of shop"),
        (GRID | {"features": GRID["features"] | {"bank": ["x"]}}, '"bank" is no party of this job'),
        (GRID | {"features": {"shop": ["shop/spend"], "media": ["m"]}}, "names a party"),
        (GRID | {"features": {"shop": ["a", "a"], "media": ["m"]}}, '"a" is here twice'),
        (GRID | {"match": {"reveal": "members"}}, "mode grid is with reveal: hidden"),
        (GRID | {"match": {"on": []}}, "names no identifier type"),
        (GRID | {"iterations": 301}, "write at most 300"),
        (GRID | {"cells": 65}, "less than or equal to 64"),
        (GRID | {"init": [[1, 2, 3]]}, "has 1 centres, k is 3"),
        (GRID | {"init": [*INIT, [7, 8, 1]]}, "has 4 centres, k is 3"),
        (
            GRID | {"features": {"media": ["m"], "shop": [f"f{i}" for i in range(65)]}},
            "65 features — name at most 64",
        ),
        (GRID | {"init": [[1, 2]] * 3}, "a centre has not 3 numbers"),
        (GRID | {"init": INIT, "k": [3, 4]}, "stands for one start only"),
        (GRID | {"rows": "shop/vip"}, 'unknown key "rows"'),
        (GRID | {"k": 0}, "greater than or equal to 1"),
        (EXACT | {"privacy": {"noise": "on"}}, "mode exact has no noise"),
        (EXACT | {"match": {"reveal": "hidden"}}, "mode exact is with reveal: members"),
        (EXACT | {"k": [2, 3]}, "mode exact makes one clustering"),
        (EXACT | {"iterations": 11}, "write at most 10"),
        (EXACT | {"restarts": 2}, "mode exact has one start"),
        (EXACT | {"cells": 6}, "mode exact has no local cells"),
        (EXACT | {"stop_early": "soon"}, "neither true nor false"),
        (GRID | {"stop_early": True}, "mode grid has one"),
    ],
)
def test_bad_files_are_refused_in_words(fields, words):
    with pytest.raises(BadInput) as caught:
        parsed(fields)
    assert words in str(caught.value)
    assert "J.yaml line 1" in str(caught.value)
    assert caught.value.info.next_step or "or equal to" in words


FEDERATION = """
federation: f
parties:
  shop:
    table: s.csv
    ids: {email: e, phone: p}
    attributes:
      spend: {kind: number, category: purchases, bounds: [0, 9]}
      vip: {kind: flag, category: purchases}
      tier: {kind: label, category: purchases}
    consents: all
  media:
    table: m.csv
    ids: {email: e}
    attributes: {minutes: {kind: number, category: behaviour, bounds: [0, 600]}}
    consents: all
"""


def test_features_are_numbers_or_flags_of_the_federation(tmp_path):
    path = tmp_path / "F.yaml"
    path.write_text(FEDERATION)
    federation = load_federation(path)
    assert parsed(GRID, federation).match.on == ("email",)
    for features, words in (
        ({"shop": ["spent"], "media": ["minutes"]}, 'did you mean "spend"'),
        ({"shop": ["tier"], "media": ["minutes"]}, "shop/tier is a label"),
    ):
        with pytest.raises(BadInput) as caught:
            parsed(GRID | {"features": features}, federation)
        assert words in f"{caught.value} {caught.value.info.next_step}"
    with pytest.raises(BadInput, match='media has no identifier type "phone"'):
        parsed(GRID | {"match": {"on": ["phone"]}}, federation)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["vertical"].update(cells=99),
        lambda m: m["vertical"].update(cells=0),
        lambda m: m["vertical"]["features"].pop(),
        lambda m: m["match"].update(reveal="members"),
        lambda m: m["vertical"].pop("scale"),
        lambda m: m.pop("vertical"),
        lambda m: m.update(model={}),
        lambda m: m.update(rows=["shop/vip"]),
    ],
)
def test_a_job_from_elsewhere_that_no_file_can_have_written(change):
    canonical = json.loads(json.dumps(parsed(GRID).canonical()))
    change(canonical)
    with pytest.raises(ProtocolViolation):
        JobSpec.from_canonical(canonical)
