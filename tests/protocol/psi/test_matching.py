"""Both modes, from identifiers to the rows that met, against the plain oracle."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.psi.parties import (
    ARITHMETICS,
    arithmetic_is,
    federations,
    keyed,
    paired,
    ringed,
    shared,
)
from tests.reference import psi_oracle
from tests.reference.psi_oracle import Person

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=60, deadline=None)


@MANY
@given(federations())
def test_keyed_equals_the_oracle(world: tuple[list[list[Person]], int]) -> None:
    (left, right), types = world
    k = os.urandom(32)
    found = paired(keyed(left, types, k), keyed(right, types, k), types)
    assert found == psi_oracle.waterfall(left, right, types)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@FEW
@given(world=federations())
def test_ecdh_equals_the_oracle(arithmetic: str, world: tuple[list[list[Person]], int]) -> None:
    (left, right), types = world
    with arithmetic_is(arithmetic):
        one, two = ringed([left, right], types, os.urandom(32))
    assert paired(one, two, types) == psi_oracle.waterfall(left, right, types)


@MANY
@given(st.integers(2, 4).flatmap(federations))
def test_members_of_all_parties_equal_the_oracle(world: tuple[list[list[Person]], int]) -> None:
    sides, types = world
    k = os.urandom(32)
    assert shared([keyed(p, types, k) for p in sides], types) == psi_oracle.common(sides, types)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@settings(FEW, max_examples=3)
@given(world=st.integers(3, 4).flatmap(lambda n: federations(n, most=6)))
def test_a_ring_of_parties_equals_the_oracle(
    arithmetic: str, world: tuple[list[list[Person]], int]
) -> None:
    sides, types = world
    with arithmetic_is(arithmetic):
        tables = ringed(sides, types, os.urandom(32))
    assert shared(tables, types) == psi_oracle.common(sides, types)


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_parties(n: int) -> None:
    people: list[Person] = [("a", "b")] * n
    k = os.urandom(32)
    assert paired(keyed(people, 2, k), keyed(people, 2, k), 2) == {i: i for i in range(n)}


def test_the_first_type_decides() -> None:
    """Phone says 0-1, e-mail says 0-0: phone wins and the e-mail's other owner stays alone."""
    k = os.urandom(32)
    left: list[Person] = [("p0", "e0")]
    right: list[Person] = [("p1", "e0"), ("p0", "e1")]
    assert paired(keyed(left, 2, k), keyed(right, 2, k), 2) == {1: 0}


def test_an_identifier_of_one_type_does_not_match_another_type() -> None:
    k = os.urandom(32)
    left: list[Person] = [("same", None)]
    right: list[Person] = [(None, "same")]
    assert paired(keyed(left, 2, k), keyed(right, 2, k), 2) == {}
