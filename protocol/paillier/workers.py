"""Processes that do chunks: one thread of the parent feeds each, over a pipe of plain bytes.

Who runs it: the node, before it starts grpc's threads; also callers without processes, by
`Inline`.
Learns: a worker sees what its parent sees.  Keys reach it through the pipe only.
Source: docs/ARCHITECTURE.md, "Choices made": with gmpy2 a pool is processes, started by spawn.

Not concurrent.futures: it pickles every argument, can only send a task to any worker (tables
and keys must reach a certain one), and its workers outlive a parent that is killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from protocol.defects import defect
from protocol.errors import AssentError, Failed, ProtocolViolation
from protocol.paillier.chunks import OPERATIONS, Keys, Modulus, Owner
from protocol.paillier.keys import PrivateKey, PublicKey
from protocol.secret import Secret

_log = logging.getLogger("assent.paillier")
RandomBytes = Callable[[int], bytes]

KEPT_KEYS = 4  # per worker: tables are large, and a job has one key
_DONE, _VIOLATION, _INVALID, _BROKEN = range(4)


@dataclass(frozen=True)
class KeyMaterial:
    """A key as a worker gets it: the private one's secret form, or the modulus."""

    label: str
    private: bool
    data: Secret

    def open(self, random: RandomBytes) -> Keys:
        if self.private:
            owner = Owner(PrivateKey.from_secret(self.data), random)
            return Keys(owner.modulus, owner)
        return Keys(Modulus(PublicKey(int.from_bytes(self.data.reveal(), "little"))))


@dataclass(frozen=True)
class Task:
    """One chunk: an operation of `chunks`, how to cut the buffers, the buffers."""

    operation: str
    numbers: tuple[int, ...]
    buffers: tuple[bytes, ...]


class Executor(Protocol):
    """Where chunks run."""

    workers: int

    def run(self, key: KeyMaterial, tasks: Iterable[Task]) -> Iterator[list[bytes]]:
        """Results in the order of the tasks, which are drawn only a little ahead."""
        ...

    def everywhere(self, key: KeyMaterial, task: Task) -> None:
        """Runs one task in every worker."""
        ...

    def forget(self, label: str) -> None: ...

    def close(self) -> None: ...


class KeyRing:
    """The opened keys of one worker, the least recently used of more than `KEPT_KEYS` dropped."""

    def __init__(self, random: RandomBytes) -> None:
        self._random = random
        self._keys: OrderedDict[str, Keys] = OrderedDict()

    def add(self, key: KeyMaterial) -> None:
        if key.label not in self._keys:
            self._keys[key.label] = key.open(self._random)
            if len(self._keys) > KEPT_KEYS:
                self._keys.popitem(last=False)

    def use(self, label: str) -> Keys:
        self._keys.move_to_end(label)
        return self._keys[label]

    def drop(self, label: str) -> None:
        self._keys.pop(label, None)

    def __contains__(self, label: str) -> bool:
        return label in self._keys


class Inline:
    """Chunks in the calling thread; for tests and single calls."""

    workers = 1

    def __init__(self, random: RandomBytes) -> None:
        self._keys = KeyRing(random)
        self._lock = threading.Lock()  # tables are built by the first call, not by two

    def run(self, key: KeyMaterial, tasks: Iterable[Task]) -> Iterator[list[bytes]]:
        for task in tasks:
            with self._lock:
                self._keys.add(key)
                found = OPERATIONS[task.operation](
                    self._keys.use(key.label), task.numbers, task.buffers
                )
            yield found

    def everywhere(self, key: KeyMaterial, task: Task) -> None:
        list(self.run(key, [task]))

    def forget(self, label: str) -> None:
        with self._lock:
            self._keys.drop(label)

    def close(self) -> None:
        pass


# -- the bytes on the pipe -------------------------------------------------------------------


def _join(parts: Iterable[bytes]) -> bytes:
    pieces: list[bytes] = []
    for part in parts:
        pieces += [struct.pack("<Q", len(part)), part]
    return b"".join(pieces)


