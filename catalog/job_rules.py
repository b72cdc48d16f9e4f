"""What a job must be beyond its keys, as numbered rules.

Who runs it: `catalog.job`, for every job that is read or received.  Learns: nobody, anything.
contracts.md, JOB.yaml; protocols.md sections 1 and 2 (hidden pairs, one provider).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import job_then, lookalike
from catalog.federation import Federation
from catalog.yaml import Document, Where, nearest

if TYPE_CHECKING:
    from catalog.job import JobSpec

_Found = tuple[Where, str, str] | None


def _check_parties(spec: JobSpec) -> _Found:
    """1. At least one provider, the requester not among them."""
    if not spec.providers:
        return ("with",), "names no party", "name at least one provider"
    if spec.requester in spec.providers:
        return ("with",), f"{spec.requester} is the requester", "name other parties only"
    if not spec.match.on:
        return ("match", "on"), "names no identifier type", "write on: [phone, email]"
    return None


def _check_psi(spec: JobSpec) -> _Found:
    """2. psi has no table; several providers learn members or nothing."""
    if spec.protocol != "psi":
        return None
    for key, given in (("rows", spec.rows), ("columns", spec.columns), ("measures", spec.measures)):
        if given and not (key == "measures" and all(m.kind == "count" for m in spec.measures)):
            return (key,), f"a psi job has no {key}", "delete it, or write protocol: crosstab"
    if len(spec.providers) > 1 and spec.match.reveal != "members":
        return (
            ("with",),
            f"{len(spec.providers)} providers with reveal: hidden",
            "name one provider, or write match: {reveal: members}",
        )
    return None


def _check_crosstab(spec: JobSpec) -> _Found:
    """3. crosstab: one provider, hidden, rows of the requester, columns of the provider."""
    if spec.protocol != "crosstab":
        return None
    if len(spec.providers) != 1:
        return (
            ("with",),
            f"a crosstab has one provider, not {len(spec.providers)}",
            ("write one job per provider, separated by ---"),
        )
    if spec.match.reveal != "hidden":
        return ("match", "reveal"), "a crosstab never reveals members", "delete reveal"
    provider = spec.providers[0]
    for key, given, owner, whose in (
        ("rows", spec.rows, spec.requester, "requester"),
        ("columns", spec.columns, provider, "provider"),
    ):
        if not given:
            return (key,), f"a crosstab needs {key}", f"write {key}: {owner}/attribute"
        for attribute in given:
            if not attribute.startswith(owner + "/"):
                return (
                    (key,),
                    f"{attribute} is not the {whose}'s",
                    (f"{key} are of {owner}: write {owner}/attribute"),
                )
    for measure in spec.measures:
        if measure.attribute and not measure.attribute.startswith(provider + "/"):
            return (
                ("measures",),
                f"{measure.attribute} is not the provider's",
                (f"measures are of {provider}: write {provider}/attribute"),
            )
    return None


# 4. lookalike: as `catalog.lookalike` says; what follows a crosstab: as `catalog.job_then` says.
_ALONE = (_check_parties, _check_psi, _check_crosstab, job_then.check_alone, lookalike.check_alone)


def check_alone(spec: JobSpec, document: Document) -> None:
    """Rules 1 to 4, which need the job only.  Raises BadInput."""
    for check in _ALONE:
        if (found := check(spec)) is not None:
            raise document.error(*found)


def check_known(spec: JobSpec, federation: Federation, document: Document) -> None:
    """0. The parties are those of the federation.  Raises BadInput."""
    for at, name in [(("requester",), spec.requester), *((("with",), p) for p in spec.providers)]:
        if name not in federation.parties:
            fix = nearest(name, federation.parties)
            raise document.error(at, f'"{name}" is no party of {federation.name}', fix)


def check_against(spec: JobSpec, federation: Federation, document: Document) -> None:
    """5. Attributes, kinds and identifier types are those of the federation."""
    if spec.lookalike is not None:
        lookalike.check_against(spec.lookalike, federation, document)
    for key, names in (("rows", spec.rows), ("columns", spec.columns), ("measures", spec.summed)):
        for name in names:
            _check_attribute(name, key, federation, document)
    if (found := job_then.check_against(spec, federation)) is not None:
        raise document.error(*found)
    check_types(spec, federation, document)


def check_types(spec: JobSpec, federation: Federation, document: Document) -> None:
    """4b. Every party has the identifier types of the match.  Raises BadInput."""
    for kind in spec.match.on:
        for name in spec.parties:
            if kind not in federation.parties[name].ids:
                known = ", ".join(federation.parties[name].ids) or "none"
                raise document.error(
                    ("match", "on"),
                    f'{name} has no identifier type "{kind}"',
                    f"it has {known}; match on what all parties have",
                )


def _check_attribute(name: str, key: str, federation: Federation, document: Document) -> None:
    party, _, short = name.partition("/")
    declared = federation.parties[party].attributes
    if short not in declared:
        raise document.error(
            (key,), f'{party} has no attribute "{short}"', nearest(short, declared)
        )
    kind = declared[short].kind
    if (kind == "number") != (key == "measures"):
        fits = "a number" if key == "measures" else "a label or a flag"
        raise document.error((key,), f"{name} is a {kind}", f"{key} need {fits}")
