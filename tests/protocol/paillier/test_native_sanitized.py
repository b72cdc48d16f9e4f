"""The kernel's C files under address and undefined-behaviour sanitizers.

Python records calls of the real extension, their arguments and results; `native_replay.c` makes
the same calls from a plain program.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.errors import ProtocolViolation
from protocol.paillier.keys import PrivateKey
from protocol.paillier.native import NativeKernel
from tests.protocol import sanitized
from tests.protocol.paillier.kernels import NATIVE, kernel_named
from tests.protocol.paillier.rows import array, numbers, plain, seeded, small_key

ROOT = Path(__file__).parents[3]
# Places of the arrays that a call writes.
OUTPUTS = {"encrypt": (6,), "textbook": (5,), "decrypt": (2,), "products": (4,), "multiply": (3,),
           "power": (4,), "weighted": (4,), "check": (3, 4)}  # fmt: skip
KEYS = ("owner", "tables", "public")
SILENT = ("below", "all_below", "radix", "engines")


class Recorder:
    """Stands in for the extension module."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._keys: list[Any] = []
        self.text: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._native, name)
        return real if name in SILENT else lambda *args: self._call(name, real, args)

    def _call(self, name: str, real: Any, args: tuple[Any, ...]) -> Any:
        outputs = OUTPUTS.get(name, ())
        # Inputs first: they may be written over in place, which the replay does not do.
        words = [None if at in outputs else self._word(arg) for at, arg in enumerate(args)]
        result = real(*args)
        if name in KEYS:
            self._keys.append(result)
        for at in outputs:
            words[at] = "o" + self._word(args[at])[1:]
        status = 0 if name in KEYS or result else 1
        self.text += [f"{name} {len(args)} {status}", *(word for word in words if word)]
        return result

    def _word(self, arg: Any) -> str:
        if isinstance(arg, str):
            return f"s {arg}"
        if isinstance(arg, int):
            return f"i {arg}"
        if isinstance(arg, bytes):
            return f"m 1 {len(arg)} {arg.hex()}"
        if isinstance(arg, np.ndarray):
            data = np.ascontiguousarray(arg)
            rows = data.reshape(len(data), -1) if data.size else data.reshape(len(data), 1)[:, :0]
            raw = rows.view(np.uint8)
            return f"m {raw.shape[0]} {raw.shape[1]} {raw.tobytes().hex()}"
        return f"c {[key is arg for key in self._keys].index(True)}"


def _use_everything(kernel: NativeKernel) -> None:
    key = small_key(256, 8)
    public = key.public
    values = [(i * i * 97 + i) % public.n for i in range(21)]
    cts = kernel.encrypt(key, plain(key, values))
    foreign = PrivateKey(key.p, key.q)
    kernel.encrypt(foreign, plain(key, values[:9]))
    assert numbers(kernel.decrypt(key, cts)) == values
    kernel.check(public, cts)
    for bad in (0, public.n, key.p):
        spoilt = array([*numbers(cts)[:9], bad], public.width)
        with pytest.raises(ProtocolViolation):
            kernel.check(public, spoilt)
        with pytest.raises(ProtocolViolation):
            kernel.decrypt(key, spoilt)
    top = array([public.n**2 - 1, (1 << 8 * public.width) - 1, 1], public.width)
    groups = (np.arange(21) % 4 - 1).astype(np.int32)
    weights = np.arange(21).astype(np.uint64) * np.uint64(9)
    kernel.sum_by_group(public, cts, groups, 5)
    kernel.sum_by_group(public, top, np.zeros(3, dtype=np.int32), 1)
    kernel.dot_by_group(public, cts, groups, 5, weights, 8)
    kernel.linear(public, [(cts, -3), (cts, 1 << 40), (cts, 1)], list(range(21)))
    kernel.rerandomise(public, cts[:3], seeded(4))


@pytest.mark.slow
@pytest.mark.parametrize("name", NATIVE)
def test_sanitizers_find_nothing(name: str, tmp_path: Path) -> None:
    kernel = kernel_named(name, seeded(6))
    assert isinstance(kernel, NativeKernel)
    recorder = Recorder(kernel.engine.native)
    kernel.engine = replace(kernel.engine, native=recorder)
    _use_everything(kernel)
    native = ROOT / "protocol/paillier/native"
    sources = [file for file in native.glob("*.c") if "python_" not in file.read_text()]
    program = Path(__file__).with_name("native_replay.c")
    said = sanitized.output(program, sources, tmp_path, "-O1", said="\n".join(recorder.text) + "\n")
    count = sum(line.split()[0] in {*OUTPUTS, *KEYS} for line in recorder.text)
    assert said == f"{count} calls\n"
