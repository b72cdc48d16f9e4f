"""A party's own profiles: its events, One ID and tags, from sources to attributes of jobs.

Who runs it: every node that declares events or tags, through its composition root; the owner
asks it over the node's socket.  Learns: nobody, anything: all of it is the party's own data,
and a tag's values reach a job through the gates like any other attribute.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from catalog.events import utc_offset
from catalog.federation import Party
from catalog.party_tags import moment, sources_of, tags_of
from catalog.tags import TagSet
from catalog.yaml import nearest
from party_node.canonical import canonical_column
from party_node.event_sources import read_source
from party_node.one_id import Records, resolve
from party_node.profile_store import Ingested, ProfileStore, wanted_columns
from party_node.table_file import TextTable
from party_node.tag_values import TagValues
from protocol.errors import AssentError, BadInput
from protocol.psi.identifiers import canonicalise

if TYPE_CHECKING:
    from party_node.dataset import Dataset

Method = TypeVar("Method", bound=Callable[..., Any])
FILE = "profile.duckdb"
_EVERY = {"hourly": 1, "daily": 24, "weekly": 168, "monthly": 720}  # hours
_LOOK = 60.0  # seconds between two looks for tags that are due
_log = logging.getLogger("assent.profile")


def check_sources(party: Party) -> None:
    """Reads every link and event once, in memory.  Raises BadInput as `Profile.open` would."""
    store = ProfileStore(Path(""), party)
    try:
        read_links(party)
        for name, event in party.events.items():
            table = read_source(event.source, event.table, wanted_columns(name, event))
            store.ingest(name, table, pushed=False)
    finally:
        store.close()


def read_links(party: Party) -> list[Records]:
    """The declared records that tie identifiers together."""
    links = []
    for name, link in party.one_id.links.items():
        wanted = {column: f"ids.{kind} of link {name}" for kind, column in link.ids.items()}
        table = read_source(link.source, link.table, wanted)
        columns = {
            kind: canonical_column(kind, table.columns[column], party.default_region)
            for kind, column in link.ids.items()
        }
        links.append(Records(name, columns))
    return links


def _alone(method: Method) -> Method:
    """One call of these at a time."""

    @wraps(method)
    def call(self: Profile, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return method(self, *args, **kwargs)

    return cast(Method, call)


@dataclass
class Profile:
    """now: seconds since 1970.  tags, values: None for a party without a file of tags.

    Calls from any thread, one at a time: a refresh that ends late must not put older values over
    newer ones, or forget people whose events came in meanwhile.
    """

    party: Party
    dataset: Dataset
    store: ProfileStore
    tags: TagSet | None
    values: TagValues | None
    now: Callable[[], float]
    _people: pa.Table
    _turn: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def open(
        cls, party: Party, dataset: Dataset, folder: Path, now: Callable[[], float]
    ) -> Profile | None:
        """Reads every source that changed, resolves who is who and computes every tag; None
        for a party that declares none of it.  Raises BadInput."""
        if not party.profiled:
            return None
        store = ProfileStore(folder / FILE, party)
        tags = tags_of(party)
        values = None if tags is None else TagValues(store, tags, sources_of(party), folder)
        profile = cls(party, dataset, store, tags, values, now, dataset.take_people())
        profile.identify()
        profile.ingest_sources()
        profile.refresh()
        return profile

    def close(self) -> None:
        self.store.close()

    # -- who is who --------------------------------------------------------------------------

    @_alone
    def identify(self) -> None:
        """One ID anew, from the table, the links and the owner's decisions."""
        one_id = self.party.one_id
        rows = Records(
            "table", {kind: self.dataset.all_identifiers(kind) for kind in self.party.ids}
        )
        links = read_links(self.party)
        found = resolve(
            rows, links, weak=frozenset(one_id.weak), most=one_id.most, apart=self.store.apart()
        )
        self.store.set_people(self._people, found)

    def identity(self, kind: str, typed: str) -> list[dict[str, Any]]:
        """The identifiers of the person behind one, with reasons."""
        return self.store.identity_of(kind, self._canonical(kind, typed))

    @_alone
    def keep_apart(self, kind: str, typed: str, apart: bool) -> list[dict[str, Any]]:
        """From now on the identifier merges nobody (or, undone, merges again)."""
        self.store.keep_apart(kind, self._canonical(kind, typed), apart)
        self.identify()
        self.refresh()
        return self.identity(kind, typed)

    def _canonical(self, kind: str, typed: str) -> str:
        found = canonicalise(kind, typed, self.party.default_region)
        if found is None:
            raise BadInput(f"the identifier cannot be read (type {kind})",
                           next_step="write it as it stands in the table")  # fmt: skip
        return found

    # -- events ------------------------------------------------------------------------------

    @_alone
    def ingest_sources(self, name: str = "") -> list[Ingested]:
        """The declared sources (or one) that changed since they were read."""
        if name:
            self._event(name)
        done = []
        for event_name, event in self.party.events.items():
            if name and name != event_name:
                continue
            table = read_source(event.source, event.table, wanted_columns(event_name, event))
            if table.version != self.store.source_version(event_name):
                done.append(self.store.ingest(event_name, table, pushed=False))
                _log.info("%s", done[-1].sentence())
        return done

    @_alone
    def ingest(self, name: str, table: TextTable) -> Ingested:
        """Pushed events; the tags of their people are computed anew at once."""
        done = self.store.ingest(name, table, pushed=True)
        try:
            self.refresh_touched()
        except AssentError as error:
            # Not an error of the caller's: it would send again what is here already.
            _log.error("tags not computed: %s", error)
            return replace(done, trouble=error.info.cause)
        return done

    def wanted(self, name: str) -> dict[str, str]:
        """Columns that pushed events of this name must have."""
        self._event(name)
        return wanted_columns(name, self.party.events[name])

    def _event(self, name: str) -> None:
        if name not in self.party.events:
            raise BadInput(f'no event "{name}"', next_step=nearest(name, self.party.events))

    # -- tags --------------------------------------------------------------------------------

    def as_of(self, text: str = "") -> datetime:
        """The moment that is asked for, that of the party's file, or now by its clock."""
        written = text or self.party.as_of
        if written:
            return moment(written)
        utc = datetime.fromtimestamp(self.now(), UTC).replace(tzinfo=None)
        return (utc + utc_offset(self.party.utc_offset)).replace(microsecond=0)

    @_alone
    def refresh(self, tag: str = "", as_of: str = "") -> list[dict[str, Any]]:
        """Computes every tag, or one, for everybody."""
        if self.values is None or self.tags is None:
            return []
        names = [self._tag(tag)] if tag else [found.name for found in self.tags.live]
        runs = self.values.refresh(names, self.as_of(as_of)) if names else []
        self._publish()
        return [run.fields() for run in runs]

    @_alone
    def refresh_touched(self) -> int:
        """Computes the tags of people with new events; how many rows that were."""
        if self.values is None:
            return 0
        rows = self.values.refresh_touched(self.as_of())
        self._publish()
        return rows

    @_alone
    def refresh_models(self) -> list[str]:
        """Computes the tags whose job has left its file anew, and those made from them."""
        if self.values is None or self.tags is None:
            return []
        stale = self.values.stale()
        stale |= {below for name in stale for below in self.tags.below(name)}
        names = [tag.name for tag in self.tags.live if tag.name in stale]
        if names:
            self.values.refresh(names, self.as_of())
            self._publish()
        return names

    @_alone
    def refresh_due(self) -> list[str]:
        """Computes the tags whose refresh has come; their names."""
        if self.values is None or self.tags is None or self.party.as_of:
            return []
        now, due = self.as_of(), []
        for tag in self.tags.live:
            last = self.values.last_as_of(tag.name)
            every = _EVERY.get(tag.refresh)
            if last is None or (every is not None and now - last >= timedelta(hours=every)):
                due.append(tag.name)
        if due:
            self.values.refresh(due, now)
            self._publish()
        return due

    async def follow(self) -> None:
        """Computes tags as they become due, for as long as the node runs."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                due = await asyncio.to_thread(self.refresh_due)
            except AssentError as error:  # a full disk stops tags, not the node
                _log.error("tags are not computed: %s", error.info.sentence())
                continue
            if due:
                _log.info("tags refreshed: %s", ", ".join(due))

    def history(self, tag: str) -> list[dict[str, Any]]:
        assert self.values is not None
        return [run.fields() for run in self.values.history(self._tag(tag))]

    def _tag(self, name: str) -> str:
        if self.tags is None:
            raise BadInput("this party has no tags", next_step="add tags: FILE to its file")
        if name not in self.tags.tags:
            raise BadInput(f'no tag "{name}"', next_step=nearest(name, self.tags.tags))
        return self.tags.now(name).name

    def _publish(self) -> None:
        """The attributes that are tags, into the dataset that jobs read."""
        if self.values is None:
            return
        named: Mapping[str, str] = {
            name: attribute.tag
            for name, attribute in self.party.attributes.items()
            if attribute.tag is not None
        }
        if named:
            labels = {name: self.values.labels(tag) for name, tag in named.items()}
            digest = hashlib.sha256()
            for found in labels.values():
                digest.update(found.codes.tobytes())
            self.dataset.set_tags(labels, digest.hexdigest())
