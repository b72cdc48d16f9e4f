"""k-means over the same people, each party with features of its own: `mode: grid` and `exact`.

Who runs it: `catalog.job`, for a job file of these modes and for the canonical form that a
requester sealed.  Learns: nobody, anything.  contracts.md, JOB.yaml; protocols.md section 4.
`mode: horizontal` (different people, the same features) is in `catalog.sums`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from catalog.federation import Federation, PartyName
from catalog.job_fields import JobName, MatchKeys, Privacy, Seed, distinct
from catalog.sums import MAX_COLUMNS, Columns, init_of, ks_of, plain_number
from catalog.vocabulary import PROTOCOLS, PURPOSES
from catalog.yaml import (
    Document,
    Number,
    Strict,
    Text,
    Where,
    Whole,
    Words,
    build,
    nearest,
    one_of,
    wrong,
)

GRID, EXACT = "grid", "exact"
KINDS = ("number", "flag")
MAX_CELLS = 64  # local cells of a party: 64 × 64 is the most that one cross-tab counts
# Lloyd steps.  Those of `grid` are arithmetic on released numbers; those of `exact` are rounds.
STEPS = {GRID: 100, EXACT: 10}
STARTS = {GRID: 10, EXACT: 1}


@dataclass(frozen=True)
class Vertical:
    """What is asked.

    features: (party, its attributes), in the order of the file, which is that of centres.
    k: numbers of segments; `exact` has one.  iterations: the most Lloyd steps.
    restarts: starts side by side, of which the best is kept.  cells: local cells of a party in
    `grid`, else 0.  init: k centres in raw units, or nothing.  scale: none or zscore.
    stop_early: `exact` ends where fewer than 0.1 % of the people change segment.
    """

    mode: str
    features: tuple[tuple[str, tuple[str, ...]], ...]
    k: tuple[int, ...]
    iterations: int
    restarts: int
    cells: int
    init: tuple[tuple[str, ...], ...]
    scale: str
    stop_early: bool = False

    def attributes(self) -> tuple[str, ...]:
        """Every attribute as `party/name`, in the order of the numbers of a centre."""
        return tuple(f"{party}/{name}" for party, names in self.features for name in names)

    def of(self, party: str) -> tuple[str, ...]:
        """The attributes of one party."""
        return dict(self.features)[party]

    def canonical(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "features": [[party, list(names)] for party, names in self.features],
            "k": list(self.k),
            "iterations": self.iterations,
            "restarts": self.restarts,
            "cells": self.cells,
            "init": [list(centre) for centre in self.init],
            "scale": self.scale,
            "stop_early": self.stop_early,
        }


def _yes_or_no(value: Any) -> Any:
    if not isinstance(value, bool):
        raise wrong(
            f'"{value}" is neither true nor false', "write stop_early: true or leave it out"
        )
    return value


class VerticalFile(Strict):
    """The keys of a job of these modes; None where the mode decides."""

    job: JobName
    purpose: Annotated[Text, one_of(PURPOSES)]
    protocol: Annotated[Text, one_of(PROTOCOLS)]
    requester: PartyName
    with_: Annotated[Words, AfterValidator(distinct)] = Field(default=(), alias="with")
    match: MatchKeys = Field(default_factory=MatchKeys)
    privacy: Privacy | None = None
    seed: Seed | None = None
    mode: Annotated[Text, one_of((GRID, EXACT))]
    k: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=64)], ...],
        BeforeValidator(ks_of),
        AfterValidator(distinct),
        Field(min_length=1, max_length=16),
    ]
    features: Columns
    iterations: Annotated[Whole, Field(ge=1)] | None = None
    restarts: Annotated[Whole, Field(ge=1, le=50)] | None = None
    cells: Annotated[Whole, Field(ge=1, le=MAX_CELLS)] | None = None
    init: Annotated[tuple[tuple[Number, ...], ...], BeforeValidator(init_of)] = ()
    scale: Annotated[Text, one_of(("none", "zscore"))] = "none"
    stop_early: Annotated[bool, BeforeValidator(_yes_or_no)] = False


def is_vertical(value: Mapping[str, Any]) -> bool:
    """Whether a job file is about the same people; everything else of kmeans is in `sums`."""
    return value.get("protocol") == "kmeans" and value.get("mode") in (GRID, EXACT)


def read(value: Mapping[str, Any], document: Document) -> tuple[VerticalFile, str, Vertical]:
    """The job that `value` says, its provider and its question, checked alone.

    Raises BadInput with line, key and fix.
    """
    if value.get("people") is not None:
        raise document.error(
            ("people",),
            f"mode {value['mode']} matches people, and people names parties of mode horizontal",
            "delete people and write with: [the other party]",
        )
    file = build(VerticalFile, {k: v for k, v in value.items() if v is not None}, document)
    provider = _provider(file, document)
    features = _features(file, provider, document)
    for check in (_check_match, _check_exact, _check_init):
        if (found := check(file, features)) is not None:
            raise document.error(*found)
    most = STEPS[file.mode]
    cells = min(2 * max(file.k), MAX_CELLS) if file.cells is None else file.cells
    asked = Vertical(
        mode=file.mode,
        features=features,
        k=file.k,
        iterations=most if file.iterations is None else file.iterations,
        restarts=1 if file.init else file.restarts or STARTS[file.mode],
        cells=cells if file.mode == GRID else 0,
        init=tuple(tuple(plain_number(number) for number in centre) for centre in file.init),
        scale=file.scale,
        stop_early=file.stop_early,
    )
    return file, provider, asked


def plain(asked: Any) -> dict[str, Any]:
    """The canonical form as the keys of a file, so that the file's rules check it again."""
    found = dict(asked)
    found["features"] = {party: list(names) for party, names in asked["features"]}
    found["init"] = [[Decimal(n) for n in centre] for centre in asked["init"]] or "auto"
    if not asked["cells"]:
        del found["cells"]
    return found


