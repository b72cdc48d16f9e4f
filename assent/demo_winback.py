"""The demo's story of winning customers back: tags, TGI, RFM, stages, segments, lookalike.

What: a shop and a media platform with a shop of its own, each with events, and tags from the
packs.  The jobs of one file run one after the other; what one leaves at a company is a tag that
the next one reads.  A chapter more is a job more in `demo_winback_data.JOB`.
Who runs it: `make demo`.
Learns: this process plays everybody; see `assent.demo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from assent.demo_winback_data import write_winback
from assent.progress import Progress
from assent.sandbox import Sandbox, check
from catalog.federation import Party
from catalog.party_tags import tags_of
from catalog.tag_words import sentence

_TOLD = "winback"  # the tag whose definition and sizes are told


def tell(
    folder: Path, seed: int, say: Callable[[str], None], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Runs the story in `folder`; the results of its jobs, in order."""
    files = write_winback(folder, seed)
    federation, jobs = check(files.federation, files.job)
    for party in federation.parties.values():
        for line in definitions(party):
            say(line)
    with Sandbox(federation, keep=None, progress=progress or Progress.quiet()) as sandbox:
        client = sandbox.node("shop")
        try:
            (run, *_) = client.tags("history", _TOLD)
        finally:
            client.close()
        say(sizes(run))
        return [sandbox.result(job) for job in jobs]


def sizes(run: Mapping[str, Any]) -> str:
    """run: of a tag's history."""
    counts = ", ".join(f"{word} {count:,}" for word, count in run["counts"].items())
    return f"shop's customers by {run['tag']}: {counts}"


def definitions(party: Party) -> Iterator[str]:
    """How many tags a company has, and one of them in words."""
    tags = tags_of(party)
    assert tags is not None
    yield f"{party.name} has {len(tags.live)} tags from a pack"
    if _TOLD in tags.tags:
        yield f"  {sentence(tags, _TOLD, 'en')}"
        yield f"  {sentence(tags, _TOLD, 'zh')}"
