"""The portal's addresses: which page answers what.

Who runs it: the portal's process; tests call it in memory.  Learns: see `consent.portal.web`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consent.portal import account, rights, sign_in, web
from consent.portal.portal import Portal

_STYLE = Path(__file__).parent / "pages" / "portal.css"


def create(portal: Portal) -> Starlette:
    def route(
        path: str, handler: web.Handler, method: str = "GET", *, open_: bool = False
    ) -> Route:
        private = not open_
        return Route(path, web.endpoint(handler, portal, private=private), methods=[method])

    css = _STYLE.read_text("utf-8")

    async def style(request: Request) -> Response:
        response = Response(css, media_type="text/css")
        response.headers["Cache-Control"] = "public, max-age=300"
        return web.finished(response, portal)

    async def home(visit: web.Visit) -> Response:
        return visit.to("/permissions")

    async def not_found(visit: web.Visit) -> Response:
        raise web.Turned(404, "error_missing")

    async def not_allowed(visit: web.Visit) -> Response:
        raise web.Turned(405, "error_bad")

    missing: Any = web.endpoint(not_found, portal, private=False)
    wrong_method: Any = web.endpoint(not_allowed, portal, private=False)

    async def on_missing(request: Request, error: Exception) -> Response:
        response: Response = await missing(request)
        return response

    async def on_method(request: Request, error: Exception) -> Response:
        response: Response = await wrong_method(request)
        return response

    made = Starlette(
        routes=[
            Route("/style.css", style),
            route("/", home),
            route("/language/{tag}", web.language, open_=True),
            route("/sign-in", sign_in.show, open_=True),
            route("/sign-in/code", sign_in.ask_for_code, "POST", open_=True),
            route("/sign-in/enter", sign_in.show_enter, open_=True),
            route("/sign-in/enter", sign_in.enter, "POST", open_=True),
            route("/sign-in/with/{party}", sign_in.begin_at_party, open_=True),
            route("/sign-in/back", sign_in.back_from_party, open_=True),
            route("/sign-out", sign_in.leave, "POST"),
            route("/permissions", account.permissions),
            route("/permissions/set", account.set_permission, "POST"),
            route("/permissions/withdraw-all", account.withdraw_all, "POST"),
            route("/data", account.data),
            route("/uses", account.uses),
            route("/history", account.history),
            route("/history/receipt/{party}/{index:int}", account.receipt),
            route("/verify", account.show_verify, open_=True),
            route("/verify", account.verify, "POST", open_=True),
            route("/rights", rights.show),
            route("/rights/file", rights.file, "POST"),
            route("/rights/erase", rights.erase, "POST"),
            route("/rights/access.json", rights.access_json),
            route("/rights/access.csv", rights.access_csv),
        ],
        exception_handlers={404: on_missing, 405: on_method},
    )
    # Such an answer would lead to whatever the Host header says, and would lack our own headers.
    made.router.redirect_slashes = False
    return made
