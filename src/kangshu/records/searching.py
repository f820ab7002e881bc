"""A FHIR search read from its parameters: what the database can choose by, and what contents must show.

FHIR R4, "Search" (http://hl7.org/fhir/R4/search.html). Parameters, and where their values lie, are those
that R4 defines for the type; what is not defined, or not done here, is refused by name and never ignored.
Names of patients are not searched here: who is meant by a name is for `identity` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

from kangshu.records.errors import SearchRefusedError, say
from kangshu.records.marks import MARKED, mark_of
from kangshu.records.moments import EARLIEST, LATEST, Span, span_of
from kangshu.records.paths import Place, places_of, reference_of, span_at, texts_of, tokens_of, values_at
from kangshu.records.summary import AT_PARAMETER
from kangshu.standards.fhir import (
    RESOURCE_TYPES,
    SearchParameter,
    patient_parameters,
    search_parameters,
)

COUNT_USUAL = 50
COUNT_MOST = 500
_PARAMETERS_MOST = 50
_VALUES_MOST = 200
_VALUE_LENGTH_MOST = 1000

_HOLDING = frozenset(
    {
        "Binary",
        "Bundle",
        "EnrollmentResponse",
        "Linkage",
        "MessageHeader",
        "Parameters",
        "PaymentNotice",
        "PaymentReconciliation",
        "VerificationResult",
    }
)
_NOT_DONE = frozenset({"phonetic"})  # how a name sounds

Test: TypeAlias = Callable[[Mapping[str, Any]], bool]
Identifiers: TypeAlias = tuple[tuple[str | None, str], ...]

_SUBJECTS = ("patient", "subject")
_IGNORED = ("_format", "_pretty")
_PREFIX = re.compile(r"^(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=\d)")
_SPLIT_COMMA = re.compile(r"(?<!\\),")
_SPLIT_BAR = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([,|$\\])")
_ID = re.compile(r"^[A-Za-z0-9.-]{1,64}$")
_APPROXIMATELY = timedelta(days=30)  # arbitrary: FHIR leaves it to the server


@dataclass(frozen=True, kw_only=True)
class Sort:
    """By what results are put in order: a column, or the dates at some places of the content."""

    by: str
    descending: bool
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose resources are wanted, as the search names them: by Patient, by a patient's number, by visit."""

    patient: str | None = None
    identifier: tuple[str | None, str] | None = None
    encounter: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody is named."""
        return self.patient is None and self.identifier is None and self.encounter is None


@dataclass(kw_only=True)
class Plan:
    """A search, ready to be done. Conditions of one list are alternatives, the lists all hold."""

    type: str
    scope: Scope = Scope()
    ids: frozenset[str] | None = None
    identifiers: list[Identifiers] = field(default_factory=list[Identifiers])
    masks: list[list[int]] = field(default_factory=list[list[int]])
    starts_before: datetime | None = None
    ends_after: datetime | None = None
    updated_from: datetime | None = None
    updated_before: datetime | None = None
    tests: list[Test] = field(default_factory=list[Test])
    sort: tuple[Sort, ...] = ()
    count: int = COUNT_USUAL
    total: bool = False

    @property
    def opens_contents(self) -> bool:
        """Whether the columns do not decide alone."""
        return bool(self.tests) or any(sort.places for sort in self.sort)

    @property
    def is_open(self) -> bool:
        """Whether nothing narrows it that an index knows."""
        return (
            self.scope.is_open and self.ids is None and not self.identifiers and (self.updated_from is None)
        )


def is_about_persons(type_: str) -> bool:
    """Return whether resources of the type are about a person, as a rule."""
    known = search_parameters(type=type_)
    return type_ == "Patient" or any(name in known for name in _SUBJECTS)


def may_concern_persons(*, type: str) -> bool:  # noqa: A002 - FHIR's word
    """Return whether resources of the type may tell of a person, if only inside, as a Bundle does.

    One of them that nobody could link to a person is not for everybody: see `consent.allow_unlinked`.
    """
    return type in _CONCERNING


def read_scope(*, type: str, parameters: Sequence[tuple[str, str]]) -> Scope:  # noqa: A002 - FHIR's word
    """Return whose resources the search asks for.

    Raises:
        SearchRefusedError: several patients are named, or none in a way that is known here.
    """
    patient: str | None = None
    identifier: tuple[str | None, str] | None = None
    encounter: str | None = None
    for name, value in parameters:
        base, _, modifier = name.partition(":")
        if base in _SUBJECTS and _is_defined(type, base) and modifier in ("", "Patient"):
            patient = _same(name, patient, _reference_id(name, value, "Patient"))
        elif (base in _SUBJECTS and modifier == "identifier") or name in (
            "patient.identifier",
            "subject.identifier",
        ):
            found = _identifier(name, _single(name, value))
            if identifier not in (None, found):
                raise SearchRefusedError(say["search_several_patients"], place=name)
            identifier = found
        elif _names_one_visit(type, name, value):
            encounter = _reference_id(name, value, "Encounter")
    return Scope(patient=patient, identifier=identifier, encounter=encounter)


def _names_one_visit(type_: str, name: str, value: str) -> bool:
    if name not in ("encounter", "encounter:Encounter") or not _is_defined(type_, "encounter"):
        return False
    return not _SPLIT_COMMA.search(value)


def compile_search(*, type: str, parameters: Sequence[tuple[str, str]]) -> Plan:  # noqa: A002 - FHIR's word
    """Return the plan of a search for resources of `type`; `parameters` are the query's names and values.

    Raises:
        SearchRefusedError: a parameter is not known or not done here, or cannot have this value.
    """
    if type not in RESOURCE_TYPES:
        raise SearchRefusedError(say["search_type_unknown"], place="type")
    if len(parameters) > _PARAMETERS_MOST:
        raise SearchRefusedError(say("search_too_many", most=_PARAMETERS_MOST))
    plan = Plan(type=type, scope=read_scope(type=type, parameters=parameters))
    for name, value in parameters:
        if len(value) > _VALUE_LENGTH_MOST * 4:
            raise SearchRefusedError(say["search_value"], place=_shown(name))
        _add(plan, name, value)
    return plan


def check_search(*, type: str, parameters: Sequence[tuple[str, str]]) -> None:  # noqa: A002 - FHIR's word
    """Do nothing if `search` would take these parameters.

    Raises:
        SearchRefusedError: a parameter is not known or not done here, or cannot have this value.
    """
    compile_search(type=type, parameters=parameters)


@cache
def supported_parameters(*, type: str) -> Mapping[str, str]:  # noqa: A002 - FHIR's word
    """Return the names of the parameters by which resources of `type` can be searched, with FHIR's kinds."""
    own = {
        name: definition.type
        for name, definition in search_parameters(type=type).items()
        if not name.startswith("_")
        and name not in _NOT_DONE
        and (_is_subject(type, name) or (definition.type in _COMPILERS and places_of(type, name)))
    }
    return {"_id": "token", "_lastUpdated": "date", **own}


