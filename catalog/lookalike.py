"""Lookalike jobs: seeds of the requester against the provider's people.

Who runs it: `catalog.job`, for a job file of this protocol and for the canonical form that a
requester sealed.  Learns: nobody, anything.  contracts.md, JOB.yaml; protocols.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from catalog.federation import Federation
from catalog.job_fields import AttributeName, Attributes, MatchedFile
from catalog.yaml import Document, Number, Where, Whole, nearest, wrong

if TYPE_CHECKING:
    from catalog.job import JobSpec

MAX_BANDS = 20
NO_CURVE = 0


@dataclass(frozen=True)
class Lookalike:
    """seed_flag: of the requester; features: of the provider, both `party/name`.

    l2: the penalty as a decimal text, one text for one number.
    curve: equal bands of the provider's people in the reach-lift curve; 0 for none.
    """

    seed_flag: str
    features: tuple[str, ...]
    l2: str
    curve: int = NO_CURVE

    @property
    def attributes(self) -> tuple[str, ...]:
        return (self.seed_flag, *self.features)

    def canonical(self) -> dict[str, Any]:
        return {
            "seed_flag": self.seed_flag,
            "features": list(self.features),
            "l2": self.l2,
            "curve": self.curve,
        }


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical form as the keys of a file, so that the file's rules check it again."""
    found = dict(value) | {"l2": Decimal(value["l2"])}
    if found["curve"] == NO_CURVE:
        del found["curve"]
    return found


# -- the file ----------------------------------------------------------------------------------


def _penalty(value: Decimal) -> Decimal:
    # Without a penalty, noise or a feature that decides alone leaves no finite model.
    if not Decimal("1e-6") <= value <= Decimal("1e6"):
        raise wrong(
            f"{value:f} is no penalty", "write a number from 0.000001 to 1000000, such as 1.0"
        )
    return value


def _bands(value: int) -> int:
    if not 2 <= value <= MAX_BANDS:
        raise wrong(f"{value} bands", f"write 2 to {MAX_BANDS}, such as 10")
    return value


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise wrong("names no feature", "write features: [provider/attribute, …]")
    return values


class LookalikeFile(MatchedFile):
    seed_flag: AttributeName
    features: Annotated[Attributes, AfterValidator(_some)]
    l2: Annotated[Number, AfterValidator(_penalty)] = Decimal(1)
    curve: Annotated[Whole, AfterValidator(_bands)] = NO_CURVE

    def question(self) -> dict[str, Any]:
        """What is asked, as fields of a JobSpec.  1.50 and 1.5 are the same penalty."""
        l2 = format(self.l2.normalize(), "f")
        return {"lookalike": Lookalike(self.seed_flag, self.features, l2, self.curve)}


# -- rules -------------------------------------------------------------------------------------


def check_alone(spec: JobSpec) -> tuple[Where, str, str] | None:
    """One provider, hidden, the seeds of the requester, features of the provider."""
    asked = spec.lookalike
    if asked is None:
        return None
    if len(spec.providers) != 1:
        return (
            ("with",),
            f"a lookalike has one provider, not {len(spec.providers)}",
            "write one job per provider, separated by ---",
        )
    if spec.match.reveal != "hidden":
        return ("match", "reveal"), "a lookalike never reveals members", "delete reveal"
    (provider,) = spec.providers
    if not asked.seed_flag.startswith(spec.requester + "/"):
        return (
            ("seed_flag",),
            f"{asked.seed_flag} is not the requester's",
            f"the seeds are of {spec.requester}: write {spec.requester}/attribute",
        )
    for feature in asked.features:
        if not feature.startswith(provider + "/"):
            return (
                ("features",),
                f"{feature} is not the provider's",
                f"features are of {provider}: write {provider}/attribute",
            )
    return None


def check_against(asked: Lookalike, federation: Federation, document: Document) -> None:
    """The attributes are those of the federation, and the seeds a flag.  Raises BadInput."""
    for key, names in (("seed_flag", (asked.seed_flag,)), ("features", asked.features)):
        for name in names:
            party, _, short = name.partition("/")
            declared = federation.parties[party].attributes
            if short not in declared:
                raise document.error(
                    (key,), f'{party} has no attribute "{short}"', nearest(short, declared)
                )
            if key == "seed_flag" and declared[short].kind != "flag":
                raise document.error(
                    (key,),
                    f"{name} is a {declared[short].kind}",
                    "seed_flag needs a flag: 1 for every seed",
                )
