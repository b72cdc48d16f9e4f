"""The child of test_log_kill: appends batches and dies by SIGKILL at a chosen step.

python -m tests.consent.killed_log FOLDER STEP NAME    (STEP counts calls into the stores)
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consent.log import Log
from consent.log_storage import LogTransaction, StoredHead
from consent.tiles import Tiles
from tests.consent import logs
from tests.consent.made import Clock


class Dying:
    """Counts steps; at the chosen one the process is gone, as by a power cut."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A store whose every call is a step; before a call is after the one before it."""

    def __init__(self, real: Any, dying: Dying) -> None:
        self._real = real
        self._dying = dying

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(self._real, name)

        def call(*arguments: Any) -> Any:
            answer = real(*arguments)
            self._dying.step()
            return answer

        return call


class WatchedLog(Watched):
    @contextmanager
    def writing(self, epoch: int) -> Iterator[LogTransaction]:
        with self._real.writing(epoch) as tx:
            self._dying.step()
            yield WatchedTransaction(tx, self._dying)  # its last step: not yet committed
        self._dying.step()


class WatchedTransaction:
    def __init__(self, real: LogTransaction, dying: Dying) -> None:
        self._real = real
        self._dying = dying
        self.head: StoredHead = real.head

    def add(self, entries: Sequence[bytes], tiles: Tiles, size: int, root: bytes) -> None:
        self._real.add(entries, tiles, size, root)
        self._dying.step()

    def put_checkpoint(self, size: int, note: str) -> None:
        self._real.put_checkpoint(size, note)
        self._dying.step()


def main(folder: str, step: int, name: str) -> None:
    stores = logs.sqlite(Path(folder))
    dying = Dying(step)
    storage: Any = WatchedLog(stores.storage(), dying)
    openings: Any = Watched(stores.openings(), dying)
    log = Log(storage, openings, logs.log_key(), Clock(), os.urandom)
    for batch in range(3):
        done = log.append(logs.consents(f"{name}-{batch}", 5))
        print("logged", *done.indexes, flush=True)
    done = log.erase("retailer", logs.id_of(f"erase {name}"), [0, 1])
    print("erased", *done.indexes, flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
