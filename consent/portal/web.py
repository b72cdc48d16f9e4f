"""The portal towards browsers: what surrounds every page.

Who runs it: the portal's process.  Learns: nobody more than the pages show.

Every request goes through `endpoint`, in this order: size of the address, rate of the client,
session, and for forms: type, size, origin, token.  What fails is refused with a page that says
nothing of what was sent; the log has method, route and status, never a value.
There is no JavaScript at all, so the content policy forbids all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
from markupsafe import Markup
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from consent.portal import words
from consent.portal.limits import VISITS_PER_CLIENT, client_key
from consent.portal.portal import Portal
from consent.portal.sessions import Session, SignedIn, same
from consent.purposes import State
from protocol.defects import defect
from protocol.errors import AssentError, BadInput, ProtocolViolation, Refused

MAX_FORM = 64 << 10  # bytes; a receipt is some 10 kB
MAX_FIELDS = 20
MAX_PATH = 2_048
_FORM = "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_log = logging.getLogger("assent.portal")
_pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


class Turned(Exception):
    """The request ends here with this status and these words."""

    def __init__(self, status: int, what: str, party: str = "") -> None:
        super().__init__(what)
        self.status, self.what, self.party = status, what, party


@dataclass
class Visit:
    """One request of one browser.  cookie: the session's, "" when there is none yet."""

    request: Request
    portal: Portal
    language: str
    cookie: str = ""
    session: Session | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False  # the cookie must be sent

    @property
    def client(self) -> str:
        host = self.request.client.host if self.request.client else ""
        return client_key(host)

    @property
    def person(self) -> SignedIn:
        if self.session is None or self.session.person is None:
            raise Turned(303, "/sign-in")
        return self.session.person

    def opened(self) -> Session:
        """This browser's session; a new one when it has none."""
        if self.session is None:
            self.cookie, self.session = self.portal.sessions.create()
            self.fresh = True
        return self.session

    def rotate(self, person: SignedIn | None) -> Session:
        self.cookie, self.session = self.portal.sessions.rotate(self.cookie, person)
        self.fresh = True
        return self.session

    def say(self, key: str, **told: Any) -> None:
        """A message for the next page.  at: the permission it stands beside; tone: its colour."""
        self.opened().flash.append((key, told))

    def field(self, name: str, known: Any = None, limit: int = 500) -> str:
        value = self.form.get(name, "")
        if len(value) > limit or (known is not None and value not in known):
            raise Turned(400, "error_bad")
        return value

    def t(self, key: str, **told: Any) -> str:
        return words.say(self.language, key, **told)

    def when(self, time_ms: int) -> str:
        return words.when(self.language, time_ms, self.portal.clock_offset)

    def listed(self, prefix: str, keys: Iterable[str]) -> str:
        return words.listed(self.language, prefix, keys)

    def page(self, template: str, *, status: int = 200, tab: str = "", **told: Any) -> Response:
        session = self.session
        messages = session.flash[:] if session else []
        if session:
            session.flash.clear()
        context = {
            "language": self.language,
            "languages": words.LANGUAGES,
            "path": self.request.url.path,
            "person": session.person if session else None,
            "messages": messages,
            "t": self.t,
            "when": self.when,
            "list": partial(self.listed, "category_"),
            "list_of": self.listed,
            "state": lambda code: State(code).word,
            "token": self._token,
            "gap": "" if self.language == "zh-CN" else " ",  # between two sentences
            "tab": tab,
            "title": f"tab_{tab}",
        }
        html = _pages.get_template(template).render(context | told)
        return Response(html, status, media_type="text/html; charset=utf-8")

    def to(self, address: str) -> Response:
        return RedirectResponse(address, 303)

    def file(self, data: str, name: str, kind: str) -> Response:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(data.encode(), media_type=kind, headers=headers)

    def _token(self) -> Markup:
        csrf = self.opened().csrf  # base64url: nothing to escape
        return Markup('<input type="hidden" name="csrf" value="{}">').format(csrf)


Handler = Callable[[Visit], Awaitable[Response]]


