"""Which kernel this machine computes with, and why.

Who runs it: the node when it starts, `assent doctor` and the bench to say it.
Learns: nothing.
Source: docs/adr/0005-native-kernel.md, with the measurements behind the order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import gmpy2

from protocol.errors import BadInput
from protocol.paillier.kernel import RandomBytes
from protocol.paillier.native import NativeKernel
from protocol.paillier.native_keys import Engine
from protocol.paillier.pool import PoolKernel

VARIABLE = "ASSENT_KERNEL"
NAMES = ("ifma", "gmpy2", "portable")  # fastest first
_WORDS = {
    "ifma": "native kernel, eight numbers at once with AVX-512 IFMA",
    "portable": "native kernel, portable",
    "gmpy2": f"gmpy2 {gmpy2.version()} with {gmpy2.mp_version()}",
}


@dataclass(frozen=True)
class Choice:
    """A kernel by name; `why` is for the operator."""

    name: str
    why: str

    def start(
        self, workers: int | None = None, random: RandomBytes = os.urandom
    ) -> NativeKernel | PoolKernel:
        """One thread or process per core, or as many as said; before grpc starts its threads."""
        if self.name == "gmpy2":
            return PoolKernel.start(workers, random)
        return NativeKernel(self.name, workers, random)

    def describe(self) -> str:
        return f"{_WORDS[self.name]} ({self.why})"


def choose(wanted: str = "") -> Choice:
    """The fastest kernel here, or the `wanted` one.  Raises BadInput if it is not here."""
    if wanted and wanted not in NAMES:
        raise BadInput(
            f"{VARIABLE}={wanted} is no kernel", next_step=f"use one of {', '.join(NAMES)}, or none"
        )
    missing = _missing(wanted or "ifma")
    if wanted:
        if missing:
            raise BadInput(
                f"{VARIABLE}={wanted} is not possible: {missing}", next_step=f"unset {VARIABLE}"
            )
        return Choice(wanted, f"{VARIABLE} says so")
    if missing:
        return Choice("gmpy2", missing)
    return Choice("ifma", "the fastest here")


def _missing(name: str) -> str:
    """What keeps this kernel from running here; empty if nothing does."""
    if name == "gmpy2":
        return ""
    try:
        Engine.load(name)
    except ImportError:
        return "the native kernel is not built: it needs a C compiler when Assent is installed"
    except ValueError:
        return "this processor has no AVX-512 IFMA"
    return ""
