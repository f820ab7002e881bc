"""The window for health cards: find or issue a card, loss, phone, family, the codes on one screen.

Nothing personal stands in an address: a card is named by its number, and opens only to those who found it in
this session, which a sealed cookie tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from kangshu.console import formats
from kangshu.console.acts import CARD_SEARCH, note
from kangshu.console.errors import PageNotFoundError, say
from kangshu.console.pages.audit import parse_day
from kangshu.console.reach import names
from kangshu.console.visits import Visit, page
from kangshu.healthcard import (
    Application,
    Attribute,
    Binding,
    Caller,
    Card,
    CardUnknownError,
    CodeScreen,
    HealthCardError,
    Office,
    Status,
    Way,
    add_family_member,
    bind_code,
    cancel_card,
    cards_of,
    change_phone,
    code_screen,
    code_svg,
    find_card,
    history_of,
    lift_loss,
    list_bindings,
    list_family,
    list_uses,
    register_card,
    report_loss,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_POCKET = "kangshu_cards"
_MINUTES = 30
_PATH = "/console/cards/window"
_OPENED_MOST = 20
_LONGEST = 200
_HEAD_OF_HOUSEHOLD = "02"  # in the table of relations, and no relation to a holder
_ID_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class CardView:
    """A card as the window shows it: masked."""

    id: int
    name: str
    sex: str
    birth: str
    document: str
    phone: str
    card_id: str
    index_id: str
    status: Status
    temporary: bool
    institution: str
    registered_at: Any
    valid_until: Any
    active: int | None
    may_use: bool


async def show_window(visit: Visit) -> Response:
    """Show the forms of the window."""
    return _window(visit)


async def take_search(visit: Visit) -> Response:
    """Find a card by document, card id or code, and lead to it."""
    number = _word(visit, "number").upper()
    document_type = _word(visit, "document_type")
    if not number:
        return _window(visit, refusal=visit.say("card_window.nothing_given"), status=422)
    office = await _office(visit)
    by_id = len(number) == _ID_LENGTH or ":" in number
    async with visit.services.database.transaction() as connection:
        if by_id:
            card = await find_card(connection, office=office, card_id=number.partition(":")[0])
        else:
            card = await find_card(
                connection, office=office, document_type=document_type, document_number=number
            )
        await note(
            connection,
            visit,
            CARD_SEARCH,
            resource=f"card/{card.id}" if card else "card",
            person=card.person if card else None,
            detail={"by": "card" if by_id else "document", "found": int(card is not None)},
        )
    if card is None:
        return _window(visit, refusal=visit.say("card_window.none"), status=404)
    return _open(visit, card.id)


async def take_registration(visit: Visit) -> Response:
    """Issue a card at the window."""
    office = await _office(visit)
    words = {name: _word(visit, name) for name in ("name", "number", "phone", "address", "guardian")}
    temporary = bool(_word(visit, "temporary"))
    try:
        async with visit.services.database.transaction() as connection:
            guardian = await _guardian(connection, office, words["guardian"])
            done = await register_card(
                connection,
                office=office,
                application=Application(
                    name=words["name"],
                    document_type=_word(visit, "document_type") or None,
                    document_number=words["number"].upper() or None,
                    sex=_word(visit, "sex") or None,
                    birth_date=parse_day(_word(visit, "birth_date")),
                    phone=words["phone"] or None,
                    address=words["address"] or None,
                    way=Way.WINDOW,
                    temporary=temporary,
                    guardian=guardian,
                    relation=_word(visit, "relation") or None,
                    checked=bool(_word(visit, "checked")),
                ),
                caller=_caller(visit),
                now=visit.now,
            )
    except HealthCardError as refusal:
        return _window(visit, refusal=visit.own(refusal.text), status=422, registering=True)
    return _open(visit, done.card.id, flash="flash.card_new" if done.new else "flash.card_known")


async def show_card(visit: Visit) -> Response:
    """Show one card that was found in this session."""
    return await _card_page(visit, _opened(visit))


async def take_act(visit: Visit) -> Response:
    """Do one act of the window with a card."""
    number = _opened(visit)
    office = await _office(visit)
    act = visit.request.path_params["act"]
    try:
        async with visit.services.database.transaction() as connection:
            await _act(visit, connection, office, number, act)
    except HealthCardError as refusal:
        return await _card_page(visit, number, refusal=visit.own(refusal.text))
    return visit.go(f"{_PATH}/{number}", flash="flash.card_done")


async def show_screen(visit: Visit) -> Response:
    """Show a dynamic code with the codes that are bound to the card, on one screen."""
    number = _opened(visit)
    office = await _office(visit)
    try:
        async with visit.services.database.transaction() as connection:
            screen = await code_screen(
                connection, office=office, card=number, caller=_caller(visit), now=visit.now
            )
    except HealthCardError as refusal:
        return await _card_page(visit, number, refusal=visit.own(refusal.text))
    left = int((screen.code.expires_at - visit.now).total_seconds()) if screen.code.expires_at else 0
    return visit.page(
        "card_screen.html",
        card=_card_view(visit, screen.card, {}),
        picture=_inline(code_svg(screen.code.text)),
        seconds=left,
        bindings=_binding_rows(visit, office, screen),
        here=f"{_PATH}/{number}/screen",
        back=f"{_PATH}/{number}",
    )


async def _act(visit: Visit, connection: Connection, office: Office, number: int, act: str) -> None:
    common = {"office": office, "card": number, "caller": _caller(visit), "now": visit.now}
    match act:
        case "loss":
            await report_loss(connection, reason=_word(visit, "reason"), **common)
        case "lift":
            await lift_loss(connection, reason=_word(visit, "reason"), **common)
        case "cancel":
            await cancel_card(connection, reason=_word(visit, "reason"), **common)
        case "phone":
            await change_phone(connection, phone=_word(visit, "phone"), **common)
        case "family":
            member = await _required(connection, office, _word(visit, "member"))
            await add_family_member(connection, member=member.id, relation=_word(visit, "relation"), **common)
        case "bind":
            await bind_code(
                connection,
                system=_word(visit, "system"),
                value=_word(visit, "value"),
                issuer=_word(visit, "issuer"),
                **common,
            )
        case _:
            raise PageNotFoundError


async def _card_page(visit: Visit, number: int, *, refusal: str = "") -> Response:
    office = await _office(visit)
    async with visit.services.database.connection() as connection:
        card = await find_card(connection, office=office, card=number)
        if card is None:
            raise PageNotFoundError
        history = await history_of(connection, card=number)
        uses = await list_uses(connection, card=number, limit=20)
        family = await list_family(connection, card=number)
        bindings = await list_bindings(connection, office=office, card=number)
        others = [
            one for one in await cards_of(connection, office=office, person=card.person) if one.id != number
        ]
        codes = {card.institution, *(one.institution for one in history), *(use.institution for use in uses)}
        institution_names = await names(connection, codes)
    return visit.page(
        "card.html",
        status=422 if refusal else 200,
        refusal=refusal,
        card=_card_view(visit, card, institution_names),
        history=history,
        uses=uses,
        family=[one for one in family if one.ended_at is None],
        bindings=bindings,
        others=[_card_view(visit, one, institution_names) for one in others],
        institution_names=institution_names,
        scene_titles={key: visit.own(scene.title) for key, scene in office.settings.scenes.items()},
        system_titles=_system_titles(visit, office),
        system_choices=list(_system_titles(visit, office).items()),
        relation_choices=_relations(visit),
        path=f"{_PATH}/{number}",
        may_show=visit.staff.may(Permission.HOLD_CARDS),
    )


def _window(visit: Visit, *, refusal: str = "", status: int = 200, registering: bool = False) -> Response:
    return visit.page(
        "card_window.html",
        status=status,
        refusal=refusal,
        registering=registering,
        document_choices=_code_choices(visit, "id_document"),
        relation_choices=_relations(visit),
    )


def _relations(visit: Visit) -> list[tuple[str, str]]:
    return [pair for pair in _code_choices(visit, "family_relation") if pair[0] != _HEAD_OF_HOUSEHOLD]


def _code_choices(visit: Visit, table: str) -> list[tuple[str, str]]:
    """Return the outermost codes of one of the pack's tables."""
    codes = visit.services.pack.codes[table].codes
    return [(one.code, visit.own(one.title)) for one in codes if not one.parent]


