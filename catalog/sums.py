"""Jobs over different people with the same columns: secure_sum, rfm, ltv, kmeans.

Who runs it: `catalog.job`, for a job file of these protocols and for the canonical form that a
requester sealed.  Learns: nobody, anything.  contracts.md, JOB.yaml; protocols.md sections 3, 4.

Every party of such a job has people of its own, and no one is matched.  `columns` says per party
which of its attributes hold the thing that is summed; a list alone holds for every party.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from catalog.federation import Federation, PartyName
from catalog.job_fields import JobName, Privacy, Seed, distinct
from catalog.vocabulary import PROTOCOLS, PURPOSES
from catalog.yaml import Document, Number, Strict, Text, Whole, Words, build, nearest, one_of, wrong

SUMS = ("secure_sum", "rfm", "ltv", "kmeans")
MAX_COLUMNS = 64
ROLES = ("recency", "frequency", "monetary", "T", "age")  # age: another word for T
LABELS, NUMBERS = ("label", "flag"), ("number",)


@dataclass(frozen=True)
class Model:
    """What is asked of every party's own people.

    names: what each column holds, as the result calls it.
    columns: per party its attributes that hold it, in the order of `names`.
    settings: the protocol's own keys in canonical form (strings, integers, booleans, lists).
    """

    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any]

    def attributes(self) -> tuple[str, ...]:
        """Every attribute as `party/name`."""
        return tuple(f"{p}/{name}" for p, names in self.columns.items() for name in names)

    def canonical(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "columns": {party: list(names) for party, names in self.columns.items()},
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class SumJob:
    """A file of these protocols, read: what `catalog.job` makes a JobSpec of."""

    file: SumFile
    providers: tuple[str, ...]
    model: Model


# -- the file ----------------------------------------------------------------------------------


def columns_of(value: Any) -> Any:
    """A list of attributes, or per party a list of them, or per party role: attribute."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return {str(key): columns_of(inner) for key, inner in value.items()}
    if not isinstance(value, list | tuple):
        raise wrong("must be a list of attributes, or one list for each party")
    for item in value:
        if not isinstance(item, str):
            raise wrong("must be a list of attributes")
        if "/" in item:
            raise wrong(f'"{item}" names a party', "write {party: [attribute, …]}")
    return tuple(value)


Columns = Annotated[Any, BeforeValidator(columns_of)]


