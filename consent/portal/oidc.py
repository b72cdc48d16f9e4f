"""Sign-in at a party: OpenID Connect, authorization code with PKCE; the party names the person.

Who runs it: the portal's process.  Learns: the portal learns the subject token that the
party's ID token carries, nothing else of it is kept; the party learns that its customer uses
the portal.

Authlib makes the requests; the ID token is verified here with the algorithms given, against
the issuer's keys, for this client and this very sign-in (state, nonce and PKCE verifier live
in the browser's session).
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from consent.portal.settings import PartySignIn
from consent.records import SUBJECT_BYTES
from protocol.errors import Failed, ProtocolViolation

if TYPE_CHECKING:
    import httpx  # at run time where it is used: every node loads this module, few sign in

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
TIMEOUT = 10.0
_TOKEN = re.compile(r"s1\.([1-9][0-9]{0,4})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class OpenID:
    """One party's provider.  back: this portal's address that the provider sends people to.

    now: seconds since 1970.
    """

    party: str
    settings: PartySignIn
    back: str
    now: Callable[[], float]
    transport: httpx.AsyncBaseTransport | None = None

    async def begin(self) -> tuple[str, dict[str, str]]:
        """Where to send the browser, and what its session must remember."""
        provider = await self._discover()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        async with self._client() as client:
            address, state = client.create_authorization_url(
                _endpoint(provider, "authorization_endpoint"), nonce=nonce, code_verifier=verifier
            )
        return address, {
            "party": self.party, "state": state, "nonce": nonce, "verifier": verifier,
        }  # fmt: skip

    async def finish(self, code: str, remembered: dict[str, str]) -> bytes:
        """The subject token's 32 bytes of the person who came back with `code`."""
        provider = await self._discover()
        try:
            async with self._client() as client:
                answer = await client.fetch_token(
                    _endpoint(provider, "token_endpoint"), code=code,
                    grant_type="authorization_code", code_verifier=remembered["verifier"],
                )  # fmt: skip
            keys = await self._get(_endpoint(provider, "jwks_uri"))
            key_set = KeySet.import_key_set(keys)
            token = jwt.decode(str(answer["id_token"]), key_set, algorithms=ALGORITHMS)
        except Exception as error:  # Authlib, httpx, JSON and JOSE each have their own
            raise _failed(self.party, "its sign-in did not complete") from error
        return subject_of(
            token.claims, self.settings, self.party, remembered["nonce"], int(self.now())
        )

    async def _discover(self) -> dict[str, Any]:
        import httpx

        address = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = await self._get(address)
        except (httpx.HTTPError, ValueError) as error:
            raise _failed(self.party, "its sign-in is not reachable") from error
        if not isinstance(found, dict) or found.get("issuer") != self.settings.issuer:
            raise _failed(self.party, "its sign-in names another issuer")
        return found

    async def _get(self, address: str) -> Any:
        import httpx

        async with httpx.AsyncClient(timeout=TIMEOUT, transport=self.transport) as client:
            answer = await client.get(address)
            answer.raise_for_status()
            return answer.json()

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client  # slow, and few need it

        return AsyncOAuth2Client(
            self.settings.client_id, self.settings.client_secret.reveal().decode(),
            scope=" ".join(self.settings.scopes), redirect_uri=self.back,
            code_challenge_method="S256", timeout=TIMEOUT, transport=self.transport,
        )  # fmt: skip


def subject_of(
    claims: dict[str, Any], settings: PartySignIn, party: str, nonce: str, now: int
) -> bytes:
    """The subject in an ID token whose signature is right; raises when a claim is not."""
    wanted = jwt.JWTClaimsRegistry(
        now=now,
        leeway=30,
        iss={"essential": True, "value": settings.issuer},
        aud={"essential": True, "value": settings.client_id},
        exp={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    try:
        wanted.validate(claims)
    except JoseError as error:
        raise _failed(party, f"its sign-in token is not for us ({error.error})") from error
    found = _TOKEN.fullmatch(str(claims.get(settings.claim, "")))
    if found is None:
        raise _failed(party, f"its sign-in token has no subject token in {settings.claim}")
    subject = base64.urlsafe_b64decode(found[2] + "=")
    if len(subject) != SUBJECT_BYTES:
        raise ProtocolViolation("bad_subject", "a subject token has 32 bytes", party=party)
    return subject


def _endpoint(provider: dict[str, Any], name: str) -> str:
    found = provider.get(name)
    if not isinstance(found, str) or not found.startswith("https://"):
        raise Failed("sign_in_failed", f"the provider's {name} is not an https:// address")
    return found


def _failed(party: str, cause: str) -> Failed:
    return Failed(
        "sign_in_failed", cause, party=party, stage="sign-in",
        next_step="sign in with a code, or try again later",
    )  # fmt: skip
