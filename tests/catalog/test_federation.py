"""FEDERATION.yaml and party.yaml: what they say, and one sentence for everything wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.federation import Attribute, Policy, dump_party, load_federation, load_party
from catalog.yaml import TEXT_KEYS, dump_yaml, parse_documents
from protocol.errors import BadInput

GOOD = """\
federation: winback
key_bits: 2048
parties:
  retailer:
    table: retailer.csv
    default_region: NO
    ids: {email: email, phone: 电话}
    attributes:
      tier: {kind: label, category: purchases, values: [007, on, no, 2024-01-01, 高, 1.0]}
      spend: {kind: number, category: purchases, bounds: [-0.5, 10000.25], decimals: 2}
      活跃: {kind: flag, category: behaviour, column: active}
    consents: consents.csv
    policy: {min_cohort: 20, requesters: [media], purposes: [audience_insight], rho_per_month: 1.05}
  media:
    table: /data/m.parquet
    ids: {email: email}
    attributes:
      minutes: {kind: number, category: behaviour, bounds: [0, 600]}
    consents: all
    approval: manual
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "federation.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_says_what_it_says(tmp_path: Path) -> None:
    federation = load_federation(write(tmp_path, GOOD))
    retailer, media = federation.parties.values()
    assert federation.name == "winback"
    assert retailer.table == tmp_path / "retailer.csv"
    assert retailer.consents_file == tmp_path / "consents.csv"
    assert retailer.default_region == "NO"  # not false
    # Values are as written: neither numbers, nor booleans, nor dates.
    assert retailer.attributes["tier"].values == ("007", "on", "no", "2024-01-01", "高", "1.0")
    assert retailer.attributes["spend"].scaled_bounds == (-50, 1000025)
    assert retailer.column("活跃") == "active"
    assert retailer.column("tier") == "tier"
    assert retailer.policy.rho_nano == retailer.policy.rho_all_nano == 1_050_000_000
    assert media.policy == Policy()
    assert media.policy.min_cohort == 50
    assert media.policy.noise == "required"
    assert media.policy.rho_nano == 500_000_000
    assert media.policy.reveal == "hidden"
    assert media.consents_file is None
    assert media.approval == "manual"
    assert media.table == Path("/data/m.parquet")


