"""Read FHIR: a resource or a Bundle becomes drafts and the acts that are asked for.

What comes as a file or names its own ids (collections, documents, single resources in files) keeps its
identity: the id here follows from the sender and the sender's own id, so that sending it again is a new
version. What a FHIR client creates gets an id of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from kangshu.app.errors import say
from kangshu.app.messages.model import Interaction, Prepared
from kangshu.app.messages.tools import Tools
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.mapping import (
    Draft,
    IdentifierKind,
    Mapped,
    Subject,
    SubjectIdentifier,
    named_subject_of,
    patient_of,
    subject_of,
)
from kangshu.records import FhirRequest
from kangshu.standards import fhir

_ID = re.compile(r"^[A-Za-z0-9\-.]{1,64}$")
_RELATIVE = re.compile(r"^([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[^/]+)?$")
_ENTRIES_MOST = 20_000  # a whole life in one Bundle has a few thousand


class FhirRefusedError(KangshuError):
    """The request cannot be carried out as it stands; `issues` are for the OperationOutcome."""

    kind = Kind.INCORRECT

    def __init__(self, issues: Sequence[fhir.Issue], *, status: int = 422) -> None:
        first = next((one for one in issues if one.is_error), issues[0])
        super().__init__(first.text, place=first.expression or None)
        self.issues = tuple(issues)
        self.status = status


def read_fhir(prepared: Prepared, tools: Tools) -> None:
    """Fill `prepared` from its arrival's body and, at a FHIR door, from the request.

    Raises:
        FhirRefusedError: structure, references or conditions are wrong.
        FhirError: it is neither JSON nor XML.
    """
    request = prepared.request
    if request is not None and request.method == "delete":
        assert request.type, "the door took it from the address"
        assert request.id, "the door took it from the address"
        prepared.type, prepared.control_id = request.type, request.request_id
        prepared.repeatable = request.request_id is None
        prepared.interactions = (Interaction(method="delete", type=request.type, id=request.id, draft=None),)
        prepared.mapped = Mapped(drafts=())
        return
    content_type = request.content_type if request else None
    resource = fhir.read(prepared.arrival.body, content_type=content_type)
    kind = str(resource.get("resourceType", ""))
    prepared.type = kind[:64]
    issues = fhir.validate(resource)
    if any(one.is_error for one in issues):
        raise FhirRefusedError(issues)
    if kind == "Bundle":
        _Bundle(prepared, tools, resource).read()
    elif request is not None:
        _read_one(prepared, tools, resource, request)
    else:
        _read_kept(prepared, tools, resource)


def _read_one(prepared: Prepared, tools: Tools, resource: dict[str, Any], request: FhirRequest) -> None:
    """A single resource at a FHIR door: create or update."""
    kind = resource["resourceType"]
    if request.type != kind:
        raise FhirRefusedError([_issue("fhir_type_differs", "resourceType", code="invalid")], status=400)
    prepared.control_id = request.request_id
    prepared.repeatable = request.request_id is None
    if request.method == "update":
        if resource.get("id") != request.id:
            raise FhirRefusedError([_issue("fhir_id_differs", f"{kind}.id", code="invalid")], status=400)
        identity = request.id or ""
        resource["id"] = identity
    else:
        identity = _new_id(tools, prepared, kind, "0")
    act = Interaction(
        method=request.method,
        type=kind,
        id=identity,
        draft=0,
        if_match=request.if_match,
        if_none_exist=_criteria(request.if_none_exist),
        upsert=request.method == "update",
    )
    _fill(prepared, tools, [(resource, identity)], [act])


def _read_kept(prepared: Prepared, tools: Tools, resource: dict[str, Any]) -> None:
    """A single resource out of a file: its own id is kept as part of its identity."""
    kind = resource["resourceType"]
    identity = _kept_id(tools, prepared, kind, resource.get("id"), "0")
    _rewrite(resource, {}, prepared, tools, keep=True)
    act = Interaction(method="update", type=kind, id=identity, draft=0, upsert=True)
    _fill(prepared, tools, [(resource, identity)], [act])


class _Bundle:
    """A Bundle being read: first every entry's future place, then references, then drafts."""

    def __init__(self, prepared: Prepared, tools: Tools, bundle: dict[str, Any]) -> None:
        self._prepared, self._tools = prepared, tools
        self._entries: list[dict[str, Any]] = bundle.get("entry", [])
        self._type = str(bundle.get("type", ""))
        self._identifier = bundle.get("identifier", {}).get("value")
        self._targets: dict[str, str] = {}

    @property
    def _keeps(self) -> bool:
        return self._type not in ("transaction", "batch")

    def read(self) -> None:
        prepared, request = self._prepared, self._prepared.request
        if len(self._entries) > _ENTRIES_MOST:
            raise FhirRefusedError([_issue("fhir_too_many", "Bundle.entry", code="too-costly")])
        if request is not None and self._keeps:
            raise FhirRefusedError([_issue("fhir_bundle_type", "Bundle.type", code="invalid")], status=400)
        prepared.type = f"Bundle/{self._type}"
        prepared.control_id = request.request_id if request else self._identifier
        prepared.repeatable = request is not None and request.request_id is None
        found: list[tuple[dict[str, Any] | None, Interaction]] = []
        for number, entry in enumerate(self._entries):
            if (act := self._act(number, entry)) is not None:
                found.append((entry.get("resource"), act))
                self._note_target(entry, act)
        self._refuse_twins(found)
        drafts: list[tuple[dict[str, Any], str]] = []
        acts: list[Interaction] = []
        for resource, act in found:
            if resource is None or act.method == "delete":
                acts.append(act)
                continue
            _rewrite(resource, self._targets, prepared, self._tools, keep=self._keeps)
            acts.append(_at(act, len(drafts)))
            drafts.append((resource, act.id))
        _fill(prepared, self._tools, drafts, acts)

    def _act(self, number: int, entry: dict[str, Any]) -> Interaction | None:
        resource = entry.get("resource")
        place = f"Bundle.entry[{number}]"
        if self._keeps:
            if resource is None:
                return None
            kind = resource["resourceType"]
            identity = _kept_id(self._tools, self._prepared, kind, resource.get("id"), str(number))
            return Interaction(method="update", type=kind, id=identity, draft=None, upsert=True)
        request = entry.get("request", {})
        method, url = str(request.get("method", "")), str(request.get("url", "")).lstrip("/")
        if method == "POST" and resource is not None:
            kind = resource["resourceType"]
            if url.partition("?")[0] != kind:
                raise FhirRefusedError([_issue("fhir_type_differs", f"{place}.request.url", code="invalid")])
            return Interaction(
                method="create",
                type=kind,
                id=_new_id(self._tools, self._prepared, kind, str(number)),
                draft=None,
                if_none_exist=_criteria(request.get("ifNoneExist")),
            )
        match = _RELATIVE.match(url)
        if match and method in ("PUT", "DELETE"):
            if method == "PUT" and (resource is None or resource["resourceType"] != match[1]):
                raise FhirRefusedError([_issue("fhir_type_differs", f"{place}.resource", code="invalid")])
            return Interaction(
                method="update" if method == "PUT" else "delete",
                type=match[1],
                id=match[2],
                draft=None,
                if_match=_version(request.get("ifMatch")),
                upsert=method == "PUT",
            )
        raise FhirRefusedError([_issue("fhir_method", f"{place}.request", code="not-supported")])

    def _note_target(self, entry: dict[str, Any], act: Interaction) -> None:
        target = f"{act.type}/{act.id}"
        resource = entry.get("resource") or {}
        if url := entry.get("fullUrl"):
            self._targets[url] = target
            self._targets["/".join(url.rsplit("/", 2)[-2:])] = target
        if own := resource.get("id"):
            self._targets.setdefault(f"{act.type}/{own}", target)

    def _refuse_twins(self, found: Sequence[tuple[Any, Interaction]]) -> None:
        if self._type != "transaction":
            return
        seen: set[tuple[str, str]] = set()
        for _, act in found:
            if (act.type, act.id) in seen:
                raise FhirRefusedError([_issue("fhir_twice", "Bundle.entry", code="invalid")])
            seen.add((act.type, act.id))


