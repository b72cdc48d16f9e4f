"""Signing in to a sandbox's portal: whom to try it as, and the codes as they are "sent".

Who runs it: `assent sandbox up`, on the machine of whoever tries Assent.
Learns: whoever sees that terminal learns one address of the first company's table, and can sign
in as anybody in the tables, as the outbox folder beside it lets them.  docs/adr/0011.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assent.sandbox import Sandbox
from catalog.federation import Federation, Party
from party_node.canonical import canonical_column
from party_node.table_file import read_columns
from protocol.psi.identifiers import EMAIL, PHONE

_LOOK = 0.2


def demo_person(federation: Federation) -> str | None:
    """An address that signs in: of one row only, and of most companies; None without any."""
    for kind in (EMAIL, PHONE):
        columns = [
            _addresses(party, kind) for party in federation.parties.values() if kind in party.ids
        ]
        found = columns[0] if columns else pa.array([], pa.string())
        for other in columns[1:]:
            common = found.filter(pc.is_in(found, value_set=other))
            found = common if len(common) else found
        if len(found):
            return str(found[0].as_py())
    return None


def _addresses(party: Party, kind: str) -> pa.StringArray:
    """The canonical identifiers that one row has alone, in the table's order."""
    column = party.ids[kind]
    table = read_columns(party.table, {column: kind})
    found = canonical_column(kind, table.columns[column], party.default_region).drop_null()
    counted = pc.value_counts(found)
    return counted.field("values").filter(pc.equal(counted.field("counts"), 1))


def watch(sandbox: Sandbox, say: Callable[[str], None]) -> None:
    """Says each code when a browser has asked for it, for ever.  Raises Failed when a process of
    the sandbox ends by itself."""
    seen: set[Path] = set()
    while True:
        sandbox.check_processes()
        for file in sorted(set(sandbox.outbox.glob("*.json")) - seen):
            seen.add(file)
            say(_line(json.loads(file.read_text("utf-8"))))
        time.sleep(_LOOK)


def _line(message: dict[str, str]) -> str:
    code = re.search(r"[0-9]{6}", message["text"])
    assert code is not None  # what the portal sends is a code
    return f"sign-in code {code[0]} for {message['to']}, in the browser that asked for it"
