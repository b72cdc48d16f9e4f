"""One sentence for each company about a job over secure sums: what it will learn about whom.

Who runs it: every node, for its list of jobs and for plans.  Learns: nobody, anything.
docs/DISCLOSURE.md; protocols.md section 3.
"""

from __future__ import annotations

from catalog.job import JobSpec


def sum_sentences(spec: JobSpec, min_cohort: int) -> dict[str, str]:
    """Keyed by party, and "coordinator"."""
    assert spec.model is not None
    everyone = ", ".join(spec.parties)
    noise = (
        f"with noise of every company (rho {spec.rho_nano / 1e9:g})"
        if spec.noise
        else "exactly, without noise; with two companies each can subtract its own part"
    )
    about = {
        "secure_sum": f"how the consenting customers of {everyone} together spread over "
        f"{', '.join(spec.model.names) or 'nothing but their number'}",
        "rfm": "common edges of recency, frequency and monetary value, and how the consenting "
        f"customers of {everyone} together spread over the segments",
        "ltv": f"how often the consenting customers of {everyone} together buy, when they stop "
        "and what a purchase is worth, as seven numbers",
        "kmeans": f"centres, sizes and spread of groups of the consenting customers of {everyone} "
        "together, and the centres on the way there",
    }[spec.protocol]
    said = {
        party: f"{party} learns {about}, {noise}, in groups of at least {min_cohort}; "
        "nothing about another company's customers alone."
        for party in spec.parties
    }
    said["coordinator"] = (
        "coordinator learns rounded sizes, how many numbers are summed and in how many rounds; "
        "no attribute, number or result."
    )
    return said
