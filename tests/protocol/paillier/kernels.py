"""The kernels that tests of a kernel run over; one that is missing is skipped by name."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from protocol.paillier.kernel import Kernel
from protocol.paillier.native import NativeKernel
from protocol.paillier.pool import PoolKernel

NAMES = ["gmpy2", "portable", "ifma"]
NATIVE = ["portable", "ifma"]


def kernel_named(
    name: str, random: Callable[[int], bytes] = os.urandom, threads: int = 1
) -> Kernel:
    """Skips the test where the extension is not built, or the processor lacks the engine."""
    if name == "gmpy2":
        return PoolKernel.inline(random)
    try:
        return NativeKernel(name, threads, random)
    except ImportError:
        pytest.skip("the native kernel is not built: run `python setup.py build_ext --inplace`")
    except ValueError:
        pytest.skip(f"this processor lacks what the {name} engine needs")
