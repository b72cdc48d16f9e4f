"""Every duration of the job engine in one place, in seconds (engine rules 7, 8 and 10)."""

from __future__ import annotations

from dataclasses import dataclass

_HOUR = 3600.0
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Timing:
    """Defaults are the product's; the sandbox shortens `absent`, tests shorten all."""

    lease: float = 30.0  # a step nobody reports on for this long is given again
    heartbeat: float = 10.0
    poll: float = 25.0  # longest wait of one lease or watch call
    absent: float = _HOUR  # a party that has a step and does not call
    approval: float = 7 * _DAY
    job: float = _DAY  # waiting for approval does not count
    step_minimum: float = 600.0
    step_factor: float = 10.0  # times the step's plan
    backoff: float = 1.0  # first pause before a retry; doubles
    retries: int = 5
    sweep: float = 1.0
    replay_settle: float = 10.0  # how long a new step waits for stored ones to be asked for

    def step_limit(self, plan_seconds: float) -> float:
        return max(self.step_minimum, self.step_factor * plan_seconds)


SANDBOX = Timing(absent=60.0)