def _system_titles(visit: Visit, office: Office) -> dict[str, str]:
    return {key: visit.own(system.title) for key, system in office.settings.systems.items()}


def _binding_rows(visit: Visit, office: Office, screen: CodeScreen) -> list[tuple[str, Binding]]:
    titles = _system_titles(visit, office)
    return [(titles.get(one.system, one.system), one) for one in screen.bindings if one.ended_at is None]


def _card_view(visit: Visit, card: Card, institution_names: Mapping[str, str]) -> CardView:
    holder = card.holder
    return CardView(
        id=card.id,
        name=formats.mask_name(holder.name),
        sex=holder.sex or "",
        birth=formats.mask_birth(holder.birth_date),
        document=formats.mask_number(holder.document_number),
        phone=formats.mask_phone(holder.phone),
        card_id=f"{card.card_id[:8]}…{card.card_id[-4:]}",
        index_id=f"{card.index_id[:8]}…{card.index_id[-4:]}",
        status=card.status,
        temporary=card.attribute is Attribute.TEMPORARY,
        institution=institution_names.get(card.institution or "", card.institution or "—"),
        registered_at=card.registered_at,
        valid_until=card.valid_until,
        active=card.active,
        may_use=card.status is Status.NORMAL,
    )


def _inline(svg: str) -> Markup:
    """Return a picture as it stands within a page: without the head of a document of its own."""
    return Markup(svg[svg.index("<svg") :])  # noqa: S704 - drawn by us out of our own text


