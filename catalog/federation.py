"""Parties, their attributes and policies: FEDERATION.yaml and party.yaml.

Who runs it: the sandbox (all parties), a node (its own block only).  A party.yaml is one
block of `parties:` with the party's `name` (and `key_bits`) beside it.
Learns: nobody, anything; both files stay where they are.  contracts.md, FEDERATION.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from catalog.events import EventName, EventTable, Offset, OneId, located
from catalog.tag_bands import TitleFile
from catalog.vocabulary import (
    APPROVALS,
    CATEGORIES,
    CONSENTS_ALL,
    KEY_BITS,
    KINDS,
    MAX_LABELS,
    NOISE_POLICIES,
    PURPOSES,
    RESERVED_PARTIES,
    REVEALS,
)
from catalog.yaml import (
    Document,
    Number,
    Strict,
    Text,
    Whole,
    Words,
    as_words,
    build,
    dump_yaml,
    one_of,
    read_one,
    wrong,
)

_NAME = re.compile(r"\w[\w-]{0,63}")
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Doubles (JSON) hold every integer up to here, and a product with a count fits 128 bits.
_MAX_SCALED = 1 << 53
_NANO = 10**9


def party_name(value: str) -> str:
    """`value` if it can name a party and its folder; raises for others."""
    if not _NAME.fullmatch(value) or value != unicodedata.normalize("NFC", value):
        raise wrong(f'"{value}" cannot name a party', "use letters, digits, - and _ (at most 64)")
    if value.casefold() in RESERVED_PARTIES:
        raise wrong(f'"{value}" is the name of a service', "choose another name for the party")
    return value


def _attribute_name(value: str) -> str:
    if not value or value != value.strip() or "/" in value or not value.isprintable():
        raise wrong(f'"{value}" cannot name an attribute', "leave out /, and spaces at the ends")
    return value


def _identifier_type(value: str) -> str:
    if not _TYPE.fullmatch(value):
        raise wrong(
            f'"{value}" cannot name an identifier type', "use email, phone or another small word"
        )
    return value


def _region(value: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS  # late: slow to import, and few commands need it

    if value not in SUPPORTED_REGIONS:
        raise wrong(f'"{value}" is no region', "write two capital letters, such as CN or DE")
    return value


def _nano(value: Decimal) -> Decimal:
    if not 0 < value <= 1000 or (value * _NANO) % 1:
        raise wrong(f"{value} is not a budget", "write a number above 0 with at most 9 decimals")
    return value


PartyName = Annotated[Text, AfterValidator(party_name)]
AttributeName = Annotated[Text, AfterValidator(_attribute_name)]
IdentifierType = Annotated[Text, AfterValidator(_identifier_type)]
Rho = Annotated[Number, AfterValidator(_nano)]
Purpose = Annotated[Text, one_of(PURPOSES)]


class Attribute(Strict):
    """One declared column.  bounds: as written, exact; numbers only."""

    kind: Annotated[Text, one_of(KINDS)]
    category: Annotated[Text, one_of(CATEGORIES)]
    values: tuple[Text, ...] | None = None
    bounds: tuple[Number, Number] | None = None
    decimals: Annotated[Whole, Field(ge=0, le=9)] = 0
    column: Text | None = None  # None: the column has the attribute's name
    tag: Text | None = None  # instead of a column: this party's tag, computed by its node
    title: TitleFile | None = None  # for reports; None: the tag's, if it is one

    @model_validator(mode="after")
    def _fits_kind(self) -> Attribute:
        if self.tag is not None and (self.kind != "label" or self.values or self.column):
            raise wrong("a tag is a label with values of its own", "write kind: label, tag: NAME")
        if self.kind == "number":
            self._check_bounds()
        elif self.bounds is not None:
            raise wrong(f"a {self.kind} has no bounds", "delete bounds, or write kind: number")
        elif "decimals" in self.model_fields_set:
            raise wrong(f"a {self.kind} has no decimals", "delete decimals, or write kind: number")
        if self.values is not None:
            self._check_values(self.values)
        return self

    def _check_bounds(self) -> None:
        if self.bounds is None:
            raise wrong("a number needs bounds", "add bounds: [lowest, highest]")
        low, high = self.bounds
        if low >= high:
            raise wrong(f"bounds {low} and {high} are not in order", "write [lowest, highest]")
        for bound in self.bounds:
            scaled = bound.scaleb(self.decimals)
            if scaled % 1:
                raise wrong(
                    f"the bound {bound} has more than {self.decimals} decimals",
                    "round it or raise decimals",
                )
            if abs(scaled) > _MAX_SCALED:
                raise wrong(f"the bound {bound} is too large", "lower it or decimals")

    def _check_values(self, values: tuple[str, ...]) -> None:
        if self.kind != "label":
            raise wrong(f"a {self.kind} has no values", "delete values, or write kind: label")
        if not 1 <= len(values) <= MAX_LABELS:
            raise wrong(f"{len(values)} values; a label has 1 to {MAX_LABELS}", "merge some")
        twice = next((v for v in values if values.count(v) > 1), None)
        if twice is not None:
            raise wrong(f'the value "{twice}" is here twice', "keep one")
        if "" in values:
            raise wrong("an empty value", "delete it: empty cells become unknown")

    @property
    def scaled_bounds(self) -> tuple[int, int]:
        """lo and hi in units of 10^-decimals."""
        assert self.bounds is not None
        low, high = (int(bound.scaleb(self.decimals)) for bound in self.bounds)
        return low, high


class Policy(Strict):
    """What a party lets out, to whom, for what.  None means: all."""

    min_cohort: Annotated[Whole, Field(ge=1, le=1_000_000)] = 50
    noise: Annotated[Text, one_of(NOISE_POLICIES)] = "required"
    requesters: Words | None = None
    purposes: Annotated[tuple[Purpose, ...], BeforeValidator(as_words)] | None = None
    rho_per_month: Rho = Decimal("0.5")
    rho_per_month_all: Rho | None = None
    reveal: Annotated[Text, one_of(REVEALS)] = "hidden"

    @property
    def rho_nano(self) -> int:
        """Budget of one (recipient, purpose) over 31 days, in 1e-9."""
        return int(self.rho_per_month * _NANO)

    @property
    def rho_all_nano(self) -> int:
        """Budget over all recipients and purposes over 31 days, in 1e-9."""
        cap = self.rho_per_month if self.rho_per_month_all is None else self.rho_per_month_all
        return int(cap * _NANO)

    def admits(self, requester: str) -> bool:
        return self.requesters is None or requester in self.requesters

    def allows_purpose(self, purpose: str) -> bool:
        return self.purposes is None or purpose in self.purposes


class Party(Strict):
    """One company.  table, consents and notices are absolute paths once loaded."""

    name: PartyName
    table: Path
    default_region: Annotated[Text, AfterValidator(_region)] | None = None
    ids: dict[IdentifierType, Text] = Field(default_factory=dict)
    attributes: dict[AttributeName, Attribute] = Field(default_factory=dict)
    consents: Path | str
    notices: Path | None = None  # the texts that people are shown; None: the built-in ones
    policy: Policy = Field(default_factory=Policy)
    approval: Annotated[Text, one_of(APPROVALS)] = "auto"
    key_bits: Whole = 3072
    events: dict[EventName, EventTable] = Field(default_factory=dict)
    one_id: OneId = Field(default_factory=OneId)
    utc_offset: Offset = "+00:00"  # of times without one; days begin by it
    tags: Path | None = None
    as_of: Text | None = None  # the moment tags are computed for; None: now
    _reads: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    def categories(self, attribute: str) -> tuple[str, ...]:
        """Categories of the data that `attribute` is made from: what consent must cover."""
        return self._reads.get(attribute, (self.attributes[attribute].category,))

    @property
    def profiled(self) -> bool:
        """Whether the node keeps events or computes tags."""
        return bool(self.events) or self.tags is not None

    @property
    def plain_attributes(self) -> dict[str, Attribute]:
        """Those that are columns of the table; the others are tags."""
        return {name: a for name, a in self.attributes.items() if a.tag is None}

    @property
    def consents_file(self) -> Path | None:
        """The file of consent records, None for `consents: all`."""
        return self.consents if isinstance(self.consents, Path) else None

    def column(self, attribute: str) -> str:
        """The table's column that holds `attribute`."""
        return self.attributes[attribute].column or attribute


