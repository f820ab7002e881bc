"""`POST /hl7v2` and `POST /documents`: one message in, the acknowledgement out, after the commit."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kangshu.api.bodies import Bodies
from kangshu.api.errors import BodyRefusedError, say
from kangshu.api.problems import accepted_language, problem
from kangshu.api.services import Services
from kangshu.api.tokens import Sender
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.errors import Kind
from kangshu.security.principals import Permission, Principal

_BODY_MOST = 32 << 20  # a scanned document inside a message is a few MiB
_ER7 = "application/hl7-v2"  # the character set is the message's own, as MSH-18 says
_STATUS = {
    MessageState.ACCEPTED: 201,
    MessageState.DUPLICATE: 200,
    MessageState.REFUSED: 422,
    MessageState.CONFLICT: 409,
}
_TEXT = {"schema": {"type": "string"}}

router = APIRouter(tags=["messages"])


@router.post(
    "/hl7v2",
    summary="Send one HL7 v2 message",
    description="The body is one message in ER7 form; the answer is its acknowledgement: AA after it was "
    "stored durably, AE or AR with the place in the message. The same message again is acknowledged again "
    "and stored once. Queries (QBP^Q22, QBP^Q23) are answered.",
    openapi_extra={"requestBody": {"required": True, "content": {"application/hl7-v2": _TEXT}}},
    responses={
        200: {"description": "The acknowledgement, also of a refusal", "content": {_ER7: _TEXT}},
        204: {"description": "Taken in; the message asks for no acknowledgement"},
    },
)
async def take_hl7(request: Request, caller: Sender) -> Response:
    """Take a message in and answer with the acknowledgement."""
    caller.require(Permission.SUBMIT_MESSAGES)
    result = await _take(request, caller, MessageFormat.HL7V2)
    if not result.answer:  # the sender wants to hear of failures only
        return Response(status_code=204)
    return Response(result.answer, media_type=_ER7)


@router.post(
    "/documents",
    summary="Send a CDA document",
    description="The body is one CDA document (WS/T 500, WS/T 483, C-CDA), in the encoding that its XML "
    "declares. It is kept as sent, findable, and its coded entries become resources.",
    openapi_extra={"requestBody": {"required": True, "content": {"application/xml": _TEXT}}},
    responses={
        200: {"description": "Known already: stored once"},
        201: {"description": "Stored"},
        409: {"description": "Another document was sent under this id"},
        422: {"description": "Refused, with the place"},
    },
)
async def take_document(request: Request, caller: Sender) -> Response:
    """Take a document in and tell where it is."""
    caller.require(Permission.SUBMIT_MESSAGES)
    result = await _take(request, caller, MessageFormat.CDA)
    if result.state in (MessageState.REFUSED, MessageState.CONFLICT):
        assert result.reason is not None, "a refusal has a reason"
        kind = Kind.CONFLICT if result.state is MessageState.CONFLICT else Kind.INCORRECT
        return problem(
            request, status=_STATUS[result.state], kind=kind, text=result.reason, place=result.place
        )
    return Response(
        orjson.dumps(_receipt(request, result)),
        status_code=_STATUS[result.state],
        media_type="application/json",
    )


def _receipt(request: Request, result: MessageResult) -> dict[str, object]:
    language = accepted_language(request)
    return {
        "message": result.message,
        "state": result.state.value,
        "resources": list(result.resources),
        "notes": [{"place": note.place, "text": note.text.in_(language)} for note in result.notes],
    }


async def _take(request: Request, caller: Principal, form: MessageFormat) -> MessageResult:
    services: Services = request.app.state.services
    bodies: Bodies = request.app.state.bodies
    try:
        async with bodies.lend(request, most=_BODY_MOST) as body:
            if not body:
                raise BodyRefusedError(say["body_empty"])
            return await services.take_message(body=body, format=form, channel="http", principal=caller)
    except ClientDisconnect:
        raise BodyRefusedError(say["body_cut_off"]) from None
