"""What the analyst sees while a job runs: stage, party, share done, time left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

ENDED = ("released", "refused", "failed")
DOING = {
    "offer": "states its terms",
    "plan": "asks its rules and budget",
    "admit": "checks policy, approval and consent",
    "key": "proves its key",
    "tokens": "makes matching tokens",
    "points": "makes matching points",
    "reblind": "blinds the others' points",
    "encrypt": "encrypts its rows",
    "join": "matches anonymous tokens",
    "layout": "lays out the encrypted rows",
    "recheck": "looks for new withdrawals",
    "aggregate": "adds up under encryption",
    "proof": "proves its key",
    "seeds": "shares masks",
    "ask": "asks the next round",
    "sum": "sums its own people",
    "total": "adds up under encryption",
    "finish": "writes its part of the result",
    "open": "opens the totals",
    "prove": "proves its key",
    "features": "encrypts its people's features",
    "gather": "adds up its seeds under encryption",
    "fit": "fits the model and scores its own people",
    "flags": "encrypts who is a seed",
    "bands": "adds up under encryption",
    "report": "writes the result",
    "members": "finds its own common rows",
    "encrypt_cells": "groups and encrypts its rows",
    "aggregate_cells": "groups its rows, adds up under encryption",
    "segments": "opens the totals, makes segments",
    "label": "labels its own people",
    "open_segments": "labels its own people",
    "shuffle": "draws an order",
    "places": "numbers the rows in common",
    "spread": "measures how far its features reach",
    "distances": "masks its distances",
    "nearest": "finds the nearest columns",
    "closing": "writes its labels, sends its centres",
    "conclude": "puts the segments together",
}


def doing(view: View) -> str:
    """Who does what, in words: "media adds up under encryption"."""
    if view.state == "unreachable":
        return "the coordinator does not answer; trying again"
    step = view.stage.split("/")[0]
    if view.state == "waiting for approval":
        return f"waits for {view.party or 'a party'} to approve it (assent node approve)"
    if not step:
        return view.state
    return f"{view.party or 'coordinator'} {DOING.get(step, step)}"


class View(Protocol):
    """The part of a job view that is shown."""

    @property
    def stage(self) -> str: ...
    @property
    def party(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def fraction(self) -> float: ...


@dataclass
class Progress:
    """One line that is rewritten on a terminal; one line per stage elsewhere."""

    out: TextIO | None
    _stage: str = ""
    _since: float = 0.0
    _width: int = 0
    _tty: bool = field(default=False)

    @classmethod
    def quiet(cls) -> Progress:
        return cls(None)

    @classmethod
    def stderr(cls) -> Progress:
        return cls(sys.stderr, _tty=sys.stderr.isatty())

    def say(self, text: str) -> None:
        if self.out is not None:
            self._clear()
            print(text, file=self.out, flush=True)

    def show(self, job: str, view: View) -> None:
        if self.out is None:
            return
        words = doing(view)
        if words != self._stage:
            self._stage, self._since = words, time.monotonic()
            if not self._tty and words not in (*ENDED, "running"):
                self.say(f"{job}: {words}")
        if self._tty:
            spent = time.monotonic() - self._since
            left = ""
            if view.fraction > 0.02 and spent > 2:
                left = f", about {spent / view.fraction - spent:.0f} s left"
            share = f" {view.fraction:.0%}" if view.fraction else ""
            line = f"{job}: {words}{share}{left}"
            self._clear()
            self.out.write(line)
            self.out.flush()
            self._width = len(line)

    def done(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._width and self.out is not None:
            self.out.write("\r" + " " * self._width + "\r")
            self._width = 0
