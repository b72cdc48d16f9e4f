"""The winback story's two companies: a shop and a media platform that has a shop of its own.

What: tables, events, files of tags that extend packs, FEDERATION.yaml and JOB.yaml.  Everything
is made up from a seed; the same arguments write the same bytes.
Who runs it: `assent.demo_winback`.
Learns: nothing; there is no real data.
Section: contracts.md for the files, docs/TAGS.md for the packs.

Each person has a rate of buying and, in a third of the cases, a day on which they left the shop;
those who left buy more at the platform.  That is what the cross-tabs have to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from assent import demo_people

_TODAY = np.datetime64("2025-11-01")  # fixed: the demo does not depend on the clock
_DAYS = 720
_GOODS = np.array(["grocery", "home", "beauty", "sport", "electronics"])
_TOPICS = np.array(["旅游", "美食", "游戏", "理财", "时尚", "体育"])

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

FEDERATION = """\
# Two made-up companies of the Assent demo: whom to win back?
federation: winback
key_bits: 2048
parties:
  shop:
    table: shop/customers.csv
    ids: {email: email}
    consents: all
    as_of: 2025-11-01
    tags: shop/tags.yaml
    attributes:
      days_since: {kind: number, category: purchases, bounds: [0, 720],
                   title: {zh: 距上次购买天数, en: Days since last purchase}}
      orders:     {kind: number, category: purchases, bounds: [0, 60],
                   title: {zh: 购买次数, en: Purchases}}
      spent:      {kind: number, category: purchases, bounds: [0, 6000],
                   title: {zh: 消费金额, en: Spending}}
      best:       {kind: flag, category: purchases, title: {zh: 最佳客户, en: Best customer}}
      winback:    {kind: label, category: purchases, tag: winback}
      stage:      {kind: label, category: purchases, tag: stage}
      worth:      {kind: label, category: purchases, tag: worth}
    events:
      purchase:
        source: shop/purchases.csv
        category: purchases
        ids: {email: email}
        time: at
        fields: {amount: {kind: number, decimals: 2}, goods: {kind: label}, discount: {kind: flag}}
      view:
        source: shop/views.csv
        category: behaviour
        ids: {email: email}
        time: at
        fields: {goods: {kind: label}}
      cart: {source: shop/carts.csv, category: behaviour, ids: {email: email}, time: at}
    policy: {min_cohort: 15, rho_per_month: 3}
  media:
    table: media/users.csv
    ids: {email: email}
    consents: all
    as_of: 2025-11-01
    tags: media/tags.yaml
    attributes:
      days_since: {kind: number, category: purchases, bounds: [0, 720],
                   title: {zh: 距上次购买天数, en: Days since last purchase}}
      orders:     {kind: number, category: purchases, bounds: [0, 60],
                   title: {zh: 购买次数, en: Purchases}}
      spent:      {kind: number, category: purchases, bounds: [0, 6000],
                   title: {zh: 消费金额, en: Spending}}
      minutes:    {kind: number, category: behaviour, bounds: [0, 1500],
                   title: {zh: 观看分钟数, en: Minutes watched}}
      plays:      {kind: number, category: behaviour, bounds: [0, 40],
                   title: {zh: 播放次数, en: Plays}}
      interest:   {kind: label, category: content, tag: interest}
      stage:      {kind: label, category: behaviour, tag: stage}
      worth:      {kind: label, category: purchases, tag: worth}
    events:
      play:
        source: media/plays.csv
        category: behaviour
        ids: {email: email}
        time: at
        fields: {topic: {kind: label}, minutes: {kind: number}}
      order:
        source: media/orders.csv
        category: purchases
        ids: {email: email}
        time: at
        fields: {amount: {kind: number, decimals: 2}}
    policy: {min_cohort: 15, rho_per_month: 3}
"""

_WORTH = """\
  worth:                           # of the pack's RFM segments, which the job `rfm` leaves
    title: {zh: 价值与活跃, en: Worth and activity}
    class: value
    aspect: did
    category: purchases
    owner: OWNER
    goal: Whom to treat how.
    values:
      - value: good, active
        title: {zh: 高价值活跃, en: "Good, active"}
        when: {tag: segment, in: [important_value, important_develop]}
      - value: good, asleep
        title: {zh: 高价值沉睡, en: "Good, asleep"}
        when: {tag: segment, in: [important_keep, important_win_back]}
      - value: small
        title: {zh: 低价值, en: Small}
        when: {tag: segment, known: yes}
      - {value: never bought, title: {zh: 从未购买, en: Never bought}, otherwise: yes}
  segment:                         # the pack's, in the names of eight types
    title: {zh: RFM 分层, en: RFM segment}
    class: value
    aspect: did
    category: purchases
    owner: OWNER
    goal: Whom to treat how.
    measure: {model: rfm, job: rfm, column: segment_8}
"""
SHOP_TAGS = """\
catalogue: shop
extends: retail
tags:
""" + _WORTH.replace("OWNER", "crm")
MEDIA_TAGS = (
    """\
