"""`Patient/$match` (FHIR R4, IHE PDQm ITI-119): who in the index is this Patient? Nothing is created.

The index weighs the Patient as it weighs one that arrives, with the same model. A person whom it would take
for the same without a doubt, and no other beside, is `certain`; where it would ask a human, `probable` or
`possible`. Whom the caller may not read of is left out, or masked where he may find persons; the audit has
an entry for the question and one for each person who was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from kangshu import identity
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.granting import Finder
from kangshu.api.fhir.parameters import named_values, read_resource
from kangshu.api.fhir.persons import Shown, show_persons
from kangshu.api.problems import accepted_language
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.identity import Account, Verdict
from kangshu.mapping import Subject, subject_of
from kangshu.security.principals import Principal
from kangshu.standards import fhir
from kangshu.storage.database import Connection

WHAT = "Patient/$match"
_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
_RESOURCE, _CERTAIN, _COUNT = "resource", "onlyCertainMatches", "count"
_LOOKED_AT = 20  # candidates that are weighed; more like ones than these help nobody
_PROBABLE = 0.9  # arbitrary: from this probability on, what a human should decide is called probable


@dataclass(frozen=True, kw_only=True)
class _Question:
    patient: Mapping[str, Any]
    only_certain: bool
    count: int


async def match(asked: Asked) -> Response:
    """Answer with the persons who may be the Patient that was sent, the likeliest first."""
    principal = await asked.seeker()
    resource, issues = await read_resource(asked)
    if issues:
        body = fhir.dumps(fhir.outcome(issues, language=accepted_language(asked.request)))
        return resource_response(asked.request, body, status=400)
    question = _question(resource)
    finder = Finder(asked, principal, what=WHAT)
    await finder.check_purpose()
    services = asked.services
    subject = subject_of(question.patient, sender=sender_of(principal), authorities=services.authorities)
    if not (subject.identifiers or subject.name):
        raise ParameterRefusedError(say["fhir_match_nothing"], place=_RESOURCE)
    async with services.database.connection() as connection:
        graded = await _graded(connection, asked, subject)
        wanted = [one for one in graded if not question.only_certain or one.grade == "certain"]
        candidates = await identity.describe_persons(
            connection, keys=services.keys, persons=[one.person for one in wanted]
        )
        shown = await show_persons(connection, finder, candidates, authorities=services.authorities)
        shown = shown[: question.count]
        await note_question(connection, finder, what=WHAT, found=len(graded), shown=len(shown))
    return _answer(asked, {one.person: one for one in wanted}, shown)


def sender_of(principal: Principal) -> str:
    """Return whose own numbers those without an authority are; empty where they are nobody's."""
    return min(principal.institutions, default="")


async def note_question(connection: Connection, finder: Finder, *, what: str, found: int, shown: int) -> None:
    """Put on record that somebody looked for persons, not by what."""
    entry = AuditEntry(
        at=finder.now,
        actor=finder.principal.id,
        actor_name=finder.principal.name,
        action="person.query",
        purpose=finder.purpose.value,
        resource=f"fhir/{what}",
        institution=min(finder.principal.institutions, default=None),
        outcome=Outcome.DONE,
        detail={"found": found, "shown": shown},
    )
    await record(connection, entries=[entry])


@dataclass(frozen=True, kw_only=True)
class _Graded:
    person: int
    grade: str
    score: Decimal


async def _graded(connection: Connection, asked: Asked, subject: Subject) -> list[_Graded]:
    """Return who may be meant, each once under the number that stands for the human, the likeliest first.

    First who holds a number that is told, where nothing contradicts: the rule about numbers is stronger than
    any weight. Whom the weights would link but the rules contradict is for a human.
    """
    keys, model = asked.services.keys, asked.services.linkage
    holders = await identity.match_holders(connection, keys=keys, subject=subject, model=model)
    matches = await identity.match_subject(
        connection, keys=keys, subject=subject, limit=_LOOKED_AT, model=model
    )
    likely = [one for one in matches if one.account.verdict is not Verdict.DIFFERENT]
    groups = await identity.persons_meaning(connection, persons=[one.person for one in likely])
    found = {groups[one.person][0]: _Likely(one.account) for one in reversed(likely)}
    for holder in holders:
        weighed = found.get(holder.person)
        found[holder.person] = _Likely(weighed.account if weighed else holder.account, holds=holder.same)
    sure = sum(one.is_sure for one in found.values())
    graded = [
        _Graded(person=person, grade=_grade(one, sure=sure), score=Decimal(f"{one.probability:.6f}"))
        for person, one in found.items()
    ]
    order = ("certain", "probable", "possible")
    return sorted(graded, key=lambda one: (order.index(one.grade), -one.score, one.person))


@dataclass(frozen=True)
class _Likely:
    """What the index says of one person: the weights, and the rule about numbers where he holds one."""

    account: Account
    holds: bool | None = None

    @property
    def is_sure(self) -> bool:
        if self.holds is None:
            return self.account.verdict is Verdict.LINK
        return self.holds

    @property
    def probability(self) -> float:
        """Where the rule about numbers decides, it is not for the weights to doubt it."""
        return 1.0 if self.holds else self.account.probability


def _grade(one: _Likely, *, sure: int) -> str:
    """Two who both seem sure are two too many: then nobody is certain."""
    if one.is_sure:
        return "certain" if sure == 1 else "probable"
    return "probable" if one.probability >= _PROBABLE else "possible"


def _question(resource: dict[str, Any]) -> _Question:
    """Read the input: Parameters, or the Patient alone.

    Raises:
        ParameterRefusedError: there is not exactly one Patient, or a parameter is not what it should be.
    """
    if resource.get("resourceType") == "Patient":
        return _Question(patient=resource, only_certain=False, count=_LOOKED_AT)
    given = named_values(resource, allowed=(_RESOURCE, _CERTAIN, _COUNT))
    patients, sure, counts = (given.get(name, []) for name in (_RESOURCE, _CERTAIN, _COUNT))
    if len(patients) != 1 or not isinstance(patients[0], dict):
        raise ParameterRefusedError(say["fhir_match_patient"], place=_RESOURCE)
    if patients[0].get("resourceType") != "Patient":
        raise ParameterRefusedError(say["fhir_match_patient"], place=_RESOURCE)
    if len(sure) > 1 or any(not isinstance(one, bool) for one in sure):
        raise ParameterRefusedError(say["fhir_parameter"], place=_CERTAIN)
    if len(counts) > 1 or any(type(one) is not int or one < 1 for one in counts):
        raise ParameterRefusedError(say["fhir_parameter"], place=_COUNT)
    return _Question(
        patient=patients[0],
        only_certain=any(sure),
        count=min([*counts, _LOOKED_AT]),
    )


def _answer(asked: Asked, graded: Mapping[int, _Graded], shown: Sequence[Shown]) -> Response:
    root = base(asked.request)
    entries = [
        {
            "fullUrl": f"{root}/Patient/{one.patient['id']}",
            "resource": dict(one.patient),
            "search": {
                "extension": [{"url": _GRADE, "valueCode": graded[one.person].grade}],
                "mode": "match",
                "score": graded[one.person].score,
            },
        }
        for one in shown
    ]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    if entries:
        bundle["entry"] = entries
    return resource_response(asked.request, fhir.dumps(bundle))
