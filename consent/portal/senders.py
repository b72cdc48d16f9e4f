"""How a one-time code reaches its person: a folder (development), SMTP, or an SMS web hook.

Who runs it: the portal's process.  Learns: the mail or message service that the operator
chose learns the address and the code; nobody learns what the portal is opened for.
"""

from __future__ import annotations

import asyncio
import json
import os
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from consent.portal.settings import Settings, SmsWebhook, Smtp
from protocol.errors import Failed

if TYPE_CHECKING:
    import httpx  # at run time where it is used: every node loads this module, few send

TIMEOUT = 20.0


@dataclass(frozen=True)
class Message:
    """kind: email or phone.  code is in text too; senders that make cards need it alone."""

    kind: str
    to: str
    subject: str
    text: str
    language: str

    def __repr__(self) -> str:
        return f"Message({self.kind})"


class Sender(Protocol):
    async def send(self, message: Message) -> None:
        """Raises Failed('not_sent'); the page does not say so, the portal's log does."""
        ...


@dataclass(frozen=True)
class Outbox:
    """Writes each message as a 0600 file; for development and the sandbox."""

    folder: Path
    random: Callable[[int], bytes] = os.urandom

    async def send(self, message: Message) -> None:
        await asyncio.to_thread(self._write, message)

    def _write(self, message: Message) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{self.random(8).hex()}.json"
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(vars(message), file, ensure_ascii=False)
        part.replace(path)


@dataclass(frozen=True)
class Mail:
    server: Smtp

    async def send(self, message: Message) -> None:
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _not_sent("the mail server", error) from error

    def _send(self, message: Message) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.server.sender, message.to, message.subject
        mail["Content-Language"] = message.language
        mail.set_content(message.text)
        context = ssl.create_default_context()
        where = (self.server.host, self.server.port)
        if self.server.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=TIMEOUT, context=context)
        else:
            connection = smtplib.SMTP(*where, timeout=TIMEOUT)
        with connection:
            if self.server.security == "starttls":
                connection.starttls(context=context)
            if self.server.password is not None:
                connection.login(self.server.user, self.server.password.reveal().decode())
            connection.send_message(mail)


@dataclass(frozen=True)
class Sms:
    hook: SmsWebhook
    transport: httpx.AsyncBaseTransport | None = None

    async def send(self, message: Message) -> None:
        import httpx

        body = {"to": message.to, "text": message.text, "language": message.language}
        headers = {"Authorization": f"Bearer {self.hook.token.reveal().decode()}"}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, transport=self.transport) as client:
                answer = await client.post(self.hook.url, json=body, headers=headers)
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise _not_sent("the message service", error) from error


def senders(settings: Settings, outbox: Path | None) -> Mapping[str, Sender]:
    """Address type → how codes reach it; types without a way cannot sign in by code."""
    if outbox is not None:
        return dict.fromkeys(settings.codes, Outbox(outbox))
    found: dict[str, Sender] = {}
    if settings.smtp is not None and "email" in settings.codes:
        found["email"] = Mail(settings.smtp)
    if settings.sms is not None and "phone" in settings.codes:
        found["phone"] = Sms(settings.sms)
    return found


def _not_sent(who: str, error: Exception) -> Failed:
    # The exception's own words may hold the address; its kind is enough for the log.
    return Failed(
        "not_sent", f"{who} took no message ({type(error).__name__})", stage="sign-in",
        next_step="check smtp: and sms: of the portal's settings",
    )  # fmt: skip
