"""`python -m assent`: the same as the `assent` command."""

from assent.main import run

run()
