"""Search for Patients by demographics (IHE PDQm, ITI-78): asked of the index, which knows all institutions.

Values are compared whole, as the index keeps digests only. What is found is settled at the first page: the
link to the next one carries, sealed, who is left and for whom.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from kangshu import identity, records
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.granting import Finder
from kangshu.api.fhir.matching import note_question, sender_of
from kangshu.api.fhir.parameters import SHOWING
from kangshu.api.fhir.persons import (
    PERSON_SYSTEM,
    Domain,
    Shown,
    is_known_domain,
    numbers_of,
    person_of,
    show_persons,
)
from kangshu.api.problems import accepted_language
from kangshu.identity import Candidate
from kangshu.kernel.periods import Period
from kangshu.mapping import IdentifierKind, SubjectIdentifier
from kangshu.security.errors import SealBrokenError
from kangshu.security.principals import Principal
from kangshu.security.sealing import DIGEST_BYTES, NONCE_BYTES, digest_many, open_checked, seal_many
from kangshu.standards import fhir
from kangshu.storage.database import Connection

WHAT = "Patient?"
PAGE = "_page"
MARK = "p."
"""How the names of pages begin that this module makes."""

_COUNT, _TOTAL, _ID, _ACTIVE, _IDENTIFIER = "_count", "_total", "_id", "active", "identifier"
_NAMES = ("name", "family", "given")
_PHONES = ("telecom", "phone")
_ADDRESSES = ("address", "address-city", "address-country", "address-postalcode", "address-state")
_MOTHERS = ("mothersMaidenName",)
_BIRTH, _GENDER = "birthdate", "gender"
PARAMETERS: Mapping[str, str] = {
    "active": "token",
    "birthdate": "date",
    "family": "string",
    "gender": "token",
    "given": "string",
    "identifier": "token",
    "mothersMaidenName": "string",
    "name": "string",
    "phone": "token",
    "telecom": "token",
}
"""What the index is searched by, with FHIR's kinds. Addresses are refused: it finds by none."""
_DEMOGRAPHIC = frozenset({*_NAMES, *_PHONES, *_ADDRESSES, *_MOTHERS, _BIRTH, _GENDER})
_UNDERSTOOD = _DEMOGRAPHIC | {_IDENTIFIER, _ACTIVE, _ID, _COUNT, _TOTAL, *SHOWING}
_EXACT = frozenset({*_NAMES, *_ADDRESSES, *_MOTHERS})
_GENDERS = {"male": "1", "female": "2"}

_COUNT_USUAL, _COUNT_MOST = 20, 50
_FOUND_MOST = 200
_ASKED_MOST = 16  # arbitrary: so many searches of the index may one with alternatives become
_BIRTHS_MOST = timedelta(days=366)  # arbitrary: births of a longer time are found beside something else only
_EARLIEST, _LATEST = date(1800, 1, 1), date(2999, 12, 31)
_PAGES_GOOD_FOR = timedelta(minutes=30)
_PREFIX = "fhir-page:"


def is_for_index(parameters: Sequence[tuple[str, str]]) -> bool:
    """Return whether a search for Patients is the index's to answer: it names demographics, and no more.

    So is one for a Patient of the index by its id, and a further page of such a search.
    """
    bases = {_base(name) for name, _ in parameters}
    if any(name == PAGE and value.startswith(MARK) for name, value in parameters):
        return True
    if not bases <= _UNDERSTOOD:
        return False
    if any(name == _ID and person_of(value) is not None for name, value in parameters):
        return True
    return bool(bases & _DEMOGRAPHIC) and _ID not in bases


