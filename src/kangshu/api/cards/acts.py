"""The operations of the health card interface: each call becomes one act of `healthcard` and an answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from typing import Any

from kangshu.api.cards import policy
from kangshu.api.cards.asking import Asked, Operation
from kangshu.api.cards.calls import (
    BindCall,
    CardCall,
    CodeCall,
    EchoCall,
    FamilyCall,
    FindCall,
    PhoneCall,
    ReasonCall,
    RegionCall,
    RegisterBatchCall,
    RegisterCall,
    ResolveCall,
    ScanCall,
    UsesCall,
)
from kangshu.api.cards.errors import CallRefusedError, CodeRefusedError
from kangshu.api.errors import say
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.healthcard import (
    Application,
    Binding,
    Card,
    CardUnknownError,
    Code,
    CodeKind,
    HolderDiffersError,
    HolderView,
    Refusal,
    Scan,
    ScanRequest,
    Use,
    UseOutcome,
    Way,
    add_family_member,
    bind_code,
    cancel_card,
    change_phone,
    code_png,
    code_screen,
    code_svg,
    cross_region,
    find_card,
    lift_loss,
    record_uses,
    register_card,
    register_cards,
    report_loss,
    resolve_code,
    view_of,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

Answer = Mapping[str, Any]
_CARD_ID = "0123456789ABCDEF" * 4


async def _register(asked: Asked) -> Answer:
    call: RegisterCall = asked.call
    async with asked.services.database.transaction() as connection:
        guardian = await _number(asked, connection, call.guardian_card_id)
        try:
            done = await register_card(
                connection,
                office=asked.office,
                application=_application(call, guardian=guardian),
                caller=asked.caller,
                now=asked.now,
            )
        except HolderDiffersError:
            # Whoever tries names on a document learns nothing, not even that it has a card.
            raise asked.miss() from None
    return {**_card(done.card), "new": done.new, "claimed": done.claimed}


async def _register_batch(asked: Asked) -> Answer:
    call: RegisterBatchCall = asked.call
    async with asked.services.database.transaction() as connection:
        batch = await register_cards(
            connection,
            office=asked.office,
            applications=[_application(one, way=Way.BATCH) for one in call.rows],
            caller=asked.caller,
            now=asked.now,
        )
    return {
        "created": batch.created,
        "existing": batch.existing,
        "problems": [
            {"row": row, "reason": problem.value} for row, problem in sorted(batch.problems.items())
        ],
    }


async def _code(asked: Asked) -> Answer:
    call: CodeCall = asked.call
    number = await asked.desk.number(call.health_card_id)
    if number is None:
        raise asked.miss()
    code = await asked.desk.issue(number, CodeKind(call.kind), asked.caller)
    return _code_answer(code, picture=call.picture)


async def _screen(asked: Asked) -> Answer:
    call: CardCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        screen = await code_screen(
            connection, office=asked.office, card=card.id, caller=asked.caller, now=asked.now
        )
    return {
        **_card(screen.card),
        **_code_answer(screen.code, picture="svg"),
        "bindings": [_binding(one) for one in screen.bindings],
    }


async def _scan(asked: Asked) -> Answer:
    call: ScanCall = asked.call
    scene = asked.office.settings.scene_of(call.scene)
    if scene is None:
        raise CallRefusedError(say["cards_scene"], place="scene")
    scan = await asked.desk.scan(ScanRequest(text=call.qr_code_text, scene=scene.key, caller=asked.caller))
    if scan.refusal is not None:
        raise _refused_code(asked, scan.refusal)
    return _scan_answer(scan)


async def _find(asked: Asked) -> Answer:
    call: FindCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await find_card(
            connection,
            office=asked.office,
            document_type=call.id_type,
            document_number=call.id_number.strip(),
            now=asked.now,
        )
        fits = card is not None and compare_digest(
            card.holder.name.strip().encode(), call.name.strip().encode()
        )
        # On record also where nothing was found: that is how guessing is seen.
        await record(connection, entries=[_found_entry(asked, card if fits else None)])
    if card is None or not fits:
        raise asked.miss()
    return {**_card(card), **_view(view_of(asked.office.settings, holder=card.holder, role=asked.call.role))}


async def _show(asked: Asked) -> Answer:
    call: CardCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        await record(connection, entries=[_found_entry(asked, card)])
    return {**_card(card), **_view(view_of(asked.office.settings, holder=card.holder, role=asked.call.role))}


async def _bind(asked: Asked) -> Answer:
    call: BindCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        binding = await bind_code(
            connection,
            office=asked.office,
            card=card.id,
            system=call.system,
            value=call.number,
            issuer=call.issuer,
            caller=asked.caller,
            now=asked.now,
        )
    return _binding(binding)


async def _resolve(asked: Asked) -> Answer:
    call: ResolveCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await resolve_code(
            connection,
            office=asked.office,
            text=call.number,
            system=call.system,
            issuer=call.issuer,
            caller=asked.caller,
            now=asked.now,
        )
    if card is None:
        raise asked.miss()
    return {**_card(card), **_view(view_of(asked.office.settings, holder=card.holder, role=asked.call.role))}


async def _uses(asked: Asked) -> Answer:
    call: UsesCall = asked.call
    uses = [
        Use(
            scene=row.scene,
            used_at=row.used_at,
            card_id=row.health_card_id.upper() if row.health_card_id else None,
            code=row.qr_code_text,
            order_number=row.order_number,
            department=row.department,
            terminal=row.terminal,
            terminal_type=row.terminal_type,
            medium=row.medium,
            channel=row.channel,
            cost_type=row.cost_type,
            visit_type=row.visit_type,
        )
        for row in call.rows
    ]
    async with asked.services.database.transaction() as connection:
        outcomes = await record_uses(
            connection, office=asked.office, uses=uses, caller=asked.caller, now=asked.now
        )
    if UseOutcome.CARD_UNKNOWN in outcomes:
        asked.miss()
    return {
        "stored": outcomes.count(UseOutcome.STORED),
        "known": outcomes.count(UseOutcome.KNOWN),
        "problems": [
            {"row": row, "reason": outcome.value}
            for row, outcome in enumerate(outcomes)
            if outcome not in (UseOutcome.STORED, UseOutcome.KNOWN)
        ],
    }


async def _loss(asked: Asked) -> Answer:
    return await _change(asked, report_loss)


async def _lift(asked: Asked) -> Answer:
    return await _change(asked, lift_loss)


async def _cancel(asked: Asked) -> Answer:
    return await _change(asked, cancel_card)


async def _change(asked: Asked, act: Any) -> Answer:
    call: ReasonCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        changed = await act(
            connection,
            office=asked.office,
            card=card.id,
            reason=call.reason,
            caller=asked.caller,
            now=asked.now,
        )
    return _card(changed)


async def _phone(asked: Asked) -> Answer:
    call: PhoneCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        changed = await change_phone(
            connection,
            office=asked.office,
            card=card.id,
            phone=call.phone,
            caller=asked.caller,
            now=asked.now,
        )
    return _card(changed)


async def _family(asked: Asked) -> Answer:
    call: FamilyCall = asked.call
    async with asked.services.database.transaction() as connection:
        card = await _known(asked, connection, call.health_card_id)
        member = await _known(asked, connection, call.member_card_id)
        added = await add_family_member(
            connection,
            office=asked.office,
            card=card.id,
            member=member.id,
            relation=call.relation,
            caller=asked.caller,
            now=asked.now,
        )
    return {"relation": added.relation, "guardian": added.guardian, "since": _moment(added.since)}


async def _home(asked: Asked) -> Answer:
    call: RegionCall = asked.call
    async with asked.services.database.transaction() as connection:
        home = await cross_region(
            connection,
            office=asked.office,
            index_id=call.mindex.upper(),
            caller=asked.caller,
            now=asked.now,
        )
    if home.region is None:
        raise asked.miss()
    return {"region": home.region, "here": home.here}


async def _echo(asked: Asked) -> Answer:
    call: EchoCall = asked.call
    return {
        "text": call.text,
        "institution": asked.key.institution,
        "scopes": sorted(asked.key.principal.scopes),
        "procedure": asked.key.procedure.value,
        "time": _moment(asked.now),
    }


async def _known(asked: Asked, connection: Connection, card_id: str) -> Card:
    """Return the card, or refuse as for any card that is none."""
    try:
        card = await find_card(connection, office=asked.office, card_id=card_id.upper(), now=asked.now)
    except CardUnknownError:
        card = None
    if card is None:
        raise asked.miss()
    return card


async def _number(asked: Asked, connection: Connection, card_id: str | None) -> int | None:
    return None if card_id is None else (await _known(asked, connection, card_id)).id


def _application(call: RegisterCall, *, guardian: int | None = None, way: Way | None = None) -> Application:
    return Application(
        name=call.name.strip(),
        document_type=call.id_type,
        document_number=call.id_number,
        local_number=call.local_number,
        sex=call.sex,
        birth_date=call.birthday,
        nation=call.nation,
        phone=call.phone,
        address=call.address,
        way=way or Way(call.apply_type),
        temporary=call.temporary,
        guardian=guardian,
        relation=call.relation,
        checked=call.checked,
    )


def _refused_code(asked: Asked, refusal: Refusal) -> Exception:
    told = refusal.told_as
    if told == "not-valid":  # altered, foreign, made up: one answer
        return asked.miss()
    return CodeRefusedError(say[f"cards_code_{told.replace('-', '_')}"], word=told, place="qrCodeText")


def _found_entry(asked: Asked, card: Card | None) -> AuditEntry:
    return AuditEntry(
        at=asked.now,
        actor=asked.key.principal.id,
        actor_name=asked.key.principal.name,
        action="card.find",
        person=card.person if card else None,
        resource=f"card/{card.id}" if card else "card",
        institution=asked.key.institution,
        outcome=Outcome.DONE if card else Outcome.REFUSED,
    )


def _card(card: Card) -> dict[str, Any]:
    return {
        "healthCardId": card.card_id,
        "mindex": card.index_id,
        "status": int(card.status),
        "attribute": int(card.attribute),
        "medium": int(card.medium),
        "validUntil": _moment(card.valid_until),
    }


def _code_answer(code: Code, *, picture: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "qrCodeText": code.text,
        "kind": code.kind.value,
        "issuedAt": _moment(code.issued_at),
        "expiry": _moment(code.expires_at),
    }
    if picture == "svg":
        answer["svg"] = code_svg(code.text)
    elif picture == "png":
        answer["png"] = base64.b64encode(code_png(code.text)).decode()
    return answer


def _scan_answer(scan: Scan) -> dict[str, Any]:
    return {
        "healthCardId": scan.card_id,
        "mindex": scan.index_id,
        "attribute": int(scan.attribute) if scan.attribute is not None else None,
        "scene": scan.scene,
        "repeated": scan.repeated,
        **(_view(scan.view) if scan.view else {}),
    }


def _view(view: HolderView) -> dict[str, Any]:
    told = {
        "name": view.name,
        "sex": view.sex,
        "birthday": view.birth_date,
        "nation": view.nation,
        "idType": view.document_type,
        "idNumber": view.document_number,
        "phone": view.phone,
    }
    return {name: value for name, value in told.items() if value is not None}


def _binding(binding: Binding) -> dict[str, Any]:
    return {
        "system": binding.system,
        "issuer": binding.issuer,
        "masked": binding.masked,
        "since": _moment(binding.bound_at),
    }


def _moment(value: datetime | None) -> str | None:
    return value.isoformat(timespec="seconds") if value else None


_CARD_GIVES = {
    "healthCardId": "the card's id (电子健康卡ID)",
    "mindex": "the main index id (主索引ID)",
    "status": "1 normal, 2 lost, 3 cancelled, 4 made, 5 not issued",
    "attribute": "1 temporary, 2 formal",
    "medium": "0 electronic, 1 physical",
    "validUntil": "the end of a temporary card",
}
_VIEW_GIVES = {
    "name": "masked as declared for a terminal",
    "sex": "GB/T 2261.1",
    "birthday": "as declared",
    "idType": "kind of document",
    "idNumber": "masked",
}
_CODE_GIVES = {
    "qrCodeText": "the text of the code",
    "kind": "static, dynamic or signed",
    "expiry": "until when it is accepted",
    "svg": "the picture, where asked for",
    "png": "the picture in Base64, where asked for",
}

OPERATIONS = (
    Operation(
        path="/register",
        name="registerHealthCard",
        title="Apply for a card (registerHealthCard)",
        about="The same document always gets the same card; one that was made in advance becomes issued. "
        "`applyType` 1 online, 2 machine, 3 window. A minor needs the card of a guardian. Without a document "
        "a `temporary` card stands for `localNumber` until it becomes formal.",
        call=RegisterCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_register,
        guessed=True,
        example={"name": "测试甲", "idType": "01", "idNumber": "990101199003070014", "applyType": 3},
        gives={**_CARD_GIVES, "new": "made now", "claimed": "had been made in advance"},
    ),
    Operation(
        path="/register-batch",
        name="registerBatchHealthCard",
        title="Make cards in advance (registerBatchHealthCard)",
        about="Up to 5,000; each waits for its holder to claim it by `register`. Sent again they change "
        "nothing.",
        call=RegisterBatchCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_register_batch,
        body_most=policy.BATCH_BODY_MOST,
        example={"list": [{"name": "测试甲", "idType": "01", "idNumber": "990101199003070014"}]},
        gives={"created": "cards made", "existing": "cards there were", "problems": "rows without a card"},
    ),
    Operation(
        path="/dynamic-code",
        name="getDynamicQRCode",
        title="A code to show (getDynamicQRCode)",
        about="For the holder, through the app that acts for him. `kind` signed can be checked offline with "
        "the keys of `GET /cards/keys`.",
        call=CodeCall,
        may=Permission.HOLD_CARDS,
        scope="cards.hold",
        answer=_code,
        guessed=True,
        example={"healthCardId": _CARD_ID, "kind": "dynamic", "picture": "svg"},
        gives=_CODE_GIVES,
    ),
    Operation(
        path="/screen",
        name="",
        title="One screen: the code and what else it stands for",
        about="A dynamic code with the bound codes of insurance, social security and apps, masked.",
        call=CardCall,
        may=Permission.HOLD_CARDS,
        scope="cards.hold",
        answer=_screen,
        guessed=True,
        example={"healthCardId": _CARD_ID},
        gives={**_CARD_GIVES, **_CODE_GIVES, "bindings": "system, issuer and masked number"},
    ),
    Operation(
        path="/scan",
        name="getHealthCardByQRCode",
        title="Scan a code (getHealthCardByQRCode)",
        about="Gives the least that a terminal needs, masked. A dynamic code belongs to the first terminal "
        "that scans it. A code that is no code of a card is a 404; one that is expired or whose card is not "
        "usable a 409 whose `error` is expired, dynamic-needed or not-usable.",
        call=ScanCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_scan,
        guessed=True,
        example={"qrCodeText": "…", "scene": "register", "terminal": "W01"},
        gives={
            "healthCardId": _CARD_GIVES["healthCardId"],
            "mindex": _CARD_GIVES["mindex"],
            **_VIEW_GIVES,
            "scene": "as sent",
            "repeated": "this terminal had this code before",
        },
    ),
    Operation(
        path="/find",
        name="",
        title="Has somebody a card?",
        about="Document and name must both fit; whatever does not is answered alike, and few such questions "
        "are answered in a minute.",
        call=FindCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_find,
        guessed=True,
        example={"idType": "01", "idNumber": "990101199003070014", "name": "测试甲"},
        gives={**_CARD_GIVES, **_VIEW_GIVES},
    ),
    Operation(
        path="/show",
        name="getHealthCardByHealthCode",
        title="One card (getHealthCardByHealthCode)",
        about="What a terminal may know of a card.",
        call=CardCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_show,
        guessed=True,
        example={"healthCardId": _CARD_ID},
        gives={**_CARD_GIVES, **_VIEW_GIVES},
    ),
    Operation(
        path="/bind",
        name="bindCardRelation",
        title="Bind another code (bindCardRelation)",
        about="Of the medical insurance, the social security, an app, or the institution's own patient "
        "number.",
        call=BindCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_bind,
        guessed=True,
        example={"healthCardId": _CARD_ID, "system": "insurance", "issuer": "990100", "number": "C000000"},
        gives={
            "system": "as sent",
            "issuer": "as sent",
            "masked": "the number, masked",
            "since": "bound when",
        },
    ),
    Operation(
        path="/resolve",
        name="",
        title="Which card does another code stand for?",
        about="For codes that were bound.",
        call=ResolveCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_resolve,
        guessed=True,
        example={"system": "insurance", "issuer": "990100", "number": "C000000"},
        gives={**_CARD_GIVES, **_VIEW_GIVES},
    ),
    Operation(
        path="/uses",
        name="reportHISData",
        title="Tell uses of cards (reportHISData)",
        about="One or up to 5,000, in the name of your institution. Told again they change nothing. A visit "
        "that was handled without the card is told with another `medium` than 11.",
        call=UsesCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_uses,
        guessed=True,
        body_most=policy.BATCH_BODY_MOST,
        example={
            "list": [
                {
                    "healthCardId": _CARD_ID,
                    "scene": "register",
                    "usedAt": "2026-03-18T10:30:00+08:00",
                    "orderNumber": "R0001",
                }
            ]
        },
        gives={"stored": "new", "known": "told before", "problems": "row (from 0) and reason"},
    ),
    Operation(
        path="/loss",
        name="",
        title="Report a loss",
        about="From now on the card's codes are refused.",
        call=ReasonCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_loss,
        guessed=True,
        example={"healthCardId": _CARD_ID, "reason": "手机遗失"},
        gives=_CARD_GIVES,
    ),
    Operation(
        path="/loss/lift",
        name="",
        title="Lift a loss",
        about="The card is found again.",
        call=ReasonCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_lift,
        guessed=True,
        example={"healthCardId": _CARD_ID},
        gives=_CARD_GIVES,
    ),
    Operation(
        path="/cancel",
        name="",
        title="Cancel a card",
        about="For good.",
        call=ReasonCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_cancel,
        guessed=True,
        example={"healthCardId": _CARD_ID, "reason": "本人申请"},
        gives=_CARD_GIVES,
    ),
    Operation(
        path="/phone",
        name="",
        title="Change the phone number",
        about="The new number is kept sealed and never answered in full.",
        call=PhoneCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_phone,
        guessed=True,
        example={"healthCardId": _CARD_ID, "phone": "19900000000"},
        gives=_CARD_GIVES,
    ),
    Operation(
        path="/family",
        name="",
        title="Add a family card",
        about="The holder may then show the card of the relative (GB/T 4761 names the relation).",
        call=FamilyCall,
        may=Permission.MANAGE_CARDS,
        scope="cards.manage",
        answer=_family,
        guessed=True,
        example={"healthCardId": _CARD_ID, "memberCardId": _CARD_ID[::-1], "relation": "2"},
        gives={"relation": "as sent", "guardian": "answers for a minor", "since": "from when"},
    ),
    Operation(
        path="/home-region",
        name="",
        title="Cross-region query",
        about="Where a main index id is at home.",
        call=RegionCall,
        may=Permission.USE_CARDS,
        scope="cards.use",
        answer=_home,
        guessed=True,
        example={"mindex": _CARD_ID},
        gives={"region": "division code", "here": "whether that is this region"},
    ),
    Operation(
        path="/echo",
        name="",
        title="Self-test of a signature",
        about="Nothing happens but that the signature is checked; no scope is needed.",
        call=EchoCall,
        answer=_echo,
        example={"text": "hello"},
        gives={
            "text": "as sent",
            "institution": "whose key signed",
            "scopes": "what it may do",
            "procedure": "hmac-sm3 or sm2",
            "time": "our clock",
        },
    ),
)
