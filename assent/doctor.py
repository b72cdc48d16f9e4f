"""`assent doctor`: looks at what usually goes wrong, on the real path, and says what to fix.

Who runs it: a company's operator, before the first job or when one fails.
Learns: the servers learn that this party said hello.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cryptography import x509

from catalog.collaboration import Collaboration, load_collaboration
from coordinator.main import version as own_version
from protocol.errors import AssentError, BadInput
from protocol.identity import Card, Keys
from protocol.kmeans import lloyd
from protocol.paillier.choose import VARIABLE, choose
from protocol.psi.ecdh import Curve
from protocol.transport.kit import load_kit
from protocol.transport.port import ASKING
from protocol.transport.probe import probe
from protocol.transport.tls import is_loopback

CLOCK_LIMIT = 30.0  # seconds: consent.md refuses heads from further in the future
PACKAGES = ("grpcio", "protobuf", "cryptography", "gmpy2", "duckdb", "opendp", "rbcl", "numpy")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `fix` is empty when it is well."""

    what: str
    ok: bool
    found: str
    fix: str = ""

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def line(self) -> str:
        mark = "ok  " if self.ok else "FIX "
        return f"{mark} {self.what}: {self.found}" + (f" — {self.fix}" if self.fix else "")


def examine(collaboration_file: Path, name: str, folder: Path) -> list[Finding]:
    """All findings, in the order in which things depend on each other."""
    findings = [_python(), _packages(), _arithmetic()]
    try:
        collaboration = load_collaboration(collaboration_file)
    except BadInput as error:
        return [*findings, Finding("collaboration.yaml", False, error.info.cause,
                                   error.info.next_step)]  # fmt: skip
    count = len(collaboration.parties)
    findings.append(Finding("collaboration.yaml", True, f"{count} parties, cards consistent"))
    card = _card(collaboration, name)
    if card is None:
        known = ", ".join(sorted(collaboration.parties))
        return [*findings, Finding("name", False, f"{name or 'no --name'} is not a party of it",
                                   f"pass --name with one of: {known}")]  # fmt: skip
    findings.append(_certificate(card))
    try:
        keys = load_kit(folder, card)
    except BadInput as error:
        return [*findings, Finding("keys", False, error.info.cause, error.info.next_step)]
    findings.append(Finding("keys", True, f"{folder} belongs to {card.name}"))
    for server in (collaboration.coordinator.card(), collaboration.consent.card()):
        findings += _path_to(server, keys)
    return findings


def _card(collaboration: Collaboration, name: str) -> Card | None:
    found = collaboration.parties.get(name)
    return found.card() if found is not None else None


def _python() -> Finding:
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    fix = "" if ok else "use Python 3.11, 3.12 or 3.13"
    return Finding("python", ok, platform.python_version(), fix)


def _packages() -> Finding:
    missing, found = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", "run `make setup`")
    return Finding("packages", True, ", ".join(found))


def _arithmetic() -> Finding:
    cores = len(os.sched_getaffinity(0))
    try:
        found = choose(os.environ.get(VARIABLE, "")).describe()
        curve, segments = Curve(1).arithmetic.name, lloyd.arithmetic().name
    except BadInput as error:
        return Finding("arithmetic", False, error.info.cause, error.info.next_step)
    return Finding(
        "arithmetic", True, f"{found}; curve: {curve}; k-means: {segments}; {cores} cores"
    )


def _certificate(card: Card) -> Finding:
    certificate = x509.load_pem_x509_certificate(card.tls_certificate.encode())
    now = datetime.datetime.now(datetime.UTC)
    until = certificate.not_valid_after_utc
    if not certificate.not_valid_before_utc <= now <= until:
        return Finding("certificate", False, f"valid {certificate.not_valid_before_utc:%Y-%m-%d} "
                       f"to {until:%Y-%m-%d}, this machine says {now:%Y-%m-%d %H:%M}",
                       "set the clock, or make a new kit and exchange cards")  # fmt: skip
    return Finding("certificate", True, f"valid until {until:%Y-%m-%d}")


def _path_to(server: Card, keys: Keys) -> list[Finding]:
    """Name, proxy, TCP, TLS and hello to one server."""
    what = f"path to {server.name} ({server.address})"
    findings = []
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy and not is_loopback(server.address):
        findings.append(Finding("proxy", True, "https_proxy is set and gRPC will use it; the proxy "
                                "must allow CONNECT and HTTP/2 without inspecting it"))  # fmt: skip
    trouble = probe(server, keys)
    if trouble is not None:
        return [*findings, Finding(what, False, trouble.info.cause, trouble.info.next_step)]
    findings.append(Finding(what, True, "TLS handshake, both certificates accepted"))
    try:
        findings.append(asyncio.run(_hello(server, keys)))
    except AssentError as error:
        findings.append(Finding(f"hello {server.name}", False, error.info.cause,
                                error.info.next_step))  # fmt: skip
    return findings


async def _hello(server: Card, keys: Keys) -> Finding:
    started = time.time()
    their_version, their_time = await _ask(server, keys)
    middle = (started + time.time()) / 2
    offset = their_time - middle
    what = f"hello {server.name}"
    if abs(offset) > CLOCK_LIMIT:
        return Finding(what, False, f"clocks differ by {offset:+.0f} s",
                       "set both clocks by NTP; consent freshness depends on them")  # fmt: skip
    own = own_version()
    if their_version and their_version != own:
        return Finding(
            what, False, f"it runs version {their_version}, this machine {own}",
            "install the same version at the coordinator and at every company",
        )  # fmt: skip
    said = f"version {their_version}, " if their_version else ""
    return Finding(what, True, f"{said}clocks differ by {offset:+.2f} s")


async def _ask(server: Card, keys: Keys) -> tuple[str, float]:
    """The server's version ("" if it does not say) and clock, over its real port."""
    if server.role == "consent":
        from consent.client import ConsentClient

        consent = ConsentClient(server, keys, timeout=10.0)
        try:
            return "", (await consent.hello()).time
        finally:
            await consent.close()
    from protocol.transport.client import CoordinatorClient

    coordinator = CoordinatorClient(server, keys)
    try:
        answer = await coordinator.hello(ASKING)
        return answer.version, answer.time
    finally:
        await coordinator.close()