def _add(plan: Plan, name: str, value: str) -> None:
    base, _, modifier = name.partition(":")
    if name in _IGNORED or _is_scope(plan, name):
        return
    if control := _CONTROLS.get(name):
        control(plan, value)
        return
    definition = search_parameters(type=plan.type).get(base)
    places = places_of(plan.type, base) if definition else ()
    if definition is None or base.startswith("_") or not places:
        raise SearchRefusedError(say["search_unknown"], place=_shown(name))
    if modifier == "missing":
        plan.tests.append(_missing(places, _boolean(name, value)))
        return
    compiler = _COMPILERS.get(definition.type)
    if compiler is None or base in _NOT_DONE or modifier not in _modifiers(definition):
        raise SearchRefusedError(say["search_unsupported"], place=_shown(name))
    if base == "identifier" and not modifier and definition.type == "token":
        plan.identifiers.append(tuple(_identifier(name, one) for one in _values(name, value)))
    plan.tests.append(compiler(plan, name, places, value))


def _is_scope(plan: Plan, name: str) -> bool:
    base, _, modifier = name.partition(":")
    if name in ("patient.identifier", "subject.identifier"):
        return True
    return base in _SUBJECTS and modifier in ("", "Patient", "identifier") and _is_defined(plan.type, base)


def _is_subject(type_: str, name: str) -> bool:
    return name in _SUBJECTS and _is_defined(type_, name)


def _is_defined(type_: str, name: str) -> bool:
    return name in search_parameters(type=type_)


def _modifiers(definition: SearchParameter) -> frozenset[str]:
    match definition.type:
        case "token":
            return frozenset({"", "not"})
        case "string":
            return frozenset({"", "exact", "contains"})
        case "reference":
            return frozenset({"", *definition.targets})
        case _:
            return frozenset({""})


# Controls


def _by_id(plan: Plan, value: str) -> None:
    ids = frozenset(_values("_id", value))
    plan.ids = ids if plan.ids is None else plan.ids & ids