def _fill(
    prepared: Prepared,
    tools: Tools,
    resources: Sequence[tuple[dict[str, Any], str]],
    acts: Sequence[Interaction],
) -> None:
    drafts: list[Draft] = []
    subjects: dict[str, Subject] = {}
    named: dict[int, Subject] = {}
    conditional: dict[str, tuple[str, tuple[tuple[str | None, str], ...]]] = {}
    for number, (resource, identity) in enumerate(resources):
        resource["id"] = identity
        kind = resource["resourceType"]
        patient = patient_of(resource)
        if kind == "Patient":
            subjects[identity] = _whole_subject(resource, prepared.sender, tools)
        elif patient is None and (
            told := named_subject_of(resource, sender=prepared.sender, authorities=tools.authorities)
        ):
            named[number] = told
        for holder, key in fhir.references(resource):
            literal = holder[key]
            if isinstance(literal, str) and "?" in literal:
                conditional[literal] = _condition(literal)
        drafts.append(Draft(type=kind, id=identity, resource=resource, patient=patient))
    prepared.mapped = Mapped(drafts=tuple(drafts))
    prepared.subjects, prepared.named = subjects, named
    prepared.interactions, prepared.conditional = tuple(acts), conditional


def _whole_subject(resource: Mapping[str, Any], sender: str, tools: Tools) -> Subject:
    """A Patient without a number is known by its own id, so that it is somebody all the same."""
    subject = subject_of(resource, sender=sender, authorities=tools.authorities)
    if subject.identifiers:
        return subject
    own = SubjectIdentifier(
        kind=IdentifierKind.LOCAL_NUMBER, issuer=f"urn:kangshu:fhir:{sender}", value=resource["id"]
    )
    return Subject(
        institution=subject.institution,
        identifiers=(own,),
        name=subject.name,
        birth_date=subject.birth_date,
        sex=subject.sex,
        phone=subject.phone,
    )


