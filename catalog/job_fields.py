"""The keys that every job file has, as types that check themselves.

Who runs it: `catalog.job` and `catalog.sums`.  Learns: nobody, anything.  contracts.md, JOB.yaml.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from catalog.federation import PartyName, Rho
from catalog.vocabulary import MODES, PROTOCOLS, PURPOSES, REVEALS
from catalog.yaml import Strict, Text, Whole, Words, as_words, one_of, wrong

DEFAULT_RHO = Decimal("0.02")
_NANO = 10**9
_JOB_NAME = re.compile(r"\w[\w.-]{0,63}")


def _job_name(value: str) -> str:
    if not _JOB_NAME.fullmatch(value):
        raise wrong(f'"{value}" cannot name a job', "use letters, digits, -, _ and . (at most 64)")
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise wrong(f'"{value}" is here twice', "keep one")
    return values


def _noise(value: Any) -> Any:
    # JSON writers have no `on`; true and false can only mean the same.
    word = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    if word not in ("on", "off"):
        raise wrong(f'"{word}" is neither on nor off', "write noise: on or noise: off")
    return word


JobName = Annotated[Text, AfterValidator(_job_name)]
Seed = Annotated[Whole, Field(ge=0, lt=1 << 63)]


class MatchKeys(Strict):
    """How people are paired; `on` is None where the file leaves it to the federation."""

    on: Annotated[Words, AfterValidator(distinct)] | None = None
    mode: Annotated[Text, one_of(MODES)] = "keyed"
    reveal: Annotated[Text, one_of(REVEALS)] = "hidden"


def attribute_name(value: str) -> str:
    party, slash, name = value.partition("/")
    if not slash or not party or not name or "/" in name:
        raise wrong(f'"{value}" is not an attribute', "write party/attribute")
    return value


AttributeName = Annotated[Text, AfterValidator(attribute_name)]
Attributes = Annotated[
    tuple[AttributeName, ...], BeforeValidator(as_words), AfterValidator(distinct)
]


class Privacy(Strict):
    noise: Annotated[str, BeforeValidator(_noise)] = "on"
    rho: Rho = DEFAULT_RHO

    @property
    def on(self) -> bool:
        return self.noise == "on"

    @property
    def rho_nano(self) -> int:
        """In 1e-9; 0 when noise is off."""
        return int(self.rho * _NANO) if self.on else 0


class MatchedFile(Strict):
    """The keys of a job that matches people and asks one thing of them."""

    job: JobName
    purpose: Annotated[Text, one_of(PURPOSES)]
    protocol: Annotated[Text, one_of(PROTOCOLS)]
    requester: PartyName
    with_: Annotated[Words, AfterValidator(distinct)] = Field(alias="with")
    match: MatchKeys = Field(default_factory=MatchKeys)
    privacy: Privacy = Field(default_factory=Privacy)
    seed: Seed | None = None