def _by_update(plan: Plan, value: str) -> None:
    prefix, span = _dated("_lastUpdated", value)
    bounds = {
        "eq": (span.start, span.end),
        "ap": (span.start - _APPROXIMATELY, span.end + _APPROXIMATELY),
        "ge": (span.start, None),
        "gt": (span.end, None),
        "sa": (span.end, None),
        "le": (None, span.end),
        "lt": (None, span.start),
        "eb": (None, span.start),
    }
    if prefix not in bounds:
        raise SearchRefusedError(say["search_unsupported"], place="_lastUpdated")
    first, last = bounds[prefix]
    plan.updated_from = max(filter(None, (plan.updated_from, first)), default=None)
    plan.updated_before = min(filter(None, (plan.updated_before, last)), default=None)


def _by_count(plan: Plan, value: str) -> None:
    if not re.fullmatch(r"\d{1,6}", value, re.ASCII):
        raise SearchRefusedError(say["search_value"], place="_count")
    plan.count = min(int(value), COUNT_MOST)
    plan.total = plan.total or plan.count == 0


def _by_total(plan: Plan, value: str) -> None:
    if value not in ("none", "estimate", "accurate"):
        raise SearchRefusedError(say["search_value"], place="_total")
    plan.total = plan.total or value != "none"


def _by_summary(plan: Plan, value: str) -> None:
    if value == "count":
        plan.count, plan.total = 0, True
    elif value != "false":
        raise SearchRefusedError(say["search_unsupported"], place="_summary")


def _by_sort(plan: Plan, value: str) -> None:
    plan.sort = tuple(_sort(plan.type, word) for word in value.split(",") if word)


def _sort(type_: str, word: str) -> Sort:
    name, descending = word.removeprefix("-"), word.startswith("-")
    if name in ("_lastUpdated", "_id"):
        return Sort(by=name, descending=descending)
    definition = search_parameters(type=type_).get(name)
    if definition is None or definition.type != "date":
        raise SearchRefusedError(say["search_sort"], place="_sort")
    if name == AT_PARAMETER.get(type_):
        return Sort(by="at", descending=descending)
    return Sort(by="content", descending=descending, places=places_of(type_, name))


_CONTROLS: Mapping[str, Callable[[Plan, str], None]] = {
    "_id": _by_id,
    "_lastUpdated": _by_update,
    "_count": _by_count,
    "_total": _by_total,
    "_summary": _by_summary,
    "_sort": _by_sort,
}


# Conditions


def _by_token(plan: Plan, name: str, places: tuple[Place, ...], value: str) -> Test:
    base, _, modifier = name.partition(":")
    wanted = [_token(name, one) for one in _values(name, value)]
    if base in MARKED and not modifier and all(code for _, code in wanted):
        plan.masks.append([mark_of(base, code) for _, code in wanted])

    def test(resource: Mapping[str, Any]) -> bool:
        found = any(
            _fits(wanted, system, code)
            for one in values_at(resource, places)
            for system, code in tokens_of(one)
        )
        return found != (modifier == "not")

    return test


def _by_reference(plan: Plan, name: str, places: tuple[Place, ...], value: str) -> Test:
    base, _, modifier = name.partition(":")
    wanted: set[tuple[str, str]] = set()
    for one in _values(name, value):
        kind, _, identity = one.rpartition("/")
        wanted.add((kind.rpartition("/")[2] or modifier, identity))
    if base in MARKED:
        plan.masks.append([mark_of(base, identity) for _, identity in wanted])

    def test(resource: Mapping[str, Any]) -> bool:
        found = [reference_of(one) for one in values_at(resource, places)]
        return any(
            identity == of and (not kind or kind == at)
            for at, of in filter(None, found)
            for kind, identity in wanted
        )

    return test


def _by_date(plan: Plan, name: str, places: tuple[Place, ...], value: str) -> Test:
    wanted = [_dated(name, one) for one in _values(name, value)]
    if name == AT_PARAMETER.get(plan.type):
        _bound(plan, wanted)

    def test(resource: Mapping[str, Any]) -> bool:
        spans = [span for one in values_at(resource, places) if (span := span_at(one))]
        return any(_COMPARE[prefix](one, span) for one in spans for prefix, span in wanted)

    return test


def _bound(plan: Plan, wanted: Sequence[tuple[str, Span]]) -> None:
    """Let the columns leave out what cannot fit any of the alternatives."""
    ends_after = min(_reach(prefix, span)[0] for prefix, span in wanted)
    starts_before = max(_reach(prefix, span)[1] for prefix, span in wanted)
    plan.ends_after = max(filter(None, (plan.ends_after, ends_after)))
    plan.starts_before = min(filter(None, (plan.starts_before, starts_before)))


