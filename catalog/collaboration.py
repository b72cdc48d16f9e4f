"""collaboration.yaml: everybody's public card, and where coordinator and consent service are.

Who runs it: every company (joins cards after comparing fingerprints), every process (reads
the file at start).  There is no certificate authority: what the file pins is what is
trusted.  Learns: the reader learns names, roles, addresses, public keys.
architecture.md, Processes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from catalog.federation import PartyName
from catalog.yaml import Document, Strict, Text, Where, build, dump_yaml, read_one
from protocol.errors import BadInput
from protocol.identity import ROLES, Card

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_SERVERS = ("coordinator", "consent")  # a collaboration has one of each …
_OPTIONAL = ("portal", "auditor")  # … and at most one of these
_DIALLED_OUT = ("party", "auditor")  # they open no port to the others


@dataclass(frozen=True)
class Endpoint:
    """A card as it stands in collaboration.yaml."""

    name: str
    role: str
    tls_certificate: str
    tls_fingerprint: str
    signing_key: str
    sealing_key: str
    fingerprint: str
    address: str = ""

    @classmethod
    def of(cls, card: Card) -> Endpoint:
        return cls(**card.to_dict())

    def card(self) -> Card:
        return Card(
            name=self.name,
            role=self.role,
            tls_certificate=self.tls_certificate,
            signing_key=base64.b64decode(self.signing_key, validate=True),
            sealing_key=base64.b64decode(self.sealing_key, validate=True),
            address=self.address,
        )


@dataclass(frozen=True)
class Collaboration:
    """All cards.  parties: by name, in the order of the file."""

    coordinator: Endpoint
    consent: Endpoint
    parties: Mapping[str, Endpoint]
    portal: Endpoint | None = None
    auditor: Endpoint | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        optional = [one for one in (self.portal, self.auditor) if one is not None]
        return (self.coordinator, self.consent, *optional, *self.parties.values())

    def all_cards(self) -> tuple[Card, ...]:
        return tuple(endpoint.card() for endpoint in self.endpoints)

    def fingerprints(self) -> dict[str, str]:
        """Name → what two people compare."""
        return {endpoint.name: endpoint.fingerprint for endpoint in self.endpoints}

    def cards(self) -> dict[str, Card]:
        """The parties' cards by name."""
        return {name: endpoint.card() for name, endpoint in self.parties.items()}


class _Named(Strict):
    name: PartyName


class _CardFile(Strict):
    name: Text
    role: Text
    tls_certificate: Text
    tls_fingerprint: Text
    signing_key: Text
    sealing_key: Text
    fingerprint: Text
    address: Text = ""


class _CollaborationFile(Strict):
    coordinator: Any
    consent: Any
    parties: dict[str, Any]
    portal: Any = None
    auditor: Any = None


def load_collaboration(path: Path) -> Collaboration:
    """collaboration.yaml, every card checked against its own fingerprints.

    Raises BadInput with file, line, key and fix.
    """
    document = read_one(path, "collaboration")
    file = build(_CollaborationFile, document.value, document)
    collaboration = Collaboration(
        coordinator=_endpoint(file.coordinator, document, ("coordinator",), "coordinator"),
        consent=_endpoint(file.consent, document, ("consent",), "consent"),
        parties={
            name: _endpoint(card, document, ("parties", name), "party")
            for name, card in file.parties.items()
        },
        **{
            role: _endpoint(card, document, (role,), role)
            for role in _OPTIONAL
            if (card := getattr(file, role)) is not None
        },
    )
    for name, endpoint in collaboration.parties.items():
        if endpoint.name != name:
            raise document.error(
                ("parties", name), f"this is the card of {endpoint.name}", "rename the key"
            )
    _check_distinct(collaboration, str(path))
    return collaboration


def dump_collaboration(collaboration: Collaboration) -> str:
    """The text of collaboration.yaml."""
    return dump_yaml(
        {
            "coordinator": _fields(collaboration.coordinator),
            "consent": _fields(collaboration.consent),
            **{
                role: _fields(endpoint)
                for role in _OPTIONAL
                if (endpoint := getattr(collaboration, role)) is not None
            },
            "parties": {name: _fields(card) for name, card in collaboration.parties.items()},
        }
    )


