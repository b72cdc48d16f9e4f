"""Which protocol functions this coordinator runs: one line per protocol and version.

Who runs it: the coordinator's engine.  A job stores (name, version); code that no longer
has that pair fails the job as `code_changed` (engine rule 3), so a changed step sequence
gets a new version.
"""

from __future__ import annotations

from coordinator.engine import ProtocolFunction
from coordinator.protocols import exact, grid, lookalike, matched, summed

REGISTRY: dict[tuple[str, int], ProtocolFunction] = {
    ("psi", 1): matched.run,
    ("crosstab", 1): matched.run,
    ("secure_sum", 1): summed.run,
    ("rfm", 1): summed.run,
    ("ltv", 1): summed.run,
    ("kmeans", 1): summed.run,
    ("lookalike", 1): lookalike.run,
    ("kmeans_grid", 1): grid.run,
    ("kmeans_exact", 1): exact.run,
}
