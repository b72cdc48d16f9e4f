"""The closed lists of words that files and messages may use.

Who runs it: every process.  Adding a purpose, category or protocol touches this file only.
Learns: nobody, anything.  contracts.md, FEDERATION.yaml and JOB.yaml.
"""

from __future__ import annotations

CATEGORIES = (
    "demographics",
    "location",
    "purchases",
    "behaviour",
    "content",
    "finance",
    "device",
)
PURPOSES = (
    "overlap_measurement",
    "audience_insight",
    "segmentation",
    "lookalike_modelling",
    "activation",
    "personalisation",
)

# Statuses of a consent, the strictest first: of two records for one key in one file, the
# earlier word here wins.  Only the last two permit.
STATUSES = ("withdrawn", "refused", "expired", "requested", "renewed", "given")
PERMITTING = frozenset({"given", "renewed"})

KINDS = ("label", "number", "flag")
MAX_LABELS = 64  # values of one label's vocabulary, `other` and `unknown` not counted
OTHER = "other"  # every value of a label outside its vocabulary
UNKNOWN = "unknown"  # null of a label

PROTOCOLS = (
    "psi",
    "crosstab",
    "secure_sum",
    "rfm",
    "ltv",
    "kmeans",
    "lookalike",
    "audience",
)
# The others are known words that this version refuses.
PROTOCOLS_BUILT = ("psi", "crosstab", "secure_sum", "rfm", "ltv", "kmeans", "lookalike")

MODES = ("keyed", "ecdh")
REVEALS = ("hidden", "members")
MEASURES = ("count", "sum", "mean", "tgi")
NOISE_POLICIES = ("required", "optional")
APPROVALS = ("auto", "manual")
KEY_BITS = (2048, 3072)
CONSENTS_ALL = "all"  # instead of a file: every person of the table permits everything

# Names of the sandbox's folders beside the parties' own.
RESERVED_PARTIES = frozenset({"coordinator", "consent", "portal", "auditor"})
