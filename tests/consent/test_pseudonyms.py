"""Subject tokens: equal to the definition, different wherever linking would hurt."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.pseudonyms import Pseudonyms
from protocol.secret import Secret

MADE = Pseudonyms(Secret(b"m" * 32), "assent/0011/consent/retailer", "retailer")


def reference(made: Pseudonyms, kind: str, identifier: str) -> bytes:
    """consent.md, "Pseudonyms", written down once more, one identifier at a time."""
    version = str(made.version)
    parts = b"".join(
        len(part.encode()).to_bytes(8, "big") + part.encode()
        for part in ("consent-subject/v1", made.party, version)
    )
    key = HKDF(hashes.SHA256(), 32, made.origin.encode(), parts).derive(made.key.reveal())
    customer = f"{kind}:{identifier}".encode()
    return hmac.digest(key, len(customer).to_bytes(8, "big") + customer, hashlib.sha256)


ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=30)


@settings(max_examples=25, deadline=None)
@given(ids)
def test_equal_to_hmac(people: list[str]) -> None:
    found = MADE.tokens("email", pa.array(people, type=pa.string()))
    assert [row.tobytes() for row in found] == [reference(MADE, "email", one) for one in people]


def test_order_is_kept_over_many_blocks() -> None:
    people = [f"人{number}@x.example" for number in range(20_000)]
    found = MADE.tokens("phone", pa.array(people))
    for place in (0, 1, 2047, 2048, 4096, 12_345, 19_999):
        assert found[place].tobytes() == reference(MADE, "phone", people[place])


@pytest.mark.parametrize(
    "other",
    [
        replace(MADE, party="media"),
        replace(MADE, origin="assent/0012/consent/retailer"),
        replace(MADE, key=Secret(b"n" * 32)),
        replace(MADE, version=2),
    ],
)
def test_one_person_looks_different_elsewhere(other: Pseudonyms) -> None:
    ann = pa.array(["ann@x.example"])
    assert MADE.tokens("email", ann).tobytes() != other.tokens("email", ann).tobytes()
    assert MADE.tokens("email", ann).tobytes() != MADE.tokens("phone", ann).tobytes()
    assert MADE.tokens("email", ann).tobytes() == MADE.tokens("email", ann).tobytes()


def test_a_sliced_array_is_read_from_its_own_start() -> None:
    people = pa.array(["a", "b", "c"]).slice(1)
    assert MADE.tokens("email", people)[0].tobytes() == reference(MADE, "email", "b")


def test_nobody_has_no_pseudonym() -> None:
    with pytest.raises(ValueError, match="null"):
        MADE.tokens("email", pa.array(["a", None]))


def test_text_form_carries_the_key_version() -> None:
    assert replace(MADE, version=3).text(b"\xff" * 32) == "s1.3." + "_" * 42 + "8"


def test_the_key_does_not_print() -> None:
    assert "mmm" not in repr(MADE)
