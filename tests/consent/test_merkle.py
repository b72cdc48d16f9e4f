"""The tree against RFC 6962 read aloud, public vectors, and everything that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.errors import ProofError
from consent.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    hash_children,
    hash_leaf,
    inclusion_proof,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from protocol.errors import ProtocolViolation
from tests.reference import merkle_oracle as oracle

MOST = 130
LEAVES = [b"leaf %d" % i for i in range(MOST + 1)]
ROOTS = [oracle.mth(LEAVES[:n]) for n in range(MOST + 2)]
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/rfc6962_tree.json").read_text())


def test_roots_of_every_size() -> None:
    growing = CompactRange()
    for n in range(MOST + 1):
        assert tree_root(LEAVES[:n]) == growing.root() == ROOTS[n]
        growing.append(hash_leaf(LEAVES[n]))
    assert tree_root([]) == EMPTY_ROOT


@pytest.mark.parametrize("n", range(1, MOST + 1))
def test_every_inclusion_proof(n: int) -> None:
    for index in range(n):
        proof = inclusion_proof(LEAVES, index, n)
        assert proof == oracle.path(index, LEAVES[:n])
        leaf = hash_leaf(LEAVES[index])
        verify_inclusion(leaf, index, n, proof, ROOTS[n])
        for wrong in bad_proofs(proof):
            refused(verify_inclusion, leaf, index, n, wrong, ROOTS[n])
        refused(verify_inclusion, leaf, index, n, proof, ROOTS[n + 1])
        refused(verify_inclusion, hash_leaf(b"other"), index, n, proof, ROOTS[n])
        if n > 1:  # another place, the same size
            refused(verify_inclusion, leaf, (index + 1) % n, n, proof, ROOTS[n])


@pytest.mark.parametrize("n", range(1, MOST + 1))
def test_every_consistency_proof(n: int) -> None:
    for m in range(1, n + 1):
        proof = consistency_proof(LEAVES, m, n)
        assert proof == oracle.proof(m, LEAVES[:n])
        verify_consistency(m, n, proof, ROOTS[m], ROOTS[n])
        for wrong in bad_proofs(proof):
            refused(verify_consistency, m, n, wrong, ROOTS[m], ROOTS[n])
        refused(verify_consistency, m, n, proof, ROOTS[m - 1], ROOTS[n])
        refused(verify_consistency, m, n, proof, ROOTS[m], ROOTS[n + 1])
        if m < n:
            refused(verify_consistency, n, m, proof, ROOTS[n], ROOTS[m])
            refused(verify_consistency, m, n, proof, ROOTS[n], ROOTS[m])
            refused(verify_consistency, m - 1, n, proof, ROOTS[m], ROOTS[n])


def bad_proofs(proof: list[bytes]) -> Iterator[list[Any]]:
    """Every way of the public vectors to spoil a proof."""
    yield [*proof, b""]
    yield [*proof, bytes(32)]
    yield [bytes(32), *proof]
    if not proof:
        return
    yield []
    yield proof[:-1]
    yield proof[1:]
    yield [*proof, proof[-1]]
    yield [proof[0], *proof]
    yield [proof[0][:-1], *proof[1:]]
    yield [bytearray(proof[0]), *proof[1:]]
    for place, node in enumerate(proof):
        flipped = bytes([node[0] ^ 1]) + node[1:]
        yield [*proof[:place], flipped, *proof[place + 1 :]]
        if len(proof) > 1:
            yield [*proof[:place], *proof[place + 1 :]]
    if len(set(proof)) > 1:
        yield proof[::-1]


def refused(verify: Callable[..., None], *arguments: object) -> None:
    with pytest.raises(ProofError):
        verify(*arguments)


# -- public vectors --------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=str)
def test_public_inclusion_vectors(vector: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(vector["leaf_hash"]), bytes.fromhex(vector["root"])
    proof = [bytes.fromhex(node) for node in vector["proof"]]
    index, size = vector["index"], vector["size"]
    verify_inclusion(leaf, index, size, proof, root)
    leaves = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
    assert (tree_root(leaves[:size]), hash_leaf(leaves[index])) == (root, leaf)
    assert inclusion_proof(leaves, index, size) == proof
    for other in (index - 1, index + 1, index ^ 2):
        refused(verify_inclusion, leaf, other, size, proof, root)
    refused(verify_inclusion, leaf, index, size * 2, proof, root)
    refused(verify_inclusion, leaf, index, size // 2, proof, root)
    refused(verify_inclusion, b"", index, size, proof, root)
    refused(verify_inclusion, leaf, index, size, proof, b"")
    for spoiled in (*bad_proofs(proof), [*proof, root], [root, *proof]):
        refused(verify_inclusion, leaf, index, size, spoiled, root)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=str)
def test_public_consistency_vectors(vector: dict[str, Any]) -> None:
    old, new = bytes.fromhex(vector["old_root"]), bytes.fromhex(vector["new_root"])
    proof = [bytes.fromhex(node) for node in vector["proof"]]
    m, n = vector["old_size"], vector["new_size"]
    verify_consistency(m, n, proof, old, new)
    leaves = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
    assert consistency_proof(leaves, m, n) == proof
    if m == n:
        return
    for other in (m - 1, m + 1, m ^ 2):
        refused(verify_consistency, other, n, proof, old, new)
    refused(verify_consistency, m, n * 2, proof, old, new)
    refused(verify_consistency, m, n // 2, proof, old, new)
    refused(verify_consistency, m, n, proof, new, old)
    refused(verify_consistency, m, n, proof, bytes(32), new)
    refused(verify_consistency, m, n, proof, old, bytes(32))
    for spoiled in (*bad_proofs(proof), [*proof, old], [*proof, new], [old, *proof], [new, *proof]):
        refused(verify_consistency, m, n, spoiled, old, new)


@pytest.mark.parametrize(
    ("m", "n", "proof", "old", "new"),
    [
        (0, 0, [], EMPTY_ROOT, EMPTY_ROOT),
        (0, 1, [], EMPTY_ROOT, ROOTS[1]),
        (0, 1, [ROOTS[1]], EMPTY_ROOT, ROOTS[1]),
        (1, 1, [], ROOTS[1], ROOTS[2]),
        (1, 1, [bytes(32)], ROOTS[1], ROOTS[1]),
        (1, 0, [], ROOTS[1], EMPTY_ROOT),
        (2, 1, [ROOTS[1]], ROOTS[2], ROOTS[1]),
        (-1, 1, [], ROOTS[1], ROOTS[1]),
        (True, 1, [], ROOTS[1], ROOTS[1]),
        (1, 2**63, [bytes(32)] * 63, ROOTS[1], ROOTS[2]),
        (1, 1, [], "x" * 32, "x" * 32),
        (1, 1, [], ROOTS[1][:31], ROOTS[1][:31]),
    ],
)
def test_sizes_and_types_that_are_refused(
    m: Any, n: int, proof: list[bytes], old: Any, new: Any
) -> None:
    refused(verify_consistency, m, n, proof, old, new)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 3), (-1, 2), (False, 1), (0, 1.0)])
def test_places_outside_the_tree_are_refused(index: Any, size: Any) -> None:
    refused(verify_inclusion, ROOTS[1], index, size, [], ROOTS[1])
    if size in (1, 3):
        refused(inclusion_proof, LEAVES, index, size)


def test_a_leaf_cannot_pass_for_a_node_nor_a_node_for_a_leaf() -> None:
    left, right = hash_leaf(b"a"), hash_leaf(b"b")
    assert hash_leaf(left + right) != hash_children(left, right) == tree_root([b"a", b"b"])


def test_errors_are_protocol_violations_in_words() -> None:
    with pytest.raises(ProtocolViolation, match="bad_proof"):
        verify_inclusion(ROOTS[1], 0, 1, [], ROOTS[2])
    with pytest.raises(ProofError, match="not 200"):
        inclusion_proof(LEAVES, 0, 200)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=300), st.data())
def test_any_leaves(leaves: list[bytes], data: st.DataObject) -> None:
    n = len(leaves)
    m = data.draw(st.integers(1, n))
    index = data.draw(st.integers(0, n - 1))
    root = oracle.mth(leaves)
    verify_inclusion(hash_leaf(leaves[index]), index, n, inclusion_proof(leaves, index), root)
    verify_consistency(m, n, consistency_proof(leaves, m), oracle.mth(leaves[:m]), root)
    forged = [*leaves[: m - 1], leaves[m - 1] + b"!"]
    refused(verify_consistency, m, n, consistency_proof(leaves, m), oracle.mth(forged), root)
