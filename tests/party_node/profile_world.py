"""A party with a table, events and tags in a folder, opened as its node opens it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from catalog.federation import load_party
from party_node.dataset import Dataset
from party_node.profile import Profile

NOW = 1_795_000_000.0


def opened(folder: Path, party: str, tags: str, files: Mapping[str, str]) -> Profile:
    """party: party.yaml; tags: tags.yaml; files: name → text."""
    for name, text in {"party.yaml": party, "tags.yaml": tags, **files}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return again(folder)


def again(folder: Path) -> Profile:
    """As a node that starts again in the same folder."""
    loaded = load_party(folder / "party.yaml")
    profile = Profile.open(loaded, Dataset.load(loaded), folder / "node", lambda: NOW)
    assert profile is not None
    return profile


def values(profile: Profile, tag: str) -> list[str]:
    """By row."""
    assert profile.values is not None
    labels = profile.values.labels(tag)
    return [labels.vocabulary[code] for code in labels.codes]
