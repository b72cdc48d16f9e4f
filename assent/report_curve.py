"""The reach-and-lift curve of a lookalike as a drawing: axes, a line, the line of chance.

What: pure layout of released points; coordinates of an SVG, its words in the reader's language.
Who runs it: `assent.report`.  Learns: nothing new.
Section: contracts.md, result.json (curve); docs/LOOKALIKE.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.reader import Reader, percent

WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 16, 16, 58
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """line, chance: points of polylines.  dots: (x, y) of the released points."""

    note: str
    line: str
    chance: str
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def curves(result: Mapping[str, Any], reader: Reader) -> dict[str, Curve]:
    """Of a released lookalike, by the kind of its list: the curve, and at the provider the one
    that its model expects."""
    if result.get("status") != "released" or "lookalike" not in result:
        return {}
    model = result.get("model") or {}
    found = {"curve": result.get("curve"), "expected_curve": model.get("expected_curve")}
    return {kind: _curve(points, reader) for kind, points in found.items() if points}


def _curve(points: Sequence[Mapping[str, float]], reader: Reader) -> Curve:
    ends = [(0.0, 0.0), *((point["reach"], point["share"]) for point in points)]
    first = points[0]
    return Curve(
        reader.say(
            "curve_note",
            reach=percent(first["reach"]),
            share=percent(first["share"]),
            lift=f"{first['lift']:.2f}",
        ),
        _polyline(ends),
        _polyline([(0.0, 0.0), (1.0, 1.0)]),
        tuple((_x(reach), _y(share)) for reach, share in ends[1:]),
        tuple(Tick(_x(tick), percent(tick)) for tick in _TICKS),
        tuple(Tick(_y(tick), percent(tick)) for tick in _TICKS),
    )


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(reach)},{_y(share)}" for reach, share in points)


def _x(reach: float) -> float:
    return round(_LEFT + min(max(reach, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    # A noisy share can be a little over 1; it is drawn at the edge, its number is in the table.
    return round(HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 1)
