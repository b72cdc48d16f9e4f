"""A party's sources and a file of tags that uses every word of the language."""

from __future__ import annotations

from catalog.events import EventTable
from catalog.tag_file import parse_tags
from catalog.tag_rules import Sources, Typed
from catalog.tags import TagSet
from catalog.yaml import parse_documents

SOURCES = Sources(
    attributes={
        "age": Typed("number", 0, "demographics"),
        "city": Typed("label", 0, "location"),
        "member": Typed("flag", 0, "purchases"),
        "balance": Typed("number", 2, "finance"),
    },
    events={
        "purchase": EventTable.model_validate(
            {"source": "purchases.csv", "category": "purchases", "ids": {"email": "email"},
             "time": "at", "id": "order",
             "fields": {"amount": {"kind": "number", "decimals": 2},
                        "brand": {"kind": "label"}, "gift": {"kind": "flag"}}}
        ),
        "view": EventTable.model_validate(
            {"source": "views.csv", "category": "content", "ids": {"device": "cookie"},
             "time": "at", "fields": {"topic": {"kind": "label"}}}
        ),
        "cart": EventTable.model_validate(
            {"source": "carts.csv", "category": "behaviour", "ids": {"email": "email"},
             "time": "at"}
        ),
    },
)  # fmt: skip

HEAD = """\
    title: {zh: 标签, en: Tag}
    class: behaviour
    aspect: did
    category: purchases
    owner: crm
    goal: Who to write to.
"""

FILE = """\
catalogue: shop
taxonomy:
  person: {title: {zh: 人, en: Person}}
  buying: {title: {zh: 购买, en: Buying}, under: person}
mappings:
  topics:
    from: media
    words: {旅游: travel, 航班: travel, 007: film}
    otherwise: rest
tags:
  spender:
    title: {zh: 消费层级, en: Spender}
    class: value
    aspect: did
    category: purchases
    owner: crm
    goal: Who to win back first.
    under: buying
    refresh: daily
    version: 1-0-0
    values:
      - value: high
        title: {zh: 高, en: High}
        when:
          all:
            - {sum: purchase.amount, within: 365 days, at_least: 1000}
            - not: {count: purchase, within: 90 days, at_most: 0}
      - value: gifts
        when: {count: purchase, where: {gift: {is: yes}, brand: {in: [A, B]}}, at_least: 2}
      - {value: low, otherwise: yes}
  recency:
    title: {zh: 最近购买, en: Recency}
    class: behaviour
    aspect: did
    category: purchases
    owner: crm
    goal: Whom to wake.
    measure: {last: purchase}
    bands:
      - {value: active, below: 30}
      - {value: cooling, from: 30, below: 90}
      - {value: lost, from: 90}
    unknown: never
  topic:
    title: {zh: 兴趣, en: Interest}
    class: preference
    aspect: who
    category: content
    owner: media
    goal: What to show.
    measure: {top: view.topic, within: 8 weeks}
    map: topics
  basket:
    title: {zh: 平均客单, en: Basket}
    class: value
    aspect: did
    category: purchases
    owner: crm
    goal: What to offer.
    measure: {avg: purchase.amount}
    bands: [{value: small, below: 33.335}, {value: large, from: 33.335}]
  hesitant:
    title: {zh: 犹豫, en: Hesitant}
    class: behaviour
    aspect: will
    category: behaviour
    owner: crm
    goal: Whom to remind.
    values:
      - value: bought
        when: {sequence: [view, cart, purchase], span: 7 days, within: 180 days, at_least: 1}
      - value: waits
        when: {any: [{days: cart, within: 2 weeks, above: 1},
                     {sequence: [view, cart], at_least: 1}]}
      - {value: cold, otherwise: yes}
  winback:
    title: {zh: 挽回, en: Winback}
    class: value
    aspect: should
    category: purchases
    owner: crm
    goal: Whom to win back.
    values:
      - value: first
        when: {all: [{tag: spender, is: high}, {tag: recency, in: [cooling, lost]}]}
      - value: older
        when: {attribute: age, at_least: 40, below: 65}
      - value: member
        when: {any: [{attribute: member, is: yes}, {attribute: city, in: [上海, 007]}]}
      - value: brand
        when: {any: [{first: purchase.brand, is: A}, {last: purchase.brand, is: Z},
                     {min: purchase.amount, below: 1}, {max: purchase.amount, above: 999.99}]}
      - value: unseen
        when: {attribute: age, known: no}
  similar:
    title: {zh: 相似, en: Similar}
    class: behaviour
    aspect: will
    category: behaviour
    owner: crm
    goal: Whom to reach.
    measure: {model: lookalike, job: vips}
    bands: [{value: far, below: 0.5}, {value: near, from: 0.5}]
  stage:
    title: {zh: 阶段, en: Stage}
    class: behaviour
    aspect: did
    category: purchases
    owner: crm
    goal: Where people are on the way.
    aipl:
      aware: {count: view, within: 90 days, at_least: 1}
      interest: {any: [{count: cart, within: 90 days, at_least: 1},
                       {days: view, within: 30 days, at_least: 2}]}
      purchase: {count: purchase, within: 365 days, at_least: 1}
      loyal: {count: purchase, within: 365 days, at_least: 3}
  stage_before:
    title: {zh: 此前阶段, en: Stage before}
    class: behaviour
    aspect: did
    category: purchases
    owner: crm
    goal: Who moved.
    measure: {tag: stage, ending: 90 days ago}
  rhythm:
    title: {zh: 生命周期, en: Lifecycle}
    class: behaviour
    aspect: did
    category: purchases
    owner: crm
    goal: Whom to keep.
    measure: {lifecycle: purchase, within: 90 days, where: {gift: {is: no}}}
    unknown: never
  membership:
    title: {zh: 会员等级, en: Membership}
    class: value
    aspect: should
    category: purchases
    owner: crm
    goal: Who is due what.
    measure:
      tier: purchase.amount
      within: 365 days
      review: 30 days
      since: 2025-01-01
      levels:
        - {value: basic}
        - {value: silver, at: 100, keep: 60.5}
        - {value: gold, at: 1000, keep: 500, grace: 60 days}
      downgrade: one
  segment:
    title: {zh: 分层, en: Segment}
    class: value
    aspect: did
    category: purchases
    owner: crm
    goal: Whom to treat how.
    measure: {model: rfm, job: shops, column: segment_5x5}
  spending:
    title: {zh: 消费, en: Spending}
    class: value
    aspect: did
    category: purchases
    owner: crm
    goal: The older name.
    replaced_by: spender
grants:
  - {tag: spender, model: 1, party: media, purposes: [audience_insight], until: 2027-06-30}
  - {tag: spending, model: 1, party: bank, purposes: [segmentation], until: 2026-06-30}
"""


def read(text: str = FILE, sources: Sources | None = SOURCES) -> TagSet:
    (document,) = parse_documents(text, "tags.yaml")
    return parse_tags(document, sources)


def one(rule: str) -> str:
    """A file of one tag, `t`, with this rule; indented by four."""
    return "catalogue: c\ntags:\n  t:\n" + HEAD + rule
