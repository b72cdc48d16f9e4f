"""Notices: the texts that people are shown before they answer, by version and language.

Who runs it: the portal shows them; a party's node and an auditor hold records against them.
Learns: nobody, anything; a notice is public.

A version is `material` when it changes what a person agreed to, `editorial` when it only says
the same better.  A consent given under an older version than the newest material one is
`notice_outdated` at the gate until the person confirms it (consent.md, "Record").
A published text never changes: a record names it by its SHA-256, and another text under the
same version and language is an error of whoever wrote the file.

    notices:
      consent:                    # id
        - version: 1
          class: material
          text: {zh-CN: "…", en: "…"}          # what holds for every purpose
          purposes: {activation: {zh-CN: "…", en: "…"}, …}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from catalog import yaml
from consent.notices_default import NOTICES
from consent.purposes import NOTICE_CLASSES, PURPOSES
from consent.terms import MAX_VERSION, NoticeRef
from protocol.errors import BadInput, ProtocolViolation

DEFAULT_ID = "consent"
LANGUAGES = ("zh-CN", "en")
MAX_TEXT = 20_000


class _Version(yaml.Strict):
    version: Annotated[yaml.Whole, Field(ge=1, le=MAX_VERSION)]
    kind: Annotated[str, yaml.one_of(NOTICE_CLASSES)] = Field(alias="class")
    text: dict[str, yaml.Text]
    purposes: dict[Annotated[str, yaml.one_of(PURPOSES)], dict[str, yaml.Text]]


class _File(yaml.Strict):
    notices: dict[str, list[_Version]]


@dataclass(frozen=True)
class Notice:
    """One version.  texts: language → exact text.  sentences: purpose → language → sentence."""

    id: str
    version: int
    kind: str
    texts: Mapping[str, str]
    sentences: Mapping[str, Mapping[str, str]]

    def text(self, language: str) -> str:
        """The whole text that a person sees, which `ref` names."""
        if language not in self.texts:
            raise BadInput(
                f"notice {self.id} version {self.version} has no text in {language}",
                next_step="use " + ", ".join(self.texts),
            )
        said = [self.texts[language], *(s[language] for s in self.sentences.values())]
        return "\n".join(said) + "\n"

    def sentence(self, purpose: str, language: str) -> str:
        """The plain sentence that says what `purpose` does."""
        self.text(language)
        if purpose not in self.sentences:
            raise BadInput(f"notice {self.id} does not speak of {purpose}")
        return self.sentences[purpose][language]

    def ref(self, language: str) -> NoticeRef:
        digest = hashlib.sha256(self.text(language).encode()).hexdigest()
        return NoticeRef(self.id, self.version, language, digest, self.kind)


@dataclass(frozen=True)
class Notices:
    """Every version of every notice that a party has used."""

    versions: Mapping[str, tuple[Notice, ...]]  # id → ascending versions
    _refs: Mapping[NoticeRef, bool] = field(init=False, repr=False)  # → outdated

    def __post_init__(self) -> None:
        known: dict[NoticeRef, bool] = {}
        for versions in self.versions.values():
            newest_material = max((n.version for n in versions if n.kind == "material"), default=1)
            for notice in versions:
                for language in notice.texts:
                    known[notice.ref(language)] = notice.version < newest_material
        object.__setattr__(self, "_refs", known)

    def current(self, id: str = DEFAULT_ID) -> Notice:
        """The newest version, which new consents are asked under."""
        if id not in self.versions:
            raise BadInput(
                f"there is no notice {id!r}", next_step="use " + ", ".join(self.versions)
            )
        return self.versions[id][-1]

    def is_outdated(self, ref: NoticeRef) -> bool:
        """Whether a material change came after `ref`; raises ProtocolViolation
        ('unknown_notice') for a text that is none of these."""
        if ref not in self._refs:
            raise ProtocolViolation(
                "unknown_notice",
                f"a record names version {ref.version} of notice {ref.id} in {ref.language}, "
                "and no such text is known here",
                stage="consent",
                next_step="add that version to the party's notices",
            )
        return self._refs[ref]


def load_notices(path: Path) -> Notices:
    """The notices of one YAML file; raises BadInput with file, line and key."""
    return _notices(yaml.read_one(path, "block notices:"))


@cache
def default_notices() -> Notices:
    """What a party uses that has written none: `consent.notices_default`."""
    text = json.dumps(NOTICES, ensure_ascii=False)
    return _notices(yaml.parse_documents(text, "the built-in notices")[0])


def _notices(document: yaml.Document) -> Notices:
    read = yaml.build(_File, document.value, document).notices
    if not read:
        raise document.error(("notices",), "there is no notice in it", "add one, with its versions")
    return Notices({id: _versions(id, versions, document) for id, versions in read.items()})


def _versions(id: str, read: list[_Version], document: yaml.Document) -> tuple[Notice, ...]:
    at: tuple[str | int, ...] = ("notices", id)
    numbers = [one.version for one in read]
    if not numbers or numbers != sorted(set(numbers)):
        raise document.error(
            at,
            "its versions ascend, and each is there once",
            "never change a text that was shown; add a version",
        )
    return tuple(_version(id, one, document, (*at, place)) for place, one in enumerate(read))


def _version(id: str, read: _Version, document: yaml.Document, at: tuple[str | int, ...]) -> Notice:
    languages = ", ".join(read.text) or "no language"
    if not read.purposes:
        raise document.error(at, "a notice says what at least one purpose does")
    for where, texts in (("text", read.text), *read.purposes.items()):
        if set(texts) != set(read.text) or not texts:
            raise document.error(
                at,
                f"{where} is in {', '.join(texts) or 'no language'}, the notice in {languages}",
                "say everything in every language of the notice",
            )
        for text in texts.values():
            if not 0 < len(text.strip()) <= len(text) <= MAX_TEXT:
                raise document.error(at, f"{where} is empty or has over {MAX_TEXT} characters")
    sentences = {word: read.purposes[word] for word in PURPOSES if word in read.purposes}
    made = Notice(id, read.version, read.kind, read.text, sentences)
    try:
        for language in made.texts:
            made.ref(language)
    except ProtocolViolation as error:  # an id or a language that no record could name
        raise document.error(at, error.info.cause) from error
    return made
