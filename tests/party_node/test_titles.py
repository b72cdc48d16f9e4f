"""What attributes are called, from a company's files over its offer into a result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from catalog.federation import load_party
from party_node.titles import MOST, offered_titles, own_titles, put_titles
from protocol.wire import job_pb2 as pb

PARTY = """\
name: media
table: t.csv
ids: {email: email}
consents: all
tags: tags.yaml
attributes:
  minutes:  {kind: number, category: behaviour, bounds: [0, 9], title: {zh: 分钟, en: Minutes}}
  plain:    {kind: flag, category: behaviour}
  interest: {kind: label, category: content, tag: interest}
  stage:    {kind: label, category: behaviour, tag: stage, title: {zh: 阶段, en: How far}}
events:
  play: {source: p.csv, category: behaviour, ids: {email: email}, time: at,
         fields: {topic: {kind: label}, minutes: {kind: number}}}
  order: {source: o.csv, category: purchases, ids: {email: email}, time: at,
          fields: {amount: {kind: number, decimals: 2}}}
  share: {source: s.csv, category: behaviour, ids: {email: email}, time: at}
"""
TAGS = """\
catalogue: media
extends: media
mappings:
  topics: {words: {旅游: travel, 美食: food}, titles: {travel: {zh: 旅游, en: Travelling}}}
"""


def test_titles_go_from_the_files_over_the_offer_into_the_result(tmp_path: Path) -> None:
    (tmp_path / "party.yaml").write_text(PARTY, "utf-8")
    (tmp_path / "tags.yaml").write_text(TAGS, "utf-8")
    party = load_party(tmp_path / "party.yaml")
    own = own_titles(party, ["minutes", "plain", "interest", "stage"])
    assert own["minutes"] == {"zh": "分钟", "en": "Minutes"}
    assert "plain" not in own
    assert own["interest"]["values"] == {"travel": {"zh": "旅游", "en": "Travelling"}}
    assert (own["stage"]["en"], own["stage"]["values"]["loyal"]["zh"]) == ("How far", "忠诚")
    offer = pb.Offer(party="media")
    for name, words in (("minutes", []), ("plain", []), ("interest", ["food", "travel", "other"])):
        offered = offer.attributes.add(name=name, vocabulary=words)
        put_titles(offered, own)
    again = pb.Offer.FromString(offer.SerializeToString())
    session = SimpleNamespace(offers={"media": again}, spec=SimpleNamespace(model=None))
    found = offered_titles(session)
    assert found == {"media/minutes": own["minutes"], "media/interest": own["interest"]}


def test_what_another_company_sends_is_one_short_line() -> None:
    offered = pb.AttributeOffer(name="a", title=pb.Title(zh="一\n行\x1b[2J", en="x" * 999))
    session = SimpleNamespace(
        offers={"b": pb.Offer(attributes=[offered])}, spec=SimpleNamespace(model=None)
    )
    assert offered_titles(session) == {"b/a": {"zh": "一行[2J", "en": "x" * MOST}}
