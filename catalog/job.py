"""Jobs: what an analyst asks, parsed from JOB.yaml into a form that cannot be wrong.

Who runs it: the command line (parses a file), every node (parses the canonical form that
the requester sealed to it).  Learns: the parties of the job, the question; the coordinator
never sees more than `name`-free facts (protocols.md section 0).  contracts.md, JOB.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from catalog import lookalike, sums, vertical
from catalog.federation import Federation
from catalog.job_fields import Attributes, MatchedFile, Privacy, attribute_name
from catalog.job_rules import check_against, check_alone, check_known, check_types
from catalog.job_then import Then, ThenFile
from catalog.vocabulary import MEASURES, PROTOCOLS, PROTOCOLS_BUILT
from catalog.yaml import (
    Document,
    build,
    nearest,
    parse_documents,
    read_documents,
    wrong,
)
from protocol.encoding import canonical_json, content_id
from protocol.errors import BadInput, ProtocolViolation

DEFAULT_ON = ("phone", "email")
_NANO = 10**9


@dataclass(frozen=True)
class Measure:
    """kind: count, sum, mean or tgi.  attribute: party/name for sum and mean, else empty."""

    kind: str
    attribute: str = ""


@dataclass(frozen=True)
class Match:
    """on: identifier types in the order of the waterfall."""

    on: tuple[str, ...] = DEFAULT_ON
    mode: str = "keyed"
    reveal: str = "hidden"


@dataclass(frozen=True)
class JobSpec:
    """One job.  Attributes are `party/name`.  rho_nano: 1e-9 units, 0 when noise is off."""

    name: str
    purpose: str
    protocol: str
    requester: str
    providers: tuple[str, ...]
    match: Match
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    noise: bool = True
    rho_nano: int = 20_000_000
    seed: int | None = None
    model: sums.Model | None = None  # of the protocols that sum over different people
    then: Then | None = None  # what the requester makes of a released cross-tab
    vertical: vertical.Vertical | None = None  # k-means over the same people
    lookalike: lookalike.Lookalike | None = None

    @property
    def parties(self) -> tuple[str, ...]:
        """The requester, then the providers in the order of the file."""
        return (self.requester, *self.providers)

    @property
    def summed(self) -> tuple[str, ...]:
        """Attributes of sums and means, each once, in the order of the file."""
        return tuple(dict.fromkeys(m.attribute for m in self.measures if m.attribute))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Every attribute that the job reads, each once."""
        of_model = self.model.attributes() if self.model is not None else ()
        features = self.vertical.attributes() if self.vertical is not None else ()
        if self.lookalike is not None:
            features = self.lookalike.attributes
        if self.then is not None and self.then.non_personal:
            features = (self.then.non_personal,)
        return tuple(dict.fromkeys((*self.rows, *self.columns, *self.summed, *of_model, *features)))

    @property
    def procedure(self) -> str:
        """What the coordinator runs: the protocol, and of k-means over the same people the mode."""
        mode = f"_{self.vertical.mode}" if self.vertical is not None else ""
        return self.protocol + mode

    def own_attributes(self, party: str) -> tuple[str, ...]:
        """The names, without the party, of `party`'s attributes that the job reads."""
        prefix = party + "/"
        return tuple(a.removeprefix(prefix) for a in self.attributes if a.startswith(prefix))

    def canonical(self) -> dict[str, Any]:
        """Strings, integers, booleans, lists only; `from_canonical` gives the job back."""
        found = {
            "v": 1,
            "job": self.name,
            "purpose": self.purpose,
            "protocol": self.protocol,
            "requester": self.requester,
            "with": list(self.providers),
            "match": {
                "on": list(self.match.on),
                "mode": self.match.mode,
                "reveal": self.match.reveal,
            },
            "rows": list(self.rows),
            "columns": list(self.columns),
            "measures": [[measure.kind, measure.attribute] for measure in self.measures],
            "privacy": {"noise": self.noise, "rho_nano": self.rho_nano},
            "seed": self.seed,
        }
        found |= {} if self.then is None else {"then": self.then.canonical()}
        if self.vertical is not None:
            return found | {"vertical": self.vertical.canonical()}
        if self.lookalike is not None:
            return found | {"lookalike": self.lookalike.canonical()}
        return found if self.model is None else found | {"model": self.model.canonical()}

    @cached_property
    def content_id(self) -> str:
        """Hex SHA-256 of the canonical form."""
        return content_id(self.canonical())

    @classmethod
    def from_canonical(cls, value: Any) -> JobSpec:
        """The job that `value` is the canonical form of.

        Raises ProtocolViolation('bad_job') for anything that `canonical` cannot have written:
        the value came from another party.
        """
        try:
            spec = _from_plain(value)
            same = canonical_json(spec.canonical()) == canonical_json(value)
        except (BadInput, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolViolation("bad_job", "a job that arrived is not a valid one") from error
        if not same:
            raise ProtocolViolation("bad_job", "a job that arrived is not in canonical form")
        return spec


# -- the file ----------------------------------------------------------------------------


def _measures(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(_measure(item) for item in items))


def _measure(item: Any) -> Measure:
    if isinstance(item, str):
        if item in ("sum", "mean"):
            raise wrong(f'"{item}" needs an attribute', f"write {{{item}: party/attribute}}")
        if item not in MEASURES:
            raise wrong(f'"{item}" is not a measure', nearest(item, MEASURES))
        return Measure(item)
    if not isinstance(item, Mapping) or len(item) != 1:
        raise wrong("a measure is count, {sum: party/attribute} or {mean: party/attribute}")
    ((kind, attribute),) = item.items()
    if kind not in ("sum", "mean"):
        raise wrong(f'"{kind}" is not a measure', nearest(str(kind), ("sum", "mean")))
    if not isinstance(attribute, str):
        raise wrong(f'"{kind}" needs an attribute', f"write {{{kind}: party/attribute}}")
    return Measure(str(kind), attribute_name(attribute))


class _JobFile(MatchedFile):
    rows: Attributes = ()
    columns: Attributes = ()
    measures: Annotated[tuple[Measure, ...], BeforeValidator(_measures)] = ()
    then: ThenFile | None = None

    def question(self) -> dict[str, Any]:
        """What is asked, as fields of a JobSpec."""
        then = None if self.then is None else self.then.then()
        return {"rows": self.rows, "columns": self.columns, "measures": self.measures, "then": then}


def load_jobs(path: Path, federation: Federation | None) -> list[JobSpec]:
    """Every job of JOB.yaml, checked, against `federation` too when there is one.

    Raises BadInput with file, line, key and fix; then no job of the file may run.
    """
    return _jobs(read_documents(path), str(path), federation)


def parse_jobs(text: str, source: str, federation: Federation | None) -> list[JobSpec]:
    """As `load_jobs`, for a text that is there already."""
    return _jobs(parse_documents(text, source), source, federation)


def _jobs(
    documents: Iterable[Document], source: str, federation: Federation | None
) -> list[JobSpec]:
    jobs: dict[str, JobSpec] = {}
    for document in documents:
        spec = _job(document, federation)
        if spec.name in jobs:
            raise document.error(("job",), f'two jobs are named "{spec.name}"', "rename one")
        jobs[spec.name] = spec
    if not jobs:
        raise BadInput(f"{source}: is empty", next_step="write a job into it")
    return list(jobs.values())


def _job(document: Document, federation: Federation | None) -> JobSpec:
    value = document.value
    if not isinstance(value, Mapping):
        raise document.error((), "must be a block of keys", "start with job: NAME")
    # Before the keys: they are those of another version.
    protocol = value.get("protocol")
    if protocol in PROTOCOLS and protocol not in PROTOCOLS_BUILT:
        raise document.error(
            ("protocol",),
            f'"{protocol}" is not in this version',
            f"use {' or '.join(PROTOCOLS_BUILT)}",
        )
    if vertical.is_vertical(value):
        return _vertical_job(value, document, federation)
    if protocol in sums.SUMS:
        return _sum_job(value, document, federation)
    kind: type[_JobFile | lookalike.LookalikeFile] = (
        lookalike.LookalikeFile if protocol == "lookalike" else _JobFile
    )
    file = build(kind, {k: v for k, v in value.items() if v is not None}, document)
    on = file.match.on
    if on is None:
        on = _shared_types((file.requester, *file.with_), federation)
    spec = JobSpec(
        name=file.job,
        purpose=file.purpose,
        protocol=file.protocol,
        requester=file.requester,
        providers=file.with_,
        match=Match(on, file.match.mode, file.match.reveal),
        noise=file.privacy.on,
        rho_nano=file.privacy.rho_nano,
        seed=file.seed,
        **file.question(),
    )
    if federation is not None:
        check_known(spec, federation, document)
    check_alone(spec, document)
    # One form for one question: a psi job counts anyway, and a cross-tab always counts.
    if spec.protocol == "psi":
        spec = replace(spec, measures=())
    elif spec.protocol == "crosstab" and not spec.measures:
        spec = replace(spec, measures=(Measure("count"),))
    if federation is not None:
        check_against(spec, federation, document)
    return spec


def _sum_job(
    value: Mapping[str, Any], document: Document, federation: Federation | None
) -> JobSpec:
    found = sums.read(value, document)
    file = found.file
    spec = JobSpec(
        name=file.job,
        purpose=file.purpose,
        protocol=file.protocol,
        requester=file.requester,
        providers=found.providers,
        match=Match(on=()),
        noise=file.privacy.on,
        rho_nano=file.privacy.rho_nano,
        seed=file.seed,
        model=found.model,
    )
    if federation is not None:
        check_known(spec, federation, document)
        sums.check_against(spec.protocol, found.model, federation, document)
    return spec


def _vertical_job(
    value: Mapping[str, Any], document: Document, federation: Federation | None
) -> JobSpec:
    file, provider, asked = vertical.read(value, document)
    on = file.match.on or _shared_types((file.requester, provider), federation)
    exact = asked.mode == vertical.EXACT
    privacy = file.privacy or Privacy(noise="off" if exact else "on")
    spec = JobSpec(
        name=file.job,
        purpose=file.purpose,
        protocol=file.protocol,
        requester=file.requester,
        providers=(provider,),
        match=Match(on, file.match.mode, "members" if exact else "hidden"),
        noise=privacy.on,
        rho_nano=privacy.rho_nano,
        seed=file.seed,
        vertical=asked,
    )
    if federation is not None:
        check_known(spec, federation, document)
        vertical.check_against(asked, federation, document)
        check_types(spec, federation, document)
    return spec


def _shared_types(names: Iterable[str], federation: Federation | None) -> tuple[str, ...]:
    """The default waterfall, without the types that a party of the job has not."""
    if federation is None:
        return DEFAULT_ON
    parties = [federation.parties[p] for p in names if p in federation.parties]
    shared = tuple(kind for kind in DEFAULT_ON if all(kind in party.ids for party in parties))
    return shared or DEFAULT_ON


# -- the canonical form --------------------------------------------------------------------


def _from_plain(value: Any) -> JobSpec:
    """As written by `canonical`; the file's own rules check it again."""
    privacy = value["privacy"]
    if type(privacy["noise"]) is not bool or type(privacy["rho_nano"]) is not int:
        raise TypeError("privacy")
    noise = privacy["noise"]
    fields: dict[str, Any] = {
        "job": value["job"],
        "purpose": value["purpose"],
        "protocol": value["protocol"],
        "requester": value["requester"],
        "with": value["with"],
        "match": value["match"],
        "rows": value["rows"],
        "columns": value["columns"],
        "measures": [kind if not a else {kind: a} for kind, a in value["measures"]],
        "privacy": {"noise": "on" if noise else "off"},
    }
    if noise:
        fields["privacy"]["rho"] = Decimal(privacy["rho_nano"]) / _NANO
    if value["seed"] is not None:
        fields["seed"] = value["seed"]
    if "then" in value:
        fields["then"] = value["then"]
    if {"model", "vertical", "lookalike"} & set(value):
        for key in ("rows", "columns", "measures"):
            del fields[key]
    if "model" in value:
        del fields["match"]
        fields |= sums.plain(value["protocol"], value["model"])
    if "vertical" in value:
        fields |= vertical.plain(value["vertical"])
    if "lookalike" in value:
        fields |= lookalike.plain(value["lookalike"])
    return _job(Document("a job", fields, {}), None)
