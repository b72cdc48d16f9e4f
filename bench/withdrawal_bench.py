"""From a person's click in the portal to the end of the first run without them, all real.

Aim of consent.md: under 60 s.  It includes the run itself, some two seconds of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


def run() -> list[dict[str, Any]]:
    from assent.demo_consent import tell

    with tempfile.TemporaryDirectory() as folder:
        story = tell(Path(folder), lambda line: None)
    name = "withdrawal: from the click to the end of a run without the person"
    return [
        {"name": name, "value": story.seconds, "unit": "s", "peer": None, "peer_value": None,
         "ratio": None}
    ]  # fmt: skip
