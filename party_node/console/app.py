"""The party console: pages for the owner of a node, on this machine only.

Who runs it: every node, on a loopback port of its own.  Whoever opens it shows the token that
lies in a 0600 file of the node's folder (`assent node console` prints the address with it), so
that other users of the machine, and pages from elsewhere, get nothing.  Nobody can act for a
person from here.
Learns: the owner: its own log, jobs and statements.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from consent.audit_report import Report
from party_node.console.words import LANGUAGES, say
from protocol.errors import AssentError
from protocol.secret import Secret

_PAGES = Path(__file__).parent
_COOKIE, _LANGUAGE = "assent_console", "language"
_MAX_BODY = 4_096
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SHOWN = 200  # of the newest jobs and statements


class Sources(Protocol):
    """What the console shows; blocking, small."""

    def log_state(self) -> Mapping[str, Any]: ...

    def jobs(self) -> list[Mapping[str, Any]]: ...

    def statements(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]: ...


@dataclass(frozen=True)
class Console:
    """token: what a browser must show once.  audit: fetches the bundle and verifies it."""

    party: str
    token: Secret
    sources: Sources
    audit: Callable[[], Awaitable[Report]]
    now: Callable[[], float]

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/enter", self._enter),
                Route("/language", self._choose),
                Route("/verify", self._verify, methods=["POST"]),
                Route("/console.css", self._style),
            ],
            # A page from elsewhere cannot give its own name to this address (DNS rebinding).
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
            ],
        )

    # -- pages -------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        if not self._allowed(request):
            return self._shown(request, "closed.html", 403)
        statements = list(reversed(self.sources.statements()))[:_SHOWN]
        return self._shown(
            request, "console.html",
            log=self.sources.log_state(), jobs=self.sources.jobs()[:_SHOWN], statements=statements,
            form=self._form_token(),
        )  # fmt: skip

    async def _verify(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                return self._shown(request, "closed.html", 413)
        given = body.removeprefix(b"token=")
        if not self._allowed(request) or not hmac.compare_digest(
            given, self._form_token().encode()
        ):
            return self._shown(request, "closed.html", 403)
        try:
            report, problem = await self.audit(), ""
        except AssentError as error:
            report, problem = None, error.info.cause
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.now()))
        return self._shown(request, "verify.html", report=report, problem=problem, at=at)

    async def _enter(self, request: Request) -> Response:
        shown = request.query_params.get("token", "")
        if not hmac.compare_digest(shown.encode(), self.token.reveal()):
            return self._shown(request, "closed.html", 403)
        answer = RedirectResponse("/", 303, _HEADERS)
        answer.set_cookie(_COOKIE, self._cookie(), httponly=True, samesite="strict")
        return answer

    async def _choose(self, request: Request) -> Response:
        answer = RedirectResponse("/", 303, _HEADERS)
        wanted = request.query_params.get("to", "")
        if wanted in LANGUAGES:
            answer.set_cookie(_LANGUAGE, wanted, httponly=True, samesite="strict")
        return answer

    async def _style(self, request: Request) -> Response:
        return Response(
            (_PAGES / "console.css").read_text("utf-8"), media_type="text/css", headers=_HEADERS
        )

    # -- who looks ---------------------------------------------------------------------------

    def _allowed(self, request: Request) -> bool:
        shown = request.cookies.get(_COOKIE, "")
        return hmac.compare_digest(shown.encode(), self._cookie().encode())

    def _cookie(self) -> str:
        return hmac.digest(self.token.reveal(), b"assent console cookie", "sha256").hex()

    def _form_token(self) -> str:
        return hmac.digest(self.token.reveal(), b"assent console form", "sha256").hex()

    def _shown(self, request: Request, page: str, status: int = 200, **values: Any) -> Response:
        language = request.cookies.get(_LANGUAGE, "")
        if language not in LANGUAGES:
            wanted = request.headers.get("accept-language", "")
            language = "zh" if wanted.lower().startswith("zh") else "en"

        def t(key: str, **words: object) -> str:
            return say(language, key, **words)

        text = _TEMPLATES.get_template(page).render(
            t=t, language=language, languages=LANGUAGES, party=self.party, when=_when, **values
        )
        return HTMLResponse(text, status, _HEADERS)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


_TEMPLATES = Environment(
    loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
