"""`assent audit …`: what an auditor runs."""

from __future__ import annotations

from pathlib import Path

import typer

from assent.service_commands import CollaborationFile, DataFolder, KeyFolder

audit = typer.Typer(help="Watch, export and verify the logs.", no_args_is_help=True)


@audit.command("witness")
def audit_witness(
    collaboration: CollaborationFile,
    data: DataFolder = Path("auditor"),
    keys: KeyFolder = None,
) -> None:
    """Run the auditor's witness: cosigns the logs; keeps the notes of a log that tells two."""
    from consent.auditor import run

    run(collaboration, data, keys or data / "keys")
