"""Whom a sandbox proposes for signing in to its portal."""

from __future__ import annotations

from pathlib import Path

from assent.sandbox_people import demo_person
from catalog.federation import load_federation

FEDERATION = """\
federation: two
key_bits: 2048
parties:
  shop: {table: shop.csv, default_region: CN, ids: {email: mail, phone: tel}, consents: all,
         attributes: {}, policy: {min_cohort: 1, noise: optional}}
  media: {table: media.csv, ids: {email: mail}, consents: all,
          attributes: {}, policy: {min_cohort: 1, noise: optional}}
"""


def proposed(folder: Path, shop: list[str], media: list[str]) -> str | None:
    (folder / "shop.csv").write_text("mail,tel\n" + "\n".join(shop) + "\n")
    (folder / "media.csv").write_text("mail\n" + "\n".join(media) + "\n")
    (folder / "FEDERATION.yaml").write_text(FEDERATION)
    return demo_person(load_federation(folder / "FEDERATION.yaml"))


def test_somebody_whom_both_know_by_one_row_each(tmp_path: Path) -> None:
    shop = ["a@x.example,", "two@x.example,", "two@x.example,", " Both@X.example ,", "c@x.example,"]
    media = ["two@x.example", "both@x.example", "c@x.example", "c@x.example"]
    assert proposed(tmp_path, shop, media) == "both@x.example"


def test_else_somebody_of_the_first_by_phone_if_need_be_or_nobody(tmp_path: Path) -> None:
    assert proposed(tmp_path, ["a@x.example,"], ["b@x.example"]) == "a@x.example"
    assert proposed(tmp_path, ["no address,138 0013 8000"], ["?"]) == "+8613800138000"
    assert proposed(tmp_path, ["no address,none"], ["?"]) is None
