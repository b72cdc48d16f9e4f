"""The native curve against libsodium and the RFC's reference, lane by lane; its edges."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from protocol.encoding import length_prefixed
from protocol.errors import BadInput, ProtocolViolation
from protocol.psi import ecdh
from protocol.psi.ecdh import ORDER, POINT, Curve, arithmetic, random_scalar
from protocol.psi.native_curve import Ifma, digests, extension, hashlib_digests
from protocol.psi.sodium import WIDE, Sodium
from tests.protocol import sanitized
from tests.protocol.psi.parties import ARITHMETICS, NO_IFMA
from tests.reference import ristretto

Bytes = npt.NDArray[np.uint8]
ROOT = Path(ecdh.__file__).parents[2]
SOURCES = ROOT / "protocol" / "psi" / "native"
VECTORS = ROOT / "tests" / "vectors" / "ristretto255_bad_encodings.txt"
BAD = [x for x in VECTORS.read_text("utf-8").split("\n") if x and not x.startswith("#")]
BASE = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
SODIUM = Sodium()
BUILT = pytest.mark.skipif(extension() is None, reason="the extension is not built")


def ifma() -> Ifma:
    found = Ifma.load()
    assert found is not None
    return found


def rows(width: int, *parts: bytes) -> Bytes:
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, width)


def uniform(n: int) -> Bytes:
    return rows(WIDE, os.urandom(n * WIDE))


def elements(n: int) -> Bytes:
    out = np.empty((n, POINT), np.uint8)
    SODIUM.derive(uniform(n), out)
    return out


def equal_on(scalar: bytes, wide: Bytes) -> None:
    """All three operations give the bytes of libsodium."""
    found, expected = (np.empty((2, len(wide), POINT), np.uint8) for _ in range(2))
    for curve, out in ((ifma(), found), (SODIUM, expected)):
        curve.derive(wide, out[0])
        assert curve.blind(scalar, out[0], out[1]) is None
    assert (found == expected).all()
    assert ifma().derive_blinded(scalar, wide, found[0]) is None
    assert (found[0] == expected[1]).all()


# -- equality -------------------------------------------------------------------------------

SCALARS = {
    "one": 1, "two": 2, "seven": 7, "eight": 8, "nine": 9, "fifteen": 15, "sixteen": 16,
    "minus one": ORDER - 1, "minus two": ORDER - 2, "half": (ORDER + 1) // 2,
    "below half": (ORDER - 1) // 2, "2^252": 2**252, "2^251": 2**251,
    # Scalars whose half has every digit 7, 8 or 15: the borders of the signed digits.
    "sevens": 2 * int("7" * 62, 16), "eights": 2 * int("8" * 62, 16), "fs": 2 * int("f" * 62, 16),
}  # fmt: skip


@NO_IFMA
@pytest.mark.parametrize("value", SCALARS.values(), ids=SCALARS)
def test_edge_scalars(value: int) -> None:
    assert 0 < value < ORDER
    equal_on(value.to_bytes(32, "little"), uniform(11))


@NO_IFMA
@pytest.mark.parametrize("n", [*range(1, 41), 255, 256, 257, 1000])
def test_every_size_of_a_batch(n: int) -> None:
    equal_on(random_scalar(os.urandom), uniform(n))


@NO_IFMA
def test_an_empty_batch() -> None:
    none = np.empty((0, POINT), np.uint8)
    assert ifma().blind(bytes([1]) + bytes(31), none, none.copy()) is None


@NO_IFMA
def test_edge_strings_map_as_by_libsodium() -> None:
    """Field elements at the ends of the range and of the limbs, above p, with the top bit set."""
    p = ristretto.P
    limbs = [sum((2**51 - 1) << (51 * i) for i in some) for some in ((0,), (1, 3), (0, 2, 4))]
    values = [0, 1, 2, p - 1, p, p + 1, 2**255 - 1, 2**255, 2**256 - 1, 2**51, *limbs]
    values += [ristretto.SQRT_M1, p - ristretto.SQRT_M1, 1 << 254]
    encoded = [v.to_bytes(32, "little") for v in values]
    wide = rows(WIDE, *(a + b for a in encoded for b in encoded))
    found, expected = (np.empty((len(wide), POINT), np.uint8) for _ in range(2))
    ifma().derive(wide, found)
    SODIUM.derive(wide, expected)
    assert (found == expected).all()
    assert not expected.any(axis=1).all(), "no pair gave the identity"


@NO_IFMA
def test_edge_points_multiply_as_by_libsodium_and_by_the_reference() -> None:
    """The valid encodings nearest to both ends of the field and with full limbs."""
    full = sum((2**51 - 1) << (51 * i) for i in (1, 2, 3))
    near = [*range(2, 60, 2), *range(ristretto.P - 61, ristretto.P, 2)]
    near += [full + 2 * i for i in range(20)]
    good = [s.to_bytes(32, "little") for s in near if ristretto.decode(s.to_bytes(32, "little"))]
    assert len(good) > 9
    batch, scalar = rows(POINT, BASE, *good), random_scalar(os.urandom)
    found, expected = (np.empty_like(batch) for _ in range(2))
    assert ifma().blind(scalar, batch, found) is None
    assert SODIUM.blind(scalar, batch, expected) is None
    assert (found == expected).all()
    for i in (0, 1, len(batch) - 1):
        decoded = ristretto.decode(batch[i].tobytes())
        assert decoded is not None
        product = ristretto.multiply(int.from_bytes(scalar, "little"), decoded)
        assert found[i].tobytes() == ristretto.encode(product)


@NO_IFMA
def test_multiples_of_the_generator_by_the_reference() -> None:
    base, out = ristretto.decode(BASE), np.empty((1, POINT), np.uint8)
    assert base is not None
    for factor in range(1, 17):
        assert ifma().blind(factor.to_bytes(32, "little"), rows(POINT, BASE), out) is None
        assert out.tobytes() == ristretto.encode(ristretto.multiply(factor, base))


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARITHMETICS)
@pytest.mark.parametrize("encoded", [*BAD, "00" * 32, BASE[:31].hex() + "f6"])
def test_a_bad_row_is_found_in_every_lane(encoded: str, name: str) -> None:
    curve, good = arithmetic(name), elements(19)
    out = np.empty_like(good)
    scalar = random_scalar(os.urandom)
    for lane in range(19) if name == "ifma" else (0, 7, 18):
        batch = good.copy()
        batch[lane] = rows(POINT, bytes.fromhex(encoded))[0]
        assert curve.blind(scalar, batch, out) == lane
        batch[-1] = batch[lane]
        assert curve.blind(scalar, batch, out) == lane, "the first one is told"


@pytest.mark.parametrize("name", ARITHMETICS)
def test_random_strings_are_judged_as_by_the_reference(name: str) -> None:
    curve, out = arithmetic(name), np.empty((1, POINT), np.uint8)
    judged = set()
    for i in range(60):
        raw = bytearray(hashlib.sha256(b"judged %d" % i).digest())
        raw[31] &= 0x7F
        raw[0] &= 0xFE
        good = ristretto.decode(bytes(raw)) is not None
        judged.add(good)
        found = curve.blind(bytes([5]) + bytes(31), rows(POINT, bytes(raw)), out)
        assert found == (None if good else 0)
    assert judged == {True, False}


@pytest.mark.parametrize("name", ARITHMETICS)
def test_a_refusal_names_the_row_of_the_whole_batch(name: str) -> None:
    batch = elements(2500)
    batch[2222] = 0
    with pytest.raises(ProtocolViolation, match="point 2222 "):
        Curve(2, arithmetic(name)).blind(random_scalar(os.urandom), batch)


@NO_IFMA
@pytest.mark.parametrize(
    "scalar, width, derived, results",
    [(31, 32, False, 4), (32, 31, False, 4), (32, 32, False, 3), (32, 32, True, 4), (0, 64, True, 4)],  # noqa: E501
)  # fmt: skip
def test_sizes_that_do_not_fit_are_a_bug(
    scalar: int, width: int, derived: bool, results: int
) -> None:
    out, batch = np.empty((results, POINT), np.uint8), np.zeros((4, width), np.uint8)
    with pytest.raises(ValueError, match="32"):
        ifma().native.blind(bytes(scalar), batch, derived, out)


@NO_IFMA
def test_arrays_with_gaps_or_read_only_results_are_a_bug() -> None:
    batch = elements(8)
    with pytest.raises((ValueError, BufferError)):
        ifma().blind(bytes(32), batch[::2], np.empty((4, POINT), np.uint8))
    fixed = np.empty_like(batch)
    fixed.flags.writeable = False
    with pytest.raises((TypeError, ValueError, BufferError)):
        ifma().derive(uniform(8), fixed)


# -- the digests ----------------------------------------------------------------------------


@BUILT
def test_digests_equal_hashlib_at_every_length() -> None:
    """Lengths over two block borders, with prefixes that move the border."""
    ids = pa.array(["x" * i for i in range(300)] + ["é中🙂", ""])
    for size in (0, 1, 40, 127, 128, 129):
        prefix = os.urandom(size)
        assert (digests(prefix, ids) == hashlib_digests(prefix, ids)).all()
    wide = hashlib.sha512(b"p" + length_prefixed("xxx")).digest()
    assert digests(b"p", ids)[3].tobytes() == wide


@pytest.mark.parametrize("compute", [digests, hashlib_digests])
def test_digests_of_slices_and_of_nothing(compute: object) -> None:
    assert callable(compute)
    ids = pa.array([f"person {i}" for i in range(50)])
    assert (compute(b"p", ids.slice(7, 20)) == compute(b"p", ids)[7:27]).all()
    assert compute(b"p", pa.array([], pa.string())).shape == (0, WIDE)
    assert compute(b"p", pa.array(["", ""])).shape == (2, WIDE)
    assert (compute(b"p", ids.cast(pa.large_string())) == compute(b"p", ids)).all()


@BUILT
@pytest.mark.parametrize("ends", [[0, 3, 2], [0, 2, 9], [-1, 0, 1], []])
def test_offsets_outside_the_data_are_a_bug(ends: list[int]) -> None:
    native = extension()
    assert native is not None
    out = np.empty((2, WIDE), np.uint8)
    with pytest.raises(ValueError, match="offsets"):
        native.digests(b"", np.array(ends, np.int32), b"data", out)


# -- the choice -----------------------------------------------------------------------------


def test_the_fastest_is_chosen_unless_one_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSENT_CURVE", raising=False)
    assert Curve(1).arithmetic.name == ("sodium" if Ifma.load() is None else "ifma")
    monkeypatch.setenv("ASSENT_CURVE", "sodium")
    assert Curve(1).arithmetic.name == "sodium"
    monkeypatch.setenv("ASSENT_CURVE", "x25519")
    with pytest.raises(BadInput, match="x25519"):
        Curve(1)


def test_without_the_extension_libsodium_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ifma, "load", staticmethod(lambda: None))
    assert arithmetic().name == "sodium"
    with pytest.raises(BadInput, match="no native curve"):
        arithmetic("ifma")


@pytest.mark.slow
def test_the_sanitizers_find_nothing(tmp_path: Path) -> None:
    """native_check.c and the kernel under address and undefined-behaviour sanitizers."""
    sources = [SOURCES / "ristretto_ifma.c", SOURCES / "sha512.c"]
    # Unoptimised: half the time to compile, and no access is optimised away.
    program = Path(__file__).with_name("native_check.c")
    said = sanitized.output(program, sources, tmp_path, "-O0")
    assert said == ("good\n" if Ifma.load() else "no IFMA: digests only\n")
