"""Lookalike jobs as files: what they say, the canonical form, every mistake with place and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.federation import Federation, load_federation
from catalog.job import JobSpec, parse_jobs
from catalog.lookalike import Lookalike
from protocol.errors import BadInput, ProtocolViolation

FEDERATION = """\
federation: f
parties:
  retailer:
    table: r.csv
    ids: {email: email, phone: phone}
    attributes:
      vip: {kind: flag, category: purchases}
      tier: {kind: label, category: purchases}
    consents: all
  media:
    table: m.csv
    ids: {email: email}
    attributes:
      minutes: {kind: number, category: behaviour, bounds: [0, 600]}
      topic: {kind: label, category: content}
    consents: all
"""
GOOD = """\
job: like_vips
purpose: lookalike_modelling
protocol: lookalike
requester: retailer
with: [media]
seed_flag: retailer/vip
features: [media/minutes, media/topic]
l2: 2.50
curve: 10
privacy: {noise: on, rho: 0.5}
"""


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    path = tmp_path / "f.yaml"
    path.write_text(FEDERATION)
    return load_federation(path)


def test_says_what_it_says_and_comes_back_from_its_canonical_form(federation: Federation) -> None:
    (spec,) = parse_jobs(GOOD, "job.yaml", federation)
    features = ("media/minutes", "media/topic")
    assert spec.lookalike == Lookalike("retailer/vip", features, "2.5", 10)
    assert spec.attributes == ("retailer/vip", *features)
    assert spec.own_attributes("media") == ("minutes", "topic")
    assert spec.match.on == ("email",)  # media has no phone
    assert JobSpec.from_canonical(spec.canonical()) == spec
    (bare,) = parse_jobs(GOOD.replace("l2: 2.50\ncurve: 10\n", ""), "job.yaml", federation)
    assert bare.lookalike == Lookalike("retailer/vip", features, "1", 0)
    assert JobSpec.from_canonical(bare.canonical()) == bare


@pytest.mark.parametrize("penalty", ["0.000001", "1000000"])
def test_the_smallest_and_the_largest_penalty_are_penalties(penalty: str) -> None:
    (spec,) = parse_jobs(GOOD.replace("2.50", penalty), "job.yaml", None)
    assert spec.lookalike is not None
    assert spec.lookalike.l2 == penalty


def test_seeds_of_a_party_whose_name_begins_like_the_requesters_are_not_its_own() -> None:
    text = GOOD.replace("retailer/vip", "retailers/vip")
    with pytest.raises(BadInput, match="retailers/vip is not the requester's"):
        parse_jobs(text, "job.yaml", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed_flag:", "seedflag:", 'line 6: unknown key "seedflag" — did you mean "seed_flag"?'),
        ("seed_flag: retailer/vip\n", "", 'the key "seed_flag" is missing'),
        ("retailer/vip", "retailer/vpi", 'retailer has no attribute "vpi" — did you mean "vip"?'),
        ("retailer/vip", "retailer/tier", "retailer/tier is a label — seed_flag needs a flag"),
        ("retailer/vip", "media/topic", "media/topic is not the requester's"),
        ("media/topic]", "media/topics]", 'media has no attribute "topics"'),
        ("media/topic]", "retailer/tier]", "retailer/tier is not the provider's"),
        ("media/topic]", "media/minutes]", '"media/minutes" is here twice'),
        ("[media/minutes, media/topic]", "[]", "features: names no feature"),
        ("l2: 2.50", "l2: 0", "l2: 0 is no penalty — write a number from"),
        ("l2: 2.50", "l2: -1", "-1 is no penalty"),
        ("l2: 2.50", "l2: much", "must be a number"),
        ("curve: 10", "curve: 1", "curve: 1 bands — write 2 to 20"),
        ("curve: 10", "curve: 2.5", "must be a whole number"),
        ("curve: 10", "rows: retailer/tier", 'unknown key "rows"'),
        ("with: [media]", "with: [media, bank]", "a lookalike has one provider, not 2"),
        ("with: [media]", "with: [media]\nmatch: {reveal: members}", "never reveals members"),
        ("with: [media]", "with: [media]\nmatch: {on: [phone]}", "no identifier type"),
    ],
)
def test_every_mistake_has_its_place_and_fix(
    federation: Federation, old: str, new: str, said: str
) -> None:
    assert GOOD.count(old) == 1
    known = None if "bank" in new else federation
    with pytest.raises(BadInput) as error:
        parse_jobs(GOOD.replace(old, new), "job.yaml", known)
    assert "job.yaml line " in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("l2", "2.50"), ("l2", 2), ("l2", "nan"), ("curve", True), ("curve", 1), ("features", [])],
)
def test_what_arrives_in_another_form_is_refused(key: str, value: object) -> None:
    (spec,) = parse_jobs(GOOD, "job.yaml", None)
    sent = spec.canonical()
    sent["lookalike"] = sent["lookalike"] | {key: value}
    with pytest.raises(ProtocolViolation):
        JobSpec.from_canonical(sent)
