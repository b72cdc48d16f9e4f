"""Canonical identifiers: two companies that write one person differently agree, or say so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.psi.identifiers import canonical_phone, canonicalise, is_absent


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann.Lee+News@EXAMPLE.com\t", "ann.lee+news@example.com"),  # dots and plus stay
        ("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ann@example.com"),  # full width
        ("张三@例子.中国", "张三@xn--fsqu00a.xn--fiqs8s"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@例子。中国", "ann@xn--fsqu00a.xn--fiqs8s"),  # the ideographic full stop is a dot
        ("o'neil_1@x-y.co", "o'neil_1@x-y.co"),
    ],
)
def test_emails(written: str, canonical: str) -> None:
    assert canonicalise("email", written) == canonical


@pytest.mark.parametrize(
    "bad",
    ["ann", "@example.com", "ann@", "ann@@example.com", "a b@example.com", "ann@exa mple.com",
     "ann@example..com", "ann@-example.com", "ann@example.com.", "Ann <ann@example.com>",
     "ann@example.com,bob@example.com", "a@x.com;b@x.com", "ann@xn--a.com", "ann@exa_mple.com",
     '"ann"@example.com', "an\u200bn@example.com", "ann@" + "a" * 64 + ".com", "n/a",
     "a" * 320 + "@x.com", "ann@[1.2.3.4]", "(ann)@x.com"],
)  # fmt: skip
def test_bad_emails_are_not_guessed(bad: str) -> None:
    assert canonicalise("email", bad) is None


@pytest.mark.parametrize(
    ("written", "region", "canonical"),
    [
        ("13800000001", "CN", "+8613800000001"),
        ("138-0000-0001", "CN", "+8613800000001"),
        ("+86 138 0000 0001", "US", "+8613800000001"),
        ("0086 138 0000 0001", "CN", "+8613800000001"),
        ("8613800000001", "CN", "+8613800000001"),
        ("（010）6552-9988", "CN", "+861065529988"),
        ("１３８００００００ ０１", "CN", "+8613800000001"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("1-212-555-0123", "US", "+12125550123"),
        ("030 123456", "DE", "+4930123456"),
        ("06 698 12345", "IT", "+390669812345"),  # the zero belongs to the number
        ("+39 06 698 12345", None, "+390669812345"),
        ("011 15 2345-6789", "AR", "+5491123456789"),
    ],
)
def test_phones(written: str, region: str | None, canonical: str) -> None:
    assert canonicalise("phone", written, region) == canonical


@pytest.mark.parametrize(
    ("bad", "region"),
    [("n/a", "CN"), ("0", "CN"), ("12", "CN"), ("12345", "CN"), ("13800000001", None),
     ("138000000012345", "CN"), ("+999 123456789", "CN"), ("phone", "CN"), ("555-0123", "US"),
     ("+86", "CN"), ("1" * 300, "CN"), ("\x00", "CN")],
)  # fmt: skip
def test_bad_phones_are_not_guessed(bad: str, region: str | None) -> None:
    assert canonical_phone(bad, region) is None


def test_other_types_keep_their_case() -> None:
    assert canonicalise("card", " Ａ-1ｂ\u3000") == "A-1b"
    assert canonicalise("card", "a-1B") == "a-1B"
    assert canonicalise("card", "   ") is None


def test_absent_is_not_unparsable() -> None:
    assert all(is_absent(text) for text in (None, "", " ", "\t\n", "\u3000"))
    assert not is_absent("n/a")


TEXT = st.text(max_size=20) | st.from_regex(
    r"[A-Za-z0-9.+ßİǅ]{1,6}@[a-zA-Zßéİ中-]{1,6}\.[a-z]{2,3}"
)


@given(st.sampled_from(["email", "phone", "card"]), TEXT, st.sampled_from(["CN", "US", None]))
@settings(max_examples=400, deadline=None)
def test_canonical_of_canonical_is_itself(kind: str, text: str, region: str | None) -> None:
    once = canonicalise(kind, text, region)
    if once is not None:
        assert canonicalise(kind, once, region) == once
        assert not is_absent(once)
