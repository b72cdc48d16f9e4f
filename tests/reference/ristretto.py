"""ristretto255 with Python integers, written from RFC 9496: slow, simple, for comparison."""

from __future__ import annotations

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]  # affine x, y on edwards25519


def _negative(x: int) -> bool:
    return x % P % 2 == 1


def _abs(x: int) -> int:
    return -x % P if _negative(x) else x % P


def _inverse_root(square: int) -> int | None:
    """|1/√square|, or None when it has no root; 0 for 0."""
    root = pow(square, (P + 3) // 8, P)
    for candidate in (root, root * SQRT_M1 % P):
        if candidate * candidate % P == square % P:
            return _abs(pow(candidate, P - 2, P))
    return None


def decode(data: bytes) -> Point | None:
    """The point of an encoding, None for a bad one (RFC 9496 section 4.3.1)."""
    s = int.from_bytes(data, "little")
    if len(data) != 32 or s >= P or _negative(s):
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    inverse = _inverse_root(v * u2 * u2 % P)
    if inverse is None:
        return None
    x = _abs(2 * s * inverse * u2)
    y = u1 * inverse * inverse * u2 * v % P
    return None if _negative(x * y) or y == 0 else (x, y)


def encode(point: Point) -> bytes:
    """RFC 9496 section 4.3.2, with Z = 1."""
    x0, y0 = point
    u1, u2 = (1 + y0) * (1 - y0) % P, x0 * y0 % P
    inverse = _inverse_root(u1 * u2 * u2 % P) or 0
    # 1/√(a-d) of the RFC is taken afresh here.
    d1, d2 = u1 * inverse % P, u2 * inverse % P
    z_inverse = d1 * d2 * x0 * y0 % P
    if _negative(x0 * y0 * z_inverse):
        x, y, d = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, d1 * (_inverse_root((-1 - D) % P) or 0) % P
    else:
        x, y, d = x0, y0, d2
    if _negative(x * z_inverse):
        y = -y
    return _abs(d * (1 - y)).to_bytes(32, "little")


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P)
    return x % P, y % P


def multiply(scalar: int, point: Point) -> Point:
    result = (0, 1)
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result
