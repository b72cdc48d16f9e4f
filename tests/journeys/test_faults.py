"""The main faults once over real processes and sockets; the rest is in the in-memory world.

Killed means SIGKILL, in the middle of a job; the process is started again with its folder.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assent.progress import Progress
from assent.sandbox import Sandbox, check
from catalog.collaboration import Collaboration, Endpoint, dump_collaboration, load_collaboration
from party_node.main import run
from protocol.errors import BadInput
from protocol.identity import create_keys
from protocol.transport import kit
from tests.architecture.sources import ROOT
from tests.journeys import companies
from tests.journeys.conftest import Up

pytestmark = pytest.mark.slow
REQUESTER, PROVIDER = "零售商", "media"


@contextlib.contextmanager
def federation(folder: Path, rows: int) -> Iterator[tuple[Sandbox, companies.Companies, Any]]:
    made = companies.write(folder / "data", seed=21, rows=rows)
    loaded, (spec,) = check(made.federation, made.job)
    with Sandbox(loaded, keep=folder / "kept", progress=Progress.quiet()) as sandbox:
        yield sandbox, made, spec


def run_with(sandbox: Sandbox, spec: Any, kills: dict[str, str]) -> dict[str, Any]:
    """Runs `spec`; kills process kills[stage] when a stage begins, and starts it again."""
    waiting = dict(kills)
    job_id = sandbox.node(REQUESTER).submit(spec.canonical())
    while True:
        node = sandbox.node(REQUESTER)
        victim = None
        for view in node.follow(job_id, patience=30):
            if (victim := waiting.pop(view.stage, None)) is not None:
                break
        if victim is None:
            break
        node.close()
        sandbox.kill(victim)
        sandbox.start(victim)
        if victim == REQUESTER:  # else look on at once: the job goes on meanwhile
            sandbox.wait_ready()
    assert not waiting, f"the job never came to {sorted(waiting)}"
    found = node.result(job_id, view)
    assert found is not None
    return found


def test_each_process_is_killed_once_and_the_job_is_exact(tmp_path: Path) -> None:
    """One job survives the death of the requester's node, the coordinator and the provider's."""
    with federation(tmp_path, rows=8000) as (sandbox, made, spec):
        found = run_with(
            sandbox,
            spec,
            {"encrypt": REQUESTER, "recheck": "coordinator", f"aggregate/{PROVIDER}": PROVIDER},
        )
    made.assert_exact(found)


# -- who may take part ---------------------------------------------------------------------


def node_run(party: Path, collaboration: Path, data: Path) -> subprocess.CompletedProcess[str]:
    """`assent node run` that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "assent", "node", "run", "--party", str(party),
         "--collaboration", str(collaboration), "--data", str(data)],
        cwd=ROOT, capture_output=True, text=True, timeout=180, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_second_node_on_the_same_folder_is_refused(up: Up) -> None:
    done = node_run(
        up.root / PROVIDER / "party.yaml", up.root / "collaboration.yaml", up.root / PROVIDER
    )
    assert done.returncode == 2
    assert "another node is running with this data folder — stop it" in last_line(done)


def test_a_second_node_of_the_same_party_is_refused(up: Up, tmp_path: Path) -> None:
    """A copy of the keys on another machine, while the first one lives."""
    shutil.copytree(up.root / PROVIDER / "keys", tmp_path / "node" / "keys")
    done = node_run(
        up.root / PROVIDER / "party.yaml", up.root / "collaboration.yaml", tmp_path / "node"
    )
    assert done.returncode == 4
    assert "(second_instance)" in last_line(done)
    assert "another node with its own data folder is running" in last_line(done)
    assert "stop the other node first" in last_line(done)
    assert up.sandbox.node(PROVIDER).status()["ready"]


def foreign(up: Up, folder: Path, *, start: datetime.datetime, days: int) -> tuple[Path, Path]:
    """New keys for the provider that the servers do not know: its collaboration.yaml and data."""
    keys = create_keys(
        PROVIDER, "party", storage=secrets.token_bytes(32), now=start, days=days
    )  # fmt: skip
    data = folder / "node"
    (data / "keys").mkdir(parents=True, mode=0o700)
    values = (keys.tls_key, keys.signing, keys.sealing, keys.storage)
    for file, value in zip(kit._FILES, values, strict=True):
        kit.write_private(data / "keys" / file, value.reveal())
    known = load_collaboration(up.root / "collaboration.yaml")
    changed = Collaboration(
        known.coordinator, known.consent, {**known.parties, PROVIDER: Endpoint.of(keys.card)}
    )
    (folder / "collaboration.yaml").write_text(dump_collaboration(changed), encoding="utf-8")
    return folder / "collaboration.yaml", data


def test_keys_that_the_servers_do_not_know_are_refused(up: Up, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    file, data = foreign(up, tmp_path, start=now, days=30)
    done = node_run(up.root / PROVIDER / "party.yaml", file, data)
    assert done.returncode == 4
    assert "refuses this party's certificate" in last_line(done)
    assert "(certificate_refused)" in last_line(done)
    assert "card" in last_line(done).partition(" — ")[2]


def test_an_expired_certificate_is_said(up: Up, tmp_path: Path) -> None:
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=400)
    file, data = foreign(up, tmp_path, start=start, days=365)
    done = node_run(up.root / PROVIDER / "party.yaml", file, data)
    assert done.returncode == 4
    assert "certificate expired on " in last_line(done)
    assert "assent kit create" in last_line(done)


def test_a_party_that_is_not_in_the_collaboration(up: Up, tmp_path: Path) -> None:
    party = tmp_path / "party.yaml"
    text = (up.root / PROVIDER / "party.yaml").read_text("utf-8")
    party.write_text(text.replace(f"name: {PROVIDER}", "name: somebody"), encoding="utf-8")
    done = node_run(party, up.root / "collaboration.yaml", tmp_path / "node")
    assert done.returncode == 2
    assert "has no card of somebody" in last_line(done)


def test_a_node_without_events_takes_none_by_http(up: Up, tmp_path: Path) -> None:
    files = up.root / PROVIDER / "party.yaml", up.root / "collaboration.yaml"
    with pytest.raises(BadInput, match="declares no events that --ingest could take"):
        run(*files, tmp_path, up.root / PROVIDER / "keys", sandbox=True, ingest=8790)


@pytest.mark.parametrize("service", ["coordinator", "consent"])
def test_a_server_whose_port_is_taken_says_so(up: Up, tmp_path: Path, service: str) -> None:
    shutil.copytree(up.root / service / "keys", tmp_path / "data" / "keys")
    done = subprocess.run(
        [sys.executable, "-m", "assent", service, "run",
         "--collaboration", str(up.root / "collaboration.yaml"), "--data", str(tmp_path / "data")],
        cwd=ROOT, capture_output=True, text=True, timeout=180, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode in (2, 4), done.stderr
    assert "cannot listen on 127.0.0.1:" in last_line(done)
    assert "--listen" in last_line(done).partition(" — ")[2]
