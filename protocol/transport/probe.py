"""Why a connection fails, in words: gRPC says UNAVAILABLE for everything.

Who runs it: a node after a failed hello, and `assent doctor`.  One plain `ssl` handshake to
the same address with the same pinned certificates, looked at step by step.

Learns: the server: that somebody knocked.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import tempfile

from cryptography import x509

from protocol.errors import Failed
from protocol.identity import TLS_NAME, Card, Keys

_SECONDS = 5.0
_AGAIN = 1.0


async def explain(server: Card, keys: Keys) -> Failed | None:
    """What is wrong on the way to `server`; None when the handshake works."""
    found = await asyncio.to_thread(probe, server, keys)
    if found is not None and found.info.code == "certificate_refused":
        # A server that is just stopping hangs up in the same way; only one that does so again
        # means it.
        await asyncio.sleep(_AGAIN)
        found = await asyncio.to_thread(probe, server, keys)
    return found


def probe(server: Card, keys: Keys, now: datetime.datetime | None = None) -> Failed | None:
    """1. certificates' dates, 2. name and port, 3. the server's certificate, 4. ours."""
    moment = now or datetime.datetime.now(datetime.UTC)
    for card, whose in ((keys.card, "this party's own"), (server, f"the {_called(server)}'s")):
        problem = _dates(card, whose, moment)
        if problem is not None:
            return problem
    host, _, port = server.address.rpartition(":")
    host = host.strip("[]")
    try:
        raw = socket.create_connection((host, int(port)), timeout=_SECONDS)
    except socket.gaierror:
        return _problem(
            "unavailable", f"the name {host} does not resolve", "check the address in the card"
        )
    except ConnectionRefusedError:
        return _problem(
            "unavailable",
            f"nothing listens at {server.address}",
            f"start the {_called(server)} there, or correct the address in collaboration.yaml",
        )
    except (OSError, ValueError) as error:
        return _problem(
            "unavailable",
            f"{server.address} cannot be reached ({error})",
            "check network, firewall and proxy",
        )
    with raw:
        return _handshake(raw, server, keys)


def _handshake(raw: socket.socket, server: Card, keys: Keys) -> Failed | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=server.tls_certificate)
    context.set_alpn_protocols(["h2"])
    _load_own(context, keys)
    try:
        with context.wrap_socket(raw, server_hostname=TLS_NAME) as connection:
            # TLS 1.3: the server's verdict on our certificate comes after the handshake.  A
            # server that accepts us sends its HTTP/2 settings; one that does not, an alert.
            connection.settimeout(_SECONDS)
            if connection.recv(1):
                return None
    except ssl.SSLCertVerificationError as error:
        return _problem(
            "wrong_server",
            f"what listens at {server.address} does not hold the pinned certificate "
            f"({error.verify_message})",
            "get the card of its operator again and compare fingerprints, or correct the address",
        )
    except TimeoutError:
        return None
    except (ssl.SSLError, ConnectionError) as error:
        return _problem(
            "certificate_refused",
            f"the {_called(server)} at {server.address} refuses this party's certificate "
            f"({getattr(error, 'reason', None) or error})",
            "its operator adds this party's card to collaboration.yaml and restarts it; compare "
            f"fingerprint {keys.card.fingerprint[:16]}…",
        )
    return _problem(
        "certificate_refused",
        f"the {_called(server)} at {server.address} refuses this party's certificate "
        "(it hung up after the handshake)",
        "its operator adds this party's card to collaboration.yaml and restarts it; compare "
        f"fingerprint {keys.card.fingerprint[:16]}…",
    )


def _called(server: Card) -> str:
    return "consent service" if server.role == "consent" else server.role


def _dates(card: Card, whose: str, now: datetime.datetime) -> Failed | None:
    certificate = x509.load_pem_x509_certificate(card.tls_certificate.encode())
    if now > certificate.not_valid_after_utc:
        return _problem(
            "certificate_expired",
            f"{whose} certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            "make new keys with `assent kit create` there and exchange cards again",
        )
    if now < certificate.not_valid_before_utc:
        return _problem(
            "clock_wrong",
            f"{whose} certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"UTC; the clock here says {now:%Y-%m-%d %H:%M}",
            "set this machine's clock",
        )
    return None


def _load_own(context: ssl.SSLContext, keys: Keys) -> None:
    """`ssl` takes key files only; ours is 0600 for the moment it exists."""
    descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(keys.tls_key.reveal() + b"\n" + keys.card.tls_certificate.encode())
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def _problem(code: str, cause: str, next_step: str) -> Failed:
    return Failed(code, cause, next_step=next_step)