def is_by_number(parameters: Sequence[tuple[str, str]]) -> bool:
    """Return whether a search for Patients names a number, and nothing that the index does not understand."""
    bases = {_base(name) for name, _ in parameters}
    return _IDENTIFIER in bases and bases <= _UNDERSTOOD - {_ID}


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A search as it was read: of each kind alternatives, of which one must hold; of numbers all must."""

    names: Sequence[Mapping[str, str]]
    mothers: Sequence[str | None]
    phones: Sequence[str | None]
    sexes: Sequence[str | None]
    births: Sequence[Period | None]
    numbers: Sequence[Sequence[SubjectIdentifier]]
    domains: Sequence[SubjectIdentifier]
    nobody: bool
    person: int | None
    count: int


@dataclass(frozen=True, kw_only=True)
class _Page:
    """What is left to be shown of a search."""

    persons: Sequence[int]
    domains: frozenset[Domain] | None
    count: int


async def search_index(asked: Asked, principal: Principal, parameters: Sequence[tuple[str, str]]) -> Response:
    """Answer with the persons of the index for whom everything given holds."""
    finder = Finder(asked, principal, what=WHAT)
    await finder.check_purpose()
    token = next((value for name, value in parameters if name == PAGE), None)
    async with asked.services.database.connection() as connection:
        if token is not None:
            page = _opened(asked, token, principal, finder.now)
            found = await identity.describe_persons(
                connection, keys=asked.services.keys, persons=page.persons[: page.count]
            )
            more = False
        else:
            search = _read(asked, parameters, sender=sender_of(principal))
            for one in search.domains:
                if not await is_known_domain(connection, one, authorities=asked.services.authorities):
                    return _unknown_domain(asked)
            everybody, more = await _find(connection, asked, search)
            domains = frozenset((one.kind, one.issuer) for one in search.domains) or None
            page = _Page(persons=[one.person.id for one in everybody], domains=domains, count=search.count)
            found = everybody[: page.count]
        shown = await show_persons(
            connection, finder, found, authorities=asked.services.authorities, domains=page.domains
        )
        await note_question(connection, finder, what=WHAT, found=len(page.persons), shown=len(shown))
    return _answer(asked, principal, finder.now, parameters, page, shown, more=more, first=token is None)


# What is asked


def _base(name: str) -> str:
    base_, _, modifier = name.partition(":")
    return base_ if not modifier or (modifier == "exact" and base_ in _EXACT) else name


def _read(asked: Asked, parameters: Sequence[tuple[str, str]], *, sender: str) -> _Search:
    """Read the parameters.

    Raises:
        ParameterRefusedError: one cannot have its value, or there are too many alternatives.
        SearchUnsupportedError: an address is asked for.
    """
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(_base(name), []).append(value)
    if any(name in given for name in _ADDRESSES):
        raise ParameterRefusedError(
            say["fhir_address"], place=next(one for one in _ADDRESSES if one in given)
        )
    own = [number for one in given.get(_ID, ()) if (number := person_of(one)) is not None]
    if len(own) > 1 or (own and given.keys() - {_ID, _COUNT, _TOTAL, *SHOWING}):
        raise ParameterRefusedError(say["fhir_parameter"], place=_ID)
    numbers, domains = _numbers(asked, given.get(_IDENTIFIER, ()), sender=sender)
    genders = [_codes(one) for one in given.get(_GENDER, ())]
    births = _births(given.get(_BIRTH, ()))
    return _Search(
        names=_names(given),
        mothers=_alternatives(given, "mothersMaidenName") or [None],
        phones=[_token_value(one) for name in _PHONES for one in _alternatives(given, name)] or [None],
        sexes=_sexes(genders),
        births=births,
        numbers=numbers,
        domains=domains,
        nobody=not births or any(one == "false" for one in given.get(_ACTIVE, ())) or not _sexes(genders),
        person=own[0] if own else None,
        count=_count(given.get(_COUNT, [])),
    )


def _names(given: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return the alternatives of a name; values of one parameter given twice belong to one name."""
    kinds = [name for name in _NAMES if name in given]
    if "name" in kinds and len(kinds) > 1:
        raise ParameterRefusedError(say["fhir_parameter"], place="name")
    options = [
        [" ".join(parts) for parts in product(*(_split(value) for value in given[name]))] for name in kinds
    ]
    return [dict(zip(kinds, values, strict=True)) for values in product(*options)]


def _sexes(genders: Sequence[frozenset[str]]) -> list[str | None]:
    """Return the sexes that all of the parameters allow; the index finds by male and female."""
    if not genders:
        return [None]
    both = frozenset.intersection(*genders)
    return [_GENDERS[one] for one in sorted(both) if one in _GENDERS]


def _codes(value: str) -> frozenset[str]:
    return frozenset(_token_value(one) for one in _split(value))


def _births(values: Sequence[str]) -> list[Period | None]:
    """Return the times of birth that all values allow; none at all where they exclude each other.

    Raises:
        ParameterRefusedError: one is no date.
    """
    if not values:
        return [None]
    found: list[Period] = []
    for choice in product(*(_split(value) for value in values)):
        spans = [_span(one) for one in choice]
        start, end = max(first for first, _ in spans), min(last for _, last in spans)
        if start < end:
            found.append(Period(start=start, end=end))
    return list(dict.fromkeys(found))


