"""How many rounds a job over secure sums can have: no party does more, whatever H asks.

Who runs it: every node, before a step is done.  Learns: nobody, anything.
protocols.md sections 3 and 4.
"""

from __future__ import annotations

from catalog.job import JobSpec
from protocol.ltv.newton import MOST_STEPS
from protocol.rfm.model import HISTOGRAMS


def most_rounds(spec: JobSpec) -> int:
    """Rounds that are summed, at most; one more question ends the job."""
    if spec.protocol == "kmeans":
        assert spec.model is not None
        settings = spec.model.settings
        scaling = 1 if settings["scale"] == "zscore" else 0
        return int(settings["iterations"]) + 1 + scaling
    if spec.protocol == "ltv":
        return 1 if spec.noise else MOST_STEPS
    return {"secure_sum": 1, "rfm": HISTOGRAMS + 1}[spec.protocol]