def _ignored(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise wrong("must be a block of keys")
    return value


class SumFile(Strict):
    """The keys that all of these protocols have.  match is accepted and means nothing here."""

    job: JobName
    purpose: Annotated[Text, one_of(PURPOSES)]
    protocol: Annotated[Text, one_of(PROTOCOLS)]
    requester: PartyName
    with_: Annotated[Words, AfterValidator(distinct)] = Field(default=(), alias="with")
    people: Annotated[Words, AfterValidator(distinct)] = ()
    match: Annotated[Any, BeforeValidator(_ignored)] = None
    privacy: Privacy = Field(default_factory=Privacy)
    seed: Seed | None = None

    @abstractmethod
    def model(self, parties: Sequence[str]) -> Model:
        """What is summed.  Raises PydanticCustomError about the columns."""


def _bins(value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if not 1 <= len(value) <= MAX_COLUMNS:
        raise wrong(f"{len(value)} edges", f"write 1 to {MAX_COLUMNS} numbers in rising order")
    if any(low >= high for low, high in pairwise(value)):
        raise wrong("edges are not in rising order", "sort them and keep each once")
    return value


class _SecureSum(SumFile):
    columns: Columns = ()
    bins: dict[Text, Annotated[tuple[Number, ...], AfterValidator(_bins)]] = Field(
        default_factory=dict
    )

    def model(self, parties: Sequence[str]) -> Model:
        columns = _listed(self.columns, parties)
        names = columns[parties[0]]
        for name in self.bins:
            if name not in names:
                raise wrong(f'bins of "{name}", which is no column', nearest(name, names))
        bins = {name: [plain_number(edge) for edge in edges] for name, edges in self.bins.items()}
        return Model(names, columns, {"bins": bins})


class _Rfm(SumFile):
    columns: Columns = ()
    scheme: Annotated[Text, one_of(("8", "5x5"))] = "5x5"

    def model(self, parties: Sequence[str]) -> Model:
        names = ("recency", "frequency", "monetary")
        return Model(names, _roles(self.columns, parties, names), {"scheme": self.scheme})


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise wrong(f"{value} is not above 0")
    return value


def _rate(value: Decimal) -> Decimal:
    if not 0 <= value < 1:
        raise wrong(f"{value} is no discount", "write a share per unit of time, such as 0.002")
    return value


class _Ltv(SumFile):
    columns: Columns = ()
    horizon: Annotated[Number, AfterValidator(_positive)] | None = None
    discount: Annotated[Number, AfterValidator(_rate)] = Decimal(0)

    def model(self, parties: Sequence[str]) -> Model:
        columns = _roles(self.columns, parties, ("frequency", "recency", "T"), ("monetary",))
        names = ("frequency", "recency", "T", "monetary")[: len(columns[parties[0]])]
        horizon = plain_number(self.horizon) if self.horizon is not None else ""
        return Model(names, columns, {"horizon": horizon, "discount": plain_number(self.discount)})


def ks_of(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def init_of(value: Any) -> Any:
    if value == "auto":
        return ()
    if not isinstance(value, list | tuple):
        raise wrong("is neither auto nor a list of centres", "write init: auto")
    return value


class _Kmeans(SumFile):
    # grid and exact are over the same people: `catalog.vertical`.
    mode: Annotated[Text, one_of(("horizontal", "grid", "exact"))]
    k: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=64)], ...],
        BeforeValidator(ks_of),
        AfterValidator(distinct),
        Field(min_length=1, max_length=16),
    ]
    features: Columns
    iterations: Annotated[Whole, Field(ge=1, le=10)] = 10
    init: Annotated[tuple[tuple[Number, ...], ...], BeforeValidator(init_of)] = ()
    scale: Annotated[Text, one_of(("none", "zscore"))] = "none"
    restarts: Annotated[Whole, Field(ge=1, le=20)] = 1

    def model(self, parties: Sequence[str]) -> Model:
        features = _listed(self.features, parties)
        names = features[parties[0]]
        if not names:
            raise wrong("names no feature", "write features: [attribute, …]")
        if self.init and (len(self.k) > 1 or self.restarts > 1):
            raise wrong("init stands for one start only", "write one k and no restarts")
        if self.init and {len(centre) for centre in self.init} != {len(names)}:
            raise wrong(f"a centre of init has not {len(names)} numbers", "one for each feature")
        if self.init and len(self.init) != self.k[0]:
            raise wrong(f"init has {len(self.init)} centres, k is {self.k[0]}")
        settings = {
            "mode": self.mode,
            "k": list(self.k),
            "iterations": self.iterations,
            "init": [[plain_number(number) for number in centre] for centre in self.init],
            "scale": self.scale,
            "restarts": self.restarts,
        }
        return Model(names, features, settings)


_FILES: dict[str, type[SumFile]] = {
    "secure_sum": _SecureSum,
    "rfm": _Rfm,
    "ltv": _Ltv,
    "kmeans": _Kmeans,
}
_BY_PLACE = ("secure_sum", "kmeans")  # their columns are lists, the others' are roles


def read(value: Mapping[str, Any], document: Document) -> SumJob:
    """The job that `value` says, checked alone.  Raises BadInput with line, key and fix."""
    kind = _FILES[value["protocol"]]
    file = build(kind, {k: v for k, v in value.items() if v is not None}, document)
    providers = _providers(file, document)
    try:
        model = file.model((file.requester, *providers))
    except PydanticCustomError as error:
        context = error.context or {}
        raise document.error(
            ("columns",), str(context["cause"]), str(context.get("fix", ""))
        ) from error
    return SumJob(file, providers, model)


def plain(protocol: str, model: Any) -> dict[str, Any]:
    """A model's canonical form as the keys of a file, so that the file's rules check it again."""
    settings = dict(model["settings"])
    if protocol == "secure_sum":
        settings["bins"] = {k: [Decimal(e) for e in v] for k, v in settings["bins"].items()}
    if protocol == "kmeans":
        settings["init"] = [[Decimal(n) for n in centre] for centre in settings["init"]] or "auto"
    if protocol == "ltv":
        settings = {key: Decimal(text) for key, text in settings.items() if text}
    names = model["names"]
    columns = {
        party: list(columns) if protocol in _BY_PLACE else dict(zip(names, columns, strict=True))
        for party, columns in model["columns"].items()
    }
    return {"features" if protocol == "kmeans" else "columns": columns} | settings


def check_against(protocol: str, model: Model, federation: Federation, document: Document) -> None:
    """Columns exist and are of the right kind; columns of one name are alike at every party."""
    for party, columns in model.columns.items():
        declared = federation.parties[party].attributes
        for name, column in zip(model.names, columns, strict=True):
            if column not in declared:
                raise document.error(
                    ("columns",), f'{party} has no attribute "{column}"', nearest(column, declared)
                )
            kind = declared[column].kind
            if kind not in kinds_of(protocol, model, name):
                raise document.error(
                    ("columns",),
                    f"{party}/{column} is a {kind}",
                    f"{name} needs {' or '.join(kinds_of(protocol, model, name))} here",
                )
    for name, alike in zip(model.names, zip(*model.columns.values(), strict=True), strict=True):
        found = {federation.parties[p].attributes[c].kind in NUMBERS
                 for p, c in zip(model.columns, alike, strict=True)}  # fmt: skip
        if len(found) > 1:
            raise document.error(
                ("columns",), f"{name} is a number at one party and a label at another",
                "name attributes that mean the same at every party",
            )  # fmt: skip