def _span(text: str) -> tuple[date, date]:
    """Return the first day, and the first day after, of what a date with its prefix means."""
    prefix, day = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    span = fhir.span_of(day) if "T" not in day else None
    if span is None or prefix not in ("eq", "ge", "gt", "le", "lt"):
        raise ParameterRefusedError(say["fhir_parameter"], place=_BIRTH)
    first, after = max(span.start.date(), _EARLIEST), min(span.end.date(), _LATEST)
    return {
        "eq": (first, after),
        "ge": (first, _LATEST),
        "gt": (after, _LATEST),
        "le": (_EARLIEST, after),
        "lt": (_EARLIEST, first),
    }[prefix]


def _numbers(
    asked: Asked, values: Sequence[str], *, sender: str
) -> tuple[list[list[SubjectIdentifier]], list[SubjectIdentifier]]:
    """Return the numbers (each of the lists holds alternatives), and the domains whose numbers are wanted."""
    resolve = asked.services.authorities.resolve
    numbers: list[list[SubjectIdentifier]] = []
    domains: list[SubjectIdentifier] = []
    for value in values:
        options: list[SubjectIdentifier] = []
        for token in _split(value):
            system, bar, number = token.rpartition("|")
            if system == PERSON_SYSTEM:
                raise ParameterRefusedError(say["fhir_parameter"], place=_IDENTIFIER)
            one = resolve(value=number or "?", authority=system or None, type_code=None, sender=sender)
            if one is None:
                raise ParameterRefusedError(say["fhir_parameter"], place=_IDENTIFIER)
            if bar and not number:
                domains.append(one)
                continue
            options.append(one)
            if not bar:  # of any system: a number of the state, or the caller's own
                kind = IdentifierKind.RESIDENT_NUMBER
                options.append(SubjectIdentifier(kind=kind, issuer=None, value=number))
        if options:
            numbers.append(options)
    return numbers, domains


def _alternatives(given: Mapping[str, Sequence[str]], name: str) -> list[str]:
    values = given.get(name, ())
    if len(values) > 1:
        raise ParameterRefusedError(say["fhir_parameter"], place=name)
    return [one for value in values for one in _split(value)]


def _split(value: str) -> list[str]:
    """Return the alternatives of a value; a comma that belongs to it is written with a backslash."""
    parts = value.replace("\\,", "\0").split(",")
    if not all(part.strip() for part in parts):
        raise ParameterRefusedError(say["parameters"])
    return [part.replace("\0", ",").strip() for part in parts]


def _token_value(token: str) -> str:
    return token.rpartition("|")[2]


def _count(values: Sequence[str]) -> int:
    text = values[-1] if values else str(_COUNT_USUAL)
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise ParameterRefusedError(say["fhir_parameter"], place=_COUNT)
    return min(int(text), _COUNT_MOST)


# What is found


async def _find(connection: Connection, asked: Asked, search: _Search) -> tuple[list[Candidate], bool]:
    """Return who fits, by person, and whether there are more than can be told.

    Raises:
        SearchTooWideError: nothing is given by which few are found.
        ParameterRefusedError: there are too many alternatives.
    """
    if search.nobody:
        return [], False
    if search.person is not None:
        found = await identity.describe_persons(connection, keys=asked.services.keys, persons=[search.person])
        return [one for one in found if one.person.id == search.person], False
    narrow = bool(search.numbers or search.mothers[0] or search.names[0] or search.phones[0])
    if not narrow and any(birth and birth.end - birth.start > _BIRTHS_MOST for birth in search.births):
        raise records.SearchTooWideError(say["fhir_births"], place=_BIRTH)
    number_sets = list(product(*search.numbers))
    choices = list(product(search.names, search.mothers, search.phones, search.sexes, search.births))
    if len(choices) * max(1, sum(len(numbers) or 1 for numbers in number_sets)) > _ASKED_MOST:
        raise ParameterRefusedError(say["fhir_alternatives"])
    wanted = sorted({one.issuer for one in search.domains if one.issuer}) + (
        [None] if any(one.issuer is None for one in search.domains) else []
    )
    fitting: dict[int, Candidate] = {}
    more = False
    for name, mother, phone, sex, birth in choices:
        for numbers in number_sets:
            held: list[dict[int, Candidate]] = []
            for number in numbers or (None,):
                candidates = await identity.search_demographics(
                    connection,
                    keys=asked.services.keys,
                    name=name.get("name"),
                    family=name.get("family"),
                    given=name.get("given"),
                    mother_name=mother,
                    phone=phone,
                    sex=sex,
                    birth_date=birth,
                    identifier=number,
                    wanted_issuers=wanted or None,
                    limit=_FOUND_MOST,
                )
                more = more or len(candidates) == _FOUND_MOST
                held.append({one.person.id: one for one in candidates})
            everywhere = set[int](held[0]).intersection(*held[1:])
            fitting |= {person: held[0][person] for person in everywhere}
    found = [fitting[person] for person in sorted(fitting)]
    if search.domains:
        domains = {(one.kind, one.issuer) for one in search.domains}
        found = [one for one in found if numbers_of(one, domains=domains)]
    return found[:_FOUND_MOST], more or len(found) > _FOUND_MOST


