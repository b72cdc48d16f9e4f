"""Set-based canonical identifiers give what the rules give, one by one; and are fast."""

from __future__ import annotations

import random
import time

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from consent import column_sql
from party_node import phones
from party_node.canonical import canonical_column, present
from party_node.dataset import _without_ambiguous
from party_node.phones import canonical_phones
from protocol.psi.identifiers import canonical_phone, canonicalise, is_absent

ODD = 'aB0.-_@ \t +ÄßİＡ＠。xn-中\u200b"<>;ﬃ\xa0é'


@given(st.lists(
    st.text(ODD, max_size=12)
    | st.from_regex(r"\A[aB0.+_]{1,5}@[a0B-]{1,5}(\.[a0xn-]{1,6}){1,2}[ .]?\Z")
    | st.none(),
    min_size=1, max_size=12), st.sampled_from(["email", "card"]))  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_columns_agree_with_the_rules(texts: list[str | None], kind: str) -> None:
    column = pa.array(texts, pa.string())
    expected = [None if is_absent(t) else canonicalise(kind, t or "") for t in texts]
    assert canonical_column(kind, column, None).to_pylist() == expected
    assert present(column).to_pylist() == [not is_absent(t) for t in texts]


def numbers_like(region: str, dice: random.Random) -> list[str]:
    """Examples of every type of the region, changed, cut, prefixed and punctuated."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    out = []
    for kind in (0, 1, 2, 3, 4, 6, 7, 8):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        for _ in range(8):
            digits = list(phonenumbers.national_significant_number(example))
            digits = [dice.choice("0123456789") if dice.random() < 0.3 else d for d in digits]
            if dice.random() < 0.2:
                digits = digits[: dice.randint(1, len(digits))]
            code, national = str(example.country_code), metadata.national_prefix or ""
            text = dice.choice(
                ["", "", "", "+" + code, code, "00" + code, "011" + code, national, "0", "1", "+",
                 "+" + code + "0", "(", "00", "+1", code + national, "0" + code]
            ) + "".join(digits) + dice.choice(["", "", "", "9"])  # fmt: skip
            if dice.random() < 0.4:
                text = "".join(c + dice.choice(["", "", " ", "-", ".", ")", "("]) for c in text)
            if dice.random() < 0.06:
                text += dice.choice(["x12", " ext 5", "/123", "a", ";", "#", "  ", "\u200b", "٣"])
            out.append(text)
    return out


def test_phones_agree_with_the_library_in_every_region(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    dice = random.Random(seed)
    monkeypatch.setattr(phones, "_WORTH_IT", 1)  # so that every country takes the fast way
    asked: list[str] = []
    monkeypatch.setattr(
        phones, "canonical_phone", lambda t, r: (asked.append(t), canonical_phone(t, r))[1]
    )
    total = 0
    for region in [*sorted(phonenumbers.SUPPORTED_REGIONS), None]:
        texts = numbers_like(region or dice.choice(["CN", "US", "IT"]), dice)
        got = canonical_phones(pa.array(texts, pa.string()), region).to_pylist()
        assert got == [canonical_phone(text, region) for text in texts], region
        total += len(set(texts))
    assert len(asked) < 0.8 * total  # the fast way is taken, or this test says nothing


def test_usual_numbers_never_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """All usual ways of writing: national, with +, 00 and bare country code, separators, junk."""
    monkeypatch.setattr(phones, "canonical_phone", lambda *_: pytest.fail("asked the library"))
    ways = ["1380013{:04d}", "+86 138 0013 {:04d}", "0086-138-0013-{:04d}", "861380013{:04d}",
            "(138) 0013.{:04d}", " 1380013{:04d} ", "01380013{:04d}"]  # fmt: skip
    texts = [way.format(i) for i in range(200) for way in ways]
    got = canonical_phones(pa.array([*texts, "n/a", "", None, "-"]), "CN").to_pylist()
    assert got == [f"+861380013{i:04d}" for i in range(200) for _ in ways] + [None] * 4
    american = [f"+1 (212) 555-{i:04d}" for i in range(200)]
    assert canonical_phones(pa.array(american), "CN").null_count == 0


def test_a_quarter_of_a_million_takes_a_second() -> None:
    """Generous for a loaded machine; a million of each takes about a second on a free one."""
    n = 250_000
    numbers = pa.array([f"+86 138-{i // 10000:04d}-{i % 10000:04d}" for i in range(n)])
    emails = pa.array([f" User{i}@Example.COM" for i in range(n)])
    started = time.perf_counter()
    assert canonical_phones(numbers, "CN")[7].as_py() == "+8613800000007"
    assert canonical_column("email", emails, None)[7].as_py() == "user7@example.com"
    assert time.perf_counter() - started < 6


def test_texts_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ambiguous is who has the same identifier, not the same hash."""
    monkeypatch.setattr(column_sql, "hashes", lambda column: np.zeros(len(column), np.uint64))
    found, twice = _without_ambiguous(pa.array(["a", "b", None, "a", None]))
    assert (found.to_pylist(), twice) == ([None, "b", None, None, None], 1)
