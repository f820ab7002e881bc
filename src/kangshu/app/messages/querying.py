"""Answer HL7 v2 queries about persons: PIX (QBP^Q23, a patient's other numbers) and PDQ (QBP^Q22, who is it).

IHE ITI-9 and ITI-21. Every query is authorised and on the audit chain before it is answered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from kangshu import directory, identity
from kangshu.app.errors import say
from kangshu.app.messages.answering import answer_id
from kangshu.app.messages.model import Prepared, Refusal
from kangshu.app.messages.tools import Tools
from kangshu.audit import AuditEntry, record
from kangshu.identity import Candidate, Identifier, PersonUnknownError
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.mapping import IdentifierKind, SubjectIdentifier
from kangshu.standards import hl7v2
from kangshu.storage.database import Connection, Database

_LIMIT, _LIMIT_MOST = 50, 200
_PARAMETER = re.compile(r"^@?([A-Z0-9]{3})\.(\d+)(?:\.(\d+))?(?:\.(\d+))?$")
_OID = re.compile(r"^[0-2](\.(0|[1-9][0-9]*))+$")
_PIX, _PDQ = "Q23", "Q22"
_RESIDENT_OID = "2.16.156.10011.1.3"
_OWN_AUTHORITY = "KANGSHU"
_KINDS = {
    identity.IdentifierKind.RESIDENT_NUMBER: IdentifierKind.RESIDENT_NUMBER,
    identity.IdentifierKind.DOCUMENT: IdentifierKind.DOCUMENT,
    identity.IdentifierKind.LOCAL_NUMBER: IdentifierKind.LOCAL_NUMBER,
    identity.IdentifierKind.DEMOGRAPHIC: IdentifierKind.LOCAL_NUMBER,
}


@dataclass(kw_only=True, slots=True)
class _Answer:
    status: str  # OK, NF, AE, AR: table 0208
    segments: list[hl7v2.SegmentLike] = field(default_factory=list[hl7v2.SegmentLike])
    hits: int | None = None
    refusal: Refusal | None = None
    persons: list[int] = field(default_factory=list[int])


def is_query(prepared: Prepared) -> bool:
    """Return whether the message asks instead of telling."""
    return (
        prepared.arrival.format is MessageFormat.HL7V2
        and prepared.hl7 is not None
        and prepared.hl7.type in ("QBP", "QRY")
    )


async def answer_query(
    database: Database, tools: Tools, prepared: Prepared, *, allowed: bool
) -> MessageResult:
    """Return the answer to a query, having put on record who asked for whom."""
    message = prepared.hl7
    assert message is not None, "a query was read"
    async with database.transaction() as connection:
        answer = await _answer(connection, tools, prepared, message, allowed=allowed)
        await record(connection, entries=_traces(tools, prepared, answer))
    refusal = answer.refusal
    segments = list(hl7v2.query_segments(message, status=answer.status, hits=answer.hits))
    code = refusal.code if refusal else "AA"
    content = hl7v2.acknowledge(
        message,
        code=code,
        control_id=answer_id(None, prepared.digest),
        now=tools.clock.now(),
        text=refusal.text if refusal else None,
        place=refusal.place if refusal else None,
        error_code=refusal.error_code if refusal else None,
        answer_segments=segments + answer.segments,
    )
    return MessageResult(
        message=None,
        state=MessageState.REFUSED if refusal else MessageState.ACCEPTED,
        place=refusal.place if refusal else None,
        reason=refusal.text if refusal else None,
        notes=(),
        answer=content,
        resources=(),
    )


async def _answer(
    connection: Connection, tools: Tools, prepared: Prepared, message: hl7v2.Message, *, allowed: bool
) -> _Answer:
    if not allowed:
        return _refused("AR", "MSH-8", say["query_not_allowed"])
    if message.first("QPD") is None:
        return _refused("AR", "QPD", say["query_parameters"])
    if message.event == _PIX:
        return await _pix(connection, tools, prepared, message)
    if message.event == _PDQ:
        return await _pdq(connection, tools, prepared, message)
    return _refused("AR", "MSH-9", say["query_unsupported"])


async def _pix(connection: Connection, tools: Tools, prepared: Prepared, message: hl7v2.Message) -> _Answer:
    segment = message.first("QPD")
    assert segment is not None, "looked before"
    asked = _cx(segment.text(3), *_authority(segment, 3, 1), tools, prepared)
    if asked is None:
        return _refused("AE", "QPD-3", say["query_identifier"])
    if not await _is_known(connection, tools, asked):
        return _refused("AE", "QPD-3.4", say["query_domain"])
    domains = [_authority(segment, 4, number) for number in range(1, len(segment[4]) + 1)]
    wanted: list[SubjectIdentifier] = []
    for number, (name, _) in enumerate(domains, 1):
        one = _cx("?", name, "", tools, prepared)
        if name and (one is None or not await _is_known(connection, tools, one)):
            return _refused("AE", f"QPD-4({number})", say["query_domain"])
        if name and one is not None:
            wanted.append(one)
    try:
        found = await identity.cross_references(
            connection,
            keys=tools.keys,
            kind=asked.kind,
            issuer=asked.issuer,
            value=asked.value,
            wanted_issuers=[one.issuer for one in wanted] or None,
        )
    except PersonUnknownError:
        return _refused("AE", "QPD-3.1", say["query_person"])
    told = [_cx_value(one, tools) for one in found if one.value]
    persons = await _holders(connection, tools, asked)
    if not told:
        return _Answer(status="NF", hits=0, persons=persons)
    if not wanted:
        told = [*(_own_number(person) for person in persons), *told]
    pid: hl7v2.SegmentLike = ("PID", {3: told, 5: ("", "", "", "", "", "", "S")})
    return _Answer(status="OK", hits=1, segments=[pid], persons=persons)


async def _holders(connection: Connection, tools: Tools, asked: SubjectIdentifier) -> list[int]:
    """Return who was shown, for the audit."""
    holder = await identity.find_holder(connection, keys=tools.keys, identifier=asked)
    return [] if holder is None else [holder]


async def _pdq(connection: Connection, tools: Tools, prepared: Prepared, message: hl7v2.Message) -> _Answer:
    segment = message.first("QPD")
    assert segment is not None, "looked before"
    asked: dict[str, str] = {}
    for number, parameter in enumerate(segment[3], 1):
        name, value = (["".join(part[:1]) for part in parameter] + ["", ""])[:2]
        key = _parameter(name)
        if key is None:
            return _refused("AE", f"QPD-3({number})", say["query_parameter"])
        if value:
            asked[key] = value
    if not asked:
        return _refused("AE", "QPD-3", say["query_parameters"])
    wanted: list[str | None] = []
    for number in range(1, len(segment[8]) + 1):
        name, _ = _authority(segment, 8, number)
        one = _cx("?", name, "", tools, prepared)
        if one is None or not await _is_known(connection, tools, one):
            return _refused("AE", f"QPD-8({number})", say["query_domain"])
        wanted.append(one.issuer)
    if asked.get("birth") and _birth(asked["birth"]) is None:
        return _refused("AE", "QPD-3", say["query_birth"])
    try:
        found = await _search(connection, tools, prepared, asked, wanted, limit=_limit(message))
    except (identity.SearchUnsupportedError, identity.SearchTooWideError) as error:
        return _refused("AE", "QPD-3", error.text)
    segments: list[hl7v2.SegmentLike] = [
        _pid(number, one, tools, own=not wanted) for number, one in enumerate(found, 1)
    ]
    return _Answer(
        status="OK" if segments else "NF",
        hits=len(segments),
        segments=segments,
        persons=[one.person.id for one in found],
    )


async def _search(
    connection: Connection,
    tools: Tools,
    prepared: Prepared,
    asked: dict[str, str],
    wanted: Sequence[str | None],
    *,
    limit: int,
) -> Sequence[Candidate]:
    def number(value: str, authority: str) -> SubjectIdentifier | None:
        told = asked.get(value)
        return _cx(told, asked.get(authority, ""), "", tools, prepared) if told else None

    return await identity.search_demographics(
        connection,
        keys=tools.keys,
        family=asked.get("family"),
        given=asked.get("given"),
        birth_date=_birth(asked.get("birth")),
        sex={"M": "1", "F": "2"}.get(asked.get("sex", "").upper()),
        identifier=number("id", "authority"),
        phone=asked.get("phone"),
        address=asked.get("address"),
        mother_identifier=number("mother", "mother_authority"),
        mother_family=asked.get("mother_family"),
        mother_given=asked.get("mother_given"),
        wanted_issuers=wanted or None,
        limit=limit,
    )


_FIELDS = {
    ("PID", "3", "1"): "id",
    ("PID", "3", None): "id",
    ("PID", "3", "4"): "authority",
    ("PID", "5", "1"): "family",
    ("PID", "5", None): "family",
    ("PID", "5", "2"): "given",
    ("PID", "7", None): "birth",
    ("PID", "7", "1"): "birth",
    ("PID", "8", None): "sex",
    ("PID", "8", "1"): "sex",
    ("PID", "13", None): "phone",
    ("PID", "13", "1"): "phone",
    ("PID", "11", "1"): "address",
    ("PID", "11", "3"): "address",
    ("PID", "6", "1"): "mother_family",
    ("PID", "6", None): "mother_family",
    ("PID", "6", "2"): "mother_given",
    ("PID", "21", "1"): "mother",
    ("PID", "21", None): "mother",
    ("PID", "21", "4"): "mother_authority",
}


def _parameter(name: str) -> str | None:
    match = _PARAMETER.match(name)
    if match is None:
        return None
    segment, number, component, part = match.groups()
    if part not in (None, "1", "2"):  # namespace and OID of an authority, or the surname of a name
        return None
    return _FIELDS.get((segment, number, component))


def _pid(number: int, candidate: Candidate, tools: Tools, *, own: bool) -> hl7v2.SegmentLike:
    summary = candidate.person
    numbers = [_cx_value(one, tools) for one in candidate.identifiers if one.value]
    fields: dict[int, hl7v2.FieldValue] = {
        1: str(number),
        3: [_own_number(summary.id), *numbers] if own else [*numbers],
        5: _name(summary.name or ""),
        8: {"1": "M", "2": "F"}.get(summary.sex or "", "U"),
    }
    if summary.birth_date is not None:
        fields[7] = summary.birth_date.strftime("%Y%m%d")
    if summary.phone:
        fields[13] = summary.phone
    if candidate.mother is not None:
        if candidate.mother.name:
            fields[6] = _name(candidate.mother.name)
        fields[21] = [_told_value(one, tools) for one in candidate.mother.identifiers]
    return ("PID", fields)


def _name(name: str) -> hl7v2.FieldValue:
    """A Latin name is given in parts (family first), a Chinese one whole."""
    given, _, family = name.rpartition(" ")
    return (family, given, "", "", "", "", "L") if given else (name, "", "", "", "", "", "L")


def _cx_value(identifier: Identifier, tools: Tools) -> hl7v2.Repetition:
    kind = _KINDS[identifier.kind]
    told = SubjectIdentifier(kind=kind, issuer=identifier.issuer, value=identifier.value or "")
    return _told_value(told, tools)


def _told_value(identifier: SubjectIdentifier, tools: Tools) -> hl7v2.Repetition:
    """Return a number as CX: with namespace, OID, or both, as far as its authority has them."""
    if identifier.kind is IdentifierKind.RESIDENT_NUMBER:
        return (identifier.value, "", "", ("", _RESIDENT_OID, "ISO"), "NI")
    issuer = identifier.issuer or ""
    if identifier.kind is IdentifierKind.DOCUMENT:
        return (identifier.value, "", "", "", {"03": "PPN"}.get(issuer, issuer))
    if oid := tools.authorities.oids.get(issuer):
        return (identifier.value, "", "", (issuer, oid, "ISO"), "PI")
    authority = ("", issuer, "ISO") if _OID.match(issuer) else (issuer,)
    return (identifier.value, "", "", authority, "PI")


def _own_number(person: int) -> hl7v2.Repetition:
    """Return the index's own number of a person: it stays, whatever numbers come and go."""
    return (str(person), "", "", (_OWN_AUTHORITY,), "PI")