# Answers


def _answer(
    asked: Asked,
    principal: Principal,
    now: datetime,
    parameters: Sequence[tuple[str, str]],
    page: _Page,
    shown: Sequence[Shown],
    *,
    more: bool,
    first: bool,
) -> Response:
    root = base(asked.request)
    left = page.persons[page.count :] if page.count else []
    links = [{"relation": "self", "url": f"{root}/Patient?{urlencode(parameters)}"}]
    if left:
        token = _sealed(asked, _Page(persons=left, domains=page.domains, count=page.count), principal, now)
        kept = [(name, value) for name, value in parameters if name in SHOWING]
        links.append({"relation": "next", "url": f"{root}/Patient?{urlencode([*kept, (PAGE, token)])}"})
    entries: list[dict[str, Any]] = [
        {
            "fullUrl": f"{root}/Patient/{one.patient['id']}",
            "resource": dict(one.patient),
            "search": {"mode": "match"},
        }
        for one in shown
    ]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if first and not left and not more and page.count:
        bundle["total"] = len(entries)
    if more:
        told = fhir.Issue(
            severity=fhir.Severity.WARNING, code="too-costly", expression="", text=say["fhir_more_found"]
        )
        resource = fhir.outcome([told], language=accepted_language(asked.request))
        entries.append({"resource": resource, "search": {"mode": "outcome"}})
    if entries:
        bundle["entry"] = entries
    return resource_response(asked.request, fhir.dumps(bundle))


def _unknown_domain(asked: Asked) -> Response:
    text = say["pix_target"]
    issue = {
        "severity": "warning",
        "code": "not-found",
        "details": {"text": text.in_(accepted_language(asked.request))},
        "diagnostics": text.en,
        "expression": [_IDENTIFIER],
    }
    body = fhir.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    return resource_response(asked.request, body, status=404)


def _sealed(asked: Asked, page: _Page, principal: Principal, now: datetime) -> str:
    """Return the name of a further page: who is left, unreadable, and good for a while and for one caller."""
    text = orjson.dumps(
        {
            "persons": list(page.persons),
            "domains": None if page.domains is None else sorted(page.domains, key=str),
            "count": page.count,
            "for": principal.id,
            "until": int((now + _PAGES_GOOD_FOR).timestamp()),
        }
    ).decode()
    keys = asked.services.keys
    (sealed,) = seal_many(keys, [text], nonce=asked.services.random(NONCE_BYTES))
    (digest,) = digest_many(keys.lookup_key, [_PREFIX + text])
    return MARK + base64.urlsafe_b64encode(digest + sealed).decode().rstrip("=")


def _opened(asked: Asked, token: str, principal: Principal, now: datetime) -> _Page:
    """Return what a page's name says.

    Raises:
        SearchOverError: it is not one of ours, somebody else's, or over.
    """
    text = token.removeprefix(MARK)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        (opened,) = open_checked(
            asked.services.keys, [raw[DIGEST_BYTES:]], [raw[:DIGEST_BYTES]], prefix=_PREFIX
        )
    except (binascii.Error, ValueError, SealBrokenError):
        raise records.SearchOverError(say["fhir_page_over"]) from None
    told = orjson.loads(opened)
    if told["for"] != principal.id or now.timestamp() >= told["until"]:
        raise records.SearchOverError(say["fhir_page_over"])
    domains = told["domains"]
    return _Page(
        persons=told["persons"],
        domains=None if domains is None else frozenset((IdentifierKind(k), i) for k, i in domains),
        count=told["count"],
    )
