"""ristretto255 by each arithmetic against the RFC and against a decoder of our own; attacks."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protocol.encoding import length_prefixed
from protocol.errors import ProtocolViolation
from protocol.psi import ecdh
from protocol.psi.ecdh import ORDER, POINT, Curve, random_scalar
from tests.protocol.psi.parties import ARITHMETICS, TYPES, arithmetic_is, curve, eligible, ringed
from tests.reference import ristretto

# RFC 9496, appendix A.
GENERATOR = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
FIFTEEN = "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e"
VECTORS = Path(__file__).parents[2] / "vectors" / "ristretto255_bad_encodings.txt"
BAD = [x for x in VECTORS.read_text("utf-8").split("\n") if x and not x.startswith("#")]
DERIVED = {
    "Ristretto is traditionally a short shot of espresso coffee": (
        "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    ),
    "made with the normal amount of ground coffee but extracted with": (
        "f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b"
    ),
}


@pytest.fixture(params=ARITHMETICS, scope="module", autouse=True)
def _arithmetic(request: pytest.FixtureRequest) -> Iterator[None]:
    with arithmetic_is(request.param):
        yield


def points(*encoded: bytes | str) -> np.ndarray:
    raw = b"".join(bytes.fromhex(e) if isinstance(e, str) else e for e in encoded)
    return np.frombuffer(raw, np.uint8).reshape(-1, POINT)


def scalar(value: int) -> bytes:
    return value.to_bytes(32, "little")


def refused(batch: np.ndarray, code: str = "bad_point") -> None:
    with pytest.raises(ProtocolViolation) as caught:
        curve().reblind(scalar(5), batch)
    assert caught.value.info.code == code


def test_the_vectors_are_there() -> None:
    assert len(BAD) == 29


def test_multiples_of_the_generator() -> None:
    assert curve().blind(scalar(15), points(GENERATOR)).tobytes().hex() == FIFTEEN
    assert curve().blind(scalar(1), points(FIFTEEN)).tobytes().hex() == FIFTEEN


@pytest.mark.parametrize("text, expected", DERIVED.items())
def test_derived_elements(text: str, expected: str) -> None:
    wide = hashlib.sha512(text.encode()).digest()
    assert curve().random_points(1, lambda n: wide).tobytes().hex() == expected


def test_an_identifier_is_hashed_with_its_type() -> None:
    found = curve().hash_to_group("phone", pa.array(["+491", None, "+491"]))
    wide = hashlib.sha512(length_prefixed("assent/psi/point/v1", "phone", "+491")).digest()
    assert found[0].tobytes() == curve().random_points(1, lambda n: wide).tobytes()
    assert (found[0] == found[2]).all()
    assert not found[1].any()
    assert (found[0] != curve().hash_to_group("email", pa.array(["+491"]))[0]).any()


def test_products_equal_the_reference() -> None:
    for _ in range(8):
        point, factor = curve().random_points(1, os.urandom), random_scalar(os.urandom)
        decoded = ristretto.decode(point.tobytes())
        assert decoded is not None
        expected = ristretto.multiply(int.from_bytes(factor, "little"), decoded)
        assert curve().blind(factor, point).tobytes() == ristretto.encode(expected)


def test_blinding_commutes_and_keeps_the_order() -> None:
    a, b = random_scalar(os.urandom), random_scalar(os.urandom)
    some = curve().random_points(3000, os.urandom)  # several tasks
    one = curve().reblind(b, curve().blind(a, some))
    assert (one == Curve(workers=1).reblind(a, Curve(workers=3).blind(b, some))).all()


@pytest.mark.parametrize("encoded", BAD)
def test_bad_encodings_are_refused(encoded: str) -> None:
    refused(points(GENERATOR, encoded))
    assert ristretto.decode(bytes.fromhex(encoded)) is None


def test_the_identity_is_refused() -> None:
    refused(points(GENERATOR, bytes(32)))


def test_a_point_with_its_top_bit_set_is_refused() -> None:
    """libsodium 1.0.18 takes it for the same point: a duplicate in disguise."""
    twin = bytearray.fromhex(GENERATOR)
    twin[31] |= 0x80
    refused(points(GENERATOR, bytes(twin)))


def test_random_strings_are_judged_as_by_the_rfc() -> None:
    judged = set()
    for i in range(120):
        raw = bytearray(hashlib.sha256(b"%d" % i).digest())
        raw[31] &= 0x7F
        raw[0] &= 0xFE
        good = ristretto.decode(bytes(raw)) is not None
        judged.add(good)
        if good:
            curve().reblind(scalar(3), points(bytes(raw)))
        else:
            refused(points(bytes(raw)))
    assert judged == {True, False}


def test_the_points_of_the_cve_have_no_encoding_of_their_own() -> None:
    """CVE-2025-69277 lets Q + (0, -1) pass for a point of the group.  As ristretto elements
    Q and Q + (0, -1) are one and the same, with one string."""
    point = ristretto.decode(bytes.fromhex(GENERATOR))
    assert point is not None
    shifted = ristretto.add(point, (0, ristretto.P - 1))
    assert shifted != point
    assert ristretto.encode(shifted).hex() == GENERATOR
    # Its Edwards string, sent as if it were a ristretto one, is nothing special: judged alike.
    edwards = bytearray(shifted[1].to_bytes(32, "little"))
    edwards[31] |= (shifted[0] & 1) << 7
    assert ristretto.decode(bytes(edwards)) is None
    refused(points(bytes(edwards)))


def test_the_affected_function_is_never_named() -> None:
    """Of libsodium the sources use exactly the two functions that the ADR lists."""
    used = set()
    for path in (Path(ecdh.__file__).parents[2]).glob("p*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("crypto_"):
                used.add(node.attr)
    assert used == {"crypto_core_ristretto255_from_hash", "crypto_scalarmult_ristretto255"}


def test_a_repeated_point_is_refused_across_rows_and_types() -> None:
    batch = curve().random_points(40, os.urandom).reshape(20, 2 * POINT)
    batch[4, :POINT] = batch[11, POINT:]
    refused(batch, "duplicate_point")


def test_a_batch_of_broken_rows_is_refused() -> None:
    refused(np.zeros((2, POINT + 1), np.uint8), "bad_artifact")


@pytest.mark.parametrize("value", [0, ORDER, 2**256 - 1])
def test_scalars_out_of_range_are_a_bug(value: int) -> None:
    with pytest.raises(ValueError, match="scalar"):
        curve().blind(scalar(value), points(GENERATOR))


def test_scalars_are_uniform_below_the_order_and_never_zero() -> None:
    draws = [bytes(64), ORDER.to_bytes(64, "little"), (ORDER + 9).to_bytes(64, "little")]
    assert random_scalar(lambda n: draws.pop(0)) == scalar(9)
    assert not draws
    assert len({random_scalar(os.urandom) for _ in range(50)}) == 50


def test_two_jobs_share_no_point() -> None:
    people = [(f"+4917{i:04d}",) for i in range(20)]
    k = os.urandom(32)  # even under one K: the scalars are the job's
    seen = [{bytes(p) for t in ringed([people, people], 1, k) for p in t.tokens} for _ in range(2)]
    assert not seen[0] & seen[1]


def test_an_upload_is_canonical_points_only_whatever_is_missing() -> None:
    rows = eligible([("a", None), (None, None)], TYPES[:2])
    table = curve().assemble(rows, TYPES[:2], bytes(32), 256, scalar(7), os.urandom)
    curve().reblind(scalar(3), table.tokens)  # raises for any bad or repeated point
    assert sorted(table.row_of_handle[table.row_of_handle >= 0].tolist()) == [0, 1]


def test_progress_is_told_and_can_stop_the_work() -> None:
    told: list[tuple[int, int]] = []
    curve().blind(scalar(3), curve().random_points(2500, os.urandom), lambda *at: told.append(at))
    assert told == [(1024, 2500), (2048, 2500), (2500, 2500)]
    people = [(f"a{i}", None if i % 2 else f"b{i}") for i in range(8)]
    whole: list[tuple[int, int]] = []
    curve().assemble(
        eligible(people, TYPES[:2]), TYPES[:2], bytes(32), 256, scalar(7), os.urandom,
        lambda *at: whole.append(at),
    )  # fmt: skip
    assert [done for done, _ in whole] == sorted(done for done, _ in whole)
    assert all(done <= total == 12 for done, total in whole)

    class Cancelled(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        curve().blind(scalar(3), curve().random_points(2500, os.urandom), stop)


def test_loading_libsodium_leaves_no_file_behind(tmp_path: Path) -> None:
    code = (
        "import os; from protocol.psi.ecdh import Curve;"
        "Curve(1).random_points(1, os.urandom); print('ran')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(ecdh.__file__).parents[2],
        env={"ASSENT_CURVE": "sodium", "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ran\n"
    assert list(tmp_path.iterdir()) == []
