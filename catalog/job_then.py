"""What the requester's node makes of a released cross-tab: stages, their flow, recommendations.

Who runs it: `catalog.job`.  Nothing here measures anything: it reads released cells only.
Learns: nobody, anything.  protocols.md section 4, lifecycle and recommendation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from catalog.job_fields import distinct
from catalog.yaml import Strict, Text, Where, Whole, Words, wrong

if TYPE_CHECKING:
    from catalog.federation import Federation
    from catalog.job import JobSpec

MOST_ITEMS = 5  # that a person is recommended
PURPOSE = "personalisation"


@dataclass(frozen=True)
class Then:
    """highest: stages, the lowest first; a person is at the highest of all companies.

    before, now: attributes of the two moments of a flow, or neither.
    recommend: how many of the columns each of the requester's people is shown, 0 for none.
    non_personal: the requester's flag of people who get the popular ones instead.
    """

    highest: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    recommend: int = 0
    non_personal: str = ""

    def canonical(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.highest:
            found["highest"] = list(self.highest)
        if self.before:
            found["flow"] = {"before": list(self.before), "now": list(self.now)}
        if self.recommend:
            found["recommend"] = self.recommend
        if self.non_personal:
            found["non_personal"] = self.non_personal
        return found


_Names = Annotated[Words, AfterValidator(distinct), Field(min_length=1)]


class _Flow(Strict):
    before: _Names
    now: _Names


class ThenFile(Strict):
    """The key `then` of a cross-tab."""

    highest: Annotated[Words, AfterValidator(distinct)] = ()
    flow: _Flow | None = None
    recommend: Annotated[Whole, Field(ge=1, le=MOST_ITEMS)] | None = None
    non_personal: Text = ""

    @model_validator(mode="after")
    def _complete(self) -> ThenFile:
        if not self.highest and self.recommend is None:
            raise wrong("says nothing", "write highest: [STAGE, …] or recommend: NUMBER")
        if len(self.highest) == 1:
            raise wrong("highest of one stage", "list all stages, the lowest first")
        if self.flow is not None and not self.highest:
            raise wrong("a flow needs the order of the stages", "add highest: [STAGE, …]")
        if self.non_personal and self.recommend is None:
            raise wrong("non_personal is about recommendations", "add recommend: NUMBER")
        return self

    def then(self) -> Then:
        flow = self.flow
        return Then(
            self.highest,
            flow.before if flow is not None else (),
            flow.now if flow is not None else (),
            self.recommend or 0,
            self.non_personal,
        )


Found = tuple[Where, str, str] | None


def check_alone(spec: JobSpec) -> Found:
    """3b. `then` is of a cross-tab, about attributes of it; a recommendation has its purpose."""
    then = spec.then
    if then is None:
        return None
    if spec.protocol != "crosstab":
        return ("then",), f"a {spec.protocol} job has no then", "write protocol: crosstab"
    for key, names in (("before", then.before), ("now", then.now)):
        for name in names:
            if name not in (*spec.rows, *spec.columns):
                return ("then", "flow", key), f"{name} is neither row nor column", "add it there"
    if not then.recommend:
        return None
    if spec.purpose != PURPOSE:
        return ("purpose",), "a recommendation acts on people", f"write purpose: {PURPOSE}"
    if len(spec.columns) != 1:
        return ("columns",), "what is recommended is one attribute's values", "name one column"
    if then.non_personal and not then.non_personal.startswith(spec.requester + "/"):
        return (
            ("then", "non_personal"),
            f"{then.non_personal} is not the requester's",
            f"write {spec.requester}/attribute",
        )
    return None


def check_against(spec: JobSpec, federation: Federation) -> Found:
    """4b. The switch is a flag of the requester."""
    if spec.then is None or not spec.then.non_personal:
        return None
    name = spec.then.non_personal.partition("/")[2]
    declared = federation.parties[spec.requester].attributes.get(name)
    if declared is None or declared.kind != "flag":
        said = "is not declared" if declared is None else f"is a {declared.kind}"
        return ("then", "non_personal"), f"{spec.then.non_personal} {said}", "name a flag"
    return None
