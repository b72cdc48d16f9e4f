"""portal.yaml and the ways codes leave: what is refused, and what really is sent."""

from __future__ import annotations

import asyncio
import json
import smtplib
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from consent.portal.main import _check_safe
from consent.portal.senders import Mail, Message, Outbox, Sms, senders
from consent.portal.settings import Settings, SmsWebhook, Smtp, load_settings
from protocol.errors import BadInput, Failed

PARTIES = {"retailer": None}
MESSAGE = Message("email", "ann@example.com", "code: 123456", "Your code is 123456", "en")


def _load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "portal.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return load_settings(file, PARTIES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("public_ur: https://a.example", "did you mean"),
        ("public_url: me.example.com", "scheme and host"),
        ("public_url: https://a.example/path", "scheme and host"),
        ("codes: [telepathy]", "telepathy"),
        ("sms: {url: 'http://sms.example', token: 'x'}", "TLS only"),
        ("smtp: {host: h, sender: s, security: none}", "none"),
        ("sign_in: {bank: {issuer: 'https://i.example', client_id: c, client_secret: 's'}}",
         "no party"),
        ("notices: {bank: n.yaml}", "no party"),
        ("utc_offset_minutes: 100000", "utc_offset|less than"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        _load(tmp_path, text)


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "portal.yaml"
    file.write_text("region: CN")
    file.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        load_settings(file, PARTIES)


def test_secrets_do_not_print(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        "smtp: {host: h, sender: s, user: u, password: 'hunter2'}\n"
        "sms: {url: 'https://sms.example', token: 'hunter2'}\n"
        "sign_in: {retailer: {issuer: 'https://i.example', client_id: c, "
        "client_secret: 'hunter2'}}",
    )
    assert loaded.smtp is not None
    assert loaded.smtp.password is not None
    assert loaded.smtp.password.reveal() == b"hunter2"
    assert "hunter2" not in repr(loaded) + str(loaded.smtp) + str(loaded.sms)


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "192.0.2.1:8080", "[::]:80", "me.example.com:80"])
def test_nothing_is_served_over_a_network_in_clear(listen: str) -> None:
    with pytest.raises(BadInput, match="no TLS"):
        _check_safe(listen, Settings())
    _check_safe("127.0.0.1:8080", Settings())
    _check_safe(listen, Settings(public_url="https://me.example", proxies=("10.0.0.1",)))


def test_the_outbox_is_this_users_alone(tmp_path: Path) -> None:
    asyncio.run(Outbox(tmp_path / "outbox").send(MESSAGE))
    (file,) = (tmp_path / "outbox").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["text"] == MESSAGE.text


def test_which_addresses_can_sign_in(tmp_path: Path) -> None:
    assert senders(Settings(), None) == {}
    assert set(senders(Settings(), tmp_path)) == {"email", "phone"}
    only = _load(tmp_path, "smtp: {host: h, sender: s}\ncodes: email")
    assert set(senders(only, None)) == {"email"}


def test_an_sms_goes_out_as_json_with_the_token() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200 if len(seen) == 1 else 503)

    hook = SmsWebhook(url="https://sms.example/send", token="t0ken")  # type: ignore[arg-type]
    sender = Sms(hook, httpx.MockTransport(answer))
    asyncio.run(sender.send(MESSAGE))
    assert seen[0].headers["authorization"] == "Bearer t0ken"
    body = json.loads(seen[0].content)
    assert body == {"to": MESSAGE.to, "text": MESSAGE.text, "language": "en"}
    with pytest.raises(Failed) as failed:
        asyncio.run(sender.send(MESSAGE))
    assert MESSAGE.to not in str(failed.value)


class FakeSmtp:
    made: list[Any] = []  # noqa: RUF012  one list per test run is what is wanted

    def __init__(self, *where: Any, timeout: float) -> None:
        self.calls: list[Any] = [where]
        FakeSmtp.made.append(self)

    def __enter__(self) -> FakeSmtp:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starttls(self, *, context: Any) -> None:
        self.calls.append("starttls" if context.check_hostname else "unchecked")

    def login(self, user: str, password: str) -> None:
        self.calls.append((user, password))

    def send_message(self, message: Any) -> None:
        self.calls.append((message["To"], message.get_content()))


def test_mail_goes_out_after_starttls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib, "SMTP", FakeSmtp)
    server = Smtp(host="mail.example", user="u", password="p", sender="portal@example.com")  # type: ignore[arg-type]
    asyncio.run(Mail(server).send(MESSAGE))
    told = ("ann@example.com", MESSAGE.text + "\n")
    assert FakeSmtp.made[-1].calls == [("mail.example", 587), "starttls", ("u", "p"), told]


def test_no_header_can_be_smuggled_into_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib, "SMTP", FakeSmtp)
    server = Smtp(host="mail.example", sender="portal@example.com")
    bent = Message("email", "a@b.c\r\nBcc: d@e.f", "s", "t", "en")
    with pytest.raises(Failed, match="took no message"):
        asyncio.run(Mail(server).send(bent))