def kinds_of(protocol: str, model: Model, name: str) -> tuple[str, ...]:
    """Kinds of attribute that may hold `name`."""
    if protocol == "secure_sum":
        return NUMBERS if name in model.settings["bins"] else (*LABELS, *NUMBERS)
    return (*NUMBERS, "flag") if protocol == "kmeans" else NUMBERS


def _providers(file: SumFile, document: Document) -> tuple[str, ...]:
    """The parties beside the requester, from `people`, from `with`, or both alike."""
    for key, named in (("with", file.with_), ("people", file.people)):
        if key == "with" and file.requester in named:
            raise document.error(
                (key,), f"{file.requester} is the requester", "name other parties only"
            )
        if key == "people" and named and file.requester not in named:
            raise document.error(
                (key,), f"{file.requester} asks, and its people are not among them",
                f"add {file.requester}",
            )  # fmt: skip
    from_people = tuple(p for p in file.people if p != file.requester)
    if file.with_ and file.people and set(file.with_) != set(from_people):
        raise document.error(
            ("people",), "with and people name different parties", "write one of the two"
        )
    providers = file.with_ or from_people
    if not providers:
        raise document.error(("people",), "names no other party", "name two or more parties")
    return providers


def _roles(
    value: Any, parties: Sequence[str], wanted: Sequence[str], perhaps: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Per party the attributes that play the wanted roles; by default they are called so.

    value: nothing; or a list of roles; or role: attribute for all parties; or one of the two for
    each party.  Roles that this job does not read are left out, so that one block serves several
    jobs.
    """
    if isinstance(value, Mapping) and not set(value) <= set(ROLES):
        for party in value:
            if party not in parties:
                raise wrong(f'"{party}" is no party of this job', nearest(party, parties))
        per_party = {party: value.get(party, ()) for party in parties}
    else:
        per_party = dict.fromkeys(parties, value)
    found = {party: _named(named or (*wanted, *perhaps)) for party, named in per_party.items()}
    # What is not needed is read if every party has it.
    if all(set(perhaps) <= set(roles) for roles in found.values()):
        wanted = (*wanted, *perhaps)
    return {party: _played(party, roles, wanted) for party, roles in found.items()}


def _named(value: Any) -> dict[str, Any]:
    """Role → attribute.  Of T and age, two words for one thing, either."""
    roles = dict(value) if isinstance(value, Mapping) else {role: (role,) for role in value}
    if "age" in roles and "T" not in roles:
        roles["T"] = roles.pop("age")
    return roles


def _played(party: str, roles: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, ...]:
    """Attributes in the order of `wanted`."""
    for role, attribute in roles.items():
        if role not in ROLES:
            raise wrong(f'"{role}" of {party} is no role', nearest(role, ROLES))
        if len(attribute) != 1 or not isinstance(attribute, tuple):
            raise wrong(f"{role} of {party} is not one attribute", f"write {role}: attribute")
    missing = next((role for role in wanted if role not in roles), None)
    if missing is not None:
        raise wrong(f"{party} has no {missing}", f"add {missing}: attribute")
    return tuple(roles[role][0] for role in wanted)


def _listed(value: Any, parties: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Per party as many attributes; a list alone holds for all of them."""
    columns = dict.fromkeys(parties, value) if isinstance(value, tuple) else dict(value)
    for party in columns:
        if party not in parties:
            raise wrong(f'"{party}" is no party of this job', nearest(party, parties))
    first = columns.get(parties[0], ())
    for party in parties:
        named = columns.get(party)
        if not isinstance(named, tuple):
            raise wrong(f"has no list of {party}'s", f"add {party}: [attribute, …]")
        if len(named) != len(first):
            raise wrong(
                f"{party} has {len(named)} columns, {parties[0]} has {len(first)}",
                "name the same things of every party, in the same order",
            )
        distinct(named)
    if not len(first) <= MAX_COLUMNS:
        raise wrong(f"{len(first)} columns", f"name at most {MAX_COLUMNS}")
    return {party: columns[party] for party in parties}


def plain_number(number: Decimal) -> str:
    """One text for one number: 1.50 and 1.5 are the same question."""
    return format(number.normalize(), "f")
