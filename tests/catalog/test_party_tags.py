"""Events, One ID and tags in party.yaml: what fits together, and what is said when it does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalog.federation import dump_party, load_party
from protocol.errors import BadInput
from tests.catalog.tag_samples import FILE

VECTORS = Path(__file__).parents[1] / "vectors" / "tags"


def party(folder: Path, old: str = "", new: str = "") -> Path:
    shutil.copytree(VECTORS, folder, dirs_exist_ok=True)
    text = (folder / "party.yaml").read_text("utf-8")
    assert old in text
    (folder / "party.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    (folder / "tags.yaml").write_text(FILE, encoding="utf-8")
    return folder / "party.yaml"


def test_what_is_dumped_is_read_back(tmp_path: Path) -> None:
    loaded = load_party(party(tmp_path))
    assert loaded.events["purchase"].source == str(tmp_path / "purchases.csv")
    assert loaded.one_id.weak == ("device",)
    copy = tmp_path / "elsewhere.yaml"
    copy.write_text(dump_party(loaded), encoding="utf-8")
    assert load_party(copy) == loaded


def test_a_password_stays_in_the_environment(tmp_path: Path) -> None:
    url = "postgresql://crm:${PASSWORD}@db.example/shop"
    path = party(tmp_path, "source: carts.csv,", f'source: "{url}", table: carts,')
    assert url in dump_party(load_party(path))


def test_consent_must_cover_everything_a_tag_is_made_from(tmp_path: Path) -> None:
    path = party(tmp_path, "tag: spender", "tag: winback")
    assert set(load_party(path).categories("tier")) == {"purchases", "demographics", "location"}
    assert load_party(path).categories("age") == ("demographics",)


@pytest.mark.parametrize(
    ("old", "new", "cause", "fix"),
    [
        ("tag: spender", "tag: spendr", 'attributes.tier.tag: no tag "spendr"', '"spender"'),
        ("category: purchases, tag", "category: content, tag", "the tag's category is purchases",
         "write category: purchases"),
        ("kind: label, category: purchases, tag", "kind: flag, category: purchases, tag",
         "a tag is a label", "kind: label"),
        ("tags: tags.yaml\n", "", "this party has no file of tags", "add tags: FILE"),
        ("as_of: 2026-03-10", "as_of: March", '"March" is no moment', "2026-11-25"),
        ("links: {logins: {source: logins.csv, ids: {email: email, device: cookie}}}", "links: {}",
         'no record ties "device"', "add a link"),
        ("ids: {email: email, device: cookie}", "ids: {device: cookie}", "two identifier", ""),
        ('utc_offset: "+08:00"', "utc_offset: Shanghai", "no offset from UTC", '"+08:00"'),
        ("source: carts.csv, ", "source: carts.duckdb, ", "needs the name of a", "table: NAME"),
        ("source: carts.csv, ", "source: carts.csv, table: x, ", "a file holds one", "delete"),
        ("ids: {email: email}, time: at}", "ids: {}, time: at}", "no identifier", "add ids"),
        ("amount: {kind: number, decimals: 2}", "amount: {kind: numbers}", "not known", ""),
        ("      brand: {kind: label}\n", "", 'purchase has no field "brand"', "known here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, cause: str, fix: str
) -> None:
    with pytest.raises(BadInput) as caught:
        load_party(party(tmp_path, old, new))
    assert cause in str(caught.value)
    assert fix in str(caught.value)
    assert " line " in str(caught.value)