catalogue: media
extends: media
without: [voice]                   # this platform does not keep who shares
mappings:
  topics:                          # its own words
    words: {旅游: travel, 美食: food, 游戏: games, 理财: finance, 时尚: fashion, 体育: sports}
    titles:
      travel: {zh: 旅游, en: Travel}
      food: {zh: 美食, en: Food}
      games: {zh: 游戏, en: Games}
      finance: {zh: 理财, en: Finance}
      fashion: {zh: 时尚, en: Fashion}
      sports: {zh: 体育, en: Sports}
tags:
"""
    + _WORTH.replace("OWNER", "growth")
    + """\
grants:
  - {tag: interest, model: 1, party: shop, purposes: [audience_insight], until: 2099-12-31}
  - {tag: stage, model: 1, party: shop, purposes: [audience_insight], until: 2099-12-31}
  - {tag: worth, model: 1, party: shop, purposes: [audience_insight], until: 2099-12-31}
"""
)

JOB = """\
# What are the customers that we want back interested in?
job: winback_by_interest
purpose: audience_insight
protocol: crosstab
requester: shop
with: [media]
match: {on: [email]}
rows: shop/winback
columns: media/interest
privacy: {noise: on, rho: 0.05}
---
# Recency, frequency and money by the same edges in both shops.
job: rfm
purpose: audience_insight
protocol: rfm
requester: shop
people: [shop, media]
columns:
  shop: {recency: days_since, frequency: orders, monetary: spent}
  media: {recency: days_since, frequency: orders, monetary: spent}
