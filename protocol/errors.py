"""The four ways a run can end badly, as types.

Every error names the fault (ours, theirs, refused), the party, the stage and
the next step; the process boundary turns it into one sentence and an exit code
(docs/CONTRACTS in README: 0 released, 2 bad input, 3 refused, 4 failed).
Checks raise one of these; nothing returns False for "not allowed".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# Codes whose step is tried again with backoff, at most five times
# (architecture: engine rule 8).  Everything else ends the job at once.
RETRYABLE = frozenset(
    {"unavailable", "upload_interrupted", "download_interrupted", "lease_lost", "code_changed"}
)


@dataclass(frozen=True)
class ErrorInfo:
    """What crosses a process boundary of an error: words, never data.

    Units: none.  `code` is a stable snake_case word scripts may match on.
    """

    code: str
    cause: str
    party: str = ""
    stage: str = ""
    next_step: str = ""

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE

    def sentence(self) -> str:
        where = " ".join(x for x in (self.party, f"at {self.stage}" if self.stage else "") if x)
        head = f"{where}: {self.cause}" if where else self.cause
        return f"{head} ({self.code})" + (f" — {self.next_step}" if self.next_step else "")


class AssentError(Exception):
    """Base of every error that a person may see; carries an `ErrorInfo`."""

    exit_code: ClassVar[int] = 4
    status: ClassVar[str] = "failed"

    def __init__(
        self, code: str, cause: str, *, party: str = "", stage: str = "", next_step: str = ""
    ) -> None:
        self.info = ErrorInfo(code, cause, party, stage, next_step)
        super().__init__(self.info.sentence())

    def __reduce__(self) -> tuple[object, ...]:
        # A process pool carries errors home as constructor arguments.
        return (_rebuild, (type(self), self.info))


def _rebuild(cls: type[AssentError], info: ErrorInfo) -> AssentError:
    error = cls.__new__(cls)
    Exception.__init__(error, info.sentence())
    error.info = info
    return error


class BadInput(AssentError):
    """What the person gave is wrong: file, key or row, and the fix.  Exit 2."""

    exit_code: ClassVar[int] = 2
    status: ClassVar[str] = "bad_input"

    def __init__(self, cause: str, *, code: str = "bad_input", next_step: str = "") -> None:
        super().__init__(code, cause, next_step=next_step)

    def __str__(self) -> str:
        return self.info.cause + (f" — {self.info.next_step}" if self.info.next_step else "")


class Refused(AssentError):
    """A policy, consent or privacy gate said no; names rule and party.  Exit 3."""

    exit_code: ClassVar[int] = 3
    status: ClassVar[str] = "refused"


class Failed(AssentError):
    """Something broke, or the other side did not keep the protocol.  Exit 4."""


class ProtocolViolation(Failed):
    """A peer sent what an honest peer cannot send."""


def from_info(info: ErrorInfo, status: str) -> AssentError:
    """The error that `status` ('refused', 'bad_input', else failed) and `info` describe."""
    cls: type[AssentError] = {"refused": Refused, "bad_input": BadInput}.get(status, Failed)
    return _rebuild(cls, info)
