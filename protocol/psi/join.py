"""The waterfall join over anonymous handles.

Who runs it: H.  Columnar: tokens are read from the uploads (memory maps) in blocks, eight
bytes of each decide the order, and only where those are equal are the whole tokens compared.
Working memory is about 26 bytes per handle for the type at hand, and a chunk.
Learns: H, which handles of the parties agree and on which type; dummies are among them and
look like people.  The number of matches is returned to nobody.
Source: protocols.md section 1, "Waterfall".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from protocol.encoding import chunk_ranges
from protocol.errors import ProtocolViolation

Tokens = npt.NDArray[np.uint8]
_BLOCK = 1 << 18  # rows read at once
_PART = 1 << 24  # handles sorted at once: 256 MB of keys and places


@dataclass(frozen=True)
class _Equal:
    """Places (over all uploads, numbered through) ordered by token; `joined[i]`: the tokens of
    places[i] and places[i+1] are equal.  Equal ones stand in the order of the uploads."""

    places: npt.NDArray[np.int64]
    joined: npt.NDArray[np.bool_]


def waterfall(left: Tokens, right: Tokens, n_types: int, width: int) -> npt.NDArray[np.int64]:
    """int64[n_right]: the handle of `left` that each handle of `right` matches, or -1.

    left, right: uint8[n, n_types·width], arrays or memory maps.  The first type decides, then
    the next among handles still unmatched; a handle matches at most once.
    Raises ProtocolViolation('duplicate_token') when one upload holds a token twice under one
    type, ('bad_artifact') when the shapes are not those of the job.
    """
    uploads = [left, right]
    _check_shapes(uploads, n_types, width)
    n_left = len(left)
    pairing = np.full(len(right), -1, dtype=np.int64)
    taken = np.zeros(n_left, dtype=np.bool_)
    for position in range(n_types):
        for equal in _equal_tokens(uploads, position, width):
            first = equal.places[:-1][equal.joined]
            second = equal.places[1:][equal.joined] - n_left
            free = ~taken[first] & (pairing[second] < 0)
            pairing[second[free]] = first[free]
            taken[first[free]] = True
    return pairing


def join_all(uploads: Sequence[Tokens], n_types: int, width: int) -> list[npt.NDArray[np.bool_]]:
    """Per upload a bool[handles]: whether the handle is common to all uploads.

    Types in order; a token counts only if its handles are still unmatched at every party.
    Raises as `waterfall`.
    """
    return [numbers >= 0 for numbers in common_handles(uploads, n_types, width)]


def common_handles(
    uploads: Sequence[Tokens], n_types: int, width: int
) -> list[npt.NDArray[np.int64]]:
    """Per upload int64[handles]: a number from 0 that the handles of one person share over all
    uploads, -1 where a handle is not common to all.  The rule is that of `join_all`.

    The numbers follow the order in which matches are found, so whoever gets them shuffled only
    learns no more than which handles are common.
    """
    _check_shapes(uploads, n_types, width)
    n = len(uploads)
    starts = _starts(uploads)
    numbers = np.full(starts[-1], -1, dtype=np.int64)
    found = 0
    for position in range(n_types):
        for equal in _equal_tokens(uploads, position, width):
            # n equal tokens in a row and no duplicate within an upload: one of each upload.
            length = max(0, len(equal.joined) - (n - 2))
            run = equal.joined[:length].copy()
            for step in range(1, n - 1):
                run &= equal.joined[step : step + length]
            begin = np.flatnonzero(run)
            group = equal.places[begin[:, None] + np.arange(n)]
            free = group[(numbers[group] < 0).all(axis=1)]
            numbers[free] = np.arange(found, found + len(free))[:, None]
            found += len(free)
    return [numbers[a:b] for a, b in pairwise(starts)]


def refuse_duplicates(tokens: Tokens, n_types: int, width: int, code: str) -> None:
    """Raises ProtocolViolation(code) when any two of the n·n_types tokens are equal."""
    flat = tokens.reshape(len(tokens) * n_types, width)
    for _ in _equal_tokens([flat], 0, width, code):
        pass


def _check_shapes(uploads: Sequence[Tokens], n_types: int, width: int) -> None:
    if len(uploads) < 2 or n_types < 1 or width % 8:
        raise ValueError("a join needs two uploads, a type, and tokens of whole 8-byte words")
    if any(u.ndim != 2 or u.shape[1] != n_types * width for u in uploads):
        raise ProtocolViolation("bad_artifact", "an upload has tokens of another width or number")


def _starts(uploads: Sequence[Tokens]) -> list[int]:
    starts = [0]
    for upload in uploads:
        starts.append(starts[-1] + len(upload))
    return starts


def _equal_tokens(
    uploads: Sequence[Tokens], position: int, width: int, code: str = "duplicate_token"
) -> Iterator[_Equal]:
    """Equal tokens of one type, part by part; parts are ranges of the first key bits."""
    starts = _starts(uploads)
    keys = np.empty(starts[-1], dtype=np.uint64)
    for upload, start in zip(uploads, starts[:-1], strict=True):
        for a, b in chunk_ranges(len(upload), _BLOCK):
            keys[start + a : start + b] = _words(upload[a:b, position * width :], 1)[:, 0]
    bits = max(0, (len(keys) - 1) // _PART).bit_length()
    for part in range(1 << bits):
        if bits:
            inside = np.flatnonzero(keys >> np.uint64(64 - bits) == part)
            # Stable: equal keys keep the order of the uploads, on which the checks rely.
            places = inside[np.argsort(keys[inside], kind="stable")]
            del inside
        else:
            places = np.argsort(keys, kind="stable")
        ordered = keys[places]
        near = ordered[1:] == ordered[:-1]
        del ordered
        yield _resolve(uploads, starts, position, width, places, near, code)


def _resolve(
    uploads: Sequence[Tokens], starts: list[int], position: int, width: int,
    places: npt.NDArray[np.int64], near: npt.NDArray[np.bool_], code: str,
) -> _Equal:  # fmt: skip
    """From equal key words to equal tokens.

    Different tokens that share a key word stand in any order.  Honest ones almost never do
    (2^-64 per pair); a cheat's may all do so, and then they are sorted by all their words.
    """
    joined = _compare(uploads, starts, position, width, places, near)
    if bool((near & ~joined).any()):
        run = np.zeros(len(places), dtype=np.int64)
        np.cumsum(~near, out=run[1:])
        mixed = np.zeros(int(run[-1]) + 1, dtype=np.bool_)
        mixed[run[:-1][near & ~joined]] = True
        at = np.flatnonzero(mixed[run])
        words = _gather(uploads, starts, position, width, places[at])
        order = np.lexsort((*words.T[1:], run[at]))  # stable as well
        del words
        places[at] = places[at][order]
        joined = _compare(uploads, starts, position, width, places, near)
    sides = np.searchsorted(np.asarray(starts), places[1:][joined], side="right")
    same = sides == np.searchsorted(np.asarray(starts), places[:-1][joined], side="right")
    if bool(same.any()):
        raise ProtocolViolation(
            code,
            f"upload {int(sides[same][0])} of {len(uploads)} holds one token twice",
            stage="join",
            next_step="that party's node is modified or broken",
        )
    return _Equal(places, joined)


def _compare(
    uploads: Sequence[Tokens], starts: list[int], position: int, width: int,
    places: npt.NDArray[np.int64], near: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """near, but true only where the whole tokens are equal."""
    joined = near.copy()
    candidates = np.flatnonzero(near)
    for a, b in chunk_ranges(len(candidates), _BLOCK):
        at = candidates[a:b]
        one = _gather(uploads, starts, position, width, places[at])
        two = _gather(uploads, starts, position, width, places[at + 1])
        joined[at] = (one == two).all(axis=1)
    return joined


def _gather(
    uploads: Sequence[Tokens], starts: list[int], position: int, width: int,
    places: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint64]:  # fmt: skip
    """uint64[len(places), width/8]: whole tokens at `places`."""
    out = np.empty((len(places), width // 8), dtype=np.uint64)
    for upload, start in zip(uploads, starts[:-1], strict=True):
        mine = np.flatnonzero((places >= start) & (places < start + len(upload)))
        for a, b in chunk_ranges(len(mine), _BLOCK):
            rows = upload[places[mine[a:b]] - start]
            out[mine[a:b]] = _words(rows[:, position * width :], width // 8)
    return out


def _words(tokens: Tokens, count: int) -> npt.NDArray[np.uint64]:
    """The first `count` 8-byte words of each row."""
    return np.ascontiguousarray(tokens[:, : 8 * count]).view("<u8")
