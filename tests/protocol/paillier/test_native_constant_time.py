"""Instructions that the portable engine executes, counted for different secrets.

Constant time is by construction and by reading (docs/adr/0005-native-kernel.md); where valgrind
is present this test looks whether the compiler kept it so.  It counts instructions, not
addresses, and valgrind has no AVX-512: the ifma engine is built from the same algorithms but is
not measured here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protocol.paillier.keys import PrivateKey
from protocol.paillier.native import NativeKernel
from tests.protocol.paillier.kernels import kernel_named
from tests.protocol.paillier.rows import plain, seeded, small_key
from tests.protocol.paillier.test_native_sanitized import ROOT, Recorder

BITS = 256
EDGES = ("random", "zero", "ones")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replay program, optimised as the installed extension is."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if shutil.which("valgrind") is None or compiler is None:
        pytest.skip("needs valgrind and a C compiler")
    native = ROOT / "protocol/paillier/native"
    sources = [str(file) for file in native.glob("*.c") if "python_" not in file.read_text()]
    made = tmp_path_factory.mktemp("replay") / "replay"
    replay = Path(__file__).with_name("native_replay.c")
    subprocess.run(
        [compiler, "-O3", "-std=gnu11", "-g", f"-I{native}", str(replay), *sources, "-o", made],
        check=True,
    )
    return made


def _recorded(key: PrivateKey, work: str, secret: str) -> str:
    """One encryption or decryption of eight rows, with the secret in question."""
    kernel = kernel_named("portable", seeded(7))
    assert isinstance(kernel, NativeKernel)
    recorder = Recorder(kernel.engine.native)
    kernel.engine = replace(kernel.engine, native=recorder)
    values = {"random": [i * 7919 + 3 for i in range(8)], "zero": [0] * 8,
              "ones": [key.public.n - 1] * 8}[secret]  # fmt: skip
    cts = kernel.encrypt(key, plain(key, values))
    if work == "decrypt":
        kernel.decrypt(key, np.array(cts))
        return "\n".join(recorder.text) + "\n"
    return _with_exponents("\n".join(recorder.text), secret) + "\n"


def _with_exponents(text: str, secret: str) -> str:
    """`encrypt`'s fourth and fifth arguments are the exponents: all their bits 0 or 1.

    The result is another one then, and the replay says so after the call was counted.
    """
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("encrypt "))
    for place in (at + 4, at + 5):
        *head, digits = lines[place].split(" ")
        fill = {"random": digits, "zero": "00" * (len(digits) // 2),
                "ones": "ff" * (len(digits) // 2)}[secret]  # fmt: skip
        lines[place] = " ".join([*head, fill])
    return "\n".join(lines)


def _instructions(program: Path, text: str, function: str, folder: Path) -> int:
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--toggle-collect={function}",
         f"--callgrind-out-file={folder / 'out'}", str(program)],
        input=text, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize("work", ["encrypt", "decrypt"])
def test_secrets_do_not_change_the_number_of_instructions(
    program: Path, work: str, tmp_path: Path
) -> None:
    """Exponents of encryption; plaintexts and so ciphertexts of decryption; one key."""
    key = small_key(BITS, 8)
    counts = {
        secret: _instructions(program, _recorded(key, work, secret), f"owner_{work}", tmp_path)
        for secret in EDGES
    }
    assert counts["random"] > 10_000
    assert len(set(counts.values())) == 1, counts


@pytest.mark.slow
def test_the_count_sees_a_branch_on_the_data(program: Path, tmp_path: Path) -> None:
    """The public exponent of `power` skips zero digits: a count that cannot differ is no test."""
    counts = set()
    for exponent in (1 << 40, (1 << 41) - 1):
        kernel = kernel_named("portable", seeded(7))
        assert isinstance(kernel, NativeKernel)
        recorder = Recorder(kernel.engine.native)
        kernel.engine = replace(kernel.engine, native=recorder)
        key = small_key(BITS, 8)
        cts = kernel.encrypt(key, plain(key, list(range(8))))
        kernel._public(key.public).power(cts, exponent, np.empty_like(cts))
        text = "\n".join(recorder.text) + "\n"
        counts.add(_instructions(program, text, "public_power", tmp_path))
    assert len(counts) == 2