async def _guardian(connection: Connection, office: Office, number: str) -> int | None:
    return (await _required(connection, office, number)).id if number else None


async def _required(connection: Connection, office: Office, number: str) -> Card:
    """Return the card of another person, named by its id or by a resident number.

    Raises:
        CardUnknownError: there is none.
    """
    number = number.upper()
    if len(number) == _ID_LENGTH:
        card = await find_card(connection, office=office, card_id=number)
    else:
        card = await find_card(connection, office=office, document_type="01", document_number=number)
    if card is None:
        raise CardUnknownError(say["card_window.none"])
    return card


async def _office(visit: Visit) -> Office:
    if visit.services.card_office is None:
        raise PageNotFoundError
    return await visit.services.card_office()


def _caller(visit: Visit) -> Caller:
    return Caller(
        actor=visit.staff.id,
        actor_name=visit.staff.name,
        institution=min(visit.staff.institutions, default=None),
        terminal="console",
        role="window",
    )


def _open(visit: Visit, number: int, *, flash: str | None = None) -> Response:
    """Lead to a card, and remember that this session found it."""
    opened = [one for one in _remembered(visit) if one != number][-(_OPENED_MOST - 1) :]
    response = visit.go(f"{_PATH}/{number}", flash=flash)
    visit.put_pocket(response, _POCKET, {"cards": [*opened, number]}, minutes=_MINUTES, path="/console/cards")
    return response


def _opened(visit: Visit) -> int:
    """Return the card of the address.

    Raises:
        PageNotFoundError: it is none that this session found.
    """
    text = visit.request.path_params["card"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if number not in _remembered(visit):
        raise PageNotFoundError
    return number


def _remembered(visit: Visit) -> list[int]:
    return list((visit.pocket(_POCKET) or {}).get("cards", []))


def _word(visit: Visit, name: str) -> str:
    return visit.form.get(name, "").strip()[:_LONGEST]


routes = [
    page("/cards/window", show_window, may=Permission.MANAGE_CARDS),
    page("/cards/window/search", take_search, may=Permission.MANAGE_CARDS, method="POST"),
    page("/cards/window/register", take_registration, may=Permission.MANAGE_CARDS, method="POST"),
    page("/cards/window/{card}", show_card, may=Permission.MANAGE_CARDS),
    page("/cards/window/{card}/screen", show_screen, may=Permission.HOLD_CARDS, method="POST"),
    page("/cards/window/{card}/{act}", take_act, may=Permission.MANAGE_CARDS, method="POST"),
]
