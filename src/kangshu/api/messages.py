"""`POST /hl7v2` and `POST /documents`: one message in, the acknowledgement out, after the commit."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from kangshu.api.errors import BodyRefusedError, say
from kangshu.api.problems import accepted_language, problem
from kangshu.api.services import Services
from kangshu.api.tokens import Sender
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.errors import Kind
from kangshu.security.principals import Permission

_BODY_MOST = 32 << 20  # a scanned document inside a message is a few MiB
_ER7 = "application/hl7-v2; charset=utf-8"
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
    responses={200: {"description": "The acknowledgement, also of a refusal", "content": {_ER7: _TEXT}}},
)
async def take_hl7(request: Request, caller: Sender) -> Response:
    """Take a message in and answer with the acknowledgement."""
    services: Services = request.app.state.services
    caller.require(Permission.SUBMIT_MESSAGES)
    result = await services.take_message(
        body=await _body(request), format=MessageFormat.HL7V2, channel="http", principal=caller, peer=""
    )
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
    services: Services = request.app.state.services
    caller.require(Permission.SUBMIT_MESSAGES)
    result = await services.take_message(
        body=await _body(request), format=MessageFormat.CDA, channel="http", principal=caller, peer=""
    )
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
