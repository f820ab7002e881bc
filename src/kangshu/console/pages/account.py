"""One's own account: rights, password, second factor, language."""

from __future__ import annotations

from dataclasses import dataclass, field

import segno
from markupsafe import Markup
from starlette.responses import Response

from kangshu.audit import Outcome
from kangshu.console.acts import PASSWORD, SECOND_FACTOR, note_alone
from kangshu.console.visits import SESSION_COOKIE, Visit, page
from kangshu.security.errors import PasswordTooWeakError, SignInRefusedError
from kangshu.security.operations import (
    confirm_second_factor,
    enrol_second_factor,
    open_session,
    set_password,
    sign_in,
)
from kangshu.security.principals import Reach, ReachKind, permission_title, role_title
from kangshu.security.queries import get_account


@dataclass(frozen=True, kw_only=True)
class ShownEnrolment:
    """A second factor to be scanned and confirmed."""

    secret: str = field(repr=False)
    picture: Markup = field(repr=False)


async def show_account(visit: Visit) -> Response:
    """Show the account with its forms."""
    return await _page(visit)


async def take_password(visit: Visit) -> Response:
    """Change the password of somebody who proves to know the present one; other sessions end."""
    new = visit.form.get("new", "")
    if new != visit.form.get("again", ""):
        return await _page(visit, password_refusal=visit.say("account.not_the_same"), status=422)
    services, name = visit.services, _account_name(visit)
    try:
        async with services.database.connection() as connection:
            principal = await sign_in(
                connection,
                keys=services.keys,
                name=name,
                password=visit.form.get("present", ""),
                otp=visit.form.get("otp", ""),
                now=visit.now,
            )
            await set_password(connection, name=name, password=new, now=visit.now)
            token = await open_session(connection, principal=principal, now=visit.now, random=services.random)
    except (SignInRefusedError, PasswordTooWeakError) as refusal:
        await note_alone(visit, PASSWORD, outcome=Outcome.REFUSED)
        return await _page(visit, password_refusal=visit.own(refusal.text), status=422)
    await note_alone(visit, PASSWORD)
    response = visit.go("/console/account", flash="flash.password_changed")
    visit.put_cookie(response, SESSION_COOKIE, token)
    return response


async def begin_second_factor(visit: Visit) -> Response:
    """Show a new second factor to scan; an account that has one keeps it till an administrator removes it."""
    services, name = visit.services, _account_name(visit)
    async with services.database.transaction() as connection:
        account = await get_account(connection, name=name)
        if account.second_factor:
            return visit.go("/console/account")
        enrolment = await enrol_second_factor(
            connection, keys=services.keys, name=name, random=services.random
        )
    picture = segno.make(enrolment.uri, micro=False).svg_inline(scale=4, border=2, omitsize=True)
    return await _page(
        visit,
        enrolment=ShownEnrolment(secret=enrolment.secret, picture=Markup(picture)),  # noqa: S704 - made here
    )


async def confirm(visit: Visit) -> Response:
    """Demand the second factor from now on, once its first code was right."""
    services = visit.services
    try:
        async with services.database.transaction() as connection:
            await confirm_second_factor(
                connection,
                keys=services.keys,
                name=_account_name(visit),
                otp=visit.form.get("otp", ""),
                now=visit.now,
            )
    except SignInRefusedError:
        return await _page(visit, otp_refusal=visit.say("account.otp_wrong"), status=422)
    await note_alone(visit, SECOND_FACTOR)
    return visit.go("/console/account", flash="flash.otp_on")


async def _page(
    visit: Visit,
    *,
    password_refusal: str = "",
    otp_refusal: str = "",
    enrolment: ShownEnrolment | None = None,
    status: int = 200,
) -> Response:
    async with visit.services.database.connection() as connection:
        account = await get_account(connection, name=_account_name(visit))
    staff = visit.staff
    return visit.page(
        "account.html",
        status=status,
        account=account,
        roles=[visit.own(role_title(role)) for role in sorted(staff.roles)],
        reaches=[_reach_text(visit, reach) for reach in staff.reaches],
        permissions=[visit.own(permission_title(permission)) for permission in sorted(staff.permissions)],
        password_refusal=password_refusal,
        otp_refusal=otp_refusal,
        enrolment=enrolment,
    )


def _account_name(visit: Visit) -> str:
    return visit.staff.id.removeprefix("staff:")


def _reach_text(visit: Visit, reach: Reach) -> str:
    title = visit.say(f"reach.{reach.kind}")
    return title if reach.kind is ReachKind.REGION else f"{title} {reach.code}"


routes = [
    page("/account", show_account),
    page("/account/password", take_password, method="POST"),
    page("/account/otp", begin_second_factor, method="POST"),
    page("/account/otp/confirm", confirm, method="POST"),
]
