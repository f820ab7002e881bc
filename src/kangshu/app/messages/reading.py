"""Read a message of any format: what it says, of whom, and whether it can be taken in at all."""

from __future__ import annotations

import re

import structlog

from kangshu.app.errors import say
from kangshu.app.messages.model import Arrival, Prepared, Refusal
from kangshu.app.messages.reading_fhir import read_fhir
from kangshu.app.messages.tools import Tools
from kangshu.intake.messages import MessageFormat, digest_of
from kangshu.kernel.errors import KangshuError
from kangshu.mapping import Mapped, subject_of
from kangshu.records import FhirRequest
from kangshu.security.principals import Principal
from kangshu.standards import cda, fhir, hl7v2

log = structlog.get_logger(__name__)

_CODE_MOST = 64  # what the directory takes
_ODD = re.compile(r"[^\w.\-]+")
UNNAMED = "UNNAMED"
"""The sender of messages in which nobody names himself."""

_EDGES = b"\r\n\t \x0b\x1c\0"
_LEADING = {"ADT", "BAR", "SIU", "DFT"}
"""Messages that are about the patient and the visit; the others bring both along only."""
_BROUGHT_ALONG = {"Patient", "Encounter", "Coverage", "RelatedPerson"}


def format_of(body: bytes) -> MessageFormat | None:
    """Return the format that the content shows, or None."""
    if hl7v2.looks_like(body):
        return MessageFormat.HL7V2
    if cda.looks_like(body):
        return MessageFormat.CDA
    return MessageFormat.FHIR if fhir.looks_like(body) else None


def read(arrival: Arrival, tools: Tools, *, request: FhirRequest | None = None) -> Prepared:
    """Return what the message says, or its refusal; nothing that is sent makes this raise."""
    prepared = Prepared(arrival=arrival, digest=_digest_of(arrival), sender=arrival.sender or "")
    prepared.request = request
    try:
        if arrival.format is MessageFormat.HL7V2:
            _read_hl7(prepared, tools)
        elif arrival.format is MessageFormat.CDA:
            _read_cda(prepared, tools)
        else:
            prepared.sender = prepared.sender or UNNAMED
            read_fhir(prepared, tools)
        if prepared.request is None and prepared.mapped is not None and prepared.mapped.drafts:
            prepared.rows = tools.rows.to_rows(
                [draft.resource for draft in prepared.mapped.drafts],
                institution=prepared.sender,
                notes=prepared.row_notes,
            )
    except KangshuError as error:
        read = prepared.hl7 is not None and prepared.type
        code = "AR" if isinstance(error, SenderRefusedError) or not read else "AE"
        condition = error.error_code if isinstance(error, hl7v2.Hl7Error) else None
        prepared.refusal = Refusal(code=code, place=error.place, text=error.text, error_code=condition)
        prepared.failure, prepared.mapped = error, None
    except Exception as error:  # noqa: BLE001 - a defect of ours: the sender's other messages must not wait
        log.error("message could not be read", type=prepared.type, error=type(error).__name__)
        prepared.refusal = Refusal(code="AE", place=None, text=say["message_fault"])
        prepared.mapped = None
    return prepared


def _digest_of(arrival: Arrival) -> bytes:
    """Return what equal contents are known by: how the lines of an HL7 v2 message end is none of its content.

    A message that is sent over MLLP and once more in a file is the same message.
    """
    body = arrival.body
    if arrival.format is MessageFormat.HL7V2:
        body = body.strip(_EDGES)
        if b"\n" in body:
            body = body.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    return digest_of(body)


def _read_hl7(prepared: Prepared, tools: Tools) -> None:
    arrival = prepared.arrival
    try:
        message = prepared.hl7 = hl7v2.parse(arrival.body)
    except hl7v2.Hl7Error:
        prepared.hl7 = hl7v2.parse_header(arrival.body)  # so that the refusal reaches who sent it
        raise
    prepared.control_id = message.control_id or None
    prepared.version, prepared.application = message.version, message.sending_application
    named = institution_named(message.sending_facility or message.sending_application)
    if not prepared.sender:
        prepared.sender = named or UNNAMED
    hl7v2.check_header(message)
    prepared.type = f"{message.type}^{message.event}" if message.event else message.type
    _check_sender(arrival.principal, prepared.sender, place="MSH-4")
    if message.type in ("QBP", "QRY"):
        return
    mapped = tools.hl7v2.apply(message, sender=prepared.sender, make_id=tools.make_id)
    _take(prepared, mapped, tools, leading=message.type in _LEADING)
    if tools.authorities.strict and (pid := message.first("PID")) is not None:
        _require_authorities(pid, tools)
    senders = {prepared.sender, message.sending_facility, message.sending_application}
    for subject in prepared.subjects.values():
        if not all(tools.authorities.admits(one, senders=senders) for one in subject.identifiers):
            raise SenderRefusedError(say["authority_not_admitted"], place="PID-3")


def _require_authorities(pid: hl7v2.Segment, tools: Tools) -> None:
    """Where the table of authorities is strict, a number without one is nobody's."""
    for number in range(1, len(pid[3]) + 1):
        named = pid.text(3, 4, 1, number) or pid.text(3, 4, 2, number)
        typed = pid.text(3, 5, 1, number).upper() in tools.authorities.by_type
        if pid.text(3, 1, 1, number) and not named and not typed:
            raise SenderRefusedError(say["authority_not_admitted"], place="PID-3")


def _read_cda(prepared: Prepared, tools: Tools) -> None:
    document = cda.parse(prepared.arrival.body)
    prepared.type = document.code or "CDA"
    prepared.control_id = document.id
    if not prepared.sender:
        prepared.sender = institution_named(document.custodian_id or document.custodian_name) or UNNAMED
    _check_sender(prepared.arrival.principal, prepared.sender, place="custodian")
    mapped = tools.cda.apply(document, sender=prepared.sender, make_id=tools.make_id)
    _take(prepared, mapped, tools, leading=False)
    reference = next((one for one in mapped.drafts if one.type == "DocumentReference"), None)
    if reference is not None:
        prepared.documents = ((reference.id, prepared.arrival.body),)


def _take(prepared: Prepared, mapped: Mapped, tools: Tools, *, leading: bool) -> None:
    prepared.mapped = mapped
    prepared.subjects = {
        draft.id: subject_of(draft.resource, sender=prepared.sender, authorities=tools.authorities)
        for draft in mapped.drafts
        if draft.type == "Patient"
    }
    if not leading:
        prepared.contexts = frozenset(
            f"{draft.type}/{draft.id}" for draft in mapped.drafts if draft.type in _BROUGHT_ALONG
        )


def institution_named(text: str | None) -> str:
    """Return the institution code in what a sender calls itself, fit for the directory."""
    return _ODD.sub("-", (text or "").strip()).strip("-")[:_CODE_MOST]


def _check_sender(principal: Principal | None, sender: str, *, place: str) -> None:
    if principal is None or principal.region_wide or sender in principal.institutions:
        return
    raise SenderRefusedError(say["sender_not_yours"], place=place)


class SenderRefusedError(KangshuError):
    """The message names another sender than the one who is signed in, or tells numbers of another one."""
