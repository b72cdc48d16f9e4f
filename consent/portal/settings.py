"""portal.yaml: the portal's public address, how codes are sent, the parties' own sign-in.

Who runs it: the portal's operator.  Learns: the file holds passwords of the mail and message
services and of the parties' sign-in; it is refused when others may read it.
Unknown keys are refused with file, line and nearest known key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from catalog.yaml import Document, Strict, Text, Whole, Words, build, one_of, read_one, wrong
from consent.portal.port import ADDRESS_KINDS
from protocol.errors import BadInput
from protocol.secret import Secret

SECURITY = ("starttls", "tls")


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise wrong("must be text in quotes", "write the secret in quotes")
    return Secret(value.encode())


def _https(value: str) -> str:
    if urlsplit(value).scheme != "https" or not urlsplit(value).hostname:
        raise wrong(f'"{value}" is not an https:// address', "secrets go over TLS only")
    return value


SecretText = Annotated[Secret, BeforeValidator(_secret)]
Https = Annotated[Text, AfterValidator(_https)]


class Smtp(Strict):
    """A mail server.  `starttls` is required to succeed; there is no way without TLS."""

    host: Text
    port: Whole = 587
    security: Annotated[Text, one_of(SECURITY)] = "starttls"
    user: Text = ""
    password: SecretText | None = None
    sender: Text


class SmsWebhook(Strict):
    """A message service: JSON {to, text, language} by POST with a bearer token."""

    url: Https
    token: SecretText


class PartySignIn(Strict):
    """A party's OpenID provider.  claim: where its ID token has the person's subject token."""

    issuer: Https
    client_id: Text
    client_secret: SecretText
    claim: Text = "assent_subject"
    scopes: Words = ("openid",)


class Tls(Strict):
    """The certificate that browsers see, PEM; paths relative to the file."""

    certificate: Path
    key: Path


class _PortalFile(Strict):
    public_url: Text = ""
    tls: Tls | None = None
    notices: dict[str, Text] = Field(default_factory=dict)
    region: Text = "CN"
    utc_offset_minutes: Annotated[Whole, Field(ge=-840, le=840)] = 480
    proxies: Words = ()
    codes: Annotated[tuple[Annotated[Text, one_of(ADDRESS_KINDS)], ...],
                     BeforeValidator(lambda v: (v,) if isinstance(v, str) else tuple(v))] = (
        "email", "phone",
    )  # fmt: skip
    smtp: Smtp | None = None
    sms: SmsWebhook | None = None
    sign_in: dict[str, PartySignIn] = Field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """public_url: scheme and host as browsers see them, "" for what it listens on.

    proxies: addresses whose X-Forwarded-For counts.  codes: address types that may sign in.
    notices: files of the parties that have their own.  region: for phone numbers without a
    country, two letters.  utc_offset_minutes: of the clock that pages show.
    """

    public_url: str = ""
    proxies: tuple[str, ...] = ()
    codes: tuple[str, ...] = ADDRESS_KINDS
    smtp: Smtp | None = None
    sms: SmsWebhook | None = None
    sign_in: Mapping[str, PartySignIn] = field(default_factory=dict)
    tls: Tls | None = None
    notices: Mapping[str, Path] = field(default_factory=dict)
    region: str = "CN"
    utc_offset_minutes: int = 480


def load_settings(path: Path, parties: Mapping[str, object]) -> Settings:
    """Raises BadInput with file, line, key and fix."""
    if path.exists() and path.stat().st_mode & 0o077:
        raise BadInput(
            f"{path}: others may read it, and it holds passwords",
            next_step=f"run `chmod 600 {path}`",
        )
    document = read_one(path, "portal")
    return settings_of(document, parties)


def settings_of(document: Document, parties: Mapping[str, object]) -> Settings:
    file = build(_PortalFile, document.value, document)
    for key, named in (("sign_in", file.sign_in), ("notices", file.notices)):
        for name in named:
            if name not in parties:
                raise document.error(
                    (key, name), f"{name} is no party of the collaboration",
                    "use one of " + ", ".join(parties),
                )  # fmt: skip
    url = file.public_url.rstrip("/")
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path):
        raise document.error(
            ("public_url",), f'"{url}" is not scheme and host', "write https://me.example.com"
        )
    folder = Path(document.source).parent
    tls = file.tls and Tls(certificate=folder / file.tls.certificate, key=folder / file.tls.key)
    return Settings(
        url, file.proxies, file.codes, file.smtp, file.sms, file.sign_in, tls,
        {party: folder / path for party, path in file.notices.items()}, file.region,
        file.utc_offset_minutes,
    )  # fmt: skip