def endpoint(handler: Handler, portal: Portal, *, private: bool = True) -> Any:
    """`handler` with everything around it.  private: only for who is signed in."""

    async def run(request: Request) -> Response:
        visit = Visit(request, portal, _language(request))
        try:
            response = await _guarded(handler, visit, private)
        except Turned as turned:
            response = _turned(visit, turned)
        except ClientDisconnect:
            response = Response(status_code=400)
        except AssentError as error:
            _log.warning("%s %s: %s", request.method, handler.__name__, error.info.code)
            response = _turned(visit, _of_error(error))
        except Exception as error:  # ours: the log gets the place, never a value
            _log.error("%s %s broke: %s", request.method, handler.__name__, defect(error))
            response = _turned(visit, Turned(500, "error_ours"))
        if visit.fresh:
            response.set_cookie(
                portal.cookie_name, visit.cookie, path="/", secure=portal.secure, httponly=True,
                samesite="lax",
            )  # fmt: skip
        return finished(response, portal)

    return run


def finished(response: Response, portal: Portal) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if portal.secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


async def _guarded(handler: Handler, visit: Visit, private: bool) -> Response:
    request, portal = visit.request, visit.portal
    # 1. Nothing oversized, nobody who hammers.
    if len(request.url.path) + len(request.url.query) > MAX_PATH:
        raise Turned(414, "error_large")
    if not portal.limits.allow(VISITS_PER_CLIENT, "visit", visit.client):
        raise Turned(429, "error_often")
    # 2. Who is it?
    visit.cookie = request.cookies.get(portal.cookie_name, "")[:128]
    visit.session = portal.sessions.find(visit.cookie) if visit.cookie else None
    if private:
        if visit.session is None and (visit.cookie or request.method == "POST"):
            visit.say("session_ended", tone="warn")
        _ = visit.person
    # 3. A form comes from a page that this session was shown.
    if request.method == "POST":
        _check_origin(request, portal)
        visit.form = await _form(request)
        if visit.session is None or not same(visit.form.get("csrf", ""), visit.session.csrf):
            raise Turned(403, "error_forbidden")
    return await handler(visit)


def _check_origin(request: Request, portal: Portal) -> None:
    """Second to the token: browsers say where a form came from."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Turned(403, "error_forbidden")
    if origin is not None and urlsplit(origin).netloc != portal.host_of(request):
        raise Turned(403, "error_forbidden")


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise Turned(415, "error_bad")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_FORM:
            raise Turned(413, "error_large")
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, strict_parsing=bool(data),
            errors="strict", max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError as error:  # UnicodeError too
        raise Turned(400, "error_bad") from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or any("\0" in value for value in fields.values()):
        raise Turned(400, "error_bad")
    return fields


def _turned(visit: Visit, turned: Turned) -> Response:
    if turned.status == 303:
        return visit.to(turned.what)
    _log.info("%s answered %d", visit.request.method, turned.status)
    return visit.page(
        "error.html", status=turned.status, title="error_title", what=turned.what,
        party=turned.party,
    )  # fmt: skip


def _of_error(error: AssentError) -> Turned:
    if isinstance(error, Refused):
        return Turned(409, "error_refused", error.info.party)
    if isinstance(error, BadInput | ProtocolViolation):
        return Turned(400, "error_bad")
    return Turned(503, "error_unavailable")


def _language(request: Request) -> str:
    chosen = request.cookies.get("language", "")
    if chosen in words.CATALOGUES:
        return chosen
    return words.preferred(request.headers.get("accept-language", ""))


async def language(visit: Visit) -> Response:
    """/language/TAG?to=/path: remembers the choice; only paths of this site are gone to."""
    tag = visit.request.path_params["tag"]
    if tag not in words.CATALOGUES:
        raise Turned(404, "error_missing")
    to = visit.request.query_params.get("to", "/")
    response = visit.to(to if local(to) else "/")
    response.set_cookie(
        "language", tag, max_age=31_536_000, path="/", secure=visit.portal.secure, httponly=True,
        samesite="lax",
    )  # fmt: skip
    return response


def local(address: str) -> bool:
    """Whether `address` is a path of this site and nothing that a browser reads otherwise."""
    return (
        address.startswith("/")
        and not address.startswith("//")
        and all(character.isalnum() or character in "/-_." for character in address)
    )
