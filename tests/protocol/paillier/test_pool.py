"""The worker processes: same answers, errors as themselves, no orphan however a parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from protocol.errors import Failed, ProtocolViolation
from protocol.paillier import workers
from protocol.paillier.keys import PrivateKey
from protocol.paillier.pool import PoolKernel
from protocol.paillier.workers import ProcessPool
from tests.protocol.paillier.rows import array, naive_dot, numbers, plain, seeded, small_key

ROOT = Path(__file__).parents[3]
KEY = small_key()
WIDTH = KEY.public.width


@pytest.fixture(scope="module")
def kernel() -> Iterator[PoolKernel]:
    with PoolKernel.start(processes=2) as started:
        yield started


def _pool(kernel: PoolKernel) -> ProcessPool:
    assert isinstance(kernel._executor, ProcessPool)
    return kernel._executor


def test_one_process_means_none() -> None:
    with PoolKernel.start(processes=1) as kernel:
        assert isinstance(kernel._executor, workers.Inline)


def test_answers_are_those_of_the_calling_thread(kernel: PoolKernel) -> None:
    values = list(range(3000))
    kernel.prepare(KEY, 3000)
    seen: list[tuple[int, int]] = []
    cts = kernel.encrypt(KEY, plain(KEY, values), lambda d, t: seen.append((d, t)))
    assert seen[-1] == (3000, 3000)
    assert numbers(kernel.decrypt(KEY, cts)) == values
    kernel.check(KEY.public, cts)
    groups = (np.arange(3000) % 7 - 1).astype(np.int32)
    weights = (np.arange(3000) * 11 % 1000).astype(np.uint64)
    inline = PoolKernel.inline()
    for sums in (
        lambda k: k.sum_by_group(KEY.public, cts, groups, 6),
        lambda k: k.dot_by_group(KEY.public, cts, groups, 6, weights, 10),
        lambda k: k.linear(KEY.public, [(cts, -3), (cts[::-1], 1 << 20)], [-5] * 3000),
        lambda k: k.rerandomise(KEY.public, cts, seeded(3)),
    ):
        assert np.array_equal(sums(kernel), sums(inline))
    found = numbers(kernel.dot_by_group(KEY.public, cts, groups, 6, weights, 10))
    want = naive_dot(KEY.public, numbers(cts), groups.tolist(), 6, weights.tolist())
    assert found == want


def test_errors_arrive_as_what_they_are(kernel: PoolKernel) -> None:
    with pytest.raises(ProtocolViolation, match="between") as caught:
        kernel.check(KEY.public, array([1, 2, 0], WIDTH))
    assert caught.value.info.code == "bad_ciphertext"
    assert caught.value.info.next_step
    with pytest.raises(ValueError, match="below the modulus"):
        kernel.encrypt(KEY, plain(KEY, [0] * 20 + [KEY.public.n]))
    assert numbers(kernel.decrypt(KEY, kernel.encrypt(KEY, plain(KEY, [8])))) == [8]


def test_threads_with_more_keys_than_a_worker_keeps(kernel: PoolKernel) -> None:
    keys = [small_key(seed=seed) for seed in range(workers.KEPT_KEYS + 3)]

    def job(key: PrivateKey) -> bool:
        for _ in range(4):
            values = list(range(50))
            if numbers(kernel.decrypt(key, kernel.encrypt(key, plain(key, values)))) != values:
                return False
        return True

    with ThreadPoolExecutor(len(keys)) as threads:
        assert all(threads.map(job, keys))


def test_a_forgotten_key_can_come_back(kernel: PoolKernel) -> None:
    cts = kernel.encrypt(KEY, plain(KEY, [5] * 30))
    kernel.forget(KEY.public)
    assert numbers(kernel.decrypt(KEY, cts)) == [5] * 30


def test_a_lost_worker_fails_its_job_and_is_replaced() -> None:
    with PoolKernel.start(processes=2) as kernel:
        cts = kernel.encrypt_zero(KEY, 100)
        before = _pool(kernel).pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(Failed) as caught:
            kernel.check(KEY.public, cts)
        assert caught.value.info.code == "worker_lost"
        for _ in range(3):  # each worker's next task may be the one that finds its process gone
            try:
                kernel.prepare(KEY, 10)
            except Failed:
                continue
        kernel.check(KEY.public, kernel.encrypt_zero(KEY, 100))
        assert not set(before) & set(_pool(kernel).pids())


def test_a_closed_pool_refuses_and_leaves_no_process() -> None:
    kernel = PoolKernel.start(processes=2)
    pids = _pool(kernel).pids()
    kernel.close()
    assert not any(_alive(pid) for pid in pids)
    with pytest.raises(Failed, match="stopped"):
        kernel.check(KEY.public, array([1], WIDTH))


def test_keys_are_on_no_command_line_and_in_no_environment(kernel: PoolKernel) -> None:
    kernel.encrypt_zero(KEY, 10)
    secrets = [str(KEY.p), f"{KEY.p:x}", str(KEY.q), f"{KEY.q:x}"]
    for pid in _pool(kernel).pids():
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
            assert not any(secret in shown for secret in secrets)


PARENT = """
import os, signal, sys, threading, time
from protocol.paillier.keys import insecure_generate
from protocol.paillier.pool import PoolKernel, _private
from protocol.paillier.workers import Task

if __name__ == "__main__":
    # A shell's background job ignores SIGINT, and so would everything that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kernel = PoolKernel.start(processes=2)
    key = insecure_generate(2048, os.urandom)
    kernel.prepare(key, 100)
    busy = sys.argv[1] == "busy"
    if busy:
        # One chunk of half a minute: a worker that only looks at its pipe would work on.
        long = Task("encrypt", (100,), (bytes(256 * 100_000),))
        run = kernel._executor.run(_private(key), [long, long])
        threading.Thread(target=list, args=(run,), daemon=True).start()
        time.sleep(0.5)
    print(*kernel._executor.pids(), flush=True)
    time.sleep(60)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["idle", "busy"])
def test_workers_end_with_their_parent(tmp_path: Path, number: int, what: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), what],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(_alive(pid) for pid in pids)
    parent.send_signal(number)
    parent.wait(20)
    parent.stdout.close()
    until = time.monotonic() + 5
    while any(_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)
