"""Pinned mutual TLS for gRPC: a peer is the hash of its certificate, never its name.

Who runs it: coordinator and consent service as servers, nodes as clients.  There is no
authority: the trust bundle is the concatenation of the pinned self-signed certificates of
`collaboration.yaml`; a certificate outside it does not get through the handshake, and the
one that got through is looked up by its SHA-256.

Learns: who listens on the network learns addresses, sizes and times.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from protocol.identity import TLS_NAME
from protocol.secret import Secret
from protocol.transport.guard import Guard

KEEPALIVE_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000
MAX_MESSAGE = 8 << 20  # a chunk is 1 MiB, a lease's parameters a few; never unlimited

_BOTH: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH,
    # Clients ping every 30 s; a server that thinks this too often hangs up (ENHANCE_YOUR_CALM).
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    # Calls of one connection at a time; a node has a few under way, and others wait for it.
    ("grpc.max_concurrent_streams", 128),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
)


def server_credentials(
    key: Secret, certificate: str, peers: Iterable[str]
) -> grpc.ServerCredentials:
    """key: PEM; certificate: own PEM; peers: PEM certificates that may connect, no other may."""
    return grpc.ssl_server_credentials(
        [(key.reveal(), certificate.encode())],
        root_certificates="\n".join(peers).encode(),
        require_client_auth=True,
    )


def server(
    key: Secret, certificate: str, peers: Iterable[str], address: str
) -> tuple[grpc.aio.Server, int]:
    """A server bound to `address` (host:port, port 0 = any) and its port; not started.

    Raises RuntimeError when the address cannot be bound.
    """
    made = grpc.aio.server(interceptors=[Guard()], options=SERVER_OPTIONS)
    port = made.add_secure_port(address, server_credentials(key, certificate, peers))
    return made, port


def channel(
    address: str, key: Secret, certificate: str, server_certificate: str
) -> grpc.aio.Channel:
    """A channel to the one server that holds `server_certificate`'s key."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=server_certificate.encode(),
        private_key=key.reveal(),
        certificate_chain=certificate.encode(),
    )
    return grpc.aio.secure_channel(address, credentials, options=channel_options(address))


def channel_options(address: str) -> Sequence[tuple[str, Any]]:
    """Keepalive, name override, quick reconnects; on loopback no proxy."""
    options: list[tuple[str, Any]] = [
        *_BOTH,
        ("grpc.ssl_target_name_override", TLS_NAME),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Channels of one process to one address must not share a connection: they may carry
        # different certificates (a sandbox's tests do this).
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if is_loopback(address):
        # A company's http_proxy variable would send even 127.0.0.1 through the proxy.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def is_loopback(address: str) -> bool:
    host = address.rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fingerprint(certificate: str | bytes) -> str:
    """Hex SHA-256 of a PEM certificate's DER."""
    pem = certificate.encode() if isinstance(certificate, str) else certificate
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


def peer_fingerprint(context: grpc.aio.ServicerContext) -> str:
    """Fingerprint of the certificate the caller proved to hold; "" without one."""
    auth = context.auth_context() or {}
    certificates = auth.get("x509_pem_cert", ())
    return fingerprint(bytes(certificates[0])) if certificates else ""
