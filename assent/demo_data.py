"""The demo's two companies: a retailer and a media platform that share some customers.

What: writes tables, consents, FEDERATION.yaml and JOB.yaml into a folder.  Everything is made
up from a seed; two runs with the same arguments write the same bytes.
Who runs it: `python -m assent.demo`, journeys and benchmarks.
Learns: nothing; there is no real data.
Section: contracts.md for the files.

The retailer has orders behind its tags (orders.csv): spend, value tier, last category and
activity are computed from them.  Interests and minutes at the media platform depend on the
same two hidden traits as spending, so the cross-tab has something to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from assent import demo_people
from assent.demo_people import People

_TODAY = np.datetime64("2025-10-31")  # fixed: the demo does not depend on the clock

_GOODS = np.array(["grocery", "home", "beauty", "sport", "electronics"])
_INTERESTS = np.array(["travel", "food", "games", "finance", "fashion", "sports"])
_RARE = np.array(["astronomy", "calligraphy", "fishing", "opera"])
_CITY_TIERS = np.array(["tier 1", "tier 2", "tier 3", "county"])

FEDERATION = """\
# Two made-up companies of the Assent demo.
federation: winback
key_bits: 2048
parties:
  retailer:
    table: retailer/customers.csv
    default_region: CN
    ids: {phone: phone, email: email}
    attributes:
      value_tier:    {kind: label, category: purchases, values: [high, mid, low]}
      last_category: {kind: label, category: purchases}
      spend:         {kind: number, category: purchases, bounds: [0, 20000], decimals: 2}
      active:        {kind: flag, category: behaviour}
    consents: retailer/consents.csv
    policy: {min_cohort: 30, noise: required, requesters: [media], rho_per_month: 0.5}
  media:
    table: media/profiles.csv
    default_region: CN
    ids: {phone: 手机, email: 邮箱}
    attributes:
      top_interest:
        kind: label
        category: content
        values: [travel, food, games, finance, fashion, sports]    # the rest is "other"
      minutes:      {kind: number, category: behaviour, bounds: [0, 600], decimals: 0}
      city_tier:    {kind: label, category: location}
    consents: media/consents.csv
    policy: {min_cohort: 50, noise: required, requesters: [retailer], rho_per_month: 0.5}
