"""The party's own pages in a browser on the node's machine.

Who runs it: every node, for its owner.  It binds 127.0.0.1 only.
Learns: nobody outside the party, anything; no page loads anything from elsewhere.

Every request goes through `_guarded`, in this order: the Host is this one (a name that was
pointed here by somebody's DNS gets nothing), the session, and for a form its token.  There is
no JavaScript, and the content policy forbids it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

import consent.portal
from consent.portal.web import HEADERS, local
from consent.portal.words import preferred
from consent.portal.words import when as when_said
from party_node.console import words
from party_node.console.desk import ConsoleDesk
from party_node.console.door import Door, Session
from party_node.console.verifying import Verifier
from protocol.defects import defect
from protocol.errors import AssentError

PAGE = 25  # jobs on one page
_MAX_FORM = 4_096
_log = logging.getLogger("assent.console")
_HERE = Path(__file__).parent / "pages"
_STYLES = (Path(consent.portal.__file__).parent / "pages" / "portal.css", _HERE / "console.css")
_pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True)
class Console:
    """What the pages are made of.  clock_offset: minutes from UTC."""

    desk: ConsoleDesk
    verifier: Verifier
    door: Door
    clock_offset: int

    @property
    def cookie(self) -> str:
        # Cookies know no ports: several parties' pages on one machine need names of their own.
        return f"console_{self.door.port}"


class _Turned(Exception):
    """The request ends here with this status and these words."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


@dataclass
class _Visit:
    request: Request
    console: Console
    language: str
    session: Session | None = None

    def t(self, key: str, **told: Any) -> str:
        return words.say(self.language, key, **told)

    def page(self, template: str, tab: str, *, status: int = 200, **told: Any) -> Response:
        context = {
            "language": self.language,
            "languages": words.LANGUAGES,
            "path": self.request.url.path,
            "party": self.console.desk.party,
            "inside": self.session is not None,
            "token": self.session.csrf if self.session else "",
            "tab": tab,
            "t": self.t,
            "when": lambda ms: when_said(self.language, ms, self.console.clock_offset),
            "word": partial(words.word, self.language),
            "listed": partial(words.listed, self.language),
            "rho": words.rho,
        }
        html = _pages.get_template(template).render(context | told)
        return Response(html, status, media_type="text/html; charset=utf-8")


_Handler = Callable[[_Visit], Awaitable[Response]]


def create(console: Console) -> Starlette:
    def route(path: str, handler: _Handler, method: str = "GET", *, open_: bool = False) -> Route:
        return Route(path, _endpoint(handler, console, private=not open_), methods=[method])

    async def missing(visit: _Visit) -> Response:
        raise _Turned(404, "error_missing")

    not_found: Any = _endpoint(missing, console, private=False)

    async def on_missing(request: Request, error: Exception) -> Response:
        found: Response = await not_found(request)
        return found

    made = Starlette(
        routes=[
            route("/style.css", _style, open_=True),
            route("/enter", _enter, open_=True),
            route("/leave", _leave, "POST"),
            route("/language/{tag}", _language, open_=True),
            route("/", _logs),
            route("/jobs", _jobs),
            route("/releases", _releases),
            route("/verify", _show_verify),
            route("/verify", _verify, "POST"),
            route("/audit.bundle", _bundle),
        ],
        exception_handlers={404: on_missing, 405: on_missing},
    )
    made.router.redirect_slashes = False  # as the portal: it would not ask whose Host this is
    return made


def _endpoint(handler: _Handler, console: Console, *, private: bool) -> Any:
    async def run(request: Request) -> Response:
        visit = _Visit(request, console, _language_of(request))
        try:
            response = await _guarded(handler, visit, private)
        except _Turned as turned:
            response = visit.page("error.html", "", status=turned.status, what=turned.what)
        except ClientDisconnect:
            response = Response(status_code=400)
        except AssentError as error:
            _log.warning("%s: %s", handler.__name__, error.info.code)
            response = visit.page("error.html", "", status=503, what="error_ours")
        except Exception as error:  # ours: the page says that much, the log has the place
            _log.error("%s broke: %s", handler.__name__, defect(error))
            response = visit.page("error.html", "", status=500, what="error_ours")
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return run


