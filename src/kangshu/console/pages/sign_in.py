"""Signing in and out."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from kangshu.audit import Outcome
from kangshu.console.acts import SIGN_OUT, note, note_sign_in
from kangshu.console.visits import FLASH_COOKIE, SESSION_COOKIE, Visit, open_page, page
from kangshu.security.errors import AccountUnknownError, SignInRefusedError
from kangshu.security.operations import close_session, open_session, sign_in
from kangshu.security.queries import get_account

_COOKIE_PATH = "/console"
_HOME = "/console/"


async def show_sign_in(visit: Visit) -> Response:
    """Ask who it is; somebody who is signed in already goes on."""
    wanted = _own_page(visit.query.get("next", ""))
    if visit.principal is not None:
        return RedirectResponse(wanted, status_code=303)
    return _form(visit, wanted=wanted)


async def take_sign_in(visit: Visit) -> Response:
    """Open a session for somebody whose proofs fit; whatever does not fit gives the same answer."""
    name = visit.form.get("name", "").strip().lower()
    wanted = _own_page(visit.form.get("next", ""))
    services = visit.services
    try:
        async with services.database.connection() as connection:
            principal = await sign_in(
                connection,
                keys=services.keys,
                name=name,
                password=visit.form.get("password", ""),
                otp=visit.form.get("otp", ""),
                now=visit.now,
            )
    except SignInRefusedError as refusal:
        await _record_refusal(visit, name=name)
        return _form(visit, wanted=wanted, name=name, refusal=visit.own(refusal.text), status=401)
    async with services.database.transaction() as connection:
        token = await open_session(connection, principal=principal, now=visit.now, random=services.random)
        if visit.token:
            await close_session(connection, token=visit.token)
    await note_sign_in(visit, account=principal.id, name=principal.name, outcome=Outcome.DONE)
    response = RedirectResponse(wanted, status_code=303)
    visit.put_cookie(response, SESSION_COOKIE, token)
    response.delete_cookie(FLASH_COOKIE, path=_COOKIE_PATH)
    return response


async def take_sign_out(visit: Visit) -> Response:
    """End the session; its cookie and everything sealed for it are void from now on."""
    assert visit.token is not None, "a signed-in visitor has a session"
    async with visit.services.database.transaction() as connection:
        await close_session(connection, token=visit.token)
        await note(connection, visit, SIGN_OUT, resource="console")
    response = visit.go("/console/sign-in", flash="flash.signed_out")
    response.delete_cookie(SESSION_COOKIE, path=_COOKIE_PATH)
    return response


def _form(visit: Visit, *, wanted: str, name: str = "", refusal: str = "", status: int = 200) -> Response:
    return visit.page(
        "sign_in.html",
        status=status,
        next=wanted,
        name=name,
        refusal=refusal,
        demo_accounts=visit.services.demo_accounts,
    )


def _own_page(address: str) -> str:
    """Return `address` if it is a page of the console, else the first page: nobody is sent elsewhere."""
    parts = urlsplit(address)
    own = not parts.scheme and not parts.netloc and parts.path.startswith(_HOME)
    return address if own and "\\" not in address and "//" not in address else _HOME


async def _record_refusal(visit: Visit, *, name: str) -> None:
    try:
        async with visit.services.database.connection() as connection:
            account = (await get_account(connection, name=name)).principal
    except AccountUnknownError:
        await note_sign_in(visit, account=None, name="", outcome=Outcome.REFUSED)
        return
    await note_sign_in(visit, account=account.id, name=account.name, outcome=Outcome.REFUSED)


routes = [
    open_page("/sign-in", show_sign_in),
    open_page("/sign-in", take_sign_in, method="POST"),
    page("/sign-out", take_sign_out, method="POST"),
]