def _rewrite(
    resource: dict[str, Any], targets: Mapping[str, str], prepared: Prepared, tools: Tools, *, keep: bool
) -> None:
    """Point references at the resources' places here. With `keep`, the sender's own ids are translated."""
    for holder, key in fhir.references(resource):
        literal = holder[key]
        if not isinstance(literal, str):
            continue
        if literal in targets:
            holder[key] = targets[literal]
        elif keep and (match := _RELATIVE.match(literal)):
            holder[key] = f"{match[1]}/{_kept_id(tools, prepared, match[1], match[2], '')}"


def _kept_id(tools: Tools, prepared: Prepared, kind: str, own: str | None, place: str) -> str:
    named = f"fhir|{own}" if own else f"{prepared.digest.hex()}|{place}"
    return tools.make_id(kind, f"{prepared.sender}|{named}")


def _new_id(tools: Tools, prepared: Prepared, kind: str, place: str) -> str:
    """An id for what is created: with a request id (or in a file) the same for the same request."""
    request = prepared.request
    if request is not None and request.request_id is None:
        return tools.make_id(kind, tools.random(16).hex())
    name = f"{request.request_id}|" if request else ""
    return tools.make_id(kind, f"{prepared.sender}|{name}{prepared.digest.hex()}|{place}")


def _criteria(text: str | None) -> tuple[tuple[str | None, str], ...]:
    """Read `identifier=system|value`: the only condition that names one resource."""
    if not text:
        return ()
    pairs = parse_qsl(text.partition("?")[2] or text, keep_blank_values=True)
    if not pairs or any(name != "identifier" or not value for name, value in pairs):
        raise FhirRefusedError([_issue("fhir_condition", "If-None-Exist", code="not-supported")], status=412)
    return tuple(_token(value) for _, value in pairs)


def _condition(literal: str) -> tuple[str, tuple[tuple[str | None, str], ...]]:
    kind, _, query = literal.partition("?")
    pairs = [(name, value) for name, value in parse_qsl(query) if name == "identifier" and value]
    if kind not in fhir.RESOURCE_TYPES or not pairs:
        raise FhirRefusedError([_issue("fhir_condition", "reference", code="not-supported")])
    return kind, tuple(_token(value) for _, value in pairs)


def _token(text: str) -> tuple[str | None, str]:
    system, bar, value = text.partition("|")
    return (system, value) if bar else (None, text)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip().removeprefix("W/").strip('"')
    # What is no version of ours can only be one that is not there.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _at(act: Interaction, draft: int) -> Interaction:
    return Interaction(
        method=act.method,
        type=act.type,
        id=act.id,
        draft=draft,
        if_match=act.if_match,
        if_none_exist=act.if_none_exist,
        upsert=act.upsert,
    )


def _issue(key: str, place: str, *, code: str) -> fhir.Issue:
    return fhir.Issue(severity=fhir.Severity.ERROR, code=code, expression=place, text=say[key])
