"""`assent job result` at each company: its own part, and only of a job that was released."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from party_node.control_client import NodeClient

RESULT = {"status": "released", "requester": "shop", "match": {}}
OWN = {"consent": {"rows": 5}}


class Node:
    """What a node would answer; the socket is not asked."""

    def __init__(self, state: str, listed: str | None, result: dict | None) -> None:
        self._state, self._listed = state, listed
        self._record = {"own": OWN} | ({"result": dict(result)} if result else {})

    result = NodeClient.result
    _released = NodeClient._released

    def record(self, job_id: str) -> dict:
        return self._record

    def jobs(self) -> list:
        return [SimpleNamespace(job_id="a", state=self._listed)] if self._listed else []

    def watch(self, job_id: str, since: int, wait: float) -> SimpleNamespace:
        return SimpleNamespace(state=self._state, error=json.dumps({"code": "cancelled"}))

    def status(self) -> dict:
        return {"party": "media"}


@pytest.mark.parametrize(
    ("state", "listed"),
    [("released", "released"), ("released", "running"), ("released", None)],
)
def test_a_provider_sees_its_own_part_under_its_own_name(state: str, listed: str | None) -> None:
    assert Node(state, listed, RESULT).result("a") == RESULT | {"consent": {"media": {"rows": 5}}}


@pytest.mark.parametrize("state", ["running", "unreachable", "refused", "failed"])
def test_a_part_of_a_job_that_was_not_released_is_not_shown(state: str) -> None:
    assert Node(state, "running", RESULT).result("a") is None
    assert Node(state, "failed", RESULT).result("a") is None
    assert Node(state, None, None).result("a") is None
