"""A party's tags: what they are called, what they mean, who owns them, who may use them.

Who runs it: a node (its own file), `assent tags`, whoever reads a definition.  A tag has
ordered named values and one of three rules: conditions of which the first that holds wins,
bands of a number, or the words of a label.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from catalog.tag_terms import Condition, Measure, measures_of
from catalog.vocabulary import OTHER, UNKNOWN

CLASSES = ("static", "behaviour", "preference", "value")
ASPECTS = ("who", "did", "will", "should")
REFRESHES = ("once", "hourly", "daily", "weekly", "monthly")
LANGUAGES = ("zh", "en")

RULES, BANDS, WORDS, REPLACED = "rules", "bands", "words", "replaced"


@dataclass(frozen=True)
class Title:
    zh: str
    en: str

    def of(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, order=True)
class Version:
    """model: the meaning; revision: who gets which value; addition: words about it."""

    model: int
    revision: int
    addition: int

    def __str__(self) -> str:
        return f"{self.model}-{self.revision}-{self.addition}"


@dataclass(frozen=True)
class TagValue:
    """when: None for the last value of a rule (otherwise), and where no rule has conditions."""

    value: str
    title: Title | None = None
    when: Condition | None = None

    def called(self, language: str) -> str:
        return self.value if self.title is None else self.title.of(language)


@dataclass(frozen=True)
class Band:
    """value for numbers in [low, high); None: without end."""

    value: str
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True)
class Mapping_:
    """Another vocabulary's words → ours.  otherwise: for every word that is not listed.

    titles: of our words, for tags that list no values of their own.
    """

    name: str
    words: Mapping[str, str]
    otherwise: str | None = None
    source: str = ""
    titles: Mapping[str, Title] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        end = () if self.otherwise is None else (self.otherwise,)
        return tuple(dict.fromkeys((*self.words.values(), *end)))


@dataclass(frozen=True)
class Tag:
    """form: RULES, BANDS, WORDS or REPLACED; the fields of the others are empty.

    unknown: the value of people without the measure.
    closed: a word's measure gives no other word than the values.  always: everybody has one.
    """

    name: str
    title: Title
    kind: str
    aspect: str
    category: str
    owner: str
    goal: str
    refresh: str
    version: Version
    form: str
    values: tuple[TagValue, ...] = ()
    measure: Measure | None = None
    bands: tuple[Band, ...] = ()
    mapping: str | None = None
    unknown: str | None = None
    under: str | None = None
    replaced_by: str | None = None
    closed: bool = False
    always: bool = False

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All words that a person may have, in order; always the same, whatever the data."""
        more = [self.unknown or UNKNOWN]
        if self.form == WORDS:
            more = [*([] if self.closed else [OTHER]), *([] if self.always else more)]
        elif self.form == RULES and self.values[-1].when is None:
            more = []
        return tuple(dict.fromkeys((*(v.value for v in self.values), *more)))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Everything it measures, each once, in the order of the file."""
        found = [] if self.measure is None else [self.measure]
        for value in self.values:
            found += measures_of(value.when) if value.when is not None else ()
        return tuple(dict.fromkeys(found))

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the tags it is made from."""
        return tuple(dict.fromkeys(m.of[0] for m in self.measures if m.how == "tag"))


@dataclass(frozen=True)
class Grant:
    """The owner lets `party` use the tag for `purposes` until the end of a day, as long as the
    tag's MODEL is the one it was given for."""

    tag: str
    model: int
    party: str
    purposes: tuple[str, ...]
    until: date


@dataclass(frozen=True)
class Place:
    """A node of the taxonomy."""

    title: Title
    under: str | None


@dataclass(frozen=True)
class TagSet:
    """tags: by name, in the order of the file.  order: names, each after what it uses."""

    name: str
    tags: Mapping[str, Tag]
    taxonomy: Mapping[str, Place] = field(default_factory=dict)
    mappings: Mapping[str, Mapping_] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    order: tuple[str, ...] = ()

    def now(self, name: str) -> Tag:
        """The tag that stands for `name` today: the end of its replacements."""
        tag = self.tags[name]
        while tag.replaced_by is not None:
            tag = self.tags[tag.replaced_by]
        return tag

    @property
    def live(self) -> tuple[Tag, ...]:
        """Tags that are computed, each after those it uses."""
        return tuple(self.tags[n] for n in self.order if self.tags[n].form != REPLACED)

    def path(self, name: str) -> tuple[str, ...]:
        """The tag's place in the taxonomy, from the root."""
        places: list[str] = []
        at = self.tags[name].under
        while at is not None:
            places.insert(0, at)
            at = self.taxonomy[at].under
        return tuple(places)

    def below(self, name: str) -> tuple[str, ...]:
        """Tags that are made from `name`, directly or not."""
        found: list[str] = []
        for tag in self.live:
            if any(self.now(used).name in (name, *found) for used in tag.uses):
                found.append(tag.name)
        return tuple(found)

    def allows(self, name: str, party: str, purpose: str, on: date) -> bool:
        """Whether a grant for `name`, or for a tag it replaces, covers this today."""
        tag = self.now(name)
        return any(
            grant.party == party
            and purpose in grant.purposes
            and on <= grant.until
            and self.now(grant.tag).name == tag.name
            and grant.model == self.tags[grant.tag].version.model
            for grant in self.grants
        )