def _cx(
    value: str, authority: str, type_code: str, tools: Tools, prepared: Prepared
) -> SubjectIdentifier | None:
    return tools.authorities.resolve(
        value=value, authority=authority or None, type_code=type_code or None, sender=prepared.sender
    )


def _authority(segment: hl7v2.Segment, number: int, repetition: int) -> tuple[str, str]:
    """Return the assigning authority (a namespace, else an OID) of a CX, and its type code."""
    namespace = segment.text(number, 4, 1, repetition)
    universal = segment.text(number, 4, 2, repetition)
    return namespace or universal, segment.text(number, 5, 1, repetition)


async def _is_known(connection: Connection, tools: Tools, one: SubjectIdentifier) -> bool:
    """Return whether anybody assigns numbers under this authority."""
    if one.kind is not IdentifierKind.LOCAL_NUMBER or not one.issuer:
        return True
    if one.issuer.upper() in tools.authorities.by_name:
        return True
    if await directory.find_institution(connection, code=one.issuer) is not None:
        return True
    return bool(await identity.known_issuers(connection, issuers=[one.issuer]))


def _limit(message: hl7v2.Message) -> int:
    text = message.text("RCP-2.1")
    asked = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else _LIMIT
    return min(max(asked, 1), _LIMIT_MOST)


def _birth(text: str | None) -> date | Period | None:
    """Read a birth date, whole or in part (1983, 198302)."""
    digits = (text or "")[:8]
    if not (digits.isascii() and digits.isdigit()):
        return None
    try:
        if len(digits) == 8:
            return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        label = digits[:4] + (f"-{digits[4:6]}" if len(digits) == 6 else "")
        return Period.parse(label)
    except ValueError:
        return None


def _refused(code: str, place: str, text: Text) -> _Answer:
    return _Answer(status=code, refusal=Refusal(code=code, place=place, text=text))


def _traces(tools: Tools, prepared: Prepared, answer: _Answer) -> list[AuditEntry]:
    """One entry for each person shown, or one for the question where nobody was."""
    arrival = prepared.arrival
    return [
        AuditEntry(
            at=tools.clock.now(),
            actor=arrival.received_by,
            actor_name=arrival.received_by,
            action="person.query",
            purpose="treatment",
            person=person,
            resource=prepared.type,
            institution=prepared.sender or None,
            outcome="refused" if answer.refusal else "done",
            detail={"channel": arrival.channel, "found": answer.hits or 0},
        )
        for person in answer.persons or [None]
    ]