async def _guarded(handler: _Handler, visit: _Visit, private: bool) -> Response:
    request, console = visit.request, visit.console
    hosts = {f"{name}:{console.door.port}" for name in ("127.0.0.1", "localhost")}
    if request.headers.get("host", "") not in hosts:
        raise _Turned(421, "error_host")
    visit.session = console.door.session(request.cookies.get(console.cookie, "")[:128])
    if private and visit.session is None:
        raise _Turned(403, "error_closed")
    if request.method == "POST":
        if visit.session is None:  # also at an address that does not exist
            raise _Turned(403, "error_closed")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc not in hosts:
            raise _Turned(403, "error_closed")
        if not hmac.compare_digest(await _csrf(request), visit.session.csrf.encode()):
            raise _Turned(403, "error_closed")
    return await handler(visit)


async def _csrf(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_FORM:
            raise _Turned(413, "error_closed")
    return parse_qs(data.decode("latin-1")).get("csrf", [""])[0].encode()


def _language_of(request: Request) -> str:
    chosen = request.cookies.get("language", "")
    if chosen in words.CATALOGUES:
        return chosen
    return preferred(request.headers.get("accept-language", ""))


# -- pages -------------------------------------------------------------------------------------


async def _style(visit: _Visit) -> Response:
    css = "\n".join(path.read_text("utf-8") for path in _STYLES)
    return Response(css, media_type="text/css", headers={"Cache-Control": "max-age=300"})


async def _enter(visit: _Visit) -> Response:
    """The link of `assent node console`; with a session already, a used one does no harm."""
    cookie = visit.console.door.enter(visit.request.query_params.get("token", "")[:128])
    if cookie is None and visit.session is None:
        raise _Turned(403, "error_closed")
    response = RedirectResponse("/", 303)
    if cookie is not None:
        response.set_cookie(
            visit.console.cookie, cookie, path="/", httponly=True, samesite="strict"
        )
    return response


async def _leave(visit: _Visit) -> Response:
    visit.console.door.leave(visit.request.cookies.get(visit.console.cookie, ""))
    visit.session = None
    return visit.page("error.html", "", what="left")


async def _language(visit: _Visit) -> Response:
    tag = visit.request.path_params["tag"]
    if tag not in words.CATALOGUES:
        raise _Turned(404, "error_missing")
    to = visit.request.query_params.get("to", "/")
    response = RedirectResponse(to if local(to) else "/", 303)
    response.set_cookie(
        "language", tag, max_age=31_536_000, path="/", httponly=True, samesite="lax"
    )
    return response


async def _logs(visit: _Visit) -> Response:
    return visit.page("logs.html", "logs", status_=await _off(visit.console.desk.logs))


async def _jobs(visit: _Visit) -> Response:
    return _listed(visit, "jobs", await _off(visit.console.desk.jobs))


async def _releases(visit: _Visit) -> Response:
    return _listed(visit, "releases", await _off(visit.console.desk.releases))


def _listed(visit: _Visit, tab: str, rows: list[Any]) -> Response:
    last = max(0, (len(rows) - 1) // PAGE)
    asked = visit.request.query_params.get("page", "0")
    page = min(int(asked), last) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0
    shown = rows[page * PAGE : (page + 1) * PAGE]
    return visit.page(f"{tab}.html", tab, rows=shown, page=page, last=last, count=len(rows))


async def _show_verify(visit: _Visit) -> Response:
    verifier = visit.console.verifier
    kept = verifier.path.exists()
    return visit.page("verify.html", "verify", last=verifier.last, has_bundle=kept)


async def _verify(visit: _Visit) -> Response:
    visit.console.verifier.start()
    return RedirectResponse("/verify", 303)


async def _bundle(visit: _Visit) -> Response:
    path = visit.console.verifier.path
    if not path.exists():
        raise _Turned(404, "error_missing")
    return FileResponse(path, media_type="application/jsonl", filename="audit.bundle")


async def _off(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


def clock_offset() -> int:
    """Minutes that this machine's wall clock is ahead of UTC."""
    return time.localtime().tm_gmtoff // 60
