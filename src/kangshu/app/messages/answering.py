"""What a sender hears: the HL7 v2 acknowledgement, or the answer of a FHIR door."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kangshu import records
from kangshu.app.errors import say
from kangshu.app.messages.model import Outcome, Prepared
from kangshu.app.messages.reading_fhir import FhirRefusedError
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.clock import Clock
from kangshu.records import FhirAnswer, Stored
from kangshu.standards import fhir, hl7v2

_SHOWN_NOTES = 20


def answer_message(prepared: Prepared, outcome: Outcome, *, clock: Clock) -> MessageResult:
    """Return the result with the acknowledgement that goes back: ER7 for HL7 v2, else empty."""
    result: MessageResult = outcome.result
    if prepared.arrival.format is not MessageFormat.HL7V2:
        return result
    refusal = outcome.extra.get("refusal")
    became = {None: "accept", "AE": "error"}.get(refusal.code if refusal else None, "reject")
    code = hl7v2.acknowledgement_code(prepared.hl7, outcome=became)
    if code is None:  # the sender wants to hear of failures only, or of nothing
        return result
    answer = hl7v2.acknowledge(
        prepared.hl7,
        code=code,
        control_id=answer_id(result.message, prepared.digest),
        now=clock.now(),
        text=result.reason,
        place=result.place,
        error_code=refusal.error_code if refusal else None,
    )
    return replace(result, answer=answer)


def answer_id(message: int | None, digest: bytes) -> str:
    """Return a control id for an answer: the message's number here, else a part of its digest."""
    return f"KS{message}" if message is not None else f"KS{digest[:8].hex()}"[:20]


def answer_fhir(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    """Return what the FHIR door answers."""
    result: MessageResult = outcome.result
    if result.state in (MessageState.REFUSED, MessageState.CONFLICT):
        return _refused(prepared, outcome)
    request = prepared.request
    assert request is not None, "came through the FHIR door"
    if request.method == "bundle":
        return _bundle(prepared, outcome)
    return _single(prepared, outcome)


def _single(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    """Answer one act. A repeat is answered with where its resource is now."""
    decided, stored = outcome.extra["decided"], outcome.extra["stored"]
    act = prepared.interactions[0]
    if act.method == "delete":
        return FhirAnswer(status=204, body=b"")
    if decided is not None and 0 in decided.existing:
        kind, identity, version = decided.existing[0]
        return FhirAnswer(status=200, body=b"", type=kind, id=identity, version=version)
    if not stored:
        return FhirAnswer(status=200, body=fhir.dumps(fhir.outcome([_info("fhir_repeat")])))
    written = stored[0]
    assert prepared.mapped is not None, "stored"
    resource = prepared.mapped.drafts[0].resource
    meta = {
        **resource.get("meta", {}),
        "versionId": str(written.version),
        "lastUpdated": _moment(written.updated_at),
    }
    return FhirAnswer(
        status=_status(act.method, written),
        body=fhir.dumps(
            {"resourceType": act.type, "id": written.id, "meta": meta, **resource} | {"meta": meta}
        ),
        type=act.type,
        id=written.id,
        version=written.version,
        updated_at=written.updated_at,
    )


def _status(method: str, written: Stored) -> int:
    return 201 if method == "create" or written.outcome is records.Outcome.CREATED else 200


def _bundle(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    decided, stored = outcome.extra["decided"], outcome.extra["stored"]
    written = {(one.type, one.id): one for one in stored or ()}
    entries: list[dict[str, Any]] = []
    for number, act in enumerate(prepared.interactions):
        if act.method == "delete":
            entries.append({"response": {"status": "204"}})
        elif decided is not None and number in decided.existing:
            kind, identity, version = decided.existing[number]
            entries.append(_entry(200, kind, identity, version, None))
        elif one := written.get((act.type, act.id)):
            entries.append(_entry(_status(act.method, one), one.type, one.id, one.version, one.updated_at))
        else:  # a repeat of what was deleted since
            entries.append({"response": {"status": "200"}})
    body: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction-response"}
    if entries:
        body["entry"] = entries
    return FhirAnswer(status=200, body=fhir.dumps(body))


def _entry(status: int, kind: str, identity: str, version: int | None, at: datetime | None) -> dict[str, Any]:
    response: dict[str, Any] = {"status": str(status), "location": f"{kind}/{identity}"}
    if version is not None:
        response["location"] += f"/_history/{version}"
        response["etag"] = f'W/"{version}"'
    if at is not None:
        response["lastModified"] = _moment(at)
    return {"response": response}


def _refused(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    decided, refusal = outcome.extra.get("decided"), outcome.extra["refusal"]
    status, code, issues = 422, "invalid", ()
    if decided is not None and decided.refusal is not None:
        status, issues = decided.status, decided.issues
    elif isinstance(prepared.failure, FhirRefusedError):
        status, issues = prepared.failure.status, prepared.failure.issues
    elif isinstance(prepared.failure, fhir.TooMuchError):
        status, code = 413, "too-long"
    elif prepared.failure is not None:
        status = 400
    elif outcome.result.state is MessageState.CONFLICT:
        status, code = 409, "duplicate"
    elif refusal.text is say["message_fault"]:
        status, code = 500, "exception"
    if not issues:
        issues = [
            fhir.Issue(
                severity=fhir.Severity.ERROR,
                code=code,
                expression=refusal.place or "",
                text=refusal.text,
            )
        ]
    return FhirAnswer(status=status, body=fhir.dumps(fhir.outcome(issues)))


def _info(key: str) -> fhir.Issue:
    return fhir.Issue(severity=fhir.Severity.INFORMATION, code="informational", expression="", text=say[key])


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
