"""What a sender hears: the HL7 v2 acknowledgement, or the answer of a FHIR door."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kangshu.app.errors import say
from kangshu.app.messages.model import Outcome, Prepared
from kangshu.app.messages.reading_fhir import FhirRefusedError
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.clock import Clock
from kangshu.records import FhirAnswer
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
    if result.state is MessageState.DUPLICATE:
        return FhirAnswer(status=200, body=fhir.dumps(fhir.outcome([_info("fhir_repeat")])))
    return _single(prepared, outcome)


def _single(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    decided, stored = outcome.extra["decided"], outcome.extra["stored"]
    act = prepared.interactions[0]
    if 0 in decided.existing:
        kind, identity, version = decided.existing[0]
        return FhirAnswer(status=200, body=b"", type=kind, id=identity, version=version)
    if act.method == "delete":
        return FhirAnswer(status=204, body=b"", type=act.type, id=act.id)
    written = stored[0]
    assert prepared.mapped is not None, "stored"
    resource = {**prepared.mapped.drafts[0].resource}
    resource["meta"] = {
        **resource.get("meta", {}),
        "versionId": str(written.version),
        "lastUpdated": _moment(written.updated_at),
    }
    return FhirAnswer(
        status=201 if written.version == 1 or act.method == "create" else 200,
        body=fhir.dumps(resource),
        type=act.type,
        id=written.id,
        version=written.version,
        updated_at=written.updated_at,
    )


def _bundle(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    decided, stored = outcome.extra["decided"], outcome.extra["stored"]
    written = {(one.type, one.id): one for one in stored or ()}
    entries: list[dict[str, Any]] = []
    for number, act in enumerate(prepared.interactions):
        if decided is None:
            break
        if number in decided.existing:
            kind, identity, version = decided.existing[number]
            entries.append(_entry("200", kind, identity, version, None))
        elif act.method == "delete":
            entries.append({"response": {"status": "204"}})
        else:
            one = written[(act.type, act.id)]
            status = "201" if one.version == 1 or act.method == "create" else "200"
            entries.append(_entry(status, one.type, one.id, one.version, one.updated_at))
    kind = "batch-response" if prepared.type.endswith("/batch") else "transaction-response"
    body: dict[str, Any] = {"resourceType": "Bundle", "type": kind}
    if entries:
        body["entry"] = entries
    return FhirAnswer(status=200, body=fhir.dumps(body))


def _entry(status: str, kind: str, identity: str, version: int, at: datetime | None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "status": status,
        "location": f"{kind}/{identity}/_history/{version}",
        "etag": f'W/"{version}"',
    }
    if at is not None:
        response["lastModified"] = _moment(at)
    return {"response": response}


def _refused(prepared: Prepared, outcome: Outcome) -> FhirAnswer:
    decided, refusal = outcome.extra.get("decided"), outcome.extra["refusal"]
    status, issues = 422, ()
    if decided is not None and decided.refusal is not None:
        status, issues = decided.status, decided.issues
    elif isinstance(prepared.failure, FhirRefusedError):
        status, issues = prepared.failure.status, prepared.failure.issues
    elif prepared.failure is not None:
        status = 400
    elif outcome.result.state is MessageState.CONFLICT:
        status = 409
    if not issues:
        issues = [
            fhir.Issue(
                severity=fhir.Severity.ERROR,
                code="invalid",
                expression=refusal.place or "",
                text=refusal.text,
            )
        ]
    return FhirAnswer(status=status, body=fhir.dumps(fhir.outcome(issues)))


def _info(key: str) -> fhir.Issue:
    return fhir.Issue(severity=fhir.Severity.INFORMATION, code="informational", expression="", text=say[key])


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
