"""The Merkle tree of RFC 6962 section 2.1 with SHA-256: roots, proofs and their verifiers.

Who runs it: the log makes proofs; witnesses, nodes, auditors and people's own tools verify
them.  Pure: bytes and integers in, bytes out; every verifier raises `ProofError`.
Learns: nobody; a proof holds hashes of other entries only.

A proof is described by the ranges of leaves whose tree hashes it lists (`inclusion_ranges`,
`consistency_ranges`), so that prover and verifier cannot disagree about order or length: a
proof of another length than the ranges is refused before anything is hashed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from consent.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
MAX_SIZE = 2**63 - 1  # tlog-cosignature and every 64-bit tool stop here
Range = tuple[int, int]

_sha256 = hashlib.sha256


def hash_leaf(data: bytes) -> bytes:
    return _sha256(b"\x00" + data).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 over the entries themselves; of none: the hash of nothing."""
    return root_of_hashes([hash_leaf(leaf) for leaf in leaves])


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes, or over the roots of equal full subtrees with a smaller one last.

    Level by level, an odd last node goes up unchanged: the same tree as RFC 6962's split at
    the largest power of two, without recursion.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [_sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return level[0]


class CompactRange:
    """A tree that only grows: the roots of its full subtrees, largest first.

    `extend` costs one or two hashes an entry, `root` at most 63; nothing else is kept.
    """

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes] = []

    @classmethod
    def load(cls, size: int, nodes: bytes) -> Self:
        """What `dump` gave for a tree of `size`; raises ProofError for other bytes."""
        made = cls()
        if len(nodes) != size.bit_count() * HASH_BYTES:
            raise ProofError("the kept state of a tree is damaged")
        made.size = size
        made._nodes = [nodes[i : i + HASH_BYTES] for i in range(0, len(nodes), HASH_BYTES)]
        return made

    def dump(self) -> bytes:
        """Its state: the roots of its full subtrees."""
        return b"".join(self._nodes)

    def append(self, leaf_hash: bytes) -> None:
        node, size = leaf_hash, self.size
        while size & 1:
            node = _sha256(b"\x01" + self._nodes.pop() + node).digest()
            size >>= 1
        self._nodes.append(node)
        self.size += 1

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        for leaf_hash in leaf_hashes:
            self.append(leaf_hash)

    def root(self) -> bytes:
        if not self._nodes:
            return EMPTY_ROOT
        node = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            node = hash_children(left, node)
        return node


# -- which subtrees a proof is made of --------------------------------------------------------


def split(n: int) -> int:
    """The largest power of two below n (n > 1)."""
    return 1 << ((n - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees beside the way from leaf `index` to the root, nearest first."""
    start, end = 0, size
    ranges: list[Range] = []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """The subtrees of PROOF(old, D[new]) in RFC 6962's order, 0 < old <= new."""
    start, end = 0, new_size
    ranges: list[Range] = []
    while end != old_size:
        middle = start + split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # else the last subtree is the old tree itself, whose root the verifier has
        ranges.append((start, end))
    return ranges[::-1]


# -- proofs -----------------------------------------------------------------------------------

RangeHash = Callable[[int, int], bytes]  # MTH(D[start:end])


def prove_inclusion(index: int, size: int, range_hash: RangeHash) -> list[bytes]:
    """The inclusion proof of leaf `index` in the tree of `size`, from the hashes of subtrees."""
    _check_index(index, size)
    return [range_hash(start, end) for start, end in inclusion_ranges(index, size)]


def prove_consistency(old_size: int, new_size: int, range_hash: RangeHash) -> list[bytes]:
    _check_sizes(old_size, new_size)
    return [range_hash(start, end) for start, end in consistency_ranges(old_size, new_size)]


def inclusion_proof(leaves: Sequence[bytes], index: int, size: int | None = None) -> list[bytes]:
    """Of entry `index` in the tree over the first `size` entries (all of them when not given)."""
    size = _size_of(leaves, size)
    return prove_inclusion(index, size, lambda start, end: tree_root(leaves[start:end]))


def consistency_proof(
    leaves: Sequence[bytes], old_size: int, new_size: int | None = None
) -> list[bytes]:
    """From the tree over the first `old_size` entries to that over the first `new_size`."""
    new_size = _size_of(leaves, new_size)
    return prove_consistency(old_size, new_size, lambda start, end: tree_root(leaves[start:end]))


# -- verifiers --------------------------------------------------------------------------------


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raises ProofError unless `proof` shows leaf `index` in the tree of `size` with `root`."""
    _check_index(index, size)
    ranges = inclusion_ranges(index, size)
    node = _hash(leaf_hash, "the leaf hash")
    for (start, _), sibling in zip(ranges, _proof(proof, len(ranges)), strict=True):
        node = hash_children(node, sibling) if start > index else hash_children(sibling, node)
    if not hmac.compare_digest(node, _hash(root, "the root")):
        raise ProofError(f"entry {index} is not in the tree of size {size} with this root")


def verify_consistency(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Raises ProofError unless the tree of `old_size` is the beginning of that of `new_size`.

    An old size of 0 is refused: every tree begins with the empty one, so that such a proof
    says nothing, and a caller who asks for it has lost its state.
    """
    _check_sizes(old_size, new_size)
    ranges = consistency_ranges(old_size, new_size)
    hashes = _proof(proof, len(ranges))
    _hash(old_root, "the old root")
    _hash(new_root, "the new root")
    steps = list(zip(ranges, hashes, strict=True))
    seed = steps.pop(0)[1] if steps and steps[0][0][1] == old_size else old_root
    old, new = seed, seed
    for (start, _), node in steps:
        if start >= old_size:
            new = hash_children(new, node)
        else:
            old, new = hash_children(node, old), hash_children(node, new)
    if not hmac.compare_digest(old, old_root):
        raise ProofError(f"the proof does not lead to the old root at size {old_size}")
    if not hmac.compare_digest(new, new_root):
        raise ProofError(
            f"the tree of size {new_size} is not a continuation of that of size {old_size}"
        )


def _check_index(index: int, size: int) -> None:
    _number(index, "an index")
    _number(size, "a tree size")
    if index >= size:
        raise ProofError(f"index {index} is outside a tree of size {size}")


def _check_sizes(old_size: int, new_size: int) -> None:
    _number(old_size, "a tree size")
    _number(new_size, "a tree size")
    if old_size == 0:
        raise ProofError("consistency with the empty tree says nothing")
    if old_size > new_size:
        raise ProofError(f"the old size {old_size} is above the new one, {new_size}")


def _number(value: int, what: str) -> None:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:  # a bool is an int to isinstance
        raise ProofError(f"{what} is a number from 0 to {MAX_SIZE}")


def _hash(value: bytes, what: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise ProofError(f"{what} is not {HASH_BYTES} bytes")
    return value


def _proof(proof: Sequence[bytes], length: int) -> list[bytes]:
    if len(proof) != length:
        raise ProofError(f"the proof has {len(proof)} hashes where {length} are needed")
    return [_hash(node, "a hash of the proof") for node in proof]


def _size_of(leaves: Sequence[bytes], size: int | None) -> int:
    if size is None:
        return len(leaves)
    if size > len(leaves):
        raise ProofError(f"there are {len(leaves)} entries, not {size}")
    return size
