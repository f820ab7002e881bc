"""One request of somebody at the console: who, in which language, from which page; the checks at the door.

Every page is made by `page`, which lets in only a signed-in member of the staff with the permission
that the page names, and only forms that came from our own pages. A page without a permission is open
to everybody who is signed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from kangshu.console.errors import ForeignFormError, FormTooLargeError, SignInNeededError, say
from kangshu.console.menu import Group, menu_for
from kangshu.console.pockets import Pockets
from kangshu.console.rendering import Renderer
from kangshu.console.services import Services
from kangshu.kernel.texts import Language, Text
from kangshu.quality.rectifying import count_unread
from kangshu.security.principals import Permission, Principal
from kangshu.security.queries import find_session
from kangshu.security.tokens import form_token, form_token_fits
from kangshu.standards.identifiers import division_prefix
from kangshu.storage.database import Connection

SESSION_COOKIE = "kangshu_session"
LANGUAGE_COOKIE = "kangshu_language"
FLASH_COOKIE = "kangshu_flash"
FORM_FIELD = "csrf"
_FORM_LIMIT_BYTES = 64 << 10
_FORM_LIMIT_FIELDS = 200
_YEAR_SECONDS = 365 * 24 * 3600
_DIVISION_PLACES = 6  # notices to a body name its division by six digits
_SAFE_METHODS = frozenset({"GET", "HEAD"})

Tone = Literal["ok", "warn", "bad", "info"]


@dataclass(frozen=True, kw_only=True)
class Flash:
    """A message that is shown once, on the next page; `key` names a text."""

    tone: Tone
    key: str


_FLASHES: Mapping[str, Flash] = {
    flash.key: flash
    for flash in (
        Flash(tone="info", key="flash.signed_out"),
        Flash(tone="info", key="flash.expired"),
        Flash(tone="ok", key="flash.password_changed"),
        Flash(tone="ok", key="flash.otp_on"),
        Flash(tone="info", key="flash.closed"),
        Flash(tone="ok", key="flash.task_done"),
        Flash(tone="ok", key="flash.reviewed"),
        Flash(tone="ok", key="flash.review_decided"),
        Flash(tone="info", key="flash.review_waits"),
        Flash(tone="ok", key="flash.links_drawn"),
        Flash(tone="ok", key="flash.link_judged"),
        Flash(tone="ok", key="flash.person_split"),
        Flash(tone="ok", key="flash.undone"),
        Flash(tone="ok", key="flash.circular_issued"),
        Flash(tone="ok", key="flash.card_new"),
        Flash(tone="info", key="flash.card_known"),
        Flash(tone="ok", key="flash.card_done"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request, its visitor and what it needs to answer."""

    services: Services
    renderer: Renderer
    request: Request
    language: Language
    now: datetime
    principal: Principal | None = None
    token: str | None = None
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    unread: int = 0
    """Notices about data to mend that nobody of the visitor's institution has read."""

    @property
    def staff(self) -> Principal:
        """The signed-in visitor; pages made by `page` always have one."""
        assert self.principal is not None, "a page behind the door has a visitor"
        return self.principal

    @property
    def path(self) -> str:
        """The path of the page, as the browser shows it."""
        return self.request.url.path

    @property
    def query(self) -> Mapping[str, str]:
        """The words after the question mark."""
        return self.request.query_params

    @property
    def here(self) -> str:
        """The address of this page, without the host."""
        return f"{self.path}?{self.request.url.query}" if self.request.url.query else self.path

    @property
    def other_language_href(self) -> str:
        """This page in the other language; a form's answer leads to the page of the form."""
        kept = [pair for pair in parse_qsl(self.request.url.query) if pair[0] != "lang"]
        return f"{self.path}?{urlencode([*kept, ('lang', 'en' if self.language == 'zh' else 'zh')])}"

    @property
    def menu(self) -> tuple[Group, ...]:
        """What this visitor may open."""
        return menu_for(self.principal, path=self.path)

    @property
    def form_token(self) -> str:
        """What a form of this session carries against cross-site requests."""
        return form_token(self.services.keys, session_token=self.token) if self.token else ""

    @property
    def pockets(self) -> Pockets:
        """What the browser carries for this session, sealed."""
        return Pockets.of_session(
            session_key=self.services.keys.session_key,
            session=self.token or "",
            random=self.services.random,
        )

    def own(self, text: Text) -> str:
        """Return `text` in the visitor's language."""
        return text.in_(self.language)

    def say(self, key: str, **values: object) -> str:
        """Return a text of the console in the visitor's language."""
        return say(key, **values).in_(self.language)

    def join(self, words: Iterable[str]) -> str:
        """Return `words` as a list in the visitor's language."""
        return self.say("frame.list_separator").join(words)

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return the page that `template` makes of `values`."""
        flash = _FLASHES.get(self.request.cookies.get(FLASH_COOKIE, ""))
        html = self.renderer.render(template, language=self.language, visit=self, flash=flash, **values)
        response = HTMLResponse(html, status_code=status)
        if flash:
            response.delete_cookie(FLASH_COOKIE, path="/console")
        return response

    def go(self, href: str, *, flash: str | None = None) -> Response:
        """Return the answer that sends the browser to `href`, where `flash` is shown once."""
        response = RedirectResponse(href, status_code=303)
        if flash:
            self.put_cookie(response, FLASH_COOKIE, _FLASHES[flash].key, seconds=60)
        return response

    def put_cookie(
        self, response: Response, name: str, value: str, *, seconds: int | None = None, path: str = "/console"
    ) -> None:
        """Set a cookie that scripts cannot read and other sites cannot cause to be sent."""
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=path,
            httponly=True,
            samesite="strict",
            secure=self.services.secure_cookies,
        )

    def put_pocket(
        self, response: Response, name: str, value: Mapping[str, Any], *, minutes: int, path: str
    ) -> None:
        """Let the browser carry `value`, sealed, for pages under `path`."""
        sealed = self.pockets.seal(name, value, until=self.now + timedelta(minutes=minutes))
        self.put_cookie(response, name, sealed, seconds=minutes * 60, path=path)

    def pocket(self, name: str) -> Mapping[str, Any] | None:
        """Return what the browser carries under `name`, if it is ours and still good."""
        return self.pockets.open(name, self.request.cookies.get(name), now=self.now)


Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]


def page(
    path: str,
    handler: Handler,
    *,
    may: Permission | None = None,
    method: Literal["GET", "POST"] = "GET",
    streamed: bool = False,
) -> Route:
    """Return the route of a page for signed-in staff who have the permission `may`.

    The form of a POST is read and checked before the handler sees it. With `streamed` the handler
    reads the body itself and must check the form's token with `require_own_form`.
    """

    async def endpoint(request: Request) -> Response:
        visit = await enter(request)
        if visit.principal is None:
            raise SignInNeededError
        if may is not None:
            visit.principal.require(may)
        if request.method not in _SAFE_METHODS:
            require_own_origin(request)
            if not streamed:
                visit = replace(visit, form=await read_form(request))
                require_own_form(visit, visit.form.get(FORM_FIELD, ""))
        return _remember_language(visit, await handler(visit))

    return Route(path, endpoint, methods=[method])


def open_page(path: str, handler: Handler, *, method: Literal["GET", "POST"] = "GET") -> Route:
    """Return the route of a page for everybody: signing in and out. Its forms need our own origin."""

    async def endpoint(request: Request) -> Response:
        visit = await enter(request)
        if request.method not in _SAFE_METHODS:
            require_own_origin(request)
            visit = replace(visit, form=await read_form(request))
        return _remember_language(visit, await handler(visit))

    return Route(path, endpoint, methods=[method])


async def enter(request: Request) -> Visit:
    """Return the visit that `request` begins; its principal is None where nobody is signed in."""
    visit = anonymous(request)
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        async with visit.services.database.connection() as connection:
            session = await find_session(connection, token=token, now=visit.now)
            unread = await _count_unread(connection, session.principal) if session else 0
        if session is not None:
            visit = replace(visit, principal=session.principal, token=token, unread=unread)
    request.state.visit = visit
    return visit


def told_codes(principal: Principal) -> list[str]:
    """Return the codes whose notices are this visitor's: own institutions, and divisions' bodies."""
    divisions = {division_prefix(code).ljust(_DIVISION_PLACES, "0") for code in principal.divisions}
    return sorted(principal.institutions | divisions)


async def _count_unread(connection: Connection, principal: Principal) -> int:
    codes = told_codes(principal) if principal.may(Permission.SEE_QUALITY) else []
    return await count_unread(connection, codes=codes) if codes else 0


def anonymous(request: Request) -> Visit:
    """Return the visit of somebody of whom nothing is known but the language; asks no database."""
    services: Services = request.app.state.services
    return Visit(
        services=services,
        renderer=request.app.state.renderer,
        request=request,
        language=_language(request),
        now=services.clock.now(),
    )


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a small form.

    Raises:
        FormTooLargeError: it is larger than any form of ours.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_LIMIT_BYTES:
            raise FormTooLargeError(say["failure.too_large"])
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FORM_LIMIT_FIELDS)
    except ValueError as error:
        raise FormTooLargeError(say["failure.too_large"]) from error
    return {name: values[-1] for name, values in fields.items()}


def require_own_origin(request: Request) -> None:
    """Do nothing if the browser says that one of our own pages sent this.

    Raises:
        ForeignFormError: another site did, or the browser does not say.
    """
    if not own_origin(request.headers):
        raise ForeignFormError(say["failure.origin"])


def own_origin(headers: Headers) -> bool:
    """Return whether `Origin`, or else `Sec-Fetch-Site`, names this site."""
    origin = headers.get("origin")
    if origin is not None:
        return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")
    return headers.get("sec-fetch-site") == "same-origin"


def require_own_form(visit: Visit, offered: str) -> None:
    """Do nothing if the form was made for this session.

    Raises:
        ForeignFormError: it was not.
    """
    fits = visit.token and form_token_fits(visit.services.keys, session_token=visit.token, offered=offered)
    if not fits:
        raise ForeignFormError(say["failure.origin"])


def _language(request: Request) -> Language:
    asked = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    return "en" if asked == "en" else "zh"


def _remember_language(visit: Visit, response: Response) -> Response:
    asked = visit.query.get("lang")
    if asked in ("zh", "en") and asked != visit.request.cookies.get(LANGUAGE_COOKIE):
        visit.put_cookie(response, LANGUAGE_COOKIE, asked, seconds=_YEAR_SECONDS)
    return response
