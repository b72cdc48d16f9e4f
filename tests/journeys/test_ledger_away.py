"""The consent service is stopped: jobs run until the window ends, then none; it comes back alone.

Real processes with a short window and a quick heartbeat.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from assent.demo_consent import _audit, _fetch
from assent.progress import Progress
from assent.sandbox import Sandbox, check
from tests.journeys import companies

pytestmark = pytest.mark.slow
WINDOW, HEARTBEAT = 12, 2
KEYED = companies.OVERLAP.replace("job: overlap", "job: keyed").replace("mode: ecdh", "mode: keyed")


class Quick(Sandbox):
    """With options of nodes and consent service that an operator may choose."""

    def start(self, name: str) -> None:
        command = self._commands[name]
        for what, option in (
            ("node", ["--consent-window", str(WINDOW)]),
            ("consent", ["--heartbeat", str(HEARTBEAT)]),
        ):
            if command[0] == what and option[0] not in command:
                command += option
        super().start(name)


def run(sandbox: Sandbox, job: Any) -> dict[str, Any]:
    """As `Sandbox.result`, which ends a job when a process is gone: here one is meant to be."""
    node = sandbox.node(job.requester)
    try:
        job_id = node.submit(job.canonical())
        views = list(node.follow(job_id, patience=60))
        return node.result(job_id, views[-1]) or {}
    finally:
        node.close()


def test_jobs_run_until_the_window_ends_and_again_when_the_service_is_back(tmp_path: Path) -> None:
    jobs = "---\n".join((companies.CROSSTAB, companies.OVERLAP, KEYED))
    made = companies.write(tmp_path / "data", seed=31, rows=40, job=jobs)
    federation, (before, during, after) = check(made.federation, made.job)
    with Quick(federation, keep=tmp_path / "kept", progress=Progress.quiet()) as sandbox:
        found = run(sandbox, before)
        made.assert_exact(found)
        assert found["audit"]["log"]
        sandbox.kill("consent")
        stopped = time.monotonic()

        found = run(sandbox, during)
        assert found["status"] == "released", found["error"]
        assert found["overlap"]["count"] == made.expected()[0]
        assert found["audit"] == {"log": None, "index": None, "checkpoint": None}
        assert time.monotonic() - stopped < WINDOW

        while time.monotonic() - stopped < WINDOW + HEARTBEAT:
            time.sleep(0.5)
        found = run(sandbox, after)
        assert (found["status"], found["error"]["code"]) == ("refused", "consent_stale")

        sandbox.start("consent")  # nobody touches the nodes
        started = time.monotonic()
        while (found := run(sandbox, after))["status"] != "released":
            assert found["error"]["code"] == "consent_stale"
            assert time.monotonic() - started < 60
        assert found["overlap"]["count"] == made.expected()[0]
        bundle = tmp_path / "audit.bundle"
        while True:
            asyncio.run(_fetch(sandbox, bundle))
            said = [line for line in bundle.read_bytes().splitlines() if b"job.closed" in line]
            if len(said) >= 6:
                break
            assert time.monotonic() - started < 90
            time.sleep(0.5)
        code, text = _audit(sandbox, bundle)
        assert code == 0, text
