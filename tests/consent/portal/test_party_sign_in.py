"""Signing in at a party: an OpenID provider in memory, honest and bent."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from consent.portal.oidc import OpenID
from consent.portal.settings import PartySignIn
from protocol.errors import Failed
from tests.consent.portal import fakes
from tests.consent.portal.fakes import ANNA, make

ISSUER = "https://id.retailer.test"


class Provider:
    """An OpenID provider in memory; `claims` and `key` can be bent."""

    def __init__(self) -> None:
        self.key: Any = RSAKey.generate_key(2048, parameters={"kid": "1", "alg": "RS256"})
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "1"}
        self.bend: dict[str, Any] = {}
        self.nonce = ""
        self.challenge = ""
        self.signer = self.key

    def app(self) -> Starlette:
        async def discovery(request: Request) -> JSONResponse:
            ends = {
                "authorization_endpoint": "/in",
                "token_endpoint": "/token",
                "jwks_uri": "/keys",
            }
            return JSONResponse({"issuer": ISSUER} | {k: ISSUER + v for k, v in ends.items()})

        async def keys(request: Request) -> JSONResponse:
            return JSONResponse({"keys": [self.key.as_dict(private=False)]})

        async def give(request: Request) -> JSONResponse:
            form = dict((await request.form()).items())
            assert form["code"] == "the-code"
            assert form["code_verifier"]
            subject = fakes.subject_of("retailer", ANNA)
            word = "s1.1." + base64.urlsafe_b64encode(subject).decode().rstrip("=")
            claims = {
                "iss": ISSUER, "aud": "portal", "exp": int(time.time()) + 60, "nonce": self.nonce,
                "assent_subject": word,
            }  # fmt: skip
            signed = jwt.encode(
                self.header, claims | self.bend, self.signer, algorithms=["RS256", "HS256"]
            )
            return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", discovery),
                Route("/keys", keys),
                Route("/token", give, methods=["POST"]),
            ]
        )


def _openid(provider: Provider) -> OpenID:
    settings = PartySignIn(issuer=ISSUER, client_id="portal", client_secret="s")  # type: ignore[arg-type]
    return OpenID(
        "retailer", settings, "http://portal.test/sign-in/back", time.time,
        httpx.ASGITransport(provider.app()),
    )  # fmt: skip


async def _at_party(
    provider: Provider, *, code: str = "the-code", state: str | None = None
) -> tuple[fakes.Made, httpx.Response, httpx.AsyncClient]:
    made = make()
    made.portal.openids = {"retailer": _openid(provider)}
    browser = made.browser()
    sent = await browser.get("/sign-in/with/retailer")
    address = httpx.URL(sent.headers["location"])
    assert str(address).startswith(ISSUER + "/in?")
    assert address.params["code_challenge_method"] == "S256"
    provider.nonce = address.params["nonce"]
    back = await browser.get(
        "/sign-in/back", params={"code": code, "state": state or address.params["state"]}
    )
    return made, back, browser


def test_the_party_names_the_person() -> None:
    async def run() -> None:
        made, back, browser = await _at_party(Provider())
        assert back.headers["location"] == "/permissions", back.text
        page = (await browser.get("/permissions")).text
        assert ">retailer</h2>" in page
        assert ">media</h2>" not in page
        assert ANNA not in str(made.nodes.asked)

    asyncio.run(run())


@pytest.mark.parametrize(
    "bend",
    [
        {"iss": "https://evil.test"},
        {"aud": "another"},
        {"exp": 1},
        {"nonce": "another"},
        {"assent_subject": "s1.1.short"},
        {"assent_subject": None},
        {"assent_subject": "s1.1." + "A" * 43},  # a token of nobody
    ],
)
def test_a_bent_token_signs_nobody_in(bend: dict[str, Any]) -> None:
    async def run() -> None:
        provider = Provider()
        provider.bend = bend
        _, back, browser = await _at_party(provider)
        assert back.status_code == 403
        assert (await browser.get("/permissions")).status_code == 303

    asyncio.run(run())


def test_a_token_of_another_key_or_algorithm_signs_nobody_in() -> None:
    async def run() -> None:
        for signer, header in (
            (RSAKey.generate_key(2048), {"alg": "RS256", "kid": "1"}),
            (OctKey.import_key("secret-secret-secret-secret-secret"), {"alg": "HS256"}),
        ):
            provider = Provider()
            provider.signer, provider.header = signer, header
            _, back, _ = await _at_party(provider)
            assert back.status_code == 403

    asyncio.run(run())


def test_a_return_that_this_browser_did_not_begin_is_refused() -> None:
    async def run() -> None:
        _, back, browser = await _at_party(Provider(), state="forged")
        assert back.status_code == 403
        again = await browser.get("/sign-in/back", params={"code": "the-code", "state": "forged"})
        assert again.status_code == 403

    asyncio.run(run())


def test_a_return_is_good_once() -> None:
    async def run() -> None:
        made = make()
        provider = Provider()
        made.portal.openids = {"retailer": _openid(provider)}
        async with made.browser() as browser:
            sent = await browser.get("/sign-in/with/retailer")
            address = httpx.URL(sent.headers["location"])
            provider.nonce = address.params["nonce"]
            back = {"code": "the-code", "state": "forged"}
            assert (await browser.get("/sign-in/back", params=back)).status_code == 403
            back["state"] = address.params["state"]  # guessed at the second try
            assert (await browser.get("/sign-in/back", params=back)).status_code == 403
            assert (await browser.get("/permissions")).status_code == 303

    asyncio.run(run())


def test_beginning_at_a_party_is_limited() -> None:
    async def run() -> None:
        made = make()
        made.portal.openids = {"retailer": _openid(Provider())}
        async with made.browser() as browser:
            seen = [(await browser.get("/sign-in/with/retailer")).status_code for _ in range(21)]
        assert seen == [303] * 20 + [429]

    asyncio.run(run())


def test_endpoints_without_tls_are_not_used() -> None:
    from consent.portal.oidc import _endpoint

    with pytest.raises(Failed, match="https"):
        _endpoint({"token_endpoint": "http://id.test"}, "token_endpoint")
