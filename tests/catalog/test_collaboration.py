"""Cards and collaboration.yaml: what is pinned is what was made, or a sentence."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from catalog.collaboration import (
    Collaboration,
    Endpoint,
    card_text,
    check_card,
    dump_collaboration,
    join_cards,
    load_card,
    load_collaboration,
)
from catalog.yaml import dump_yaml
from protocol.errors import BadInput
from protocol.identity import Card, create_keys

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def make(name: str, role: str = "party", address: str = "") -> Card:
    return create_keys(name, role, storage=b"s" * 32, now=NOW, address=address).card


CARDS = {
    "coordinator": make("coordinator", "coordinator", "hub.example:7443"),
    "consent": make("consent", "consent", "[::1]:7444"),
    "retailer": make("retailer"),
    "媒体": make("媒体"),
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for name, card in CARDS.items():
        paths.append(tmp_path / f"{name}.card.yaml")
        paths[-1].write_text(card_text(card), encoding="utf-8")
    return paths


def test_cards_join_to_a_collaboration_and_come_back(tmp_path: Path, files: list[Path]) -> None:
    joined = join_cards(files)
    path = tmp_path / "collaboration.yaml"
    path.write_text(dump_collaboration(joined), encoding="utf-8")
    read = load_collaboration(path)
    assert read == joined
    assert read.coordinator.card() == CARDS["coordinator"]
    assert read.consent.card().address == "[::1]:7444"
    assert read.cards() == {"retailer": CARDS["retailer"], "媒体": CARDS["媒体"]}
    assert read.fingerprints() == {name: card.fingerprint for name, card in CARDS.items()}


def test_join_names_what_is_missing(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(BadInput, match="0 cards of role consent"):
        join_cards([files[0], *files[2:]])
    with pytest.raises(BadInput, match="no card of a party"):
        join_cards(files[:2])
    twin = tmp_path / "twin.yaml"
    twin.write_text(card_text(make("retailer")))
    with pytest.raises(BadInput, match="two cards are named retailer"):
        join_cards([*files, twin])
    copied = tmp_path / "copied.yaml"
    fields = CARDS["retailer"].to_dict() | {"name": "bank"}
    card = Card("bank", "party", CARDS["retailer"].tls_certificate, CARDS["retailer"].signing_key,
                CARDS["retailer"].sealing_key)  # fmt: skip
    copied.write_text(dump_yaml(fields | {"fingerprint": card.fingerprint}))
    with pytest.raises(BadInput, match="retailer and bank have the same key"):
        join_cards([*files, copied])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "fingerprint: does not fit the card: it was changed"),
        ({"signing_key": CARDS["媒体"].to_dict()["signing_key"]}, "does not fit the card"),
        ({"tls_certificate": CARDS["媒体"].tls_certificate}, "tls_fingerprint: does not fit"),
        ({"tls_certificate": "x"}, "is not a certificate in PEM"),
        ({"signing_key": "x"}, "signing_key: is not a key of 32 bytes in base64"),
        ({"sealing_key": "AAAA"}, "sealing_key: is not a key of 32 bytes in base64"),
        ({"role": "boss"}, '"boss" does not fit'),
        ({"address": "here:1"}, "party has no address"),
        ({"adress": "here:1"}, 'unknown key "adress" — did you mean "address"?'),
    ],
)
def test_bad_cards(tmp_path: Path, change: dict[str, str], said: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(dump_yaml(CARDS["retailer"].to_dict() | change), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_card(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_bad_collaborations(tmp_path: Path, files: list[Path]) -> None:
    path = tmp_path / "c.yaml"
    of = {name: Endpoint.of(card) for name, card in CARDS.items()}
    hub, consent, retailer = of["coordinator"], of["consent"], of["retailer"]
    for wrong, said in [
        (Collaboration(consent, consent, {"retailer": retailer}), '"consent" does not fit'),
        (Collaboration(hub, consent, {"shop": retailer}), "this is the card of retailer"),
    ]:
        path.write_text(dump_collaboration(wrong), encoding="utf-8")
        with pytest.raises(BadInput, match=said):
            load_collaboration(path)
    path.write_text("coordinator: 1\nconsent: {}\nparties: {}\n")
    with pytest.raises(BadInput, match="line 1: coordinator: must be a block of keys"):
        load_collaboration(path)


@pytest.mark.parametrize(
    ("name", "role", "address", "said"),
    [
        ("a", "boss", "", "is not a role"),
        ("coordinator", "party", "", "name of a service"),
        ("a b", "party", "", "cannot name a party"),
        ("a", "party", "x:1", "party has no address"),
        ("hub", "coordinator", "x:1", "the coordinator's card is named coordinator"),
        ("coordinator", "coordinator", "", "needs an address"),
        ("coordinator", "coordinator", "x", '"x" is not an address'),
        ("consent", "consent", "x:99999", "is not an address"),
    ],
)
def test_bad_requests_for_a_card(name: str, role: str, address: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_card(name, role, address)
