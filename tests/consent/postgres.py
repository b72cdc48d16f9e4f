"""A PostgreSQL server for a test session, from Debian's package when it is there.

It listens on a socket in its own folder only and is stopped with the session.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

_SERVER = "/usr/lib/postgresql"


def missing() -> str:
    """Why there can be no server here; empty when there can."""
    if importlib.util.find_spec("psycopg") is None:
        return "no PostgreSQL driver (psycopg) is installed"
    if _binary("initdb") is None or _binary("pg_ctl") is None:
        return "no PostgreSQL server (Debian: postgresql) is installed"
    if os.geteuid() == 0 and (_user() is None or shutil.which("setpriv") is None):
        return "PostgreSQL does not run as root, and there is no user postgres to become"
    return ""


@contextmanager
def server() -> Iterator[str]:
    """Starts a server; the URL of its socket, with {} for the database's name."""
    folder = Path(tempfile.mkdtemp(prefix="assent-pg-"))
    try:
        _owned(folder)
        data, log = folder / "data", folder / "log"
        _run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c max_connections=60"
        _run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@/{{}}?host={folder}"
        finally:
            _run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create(server_url: str, name: str) -> str:
    """A new database's URL."""
    engine = sa.create_engine(server_url.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return server_url.format(name)


def _binary(name: str) -> str | None:
    found = shutil.which(name)
    if found is None:
        there = sorted(Path(_SERVER).glob(f"*/bin/{name}"))
        found = str(there[-1]) if there else None
    return found


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _owned(folder: Path) -> None:
    user = _user()
    if os.geteuid() == 0 and user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _run(name: str, *arguments: str) -> None:
    binary, user = _binary(name), _user()
    assert binary is not None
    become = []
    if os.geteuid() == 0 and user is not None:
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        become = ["setpriv", *ids]
    done = subprocess.run(
        [*become, binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/"
    )
    assert done.returncode == 0, done.stderr.decode()