class Federation(Strict):
    """All parties of a sandbox."""

    name: Text
    key_bits: Whole
    parties: Mapping[str, Party]


class _FederationFile(Strict):
    federation: Text
    key_bits: Whole = 3072
    parties: dict[str, Any]


def load_federation(path: Path) -> Federation:
    """FEDERATION.yaml, checked.  Raises BadInput with file, line, key and fix."""
    document = read_one(path, "federation")
    file = build(_FederationFile, document.value, document)
    _check_key_bits(file.key_bits, document)
    if len(file.parties) < 2:
        raise document.error(("parties",), "a federation has at least two parties", "add one")
    parties: dict[str, Party] = {}
    folded: dict[str, str] = {}
    for name, block in file.parties.items():
        at = ("parties", name)
        if not isinstance(block, Mapping):
            raise document.error(at, "must be a block of keys", "add table, ids, attributes, …")
        for extra in ("name", "key_bits"):
            if extra in block:
                raise document.error(
                    (*at, extra), f'"{extra}" belongs to party.yaml', "delete it here"
                )
        parties[name] = _party(name, block, file.key_bits, document, at)
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise document.error(at, f'"{name}" and "{other}" differ in case only', "rename one")
    for name, party in parties.items():
        _check_requesters(name, party, parties, document)
    return Federation(name=file.federation, key_bits=file.key_bits, parties=parties)


