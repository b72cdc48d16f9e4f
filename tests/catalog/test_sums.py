"""Jobs over secure sums as files: what is read, what is refused and how it is said."""

from __future__ import annotations

import json

import pytest

from catalog.job import JobSpec, parse_jobs
from protocol.errors import BadInput, ProtocolViolation

BASE = {
    "job": "a", "purpose": "segmentation", "requester": "north", "people": ["north", "south"],
}  # fmt: skip
RFM = BASE | {"protocol": "rfm"}
KMEANS = BASE | {"protocol": "kmeans", "mode": "horizontal", "k": 2, "features": ["a", "b"]}
LTV = BASE | {"protocol": "ltv"}
SUM = BASE | {"protocol": "secure_sum", "columns": ["tier", "spend"]}


def parsed(fields):
    return parse_jobs(json.dumps(fields), "J.yaml", None)[0]


@pytest.mark.parametrize(
    "columns",
    [
        None,
        ["recency", "frequency", "monetary", "age"],
        {"recency": "recency", "frequency": "frequency", "monetary": "monetary"},
        {"north": ["monetary", "recency", "frequency"]},
        {"north": {"recency": "recency", "frequency": "frequency", "monetary": "monetary"},
         "south": ["recency", "frequency", "monetary"]},
    ],
)  # fmt: skip
def test_ways_to_name_roles(columns):
    found = parsed(RFM | ({"columns": columns} if columns else {}))
    roles = ("recency", "frequency", "monetary")
    assert found.model.names == roles
    assert found.model.columns == {"north": roles, "south": roles}
    assert found.parties == ("north", "south")


@pytest.mark.parametrize(
    "fields",
    [
        RFM | {"columns": {"north": {"recency": "r", "frequency": "f", "monetary": "m"}}},
        RFM | {"scheme": 8, "seed": 4, "privacy": {"rho": 0.25}},
        SUM | {"bins": {"spend": [-1, 0.5, 100]}, "privacy": {"noise": "off"}},
        SUM | {"columns": {"north": ["a"], "south": ["b"]}, "match": {"on": ["email"]}},
        BASE | {"protocol": "secure_sum"},
        LTV | {"columns": ["frequency", "recency", "age"], "horizon": 12.5, "discount": 0.01},
        LTV,
        KMEANS | {"init": "auto", "k": [2, 4], "restarts": 3, "scale": "zscore"},
        KMEANS | {"init": [[1, 2.50], [-3, 4]], "iterations": 3},
        BASE | {"protocol": "secure_sum", "with": ["south"]},
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
        (RFM | {"people": ["south", "east"]}, "north asks, and its people are not among them"),
        (RFM | {"people": ["north"]}, "names no other party"),
        (RFM | {"with": ["east"]}, "with and people name different parties"),
        (RFM | {"people": [], "with": ["north"]}, "north is the requester"),
        (RFM | {"columns": ["recency", "frequency"]}, "north has no monetary"),
        (RFM | {"columns": ["recency", "frequenzy", "monetary"]}, 'did you mean "frequency"'),
        (RFM | {"columns": {"west": ["recency"]}}, '"west" is no party of this job'),
        (RFM | {"scheme": 9}, '"9" is not known'),
        (RFM | {"rows": ["x"]}, 'unknown key "rows"'),
        (LTV | {"horizon": 0}, "0 is not above 0"),
        (LTV | {"discount": 1}, "1 is no discount"),
        (LTV | {"columns": ["frequency", "recency"]}, "north has no T"),
        (KMEANS | {"mode": "vertical"}, '"vertical" is not known'),
        (KMEANS | {"k": 0}, "greater than or equal to 1"),
        (KMEANS | {"iterations": 11}, "less than or equal to 10"),
        (KMEANS | {"init": [[1, 2]]}, "init has 1 centres, k is 2"),
        (KMEANS | {"init": [[1], [2]]}, "has not 2 numbers"),
        (KMEANS | {"init": [[1, 2], [3, 4]], "restarts": 2}, "init stands for one start only"),
        (KMEANS | {"init": "best"}, "neither auto nor a list"),
        (KMEANS | {"features": []}, "names no feature"),
        (SUM | {"columns": {"north": ["a"], "south": ["a", "b"]}}, "south has 2 columns"),
        (SUM | {"columns": {"north": ["a"]}}, "has no list of south's"),
        (SUM | {"columns": ["north/tier"]}, "names a party"),
        (SUM | {"columns": ["tier", "tier"]}, "is here twice"),
        (SUM | {"bins": {"spend": [2, 1]}}, "not in rising order"),
        (SUM | {"bins": {"spent": [1]}}, 'did you mean "spend"'),
    ],
)
def test_bad_files_are_refused_in_words(fields, words):
    with pytest.raises(BadInput) as caught:
        parsed(fields)
    assert words in str(caught.value)
    assert "J.yaml line 1" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["model"]["columns"].pop("south"),
        lambda m: m["model"]["settings"].update(scheme="7"),
        lambda m: m["model"]["names"].reverse(),
        lambda m: m.pop("model"),
        lambda m: m.update(rows=["north/x"]),
        lambda m: m["privacy"].update(rho_nano=0),
    ],
)
def test_a_job_from_elsewhere_that_no_file_can_have_written(change):
    canonical = json.loads(json.dumps(parsed(RFM).canonical()))
    change(canonical)
    with pytest.raises(ProtocolViolation):
        JobSpec.from_canonical(canonical)
