"""Tiles: paths, widths, growth and proofs from them; proofs as texts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.checkpoint import Checkpoint
from consent.errors import NoteError, ProofError
from consent.merkle import (
    hash_leaf,
    prove_consistency,
    prove_inclusion,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)
from consent.note import sign_note
from consent.tiles import (
    ENTRIES,
    TileHashes,
    TilePath,
    Tiles,
    TileTree,
    decode_bundle,
    encode_bundle,
    parse_path,
    tile_width,
    tiles_of,
)
from consent.tlog_proof import LogProof, make_proof, parse_proof, verify_proof
from tests.consent import logs


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TilePath(0, 0), "tile/0/000"),
        (TilePath(0, 1234067), "tile/0/x001/x234/067"),
        (TilePath(1, 1000, 17), "tile/1/x001/000.p/17"),
        (TilePath(63, 999, 255), "tile/63/999.p/255"),
        (TilePath(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths(tile: TilePath, path: str) -> None:
    assert str(tile) == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    ["", "tile", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/-1/000",
     "tile/0/x000/001", "tile/0/001/002", "tile/0/x001/x002", "tile/0/000.p/0", "tile/0/000.p/256",
     "tile/0/000.p/01", "tile/0/000.p/", "/tile/0/000", "tile/0/000/", "tile/0/000\n", "tile/0/٠٠٠",
     "tile/0/../000", "tile/entries/00", "tile/data/000"],
)  # fmt: skip
def test_other_spellings_are_no_paths(path: str) -> None:
    with pytest.raises(ProofError):
        parse_path(path)


@given(st.integers(-1, 63), st.integers(0, 10**15), st.integers(1, 256))
def test_every_tile_has_one_path(level: int, index: int, width: int) -> None:
    assert parse_path(str(TilePath(level, index, width))) == TilePath(level, index, width)


def test_the_specifications_tree_of_70000() -> None:
    tiles = list(tiles_of(70_000))
    by_level = {level: [t.width for t in tiles if t.level == level] for level in range(4)}
    assert by_level == {0: [256] * 273 + [112], 1: [256, 17], 2: [1], 3: []}
    assert [str(tile) for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []


def test_bundles_of_entries() -> None:
    entries = [b"", b"a", b"x" * 65_535]
    data = encode_bundle(entries)
    assert data[:5] == b"\0\0\0\1a"
    assert decode_bundle(data, 3) == entries
    for bad, count in ((data, 2), (data, 4), (data[:-1], 3), (data + b"\0", 3), (data[:1], 1)):
        with pytest.raises(ProofError):
            decode_bundle(bad, count)
    with pytest.raises(ProofError):
        encode_bundle([b"x" * 65_536])


HASHES = [hash_leaf(b"%d" % i) for i in range(66_200)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.randoms())
def test_growing_in_any_steps_gives_the_same_tiles(steps: list[int], rng: random.Random) -> None:
    tree, tiles = TileTree(), Tiles()
    for step in steps:
        tiles.update(tree.extend(HASHES[tree.size : tree.size + step]))
        assert tree.root() == root_of_hashes(HASHES[: tree.size])
        tree = TileTree.load(tree.size, reader(tiles)) if rng.random() < 0.5 else tree.copy()
    once = TileTree().extend(HASHES[: tree.size])
    assert once == tiles
    assert {(t.level, t.index): t.width * 32 for t in tiles_of(tree.size)} == {
        at: len(data) for at, data in tiles.items()
    }


def reader(tiles: Tiles):  # type: ignore[no-untyped-def]
    return lambda level, index, width: tiles[level, index][: width * 32]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 66_200])
def test_proofs_from_tiles(size: int) -> None:
    tiles = TileTree().extend(HASHES)  # also those of later trees: older ones are prefixes
    hashes = TileHashes(reader(tiles), size)
    root = root_of_hashes(HASHES[:size])
    rng = random.Random(size)
    for index in {0, size - 1, size // 2, *(rng.randrange(size) for _ in range(20))}:
        proof = prove_inclusion(index, size, hashes.range_hash)
        verify_inclusion(HASHES[index], index, size, proof, root)
    for old in {1, size, max(1, size // 2), *(rng.randint(1, size) for _ in range(20))}:
        proof = prove_consistency(old, size, hashes.range_hash)
        verify_consistency(old, size, proof, root_of_hashes(HASHES[:old]), root)


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError, match="3 hashes"):
        TileHashes(lambda level, index, width: bytes(64), 3).range_hash(0, 1)
    assert tile_width(0, 1, 256) == 0


# -- proofs as texts -------------------------------------------------------------------------

ENTRY = b"entry"
OTHERS = [hash_leaf(b"%d" % i) for i in range(4)]


def tlog_proof(extra: bytes | None = None) -> str:
    hashes = [*OTHERS[:3], hash_leaf(ENTRY), OTHERS[3]]
    tiles = TileTree().extend(hashes)
    proof = prove_inclusion(3, 5, TileHashes(reader(tiles), 5).range_hash)
    head = Checkpoint(logs.ORIGIN, 5, root_of_hashes(hashes)).to_text()
    note = sign_note(head, [logs.log_key(), logs.witness_key("a")], 77)
    return LogProof(3, tuple(proof), note, extra).to_text()


@pytest.mark.parametrize("extra", [None, b"", b"anything\n\n"])
def test_a_proof_as_text(extra: bytes | None) -> None:
    text = tlog_proof(extra)
    assert text.startswith("c2sp.org/tlog-proof@v1\n")
    assert parse_proof(text).extra == extra
    assert parse_proof(text).to_text() == text
    assert verify_proof(text, ENTRY, logs.policy("a"), logs.ORIGIN).quorum_time == 77
    with pytest.raises(ProofError):
        verify_proof(text, b"another", logs.policy("a"))
    with pytest.raises(NoteError, match="quorum"):
        verify_proof(text, ENTRY, logs.policy("b"))


def test_every_flipped_byte_of_a_proof_is_found() -> None:
    data = tlog_proof().encode()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        try:
            text = flipped.decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises((ProofError, NoteError)):
            verify_proof(text, ENTRY, logs.policy("a"))


@pytest.mark.parametrize(
    "text",
    ["", "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v2\nindex 0\n\n", "index 0\n\n",
     "c2sp.org/tlog-proof@v1\nindex 00\n\n", "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n",
     "c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\n",
     "c2sp.org/tlog-proof@v1\nextra A\nindex 0\n\n",
     make_proof(0, [bytes(32)] * 64, "")],
)  # fmt: skip
def test_malformed_proofs_are_refused(text: str) -> None:
    with pytest.raises((ProofError, NoteError)):
        verify_proof(text, ENTRY, logs.policy("a"))