def load_party(path: Path) -> Party:
    """party.yaml, checked.  Raises BadInput with file, line, key and fix."""
    document = read_one(path, "party")
    if not isinstance(document.value, Mapping):
        raise document.error((), "must be a block of keys")
    block = dict(document.value)
    name = block.pop("name", None)
    if name is None:
        raise document.error((), 'the key "name" is missing', "add name: the party's name")
    key_bits = block.pop("key_bits", 3072)
    _check_key_bits(key_bits, document)
    return _party(name, block, key_bits, document, ())


def dump_party(party: Party, key_bits: int | None = None) -> str:
    """The party.yaml of `party`, with absolute paths; `load_party` gives `party` back."""
    fields: dict[str, Any] = {
        "name": party.name,
        "key_bits": party.key_bits if key_bits is None else key_bits,
        "table": str(party.table),
        "consents": str(party.consents),
        "approval": party.approval,
        "ids": dict(party.ids),
        "attributes": {name: _plain(attribute) for name, attribute in party.attributes.items()},
        "policy": _plain(party.policy),
    }
    if party.notices is not None:
        fields["notices"] = str(party.notices)
    if party.default_region is not None:
        fields["default_region"] = party.default_region
    if party.events:
        fields["events"] = {name: _deep(event) for name, event in party.events.items()}
    if party.one_id != OneId():
        fields["one_id"] = _deep(party.one_id)
    for key in ("utc_offset", "as_of"):
        if getattr(party, key) is not None:
            fields[key] = getattr(party, key)
    if party.tags is not None:
        fields["tags"] = str(party.tags)
    return dump_yaml(fields)


def _deep(model: Strict) -> Any:
    return _lists(model.model_dump(exclude_none=True, exclude_defaults=True))


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _plain(model: Strict) -> dict[str, Any]:
    fields = model.model_dump(exclude_none=True, exclude_unset=True)
    return {key: _plain_value(value) for key, value in fields.items()}


def _plain_value(value: Any) -> Any:
    return [_plain_value(item) for item in value] if isinstance(value, tuple) else value


def _check_key_bits(value: Any, document: Document) -> None:
    if value not in KEY_BITS or isinstance(value, bool):
        sizes = " or ".join(str(bits) for bits in KEY_BITS)
        raise document.error(("key_bits",), f"{value} is not a key size", f"write {sizes}")


def _check_requesters(
    name: str, party: Party, parties: Mapping[str, Party], document: Document
) -> None:
    for position, requester in enumerate(party.policy.requesters or ()):
        if requester not in parties:
            raise document.error(
                ("parties", name, "policy", "requesters", position),
                f'"{requester}" is no party of this file',
                "its parties are " + ", ".join(parties),
            )


def _party(
    name: Any, block: Mapping[str, Any], key_bits: int, document: Document, at: tuple[str, ...]
) -> Party:
    fields = {key: value for key, value in block.items() if value is not None}
    party = build(
        Party, fields | {"name": name, "key_bits": key_bits}, document, at
    )  # checks every key; the paths are still as written
    folder = Path(document.source).parent
    consents: Path | str = str(block["consents"])
    if consents != CONSENTS_ALL:
        consents = _absolute(folder, str(consents))
    table = _absolute(folder, str(block["table"]))
    paths: dict[str, Any] = {"table": table, "consents": consents}
    paths["notices"] = party.notices and _absolute(folder, str(party.notices))
    paths["events"] = {
        name: event.model_copy(update={"source": located(event.source, folder)})
        for name, event in party.events.items()
    }
    links = {
        name: link.model_copy(update={"source": located(link.source, folder)})
        for name, link in party.one_id.links.items()
    }
    paths["one_id"] = party.one_id.model_copy(update={"links": links})
    if party.tags is not None:
        paths["tags"] = _absolute(folder, str(party.tags))
    party = party.model_copy(update=paths)
    from catalog.party_tags import check_party_tags  # late: tags know parties and purposes

    return check_party_tags(party, document, at)


def _absolute(folder: Path, written: str) -> Path:
    return (folder / Path(written).expanduser()).absolute()
