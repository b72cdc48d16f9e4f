"""What the owner asks of events, identities and tags, through the node's socket.

Who runs it: the node, under `party_node.control` and the loopback endpoint.  Learns: whoever
opens the socket, or holds the endpoint's token, is the party itself.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.tag_lineage import edges, matching, reach
from party_node.json_events import json_table
from party_node.profile import Profile
from party_node.profile_store import Ingested
from party_node.records import Records
from party_node.table_file import read_columns
from party_node.tag_grants import USED
from protocol.errors import BadInput

_KINDS = {"csv": ".csv", "parquet": ".parquet"}
_JSON = (".json", ".jsonl", ".ndjson")
_BODY = Path("the body")


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
        """From a file on this machine, from a body (csv, json, parquet), or, with neither, from
        the declared sources that changed."""
        profile = self.profile
        if not path and not body:
            done = profile.ingest_sources(event)
            profile.refresh_touched()
            said = "\n".join(found.sentence() for found in done)
            return said or "no source has changed"
        wanted = profile.wanted(event)
        if not path:
            return self.push(event, body, kind).sentence()
        file = Path(path)
        if file.suffix.lower() in _JSON:
            return profile.ingest(event, json_table(_bytes(file), wanted, file)).sentence()
        return profile.ingest(event, read_columns(file, wanted)).sentence()

    def push(self, event: str, body: bytes, kind: str) -> Ingested:
        """Events that arrived as bytes: all of the body is taken, or nothing."""
        wanted = self.profile.wanted(event)
        if kind == "json":
            return self.profile.ingest(event, json_table(body, wanted, _BODY))
        if kind not in _KINDS:
            raise BadInput(f'"{kind}" is no format', next_step="send csv, json or parquet")
        with tempfile.NamedTemporaryFile(prefix="events-", suffix=_KINDS[kind]) as file:
            file.write(body)
            file.flush()
            try:
                table = read_columns(Path(file.name), wanted)
            except BadInput as error:
                # Its sender knows nothing of a file here.
                cause = error.info.cause.replace(file.name, str(_BODY))
                raise BadInput(cause, next_step=error.info.next_step) from None
        return self.profile.ingest(event, replace(table, path=_BODY))

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


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})",
                       next_step="check path and permissions") from error  # fmt: skip