scheme: 8
privacy: {noise: on, rho: 0.4}
---
# Who is gone here and a good customer there?
job: rfm_by_rfm
purpose: audience_insight
protocol: crosstab
requester: shop
with: [media]
match: {on: [email]}
rows: shop/worth
columns: media/worth
privacy: {noise: on, rho: 0.05}
---
# How far are people with both companies together?
job: stages
purpose: audience_insight
protocol: crosstab
requester: shop
with: [media]
match: {on: [email]}
rows: shop/stage
columns: media/stage
then: {highest: [none, aware, interest, purchase, loyal]}
privacy: {noise: on, rho: 0.05}
---
# Groups of customers in common, by what both know of them.
job: segments
purpose: audience_insight
protocol: kmeans
mode: grid
requester: shop
with: [media]
match: {on: [email]}
features: {shop: [days_since, spent], media: [minutes, plays]}
k: 4
scale: zscore
seed: 7
privacy: {noise: on, rho: 0.5}
---
# Who at the platform resembles our best customers?
job: like_our_best
purpose: audience_insight
protocol: lookalike
requester: shop
with: [media]
match: {on: [email]}
seed_flag: shop/best
features: [media/minutes, media/plays, media/interest]
curve: 5
privacy: {noise: on, rho: 0.5}
"""


@dataclass(frozen=True)
class Files:
    federation: Path
    job: Path


def write_winback(
    folder: Path, seed: int = 7, shop: int = 3_500, media: int = 4_500, common: int = 3_000
) -> Files:
    """Writes both companies into `folder`.  common: how many people are customers of both."""
    rng = np.random.default_rng(seed)
    n = shop + media - common
    people = demo_people.draw_people(n, rng)
    left = rng.random(n) < 0.35  # the shop, some day in the last year and a half
    gone = np.where(left, rng.integers(100, 500, size=n), 0)
    taste = _topics(people, rng)
    for name in ("shop", "media"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_shop(folder / "shop", people, gone, np.arange(n) < shop, rng)
    _write_media(folder / "media", people, left, taste, np.arange(n) >= shop - common, rng)
    (folder / "shop/tags.yaml").write_text(SHOP_TAGS, encoding="utf-8")
    (folder / "media/tags.yaml").write_text(MEDIA_TAGS, encoding="utf-8")
    files = Files(folder / "FEDERATION.yaml", folder / "JOB.yaml")
    files.federation.write_text(FEDERATION, encoding="utf-8")
    files.job.write_text(JOB, encoding="utf-8")
    return files


def _topics(people: demo_people.People, rng: np.random.Generator) -> Floats:
    """float[n, topics]: what each person likes, log scale."""
    wealth, youth = people.wealth, people.youth
    likes = [0.7 * wealth, 0.2 - 0.1 * wealth, 0.6 * youth - 0.4 * wealth,
             0.6 * wealth - 0.5 * youth, 0.3 * (wealth + youth), 0.2 * youth]  # fmt: skip
    return 1.5 * np.stack(likes, axis=1) + rng.gumbel(size=(len(people), len(likes)))


def _write_shop(
    folder: Path, people: demo_people.People, gone: Whole, here: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    rows = np.flatnonzero(here)
    wealth = people.wealth[rows]
    rate = np.exp(2.1 + 0.3 * wealth + rng.normal(0, 0.5, len(rows)))
    who, days = _events(rate, gone[rows], rng)
    amount = _cents(np.exp(4.3 + 0.6 * wealth[who] + rng.normal(0, 0.7, len(who))))
    _write(folder / "purchases.csv", people, rows, who, days, {
        "amount": amount, "goods": _GOODS[rng.integers(len(_GOODS), size=len(who))],
        "discount": np.where(rng.random(len(who)) < 0.3, "yes", "no"),
    })  # fmt: skip
    found = _bought(people, rows, who, days, amount)
    spent, latest = (found[name].fill_null(0).to_numpy() for name in ("spent", "days_since"))
    best = (spent >= np.quantile(spent, 0.8)) & (latest < 90)
    _csv(folder / "customers.csv", {**found, "best": pa.array(np.where(best, "1", "0"))})
    who, days = _events(rate * 0.7, np.maximum(gone[rows] - 60, 0), rng)
    goods = _GOODS[rng.integers(len(_GOODS), size=len(who))]
    _write(folder / "views.csv", people, rows, who, days, {"goods": goods})
    who, days = _events(rate * 0.3, np.maximum(gone[rows] - 30, 0), rng)
    _write(folder / "carts.csv", people, rows, who, days, {})


def _write_media(
    folder: Path, people: demo_people.People, left: npt.NDArray[np.bool_], taste: Floats,
    here: npt.NDArray[np.bool_], rng: np.random.Generator,
) -> None:  # fmt: skip
    rows = np.flatnonzero(here)
    wealth = people.wealth[rows]
    rate = np.exp(0.9 + 0.3 * wealth + 1.1 * left[rows] + rng.normal(0, 0.5, len(rows)))
    stopped = rng.random(len(rows)) < 0.2 - 0.15 * left[rows]
    gone = np.where(stopped, rng.integers(60, 600, size=len(rows)), 0)
    who, days = _events(rate, gone, rng)
    amount = _cents(np.exp(4.0 + 0.5 * wealth[who] + rng.normal(0, 0.7, len(who))))
    _write(folder / "orders.csv", people, rows, who, days, {"amount": amount})
    bought = _bought(people, rows, who, days, amount)
    plays = np.exp(2.0 + 0.3 * people.youth[rows] - 0.2 * wealth + rng.normal(0, 0.4, len(rows)))
    who, days = _events(plays, gone, rng, within=180)
    liked = taste[rows][who] + rng.gumbel(size=(len(who), len(_TOPICS)))
    minutes = rng.integers(2, 80, size=len(who))
    _write(folder / "plays.csv", people, rows, who, days, {
        "topic": _TOPICS[np.argmax(liked, axis=1)], "minutes": minutes,
    })  # fmt: skip
    watched = np.bincount(who, weights=minutes, minlength=len(rows)).astype(np.int64)
    played = np.bincount(who, minlength=len(rows))
    seen = {"minutes": pa.array(watched), "plays": pa.array(played)}
    _csv(folder / "users.csv", bought | seen)


def _cents(amount: Floats) -> Floats:
    found: Floats = np.round(amount, 2)
    return found


def _events(
    rate: Floats, gone: Whole, rng: np.random.Generator, within: int = _DAYS
) -> tuple[Whole, Whole]:
    """Who, and how many days ago: `rate` events each, none in the last `gone` days."""
    who = np.repeat(np.arange(len(rate)), rng.poisson(rate))
    span = np.maximum(within - gone[who], 1)
    days = gone[who] + 1 + (rng.random(len(who)) * span).astype(np.int64)
    order = np.lexsort((-days, who))
    return who[order], days[order]


def _bought(
    people: demo_people.People, rows: Whole, who: Whole, days: Whole, amount: Floats
) -> dict[str, pa.Array]:
    """Columns of a company's table: what the rfm job sums; empty for who never bought."""
    n = len(rows)
    count = np.bincount(who, minlength=n)
    latest = np.full(n, _DAYS, dtype=np.int64)
    np.minimum.at(latest, who, days)
    spent = np.round(np.bincount(who, weights=amount, minlength=n)).astype(np.int64)
    never = count == 0
    return {
        "email": pa.array(people.email[rows]),
        "days_since": pa.array(latest, mask=never),
        "orders": pa.array(count, mask=never),
        "spent": pa.array(spent, mask=never),
    }


def _write(
    path: Path, people: demo_people.People, rows: Whole, who: Whole, days: Whole,
    fields: dict[str, npt.NDArray[np.generic]],
) -> None:  # fmt: skip
    at = (_TODAY - days).astype(str)
    _csv(path, {"email": pa.array(people.email[rows][who]), "at": pa.array(at),
                **{name: pa.array(value) for name, value in fields.items()}})  # fmt: skip


def _csv(path: Path, columns: dict[str, pa.Array]) -> None:
    with path.open("wb") as file:
        pacsv.write_csv(pa.table(columns), file, pacsv.WriteOptions(quoting_style="needed"))