"""

JOB = """\
# How many customers do we have in common?
job: overlap
purpose: overlap_measurement
protocol: psi
requester: retailer
with: [media]
match: {on: [phone, email], mode: keyed}
privacy: {noise: on, rho: 0.02}
---
# What are our high-value customers interested in?
job: tier_by_interest
purpose: audience_insight
protocol: crosstab
requester: retailer
with: [media]
match: {on: [phone, email], mode: keyed}
rows: retailer/value_tier
columns: media/top_interest
measures: [count, {sum: media/minutes}, {mean: media/minutes}]
privacy: {noise: on, rho: 0.02}
"""


@dataclass(frozen=True)
class DemoFiles:
    federation: Path
    job: Path


def write_demo(
    folder: Path,
    seed: int = 7,
    retailer_rows: int = 20_000,
    media_rows: int = 30_000,
    common: int = 8_000,
) -> DemoFiles:
    """Writes the two companies into `folder`; at most a few seconds.

    common: how many people are customers of both, by phone, by e-mail or by both.
    """
    if common > min(retailer_rows, media_rows):
        raise ValueError("common people are rows of both tables")
    rng = np.random.default_rng(seed)
    everyone = demo_people.draw_people(retailer_rows + media_rows - common, rng)
    # Rows of the common people come at random places of both tables.
    mine = rng.permutation(retailer_rows)
    theirs = rng.permutation(media_rows) + (retailer_rows - common)
    for name in ("retailer", "media"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_retailer(folder / "retailer", everyone.take(mine), rng)
    _write_media(
        folder / "media", _second_identity(everyone, retailer_rows, common, rng), theirs, rng
    )
    files = DemoFiles(folder / "FEDERATION.yaml", folder / "JOB.yaml")
    files.federation.write_text(FEDERATION, encoding="utf-8")
    files.job.write_text(JOB, encoding="utf-8")
    return files


def _second_identity(
    everyone: People, retailer_rows: int, common: int, rng: np.random.Generator
) -> People:
    """At the media platform, a fifth of the common people use another phone, and a quarter
    another e-mail; nobody changes both, so all stay common."""
    first = retailer_rows - common
    index = np.arange(first, retailer_rows)
    fate = rng.random(common)
    phone, email = everyone.phone.copy(), everyone.email.copy()
    other_phone, other_email = index[fate < 0.2], index[fate > 0.75]
    # 199… is a prefix that draw_people never uses; "m." starts no drawn address.
    phone[other_phone] = np.char.add("199", np.char.zfill(other_phone.astype(str), 8))
    email[other_email] = np.char.add("m.", email[other_email])
    return People(phone, email, everyone.wealth, everyone.youth)


def _write_retailer(folder: Path, people: People, rng: np.random.Generator) -> None:
    n = len(people)
    # Orders of one year: how many, when, what and how much.
    counts = rng.poisson(np.exp(0.9 + 0.45 * people.wealth))
    who = np.repeat(np.arange(n), counts)
    days = rng.integers(0, 365, size=len(who))
    goods = _pick(
        np.stack(
            [
                0.8 - 0.2 * people.wealth,
                0.3 + 0.0 * people.wealth,
                0.1 + 0.3 * people.youth,
                0.0 + 0.4 * people.youth,
                -0.4 + 0.4 * people.wealth,
            ],
            axis=1,
        )[who],
        rng,
    )
    cents = np.round(
        100 * np.exp(4.3 + 0.5 * people.wealth[who] + rng.normal(0, 0.6, len(who)))
    ).astype(np.int64)
    order = np.lexsort((-days, who))  # by customer, oldest first
    who, days, goods, cents = who[order], days[order], goods[order], cents[order]
    _write_csv(
        folder / "orders.csv",
        pa.table(
            {
                "customer": pa.array(np.char.add("C", np.char.zfill(who.astype(str), 6))),
                "date": pa.array((_TODAY - days).astype(str)),
                "category": pa.array(_GOODS[goods]),
                "amount": pa.array(_money(cents)),
            }
        ),
    )
    # The tags, from the orders.
    spend = np.bincount(who, weights=cents, minlength=n).astype(np.int64)
    latest = np.full(n, 366, dtype=np.int64)
    np.minimum.at(latest, who, days)
    last = np.full(n, "", dtype=_GOODS.dtype)
    newest = days == latest[who]
    last[who[newest]] = _GOODS[goods[newest]]
    high, mid = np.quantile(spend, [0.8, 0.45])
    tier = np.where(spend >= high, "high", np.where(spend >= mid, "mid", "low"))
    phones = demo_people.share_phones(people.phone, n // 130, rng)
    _write_csv(
        folder / "customers.csv",
        pa.table(
            {
                "customer": pa.array(np.char.add("C", np.char.zfill(np.arange(n).astype(str), 6))),
                "phone": demo_people.write_phones(phones, rng, missing=0.0, broken=0.006),
                "email": demo_people.write_emails(people.email, rng, missing=0.15, broken=0.004),
                "value_tier": pa.array(tier),
                "last_category": _null_where(last, last == ""),
                "spend": pa.array(_money(spend)),
                "active": pa.array(np.where(latest <= 90, "1", "0")),
            }
        ),
    )
    scopes = [
        ("overlap_measurement", "purchases"),
        ("audience_insight", "purchases"),
        ("audience_insight", "behaviour"),
    ]
    said = demo_people.consents("phone", phones, "media", scopes, rng)
    _write_csv(folder / "consents.csv", said)


def _write_media(
    folder: Path, everyone: People, index: npt.NDArray[np.int64], rng: np.random.Generator
) -> None:
    people = everyone.take(index)
    n = len(people)
    wealth, youth = people.wealth, people.youth
    scores = [
        0.2 + 0.7 * wealth,  # travel
        0.4 - 0.1 * wealth,  # food
        0.2 - 0.4 * wealth + 0.6 * youth,  # games
        -0.2 + 0.6 * wealth - 0.5 * youth,  # finance
        0.0 + 0.3 * wealth + 0.3 * youth,  # fashion
        0.0 + 0.2 * youth,  # sports
    ]
    picked = _pick(np.stack(scores, axis=1), rng)
    interest = _INTERESTS[picked].astype("U16")
    rare = rng.random(n) < 0.03
    interest[rare] = _RARE[rng.integers(len(_RARE), size=int(rare.sum()))]
    minutes = np.exp(5.0 + 0.25 * youth + 0.35 * (picked == 2) + rng.normal(0, 0.5, n))
    city = _pick(
        np.stack([0.8 * wealth, 0.4 + 0.3 * wealth, 0.4 + 0 * wealth, -0.6 * wealth], 1), rng
    )
    phones = demo_people.share_phones(people.phone, n // 200, rng)
    table = pa.table(
        {
            "用户": pa.array(np.char.add("U", np.char.zfill(np.arange(n).astype(str), 7))),
            "邮箱": demo_people.write_emails(people.email, rng, missing=0.0, broken=0.004),
            "手机": demo_people.write_phones(phones, rng, missing=0.1, broken=0.006),
            "top_interest": _null_where(interest, rng.random(n) < 0.025),
            "minutes": pa.array(np.minimum(np.round(minutes), 5000).astype(np.int64).astype(str)),
            "city_tier": pa.array(_CITY_TIERS[city]),
        }
    )
    # Saved "for Excel": UTF-8 with a byte order mark.
    _write_csv(folder / "profiles.csv", table, mark=True)
    scopes = [
        ("overlap_measurement", "content"),
        ("audience_insight", "content"),
        ("audience_insight", "behaviour"),
    ]
    _write_csv(
        folder / "consents.csv",
        demo_people.consents("email", people.email, "retailer", scopes, rng),
    )


def _pick(scores: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One choice per row with probabilities softmax(scores): the Gumbel trick."""
    return np.asarray(np.argmax(scores + rng.gumbel(size=scores.shape), axis=1), dtype=np.int64)


def _null_where(values: demo_people.Text, null: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=null)


def _money(cents: npt.NDArray[np.int64]) -> demo_people.Text:
    return np.char.add(
        np.char.add((cents // 100).astype(str), "."), np.char.zfill((cents % 100).astype(str), 2)
    )


def _write_csv(path: Path, table: pa.Table, *, mark: bool = False) -> None:
    with path.open("wb") as file:
        if mark:
            file.write(b"\xef\xbb\xbf")
        pacsv.write_csv(table, file, pacsv.WriteOptions(quoting_style="needed"))