def check_against(asked: Vertical, federation: Federation, document: Document) -> None:
    """Features exist and are numbers or flags.  Raises BadInput."""
    for party, names in asked.features:
        declared = federation.parties[party].attributes
        for name in names:
            if name not in declared:
                raise document.error(
                    ("features", party),
                    f'{party} has no attribute "{name}"',
                    nearest(name, declared),
                )
            kind = declared[name].kind
            if kind not in KINDS:
                raise document.error(
                    ("features", party),
                    f"{party}/{name} is a {kind}",
                    f"a feature is a {' or a '.join(KINDS)}",
                )


def _provider(file: VerticalFile, document: Document) -> str:
    """The one other party, from `with` or, where that is left out, from `features`."""
    named = file.with_
    if not named and isinstance(file.features, Mapping):
        named = tuple(party for party in file.features if party != file.requester)
    if file.requester in named:
        raise document.error(
            ("with",), f"{file.requester} is the requester", "name the other party only"
        )
    if len(named) != 1:
        raise document.error(
            ("with",),
            f"mode {file.mode} is between two parties, and this names {len(named)} others",
            "write with: [one party]",
        )
    return named[0]


def _features(
    file: VerticalFile, provider: str, document: Document
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    parties = (file.requester, provider)
    if not isinstance(file.features, Mapping):
        raise document.error(
            ("features",),
            "does not say whose they are",
            f"write features: {{{parties[0]}: [attribute, …], {parties[1]}: [attribute, …]}}",
        )
    for party in file.features:
        if party not in parties:
            raise document.error(
                ("features",), f'"{party}" is no party of this job', nearest(party, parties)
            )
    for party in parties:
        names = file.features.get(party)
        at = ("features", party) if party in file.features else ("features",)
        if not isinstance(names, tuple) or not names:
            raise document.error(
                at,
                f"names no attribute of {party}",
                f"add {party}: [attribute, …]; features of one party alone are that party's to "
                "cluster",
            )
        if len(names) > MAX_COLUMNS:
            raise document.error(at, f"{len(names)} features", f"name at most {MAX_COLUMNS}")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise document.error(at, f'"{twice}" is here twice', "keep one")
    return tuple((party, names) for party, names in file.features.items())


_Found = tuple[Where, str, str] | None
_Features = tuple[tuple[str, tuple[str, ...]], ...]


def _check_match(file: VerticalFile, features: _Features) -> _Found:
    """What the mode reveals is the mode's to say: a contradicting word is no wish to be guessed."""
    if file.match.on is not None and not file.match.on:
        return ("match", "on"), "names no identifier type", "write on: [phone, email]"
    wanted = "members" if file.mode == EXACT else "hidden"
    if "reveal" in file.match.model_fields_set and file.match.reveal != wanted:
        return (
            ("match", "reveal"),
            f"mode {file.mode} is with reveal: {wanted}",
            f"write reveal: {wanted}, or another mode",
        )
    return None


def _check_exact(file: VerticalFile, features: _Features) -> _Found:
    """`exact` is without noise, one k, one start and no cells; its steps are rounds."""
    most = 300 if file.mode == GRID else STEPS[EXACT]
    if (file.iterations or 1) > most:
        return ("iterations",), f"{file.iterations} of mode {file.mode}", f"write at most {most}"
    if file.mode != EXACT:
        if file.stop_early:
            return ("stop_early",), "ends rounds, and mode grid has one", "delete stop_early"
        return None
    if file.privacy is not None and file.privacy.on:
        return (
            ("privacy", "noise"),
            "mode exact has no noise",
            "write noise: off (every policy must allow it), or mode: grid",
        )
    if len(file.k) > 1:
        return ("k",), "mode exact makes one clustering", "write one k, or one job for each"
    if (file.restarts or 1) > 1:
        return ("restarts",), "mode exact has one start", "delete restarts, or write mode: grid"
    if file.cells is not None:
        return ("cells",), "mode exact has no local cells", "delete cells"
    return None


def _check_init(file: VerticalFile, features: _Features) -> _Found:
    if not file.init:
        return None
    wide = sum(len(names) for _, names in features)
    if len(file.k) > 1 or (file.restarts or 1) > 1:
        return ("init",), "stands for one start only", "write one k and no restarts"
    if len(file.init) != file.k[0]:
        return ("init",), f"has {len(file.init)} centres, k is {file.k[0]}", "write k centres"
    if {len(centre) for centre in file.init} != {wide}:
        return ("init",), f"a centre has not {wide} numbers", "write one for each feature, in order"
    return None
