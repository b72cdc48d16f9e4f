"""Tiles: a log as files that never change (C2SP tlog-tiles), and the growing edge of them.

Who runs it: the log grows tiles; clients read them by path and make proofs of their own.
Pure: reading a tile is an argument.
Learns: a reader of all tiles of a log learns its entries' hashes; of entry bundles, the entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consent.errors import ProofError
from consent.merkle import EMPTY_ROOT, HASH_BYTES, hash_children, root_of_hashes, split

HEIGHT = 8
WIDTH = 1 << HEIGHT  # hashes in a full tile
MAX_LEVEL = 63
ENTRIES = -1  # the level of an entry bundle in a `TilePath`
MAX_ENTRY = 0xFFFF

ReadTile = Callable[[int, int, int], bytes]  # (level, index, width wanted) -> its hashes
Tiles = dict[tuple[int, int], bytes]  # (level, index) -> the hashes so far


@dataclass(frozen=True)
class TilePath:
    """A tile or, at level `ENTRIES`, a bundle of entries; width 256 when full."""

    level: int
    index: int
    width: int = WIDTH

    def __str__(self) -> str:
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"


_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


def parse_path(path: str) -> TilePath:
    """The tile that `path` names; raises ProofError for every other spelling."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ProofError("not the path of a tile")
    level = ENTRIES if found["level"] == "entries" else int(found["level"])
    tile = TilePath(
        level,
        int(found["number"].replace("/", "").replace("x", "")),
        int(found["width"] or WIDTH),
    )
    if level > MAX_LEVEL or str(tile) != path:  # leading zero groups, `.p/256`
        raise ProofError("not the path of a tile")
    return tile


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (`level`, `index`) has in a tree of `size`: 0 to 256."""
    in_level = size >> (HEIGHT * max(level, 0))
    return max(0, min(WIDTH, in_level - index * WIDTH))


def tiles_of(size: int) -> Iterable[TilePath]:
    """Every tile of a tree of `size`, level by level."""
    level = 0
    while size >> (HEIGHT * level):
        in_level = size >> (HEIGHT * level)
        for index in range(-(-in_level // WIDTH)):
            yield TilePath(level, index, tile_width(level, index, size))
        level += 1


# -- entry bundles ----------------------------------------------------------------------------


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Each entry after its length in two bytes, big-endian."""
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise ProofError(f"an entry has more than {MAX_ENTRY} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """The `count` entries of a bundle; raises ProofError unless that is exactly what it holds."""
    entries: list[bytes] = []
    place = 0
    for _ in range(count):
        start = place + 2
        end = start + int.from_bytes(data[place:start], "big")
        if end > len(data):
            raise ProofError("an entry bundle is cut off")
        entries.append(data[start:end])
        place = end
    if place != len(data):
        raise ProofError("an entry bundle has bytes after its last entry")
    return entries


# -- reading ----------------------------------------------------------------------------------


class TileHashes:
    """Hashes of subtrees of a tree of `size`, from its tiles; for `merkle.prove_…`.

    A tile is asked for once.  What comes out is as true as the tiles: check the proof.
    """

    def __init__(self, read: ReadTile, size: int) -> None:
        self._read = read
        self._size = size
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def range_hash(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) of a range that is a subtree of the tree."""
        if end - start == 1:
            return self._node(0, start)
        middle = start + split(end - start)
        if middle - start == end - middle:  # full: a node of one level above 0
            return self._full(start, end)
        return hash_children(self._full(start, middle), self.range_hash(middle, end))

    def _full(self, start: int, end: int) -> bytes:
        bits = (end - start).bit_length() - 1
        level = bits // HEIGHT
        first = start >> (HEIGHT * level)
        count = 1 << (bits % HEIGHT)
        return root_of_hashes([self._node(level, first + i) for i in range(count)])

    def _node(self, level: int, place: int) -> bytes:
        index, offset = divmod(place, WIDTH)
        tile = self._tiles.get((level, index))
        if tile is None:
            width = tile_width(level, index, self._size)
            tile = split_hashes(self._read(level, index, width), width)
            self._tiles[level, index] = tile
        return tile[offset]


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile; raises ProofError unless it has `width`."""
    if len(data) != width * HASH_BYTES:
        raise ProofError(f"a tile has {len(data)} bytes where {width} hashes were expected")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


# -- growing ----------------------------------------------------------------------------------


class TileTree:
    """The right edge of a growing tree: the last, not yet full, tile of every level."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[list[bytes]] = []

    @classmethod
    def load(cls, size: int, read: ReadTile) -> TileTree:
        """The edge of a tree of `size` from its stored tiles."""
        tree = cls()
        tree.size = size
        level = 0
        while size >> (HEIGHT * level):
            in_level = size >> (HEIGHT * level)
            index, width = divmod(in_level, WIDTH)
            tree._edge.append(split_hashes(read(level, index, width), width) if width else [])
            level += 1
        return tree

    def copy(self) -> TileTree:
        other = TileTree()
        other.size = self.size
        other._edge = [list(tile) for tile in self._edge]
        return other

    def edge(self) -> Tiles:
        """Its tiles that are not full."""
        return {
            (level, (self.size >> (HEIGHT * level)) // WIDTH): b"".join(tile)
            for level, tile in enumerate(self._edge)
            if tile
        }

    def extend(self, leaf_hashes: Sequence[bytes]) -> Tiles:
        """Adds leaves; returns every tile that changed, as it is now."""
        changed: Tiles = {}
        level, new, first = 0, list(leaf_hashes), self.size
        self.size += len(new)
        while new:
            if level == len(self._edge):
                self._edge.append([])
            tile = self._edge[level] + new
            index = first // WIDTH
            above: list[bytes] = []
            while len(tile) >= WIDTH:
                full, tile = tile[:WIDTH], tile[WIDTH:]
                changed[level, index] = b"".join(full)
                above.append(root_of_hashes(full))
                index += 1
            if tile:
                changed[level, index] = b"".join(tile)
            self._edge[level] = tile
            level, new, first = level + 1, above, first // WIDTH
        return changed

    def root(self) -> bytes:
        """Of the tree now: each level's last nodes, with the smaller rest to their right."""
        rest: list[bytes] = []
        for tile in self._edge:
            nodes = tile + rest
            rest = [root_of_hashes(nodes)] if nodes else []
        return rest[0] if rest else EMPTY_ROOT