def _split(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def _numbers(values: Iterable[int]) -> bytes:
    return b",".join(b"%x" % value for value in values)


# -- the worker's side -----------------------------------------------------------------------


def serve(pipe: Connection, random: RandomBytes) -> None:
    """A worker's life: until its parent closes the pipe, or dies in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ring = KeyRing(random)
    while True:
        try:
            pipe.send_bytes(_answer(ring, _split(pipe.recv_bytes())))
        except (EOFError, OSError):
            return  # the parent closed its end, or is gone


def _end_with_parent() -> None:
    """SIGKILL runs no handler in the parent: its end of the sentinel's pipe closes all the same."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)  # in the middle of a chunk, too


def _answer(ring: KeyRing, request: list[bytes]) -> bytes:
    verb, label = request[0], request[1].decode()
    try:
        if verb == b"key":
            ring.add(KeyMaterial(label, request[2] == b"private", Secret(request[3])))
            return _join([bytes([_DONE])])
        if verb == b"drop":
            ring.drop(label)
            return _join([bytes([_DONE])])
        values = [int(text, 16) for text in request[2].split(b",") if text]
        found = OPERATIONS[verb.decode()](ring.use(label), values, request[3:])
        return _join([bytes([_DONE]), *found])
    except ProtocolViolation as error:
        fields = (error.info.code, error.info.cause, error.info.next_step)
        return _join([bytes([_VIOLATION]), *(text.encode() for text in fields)])
    except ValueError as error:
        return _join([bytes([_INVALID]), str(error).encode()])
    except Exception as error:  # a bug must reach the caller as a failed step, not as a lost worker
        _log.error("a Paillier worker broke in %s: %s", verb.decode(), defect(error))
        return _join([bytes([_BROKEN]), type(error).__name__.encode()])


# -- the parent's side -----------------------------------------------------------------------


@dataclass
class _Job:
    key: KeyMaterial | None  # None: forget `label`
    label: str
    task: Task | None
    future: Future[list[bytes]]


class _Worker:
    """One process and the thread that feeds it; a process that dies is replaced once asked."""

    def __init__(self, pool: ProcessPool, number: int) -> None:
        self._pool = pool
        self._number = number
        self.own: deque[_Job] = deque()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._spawn()
        self.thread = threading.Thread(
            target=self._feed, daemon=True, name=f"paillier-feeder-{number}"
        )
        self.thread.start()

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=True)
        self.process: Any = context.Process(
            target=serve, args=(theirs, self._pool.random), daemon=True,
            name=f"assent-paillier-{self._number}",
        )  # fmt: skip
        self.process.start()
        theirs.close()
        self._known.clear()

    def _feed(self) -> None:
        while (job := self._pool.next_for(self)) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                job.future.set_result(self._do(job))
            except (EOFError, OSError):
                job.future.set_exception(self._replace())
            except Exception as error:  # it belongs to the caller, who waits
                job.future.set_exception(error)
        self._pipe.close()

    def _replace(self) -> AssentError:
        self._pipe.close()
        self.process.join(1)
        code = self.process.exitcode
        if not self._pool.closed:
            _log.error("Paillier worker %d ended (exit code %s)", self._number, code)
            try:
                self._spawn()
            except OSError as error:
                _log.error("no new Paillier worker: %s", error)  # the next task tries again
        return Failed(
            "worker_lost",
            f"a process that computes ciphertexts ended (exit code {code})",
            next_step="it may have run out of memory; run the job again",
        )

    def _do(self, job: _Job) -> list[bytes]:
        if job.key is None:
            self._known.pop(job.label, None)
            return self._ask([b"drop", job.label.encode()])
        assert job.task is not None
        self._introduce(job.key)
        task = job.task
        head = [task.operation.encode(), job.label.encode(), _numbers(task.numbers)]
        return self._ask([*head, *task.buffers])

    def _introduce(self, key: KeyMaterial) -> None:
        """Sends the key once; both sides drop the least recently used in the same order."""
        if key.label not in self._known:
            kind = b"private" if key.private else b"public"
            self._ask([b"key", key.label.encode(), kind, key.data.reveal()])
            self._known[key.label] = None
            if len(self._known) > KEPT_KEYS:
                self._known.popitem(last=False)
        self._known.move_to_end(key.label)

    def _ask(self, parts: list[bytes]) -> list[bytes]:
        self._pipe.send_bytes(_join(parts))
        status, *found = _split(self._pipe.recv_bytes())
        if status[0] == _DONE:
            return found
        words = [text.decode() for text in found]
        if status[0] == _VIOLATION:
            raise ProtocolViolation(words[0], words[1], next_step=words[2])
        if status[0] == _INVALID:
            raise ValueError(words[0])
        raise Failed("internal", f"a Paillier worker failed with {words[0]}; its log says where")


class ProcessPool:
    """`workers` processes, started here and now.

    random: must be importable in a child (os.urandom is); it draws there.
    """

    def __init__(self, workers: int, random: RandomBytes) -> None:
        self.workers = workers
        self.random = random
        self.closed = False
        self._shared: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._members = [_Worker(self, number) for number in range(workers)]

    def pids(self) -> list[int]:
        return [member.process.pid for member in self._members]

    def next_for(self, worker: _Worker) -> _Job | None:
        """What a worker does next: its own orders first; None when the pool closes."""
        with self._wake:
            while True:
                if worker.own:
                    return worker.own.popleft()
                if self._shared:
                    return self._shared.popleft()
                if self.closed:
                    return None
                self._wake.wait()

    def run(self, key: KeyMaterial, tasks: Iterable[Task]) -> Iterator[list[bytes]]:
        waiting: deque[Future[list[bytes]]] = deque()
        try:
            for task in tasks:
                waiting.append(self._submit(key, task))
                if len(waiting) > 2 * self.workers:  # one at work, one ready, per worker
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def everywhere(self, key: KeyMaterial, task: Task) -> None:
        for future in self._order(key, key.label, task):
            future.result()

    def forget(self, label: str) -> None:
        for future in self._order(None, label, None):
            try:
                future.result()
            except Failed as error:
                if error.info.code != "worker_lost":  # a process that ended has forgotten
                    raise

    def _submit(self, key: KeyMaterial, task: Task) -> Future[list[bytes]]:
        job = _Job(key, key.label, task, Future())
        with self._wake:
            self._refuse_closed()
            self._shared.append(job)
            self._wake.notify()
        return job.future

    def _order(
        self, key: KeyMaterial | None, label: str, task: Task | None
    ) -> list[Future[list[bytes]]]:
        futures = []
        with self._wake:
            self._refuse_closed()
            for member in self._members:
                job = _Job(key, label, task, Future())
                member.own.append(job)
                futures.append(job.future)
            self._wake.notify_all()
        return futures

    def _refuse_closed(self) -> None:
        if self.closed:
            raise Failed("worker_lost", "the Paillier workers are stopped")

    def close(self) -> None:
        """Cancels what waits, ends the processes; a chunk at work is not waited for."""
        with self._wake:
            self.closed = True
            for job in [*self._shared, *(job for member in self._members for job in member.own)]:
                job.future.cancel()
            self._wake.notify_all()
        for member in self._members:
            member.thread.join(0.2)
            member.process.terminate()
            member.process.join(5)
            member.thread.join(5)