def test_party_file_is_one_block_and_the_name(tmp_path: Path) -> None:
    for party in load_federation(write(tmp_path, GOOD)).parties.values():
        path = tmp_path / "elsewhere" / "party.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dump_party(party), encoding="utf-8")
        assert load_party(path) == party
        path.write_text(dump_party(party, 3072), encoding="utf-8")
        assert load_party(path).key_bits == 3072


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    table: retailer.csv", "    tabel: retailer.csv",
         'line 5: parties.retailer: unknown key "tabel" — did you mean "table"?'),
        ("    table: retailer.csv\n", "",
         'parties.retailer: the key "table" is missing — add table: …'),
        ("kind: flag", "kind: flagg", 'attributes.活跃.kind: "flagg" is not known'),
        ("kind: flag", "kind: event", '"event" is not known'),
        ("category: behaviour, column", "category: behavior, column",
         '"behavior" is not known — did you mean "behaviour"?'),
        ("    consents: all", "    consents: all\n    events: {}",
         "parties.media.events: event tables are not in this version"),
        ("    consents: all\n", "", 'parties.media: the key "consents" is missing'),
        (", bounds: [0, 600]", "", "a number needs bounds — add bounds: [lowest, highest]"),
        ("[0, 600]", "[600, 0]", "bounds 600 and 0 are not in order"),
        ("[0, 600]", "[5, 5]", "bounds 5 and 5 are not in order"),
        ("[0, 600]", "[0, many]", "must be a number"),
        ("[0, 600]", "[0, .inf]", ".inf is not a finite number"),
        ("[0, 600]", "[0]", "media.attributes.minutes.bounds"),
        ("[0, 600]", "[0, 1, 2]", "media.attributes.minutes.bounds"),
        ("[0, 600]", "[0, 0.5]", "the bound 0.5 has more than 0 decimals"),
        ("[0, 600]", "[0, 1e17]", "is too large"),
        ("decimals: 2", "decimals: 2.5", "must be a whole number"),
        ("decimals: 2", "decimals: 12", "decimals"),
        ("{kind: flag, category", "{kind: flag, bounds: [0, 1], category", "a flag has no bounds"),
        ("{kind: flag, category", "{kind: flag, values: [a], category", "a flag has no values"),
        ("[007, on,", "[on, on,", 'the value "on" is here twice'),
        ("[007, on,", "[null, on,", "must be a word or text"),
        ("values: [007, on, no, 2024-01-01, 高, 1.0]", "values: []", "a label has 1 to 64"),
        ("values: [007, on, no, 2024-01-01, 高, 1.0]",
         f"values: [{', '.join(f'v{i}' for i in range(65))}]", "65 values; a label has 1 to 64"),
        ("min_cohort: 20", "min_cohort: 0", "min_cohort"),
        ("min_cohort: 20", "min_cohort: many", "must be a whole number"),
        ("min_cohort: 20", "min_cohort: true", "must be a whole number"),
        ("min_cohort: 20", "min_cohorts: 20",
         'policy: unknown key "min_cohorts" — did you mean "min_cohort"?'),
        ("min_cohort: 20", "noise: off", '"off" is not known'),
        ("requesters: [media]", "requesters: [medai]", '"medai" is no party of this file'),
        ("[audience_insight]", "[audience_insights]", 'did you mean "audience_insight"?'),
        ("rho_per_month: 1.05", "rho_per_month: 0", "0 is not a budget"),
        ("rho_per_month: 1.05", "rho_per_month: 0.0000000001", "at most 9 decimals"),
        ("default_region: NO", "default_region: China", '"China" is no region'),
        ("key_bits: 2048", "key_bits: 1024", "line 2: key_bits: 1024 is not a key size"),
        ("federation: winback\n", "", 'the key "federation" is missing'),
        ("federation: winback", "federation: [a]", "must be a word or text"),
        ("  media:\n", "  coordinator:\n", '"coordinator" is the name of a service'),
        ("  media:\n", "  Retailer:\n", "differ in case only"),
        ("  media:\n", "  ../x:\n", '"../x" cannot name a party'),
        ("  media:\n", "  retailer:\n", 'line 14: the key "retailer" is here twice'),
        ("  media:\n", "  media: {name: media}\n  other:\n", '"name" belongs to party.yaml'),
        ("  media:\n", "  media: 5\n  other:\n", "parties.media: must be a block of keys"),
        ("活跃:", "a/b:", '"a/b" cannot name an attribute'),
        ("{email: email, phone", "{E-Mail: email, phone", "cannot name an identifier type"),
        ("{email: email, phone", "{email: [a], phone", "must be a word or text"),
        ("federation: winback", "federation: !!python/none x", "not"),
        ("federation: winback", "federation: !secret x", "the tag !secret is not known here"),
        ("federation: winback", "federation: *x", "is not YAML"),
        ("federation: winback", "\tfederation: winback", "line 1: is not YAML"),
        ("federation: winback", "{a: 1}: winback", "a key must be a word"),
    ],
)  # fmt: skip
def test_bad_says_file_line_key_and_fix(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load_federation(path)
    sentence = str(caught.value)
    assert said in sentence
    assert sentence.startswith(f"{path}")
    assert "\n" not in sentence
    assert "pydantic" not in sentence


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "federation.yaml"
    for data, said in [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty — give it one federation"),
        (b"# nothing\n", "is empty"),
        (b"a: 1\n---\nb: 2\n", "holds 2 documents"),
        ("federation: 高".encode("gb18030"), "is not UTF-8 — save it as UTF-8"),
        (b"- a\n- b\n", "must be a block of keys"),
        (b"a: \x00", "is not YAML"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "federation.yaml"),
        (b"a: &x [*x]", "nested too deeply"),
        (b"a: &a [1,1,1,1,1,1,1,1]\n" + b"\n".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]" % (i + 1, i + 1, *[i] * 8)
            for i in range(ord("a"), ord("j"))), "too large"),
    ]:  # fmt: skip
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadInput) as caught:
            load_federation(path)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bom_and_json_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "federation.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_federation(path).name == "winback"
    path.write_text(
        '{"federation": "j", "key_bits": 2048, "parties": {"a": {"table": "a.csv", "consents":'
        ' "all", "policy": {"noise": "optional"}}, "b": {"table": "b.csv", "consents": "all"}}}'
    )
    assert load_federation(path).parties["a"].policy.noise == "optional"


def test_parties_and_attributes_may_have_the_names_of_keys(tmp_path: Path) -> None:
    text = GOOD.replace("  media:", "  ids:").replace("[media]", "[ids]")
    for name in ("values", "column", "ids", "name", "rows", "attributes", "table"):
        federation = load_federation(write(tmp_path, text.replace("minutes:", f"{name}:")))
        party = federation.parties["ids"]
        assert party.attributes[name].scaled_bounds == (0, 600)
        path = tmp_path / "party.yaml"
        path.write_text(dump_party(party))
        assert load_party(path) == party


def test_two_parties_at_least(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least two parties"):
        load_federation(write(tmp_path, GOOD[: GOOD.index("  media:")]))


def test_party_needs_a_name(tmp_path: Path) -> None:
    path = tmp_path / "party.yaml"
    path.write_text("table: a.csv\nconsents: all\n")
    with pytest.raises(BadInput, match='the key "name" is missing'):
        load_party(path)
    path.write_text("name: a\ntable: a.csv\nconsents: all\nkey_bits: 64\n")
    with pytest.raises(BadInput, match="64 is not a key size"):
        load_party(path)


@given(st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
    | st.integers(-(10**18), 10**18) | st.booleans() | st.none()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9999, max_value=9999),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")),
                              min_size=1, max_size=5).filter(lambda key: key not in TEXT_KEYS),
                      inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_what_is_dumped_is_read_back(value: object) -> None:
    (document,) = parse_documents(dump_yaml({"the": value}), "x")
    assert document.value == {"the": value}


def test_decimals_stay_exact() -> None:
    attribute = Attribute(
        kind="number", category="finance", bounds=(Decimal("-0.1"), Decimal("0.3")), decimals=1
    )
    assert attribute.scaled_bounds == (-1, 3)


def test_notices_are_a_file_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "party.yaml"
    path.write_text("name: a\ntable: a.csv\nconsents: all\nnotices: texts/notices.yaml\n")
    party = load_party(path)
    assert party.notices == tmp_path / "texts" / "notices.yaml"
    path.write_text(dump_party(party))
    assert load_party(path).notices == party.notices
    path.write_text("name: a\ntable: a.csv\nconsents: all\n")
    assert load_party(path).notices is None
