"""What the demo's jobs must find, computed the slow and obvious way from the plain files.

Deliberately naive: dicts, loops, the phone library row by row, every record looked at.  It
shares no code with the product except the two text files that the demo writes.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import phonenumbers

PERMITS = ("given", "renewed")
# The stricter of two records of one key wins; the first of these that is present.
STRICTEST = ("refused", "withdrawn", "expired", "requested", "given", "renewed")
INTERESTS = ("travel", "food", "games", "finance", "fashion", "sports")


@dataclass
class Expected:
    """overlap: for each job.  cells: (tier, interest) → (count, sum of clipped minutes)."""

    overlap: dict[str, int] = field(default_factory=dict)
    cells: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    eligible: dict[tuple[str, str], int] = field(default_factory=dict)
    ambiguous: dict[str, int] = field(default_factory=dict)  # identifiers of several rows
    unparsable: dict[str, dict[str, int]] = field(default_factory=dict)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@cache
def phone(text: str) -> str | None:
    try:
        parsed = phonenumbers.parse(text, "CN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@cache
def email(text: str) -> str | None:
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    local, at, domain = plain.rpartition("@")
    if not (at and local and "." in domain) or "@" in local:
        return None
    return f"{local}@{domain.encode('idna').decode()}"


CANONICAL = {"phone": phone, "email": email}


class Company:
    def __init__(self, table: Path, ids: dict[str, str], consents: Path, consent_id: str) -> None:
        self.rows = read(table)
        self.ids: dict[str, list[str | None]] = {}
        self.ambiguous = 0
        self.unparsable: dict[str, int] = {}
        self.known: dict[str, list[str | None]] = {}
        for kind, column in ids.items():
            typed = [row[column] for row in self.rows]
            found = [CANONICAL[kind](text) if text.strip() else None for text in typed]
            self.unparsable[kind] = sum(
                1 for text, one in zip(typed, found, strict=True) if text.strip() and one is None
            )
            times = Counter(one for one in found if one)
            self.known[kind] = found
            self.ids[kind] = [one if one and times[one] == 1 else None for one in found]
            self.ambiguous += sum(1 for count in times.values() if count > 1)
        self.consent_id = consent_id
        self.said: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for record in read(consents):
            person = CANONICAL[consent_id](record[consent_id])
            if person:
                self.said[person, record["purpose"], record["category"]].add(record["status"])

        self.categories = {key[2] for key in self.said}

    def permits(self, row: int, purpose: str, categories: tuple[str, ...]) -> bool:
        """Every category of `categories`; with none, any one."""
        person = self.known[self.consent_id][row]
        if person is None:
            return False

        def one(category: str) -> bool:
            statuses = self.said.get((person, purpose, category), set())
            return next((s for s in STRICTEST if s in statuses), "none") in PERMITS

        if categories:
            return all(one(category) for category in categories)
        return any(one(category) for category in self.categories)


def companies_of(folder: Path) -> dict[str, Company]:
    return {
        "retailer": Company(
            folder / "retailer/customers.csv", {"phone": "phone", "email": "email"},
            folder / "retailer/consents.csv", "phone",
        ),
        "media": Company(
            folder / "media/profiles.csv", {"phone": "手机", "email": "邮箱"},
            folder / "media/consents.csv", "email",
        ),
    }  # fmt: skip


def expected(folder: Path, companies: dict[str, Company] | None = None) -> Expected:
    companies = companies or companies_of(folder)
    found = Expected()
    for name, company in companies.items():
        found.rows[name] = len(company.rows)
        found.ambiguous[name] = company.ambiguous
        found.unparsable[name] = company.unparsable
    jobs = {
        "overlap": ("overlap_measurement", {"retailer": (), "media": ()}),
        "tier_by_interest": (
            "audience_insight",
            {"retailer": ("purchases",), "media": ("content", "behaviour")},
        ),
    }
    for job, (purpose, categories) in jobs.items():
        eligible = {
            name: [
                row
                for row in range(len(company.rows))
                if company.permits(row, purpose, categories[name])
            ]
            for name, company in companies.items()
        }
        for name, rows in eligible.items():
            found.eligible[job, name] = len(rows)
        pairs = waterfall(companies["retailer"], eligible["retailer"], companies["media"],
                          eligible["media"])  # fmt: skip
        found.overlap[job] = len(pairs)
        if job == "tier_by_interest":
            found.cells = cross(companies["retailer"], companies["media"], pairs)
    return found


def waterfall(
    left: Company, left_rows: list[int], right: Company, right_rows: list[int]
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    free_left, free_right = set(left_rows), set(right_rows)
    for kind in ("phone", "email"):
        holder = {left.ids[kind][row]: row for row in free_left if left.ids[kind][row]}
        for row in sorted(free_right):
            other = holder.get(right.ids[kind][row])
            if other is not None and right.ids[kind][row]:
                pairs.append((other, row))
        free_left -= {pair[0] for pair in pairs}
        free_right -= {pair[1] for pair in pairs}
    return pairs


def cross(
    left: Company, right: Company, pairs: list[tuple[int, int]]
) -> dict[tuple[str, str], tuple[int, int]]:
    cells = {
        (tier, interest): (0, 0)
        for tier in ("high", "mid", "low")
        for interest in (*INTERESTS, "other", "unknown")
    }
    for mine, theirs in pairs:
        interest = right.rows[theirs]["top_interest"]
        if interest not in INTERESTS:
            interest = "other" if interest else "unknown"
        key = (left.rows[mine]["value_tier"], interest)
        minutes = min(max(int(right.rows[theirs]["minutes"]), 0), 600)
        count, total = cells[key]
        cells[key] = (count + 1, total + minutes)
    return cells
