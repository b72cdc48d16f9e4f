"""`python -m assent.docs`: rewrites the generated parts of README.md and docs/.

What: text between `<!-- begin:NAME -->` and `<!-- end:NAME -->` is replaced by what the
program really says.  NAME is `help` or `help COMMAND…` (the --help output of one command) or
`commands` (the --help outputs of all).
Who runs it: whoever changes a command (`make docs`); a test fails when a block is stale.
Learns: nothing.
Section: contracts.md, the command.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from protocol.errors import AssentError, BadInput

WIDTH = 80

_BLOCK = re.compile(
    r"(?P<begin><!-- begin:(?P<name>[^>]+?) -->\n)(?P<body>.*?)(?P<end><!-- end:(?P=name) -->)",
    re.DOTALL,
)
_MARK = re.compile(r"<!-- (?:begin|end):[^>]*-->")


def commands() -> Iterator[tuple[str, str]]:
    """(command line without `--help`, what `--help` prints) of every command that is shown."""
    from assent.main import app

    yield from _walk(typer.main.get_command(app), "assent", None)


def _walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    # Any: typer carries its own copy of click and does not export the types.
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield context.command_path, command.get_help(context).rstrip() + "\n"
    for child, inner in sorted(getattr(command, "commands", {}).items()):
        if not inner.hidden:
            yield from _walk(inner, child, context)


def blocks() -> dict[str, str]:
    """Name of a block → its text, fences included."""
    made = {}
    everything = []
    for path, text in commands():
        name = " ".join(["help", *path.split()[1:]])
        made[name] = f"```text\n$ {path} --help\n{text}```\n"
        everything.append(f"### `{path}`\n\n{made[name]}")
    made["commands"] = "\n".join(everything)
    return made


def rewrite(text: str, made: dict[str, str], source: str) -> str:
    """`text` with every block replaced.  Raises BadInput for unknown or unpaired marks."""
    found = list(_BLOCK.finditer(text))
    if 2 * len(found) != len(_MARK.findall(text)):
        raise BadInput(
            f"{source}: begin and end marks do not pair",
            next_step="write <!-- begin:NAME --> and <!-- end:NAME --> on lines of their own",
        )
    for match in found:
        if match["name"] not in made:
            raise BadInput(
                f"{source}: no block is called {match['name']!r}",
                next_step=f"known are {', '.join(sorted(made))}",
            )
    return _BLOCK.sub(lambda m: m["begin"] + made[m["name"]] + m["end"], text)


def documents(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def main(root: Path) -> None:
    """Rewrites the blocks of every document under `root`."""
    if not (root / "README.md").is_file():
        raise BadInput(f"{root}: no README.md here", next_step="run it in the checkout")
    made = blocks()
    for path in documents(root):
        before = path.read_text("utf-8")
        after = rewrite(before, made, str(path))
        if after != before:
            path.write_text(after, encoding="utf-8")
            sys.stdout.write(f"rewrote {path.relative_to(root)}\n")


if __name__ == "__main__":
    try:
        main(Path.cwd())
    except AssentError as error:
        sys.stderr.write(f"docs: {error}\n")
        sys.exit(error.exit_code)
