"""What the owner asks of events, identities and tags, through the node's socket.

Who runs it: the node, under `party_node.control` and the loopback endpoint.  Learns: whoever
opens the socket, or holds the endpoint's token, is the party itself.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.tag_lineage import edges, matching, reach
from party_node.profile import Profile
from party_node.profile_store import Ingested
from party_node.records import Records
from party_node.table_file import TextTable, read_columns
from party_node.tag_grants import USED
from protocol.errors import BadInput

_KINDS = {"csv": ".csv", "parquet": ".parquet"}


class ProfileDesk:
    """profile: None for a party that declares neither events nor tags."""

    def __init__(self, profile: Profile | None, records: Records) -> None:
        self._profile, self._records = profile, records

    @property
    def profile(self) -> Profile:
        if self._profile is None:
            raise BadInput(
                "this party declares neither events nor tags",
                next_step="add events: or tags: to its file and start the node again",
            )
        return self._profile

    # -- events ------------------------------------------------------------------------------

    def ingest(self, event: str, path: str, body: bytes, kind: str) -> str:
        """From a file on this machine, from a body (csv, json), or, with neither, from the
        declared sources that changed."""
        profile = self.profile
        if not path and not body:
            done = profile.ingest_sources(event)
            profile.refresh_touched()
            said = "\n".join(found.sentence() for found in done)
            return said or "no source has changed"
        wanted = profile.wanted(event)
        if path:
            return profile.ingest(event, read_columns(Path(path), wanted)).sentence()
        return self.push(event, body, kind).sentence()

    def push(self, event: str, body: bytes, kind: str) -> Ingested:
        """Events that arrived as bytes."""
        wanted = self.profile.wanted(event)
        if kind == "json":
            return self.profile.ingest(event, _json_table(body, wanted))
        if kind not in _KINDS:
            raise BadInput(f'"{kind}" is no format', next_step="send csv, json or parquet")
        with tempfile.NamedTemporaryFile(prefix="events-", suffix=_KINDS[kind]) as file:
            file.write(body)
            file.flush()
            return self.profile.ingest(event, read_columns(Path(file.name), wanted))

    def identity(self, kind: str, identifier: str, decision: str) -> list[dict[str, Any]]:
        """decision: '' to look, apart to keep the identifier from merging, together to undo."""
        if decision == "":
            return self.profile.identity(kind, identifier)
        if decision not in ("apart", "together"):
            raise BadInput(f'"{decision}" is no decision', next_step="use apart or together")
        return self.profile.keep_apart(kind, identifier, decision == "apart")

    # -- tags --------------------------------------------------------------------------------

    def tags(self, verb: str, name: str, as_of: str) -> list[dict[str, Any]]:
        """verb: run, history or lineage."""
        if verb == "run":
            return self.profile.refresh(name, as_of)
        if verb == "history":
            used = self._jobs()
            last = {tag: job for job in reversed(used) for tag in job["tags"]}
            runs = self.profile.history(name)
            return [run | {"last_use": _use(last.get(run["tag"]))} for run in runs]
        if verb == "lineage":
            return self._lineage(name)
        raise BadInput(f'"{verb}" is not known', next_step="use run, history or lineage")

    def _lineage(self, name: str) -> list[dict[str, Any]]:
        profile = self.profile
        if profile.tags is None:
            raise BadInput("this party has no tags", next_step="add tags: FILE to its file")
        found = list(edges(profile.tags, profile.party))
        for job in self._jobs():
            node = f"job {job['job']}"
            for attribute, tag in self._attributes().items():
                if tag in job["tags"]:
                    found.append((f"attribute {attribute}", node))
            if job["state"] == "released":
                found.append((node, f"release to {job['requester']} of {job['name']}"))
        nodes = matching(name, found)
        if not nodes:
            raise BadInput(
                f'nothing here is called "{name}"',
                next_step="name a tag, an attribute, an event, EVENT.FIELD or a job",
            )
        return [
            {"node": node, "from": reach(node, found, down=False),
             "to": reach(node, found, down=True)}
            for node in nodes
        ]  # fmt: skip

    def _attributes(self) -> dict[str, str]:
        return {
            name: attribute.tag
            for name, attribute in self.profile.party.attributes.items()
            if attribute.tag is not None
        }

    def _jobs(self) -> list[dict[str, Any]]:
        """Jobs that used tags, newest first."""
        used = self._records.with_fact(USED)
        return [job | {"tags": used[job["job"]]} for job in self._records.jobs()
                if job["job"] in used]  # fmt: skip


def _use(job: dict[str, Any] | None) -> dict[str, Any] | None:
    if job is None:
        return None
    return {key: job[key] for key in ("job", "name", "requester", "state", "since")}


def _json_table(body: bytes, wanted: dict[str, str]) -> TextTable:
    """A list of objects, or one object a line; values as text."""
    try:
        text = body.decode("utf-8").strip()
        if text.startswith("["):
            rows = json.loads(text, parse_float=str)
        else:
            rows = [json.loads(line, parse_float=str) for line in text.splitlines() if line]
    except (ValueError, RecursionError) as error:
        raise BadInput("the body is not JSON", next_step="send objects, one a line") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput("the body holds no events", next_step="send objects, one a line")
    for column, purpose in wanted.items():
        if all(column not in row for row in rows):
            raise BadInput(f'no event has "{column}" (for {purpose})', next_step="add it")
    columns = {
        column: pa.array([_json_text(row.get(column)) for row in rows], pa.string())
        for column in wanted
    }
    return TextTable(Path("body"), len(rows), columns, "", plain_lines=False)


def _json_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
