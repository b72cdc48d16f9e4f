"""JOB.yaml, its numbered rules, and the canonical form that parties seal to each other."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from catalog.federation import Federation, load_federation
from catalog.job import JobSpec, Match, Measure, load_jobs, parse_jobs
from protocol.encoding import canonical_json
from protocol.errors import BadInput, ProtocolViolation

FEDERATION = """\
federation: f
parties:
  retailer:
    table: r.csv
    ids: {email: e, phone: p}
    attributes:
      tier: {kind: label, category: purchases}
      vip: {kind: flag, category: purchases}
      spend: {kind: number, category: purchases, bounds: [0, 9]}
    consents: all
  media:
    table: m.csv
    ids: {email: e}
    attributes:
      interest: {kind: label, category: content}
      minutes: {kind: number, category: behaviour, bounds: [0, 600]}
    consents: all
  bank: {table: b.csv, ids: {email: e, phone: p}, consents: all}
"""
GOOD = """\
job: tier_by_interest
purpose: audience_insight
protocol: crosstab
requester: retailer
with: [media]
match: {on: [email], mode: ecdh}
rows: [retailer/tier, retailer/vip]
columns: media/interest
measures: [count, {sum: media/minutes}, {mean: media/minutes}]
privacy: {noise: on, rho: 0.05}
seed: 7
"""
PSI = """\
job: p
purpose: overlap_measurement
protocol: psi
requester: retailer
with: media
"""


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    path = tmp_path / "f.yaml"
    path.write_text(FEDERATION)
    return load_federation(path)


def one(text: str, federation: Federation | None = None) -> JobSpec:
    (spec,) = parse_jobs(text, "job.yaml", federation)
    return spec


def test_says_what_it_says(federation: Federation) -> None:
    spec = one(GOOD, federation)
    assert spec == JobSpec(
        name="tier_by_interest", purpose="audience_insight", protocol="crosstab",
        requester="retailer", providers=("media",), match=Match(("email",), "ecdh", "hidden"),
        rows=("retailer/tier", "retailer/vip"), columns=("media/interest",),
        measures=(Measure("count"), Measure("sum", "media/minutes"),
                  Measure("mean", "media/minutes")),
        noise=True, rho_nano=50_000_000, seed=7,
    )  # fmt: skip
    assert spec.parties == ("retailer", "media")
    assert spec.summed == ("media/minutes",)
    assert spec.attributes == (
        "retailer/tier", "retailer/vip", "media/interest", "media/minutes",
    )  # fmt: skip
    assert spec.own_attributes("retailer") == ("tier", "vip")


def test_defaults(federation: Federation) -> None:
    spec = one(PSI, federation)
    assert (spec.noise, spec.rho_nano, spec.seed) == (True, 20_000_000, None)
    assert spec.match == Match(("email",), "keyed", "hidden")  # media has no phone
    assert one(PSI).match.on == ("phone", "email")  # nothing known about media here
    assert one(PSI + "privacy: {noise: off, rho: 1}").rho_nano == 0
    assert one(PSI + "measures: [count]").measures == ()
    bare = GOOD.replace("measures: [count, {sum: media/minutes}, {mean: media/minutes}]\n", "")
    assert one(bare).measures == (Measure("count"),)


@pytest.mark.parametrize("written", ["on", "off", "true", "false", '"on"', "'off'"])
def test_noise_words(written: str) -> None:
    spec = one(PSI + f"privacy: {{noise: {written}}}")
    assert spec.noise is (written.strip("\"'") in ("on", "true"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rows:", "row:", 'job.yaml line 7: unknown key "row" — did you mean "rows"?'),
        ("mode: ecdh", "mod: ecdh", 'match: unknown key "mod" — did you mean "mode"?'),
        ("job: tier_by_interest\n", "", 'the key "job" is missing'),
        ("job: tier_by_interest", "job: ../x", '"../x" cannot name a job'),
        ("purpose: audience_insight", "purpose: fun", '"fun" is not known'),
        ("protocol: crosstab", "protocol: audience", '"audience" is not in this version'),
        ("protocol: crosstab", "protocol: xtab", '"xtab" is not known'),
        ("requester: retailer", "requester: retialer",
         'requester: "retialer" is no party of f — did you mean "retailer"?'),
        ("with: [media]", "with: []", "with: names no party"),
        ("with: [media]", "with: [retailer]", "retailer is the requester"),
        ("with: [media]", "with: [media, bank]", "a crosstab has one provider, not 2"),
        ("with: [media]", "with: [media, media]", '"media" is here twice'),
        ("mode: ecdh", "mode: magic", '"magic" is not known'),
        ("mode: ecdh", "reveal: members", "a crosstab never reveals members"),
        ("on: [email]", "on: []", "names no identifier type"),
        ("on: [email]", "on: [phone]", 'media has no identifier type "phone" — it has email'),
        ("[retailer/tier, retailer/vip]", "tier", '"tier" is not an attribute — write party/'),
        ("[retailer/tier, retailer/vip]", "media/interest",
         "media/interest is not the requester's"),
        ("[retailer/tier, retailer/vip]", "retailer/spend", "retailer/spend is a number"),
        ("[retailer/tier, retailer/vip]", "retailer/teir",
         'retailer has no attribute "teir" — did you mean "tier"?'),
        ("rows: [retailer/tier, retailer/vip]\n", "",
         "a crosstab needs rows — write rows: retailer"),
        ("[retailer/tier, retailer/vip]", "[retailer/tier, retailer/tier]", "is here twice"),
        ("columns: media/interest", "columns: retailer/tier", "is not the provider's"),
        ("{sum: media/minutes}", "{sum: retailer/spend}", "retailer/spend is not the provider's"),
        ("{sum: media/minutes}", "{sum: media/interest}", "media/interest is a label"),
        ("{sum: media/minutes}", "{total: media/minutes}", '"total" is not a measure'),
        ("{sum: media/minutes}", "sum", '"sum" needs an attribute'),
        ("{sum: media/minutes}", "{sum: [a]}", '"sum" needs an attribute'),
        ("{sum: media/minutes}", "{sum: media/minutes, mean: media/minutes}", "a measure is count"),
        ("measures: [count,", "measures: [cuont,", 'did you mean "count"?'),
        ("noise: on", "noise: maybe", '"maybe" is neither on nor off'),
        ("rho: 0.05", "rho: 0", "0 is not a budget"),
        ("rho: 0.05", "rho: -1", "-1 is not a budget"),
        ("rho: 0.05", "rho: much", "must be a number"),
        ("seed: 7", "seed: x", "seed: must be a whole number"),
        ("seed: 7", "seed: -1", "seed"),
        ("seed: 7", "k: 3", 'unknown key "k"'),
        ("job: tier_by_interest", "job: a\njob: b", 'the key "job" is here twice'),
    ],
)  # fmt: skip
def test_bad_says_line_key_and_fix(federation: Federation, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(BadInput) as caught:
        one(GOOD.replace(old, new, 1), federation)
    assert said in str(caught.value)
    assert str(caught.value).startswith("job.yaml line ")
    assert "\n" not in str(caught.value)


def test_psi_has_no_table_and_many_only_by_members(federation: Federation) -> None:
    for extra in ("rows: retailer/tier", "columns: media/interest", "measures: [{sum: media/m}]"):
        with pytest.raises(BadInput, match="a psi job has no"):
            one(PSI + extra)
    many = PSI.replace("with: media", "with: [media, bank]")
    with pytest.raises(BadInput, match="2 providers with reveal: hidden"):
        one(many, federation)
    spec = one(many + "match: {reveal: members}", federation)
    assert spec.parties == ("retailer", "media", "bank")


def test_several_jobs_in_one_file(tmp_path: Path, federation: Federation) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"---\n{GOOD}---\n{PSI}---\n")
    assert [spec.name for spec in load_jobs(path, federation)] == ["tier_by_interest", "p"]
    path.write_text(f"{PSI}---\n{PSI}")
    with pytest.raises(BadInput, match='two jobs are named "p"'):
        load_jobs(path, federation)
    path.write_text(f"{PSI}---\n{PSI.replace('with: media', 'with: nobody')}")
    with pytest.raises(BadInput, match=r'line 11: with: "nobody" is no party'):
        load_jobs(path, federation)
    path.write_text("---\n")
    with pytest.raises(BadInput, match="is empty"):
        load_jobs(path, federation)


THEN = GOOD + "then: {highest: [none, aware, loyal]}\n"
FLOW = GOOD + ("then: {highest: [a, b], flow: {before: [retailer/tier], now: [media/interest]}}\n")
SHOWN = GOOD.replace("audience_insight", "personalisation") + (
    "then: {recommend: 3, non_personal: retailer/vip}\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (THEN.replace("[none, aware, loyal]", "[loyal]"), "list all stages"),
        (THEN.replace("highest: [none, aware, loyal]", ""), "says nothing"),
        (FLOW.replace("highest: [a, b], ", "recommend: 2, "), "add highest"),
        (FLOW.replace("before: [retailer/tier]", "before: [retailer/x]"), "neither row nor column"),
        (SHOWN.replace("personalisation", "activation"), "write purpose: personalisation"),
        (SHOWN.replace("media/interest", "[media/interest, media/x]"), "name one column"),
        (SHOWN.replace("non_personal: retailer", "non_personal: media"), "not the requester's"),
        (SHOWN.replace("non_personal: retailer/vip", "non_personal: retailer/tier"), "a label"),
        (SHOWN.replace("recommend: 3, ", "highest: [a, b], "), "add recommend"),
        (PSI + "then: {highest: [a, b]}", "a psi job has no then"),
    ],
)
def test_what_follows_a_crosstab_is_checked(federation: Federation, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        one(text, federation)


@pytest.mark.parametrize(
    "text", [THEN, FLOW, SHOWN, GOOD, PSI, PSI + "privacy: {noise: off}", PSI + "seed: 0"]
)
def test_canonical_form_gives_the_job_back(text: str) -> None:
    spec = one(text)
    sent = json.loads(canonical_json(spec.canonical()))  # also: no floats in it
    assert JobSpec.from_canonical(sent) == spec
    assert JobSpec.from_canonical(sent).content_id == spec.content_id


def test_content_id_does_not_change() -> None:
    # A vector: another value means that parties of two versions disagree about every job.
    spec = one(GOOD)
    assert len(spec.content_id) == 64
    assert canonical_json(spec.canonical()) == (
        b'{"columns":["media/interest"],"job":"tier_by_interest","match":{"mode":"ecdh","on":'
        b'["email"],"reveal":"hidden"},"measures":[["count",""],["sum","media/minutes"],["mean",'
        b'"media/minutes"]],"privacy":{"noise":true,"rho_nano":50000000},"protocol":"crosstab",'
        b'"purpose":"audience_insight","requester":"retailer","rows":["retailer/tier",'
        b'"retailer/vip"],"seed":7,"v":1,"with":["media"]}'
    )


def _broken() -> list[Any]:
    good = one(GOOD).canonical()
    out: list[Any] = [None, 1, [], {}, "job", good | {"v": 2}, good | {"extra": 1}]
    for key in good:
        missing = dict(good)
        del missing[key]
        out += [missing, good | {key: {"a": [1]}}, good | {key: 3.5}]
    for path, value in [
        (("privacy", "rho_nano"), -1), (("privacy", "rho_nano"), 0), (("privacy", "noise"), 1),
        (("privacy", "noise"), False), (("privacy", "rho_nano"), True), (("match", "on"), "email"),
        (("match", "mode"), "KEYED"), (("with",), ["media", "media"]), (("seed",), True),
        (("rows",), ["media/x"]), (("measures",), [["sum", ""]]), (("measures",), [["tgi", "x/y"]]),
        (("measures",), []), (("job",), "a/b"), (("requester",), "../a"),
    ]:  # fmt: skip
        bad = copy.deepcopy(good)
        at = bad
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        out.append(bad)
    return out


@pytest.mark.parametrize("value", _broken(), ids=repr)
def test_bad_jobs_from_others_are_violations(value: Any) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        JobSpec.from_canonical(value)
    assert caught.value.info.code == "bad_job"