def _reach(prefix: str, span: Span) -> tuple[datetime, datetime]:
    """Return after what the resource's span must end and before what it must start."""
    match prefix:
        case "ge" | "gt" | "sa":
            return span.start, LATEST
        case "le" | "lt" | "eb":
            return EARLIEST, span.end
        case "eq":
            return span.start, span.end
        case "ap":
            return span.start - _APPROXIMATELY, span.end + _APPROXIMATELY
        case _:
            return EARLIEST, LATEST


def _within(one: Span, span: Span) -> bool:
    return span.start <= one.start and one.end <= span.end


_COMPARE: Mapping[str, Callable[[Span, Span], bool]] = {
    "eq": _within,
    "ne": lambda one, span: not _within(one, span),
    "gt": lambda one, span: one.end > span.end,
    "ge": lambda one, span: one.end > span.end or _within(one, span),
    "lt": lambda one, span: one.start < span.start,
    "le": lambda one, span: one.start < span.start or _within(one, span),
    "sa": lambda one, span: one.start >= span.end,
    "eb": lambda one, span: one.end <= span.start,
    "ap": lambda one, span: one.start < span.end + _APPROXIMATELY and one.end > span.start - _APPROXIMATELY,
}


def _by_string(plan: Plan, name: str, places: tuple[Place, ...], value: str) -> Test:
    del plan
    modifier = name.partition(":")[2]
    wanted = _values(name, value)
    folded = [one.casefold() for one in wanted]

    def fits(text: str) -> bool:
        if modifier == "exact":
            return text in wanted
        small = text.casefold()
        if modifier == "contains":
            return any(one in small for one in folded)
        return any(small.startswith(one) for one in folded)

    return lambda resource: any(fits(text) for one in values_at(resource, places) for text in texts_of(one))


def _by_uri(plan: Plan, name: str, places: tuple[Place, ...], value: str) -> Test:
    del plan
    wanted = frozenset(_values(name, value))
    return lambda resource: any(one in wanted for one in values_at(resource, places) if isinstance(one, str))


_COMPILERS: Mapping[str, Callable[[Plan, str, tuple[Place, ...], str], Test]] = {
    "token": _by_token,
    "reference": _by_reference,
    "date": _by_date,
    "string": _by_string,
    "uri": _by_uri,
}


def _missing(places: tuple[Place, ...], missing: bool) -> Test:
    return lambda resource: (next(values_at(resource, places), None) is None) == missing


# Values of the query


def _values(name: str, value: str) -> list[str]:
    found = [_ESCAPED.sub(r"\1", one) for one in _SPLIT_COMMA.split(value)]
    if not all(found) or len(found) > _VALUES_MOST:
        raise SearchRefusedError(say["search_value"], place=_shown(name))
    return found


def _single(name: str, value: str) -> str:
    if _SPLIT_COMMA.search(value):
        raise SearchRefusedError(say["search_several_patients"], place=_shown(name))
    return value


def _token(name: str, value: str) -> tuple[str | None, str]:
    """Return (system, code). No system means any, an empty one none; an empty code any of the system."""
    parts = _SPLIT_BAR.split(value)
    if len(parts) > 2 or not any(parts):
        raise SearchRefusedError(say["search_value"], place=_shown(name))
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def _identifier(name: str, value: str) -> tuple[str | None, str]:
    system, code = _token(name, value)
    if not code:
        raise SearchRefusedError(say["search_value"], place=_shown(name))
    return system, code


def _fits(wanted: Iterable[tuple[str | None, str]], system: str | None, code: str) -> bool:
    return any((not asked or asked == code) and (of is None or of == (system or "")) for of, asked in wanted)


def _dated(name: str, value: str) -> tuple[str, Span]:
    found = _PREFIX.match(value)
    span = span_of((value[2:] if found else value).replace(" ", "+"))
    if span is None:
        raise SearchRefusedError(say["search_date"], place=_shown(name))
    return (found[1] if found else "eq"), span


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise SearchRefusedError(say["search_value"], place=_shown(name))
    return value == "true"


def _reference_id(name: str, value: str, kind: str) -> str:
    value = _single(name, value)
    of, _, identity = value.rpartition("/")
    if not _ID.match(identity) or of.rpartition("/")[2] not in ("", kind):
        raise SearchRefusedError(say["search_value"], place=_shown(name))
    return identity


def _same(name: str, known: str | None, found: str) -> str:
    if known not in (None, found):
        raise SearchRefusedError(say["search_several_patients"], place=_shown(name))
    return found


def _shown(name: str) -> str:
    """Return a parameter's name for a place, without what cannot be one: a query may hold anything."""
    return name if re.fullmatch(r"[_A-Za-z][A-Za-z0-9:._-]{0,63}", name) else "?"


_CONCERNING = _HOLDING | {
    name for name in RESOURCE_TYPES if is_about_persons(name) or patient_parameters(type=name)
}