def join_cards(paths: list[Path]) -> Collaboration:
    """The collaboration of these card files: one coordinator, one consent service, ≥ 1 party,
    at most one portal and one auditor."""
    found: dict[str, list[Endpoint]] = {role: [] for role in ROLES}
    for path in paths:
        endpoint = load_card(path)
        found[endpoint.role].append(endpoint)
    for role in _SERVERS:
        if len(found[role]) != 1:
            raise BadInput(
                f"{len(found[role])} cards of role {role}; a collaboration has one",
                next_step=f"pass exactly one card made with --role {role}",
            )
    for role in _OPTIONAL:
        if len(found[role]) > 1:
            raise BadInput(
                f"{len(found[role])} cards of role {role}; a collaboration has at most one",
                next_step="pass one of them",
            )
    if not found["party"]:
        raise BadInput("no card of a party", next_step="pass the card of every company")
    parties: dict[str, Endpoint] = {}
    for endpoint in found["party"]:
        if endpoint.name in parties:
            raise BadInput(
                f"two cards are named {endpoint.name}",
                next_step="pass one of them, or have one company make a kit with another name",
            )
        parties[endpoint.name] = endpoint
    collaboration = Collaboration(
        found["coordinator"][0],
        found["consent"][0],
        parties,
        **{role: found[role][0] for role in _OPTIONAL if found[role]},
    )
    _check_distinct(collaboration, "the cards")
    return collaboration


def load_card(path: Path) -> Endpoint:
    """One card file.  Raises BadInput when it is damaged."""
    document = read_one(path, "card")
    return _endpoint(document.value, document, (), None)


def card_text(card: Card) -> str:
    """The text of a card file."""
    return dump_yaml(_fields(Endpoint.of(card)))


def check_card(name: str, role: str, address: str) -> None:
    """What `assent kit create` is asked to make.  Raises BadInput."""
    if role not in ROLES:
        raise BadInput(f'"{role}" is not a role', next_step=f"use one of {', '.join(ROLES)}")
    if role == "party":
        _check_name(name)
    elif name != role:
        raise BadInput(f"the {role}'s card is named {role}", next_step=f"use --name {role}")
    if role in _DIALLED_OUT:
        if address:
            raise BadInput(f"a {role} has no address: it only dials out",
                           next_step="leave out --address")  # fmt: skip
    else:
        _check_address(address, f"the {role}'s card")


def _check_name(name: str) -> None:
    try:
        _Named(name=name)
    except ValidationError as error:
        details = error.errors()[0]
        fix = details.get("ctx", {}).get("fix", "")
        raise BadInput(details["msg"], next_step=str(fix)) from error


def _check_address(address: str, what: str) -> None:
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 65536:
        raise BadInput(
            f'{what}: "{address}" is not an address' if address else f"{what} needs an address",
            next_step="write host:port, such as hub.example:7443",
        )


def _fields(endpoint: Endpoint) -> dict[str, str]:
    fields = dict(vars(endpoint))
    if not endpoint.address:
        del fields["address"]
    return fields


def _endpoint(value: Any, document: Document, at: Where, role: str | None) -> Endpoint:
    file = build(_CardFile, value, document, at)
    if file.role not in ROLES or (role is not None and file.role != role):
        want = role or ", ".join(ROLES)
        raise document.error((*at, "role"), f'"{file.role}" does not fit', f"expected {want}")
    try:
        check_card(file.name, file.role, file.address)
    except BadInput as error:
        raise document.error(at, error.info.cause, error.info.next_step) from error
    endpoint = Endpoint(**file.model_dump())
    again = "ask its owner to send it again"
    for key in ("signing_key", "sealing_key"):
        if _key_length(getattr(file, key)) != 32:
            raise document.error((*at, key), "is not a key of 32 bytes in base64", again)
    try:
        card = endpoint.card()
        tls, fingerprint = card.tls_fingerprint, card.fingerprint
    except ValueError as error:
        raise document.error(
            (*at, "tls_certificate"), "is not a certificate in PEM", again
        ) from error
    for key, computed in (("tls_fingerprint", tls), ("fingerprint", fingerprint)):
        if getattr(file, key) != computed:
            raise document.error((*at, key), "does not fit the card: it was changed", again)
    return endpoint


def _key_length(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return -1


def _check_distinct(collaboration: Collaboration, source: str) -> None:
    seen: dict[str, str] = {}
    for endpoint in collaboration.endpoints:
        for key in (endpoint.tls_fingerprint, endpoint.signing_key, endpoint.sealing_key):
            other = seen.setdefault(key, endpoint.name)
            if other != endpoint.name:
                raise BadInput(
                    f"{source}: {other} and {endpoint.name} have the same key",
                    next_step="each party makes its own kit",
                )
