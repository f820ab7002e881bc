"""Read FHIR: a resource or a Bundle becomes drafts and the acts that are asked for.

What comes as a file or names its own ids (collections, documents, single resources in files) keeps its
identity: the id here follows from the sender and the sender's own id, so that sending it again is a new
version. What a FHIR client creates gets an id of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from kangshu.app.errors import say
from kangshu.app.messages.model import Criterion, Identifiers, Interaction, Prepared
from kangshu.app.messages.tools import Tools
from kangshu.intake.messages import digest_of
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.mapping import (
    Draft,
    IdentifierKind,
    Mapped,
    Merge,
    Subject,
    SubjectIdentifier,
    named_subject_of,
    patient_of,
    subject_of,
)
from kangshu.records import FhirRequest
from kangshu.standards import fhir

_ID = re.compile(r"^[A-Za-z0-9\-.]{1,64}$")
_INSTITUTION = re.compile(r"[0-9A-Z]{22}|[0-9A-Z]{18}", re.ASCII)  # WS 218, or a credit code
_RELATIVE = re.compile(r"^([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[^/]+)?$")
_ENTRIES_MOST = 20_000  # a whole life in one Bundle has a few thousand
_NOT_KEPT = frozenset({"Parameters", "OperationOutcome"})  # parts of requests and answers
_FORMS_A_QUERY = re.compile(rb"\?|\\u003[fF]|&#")
_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_APPLICATION_MOST = 200
_LOCAL_ADDRESSES = ("urn:uuid:", "urn:oid:")
_ATTACHING = frozenset({"Communication", "Consent", "DiagnosticReport", "DocumentReference", "Media"})
"""Types whose attachments may lead to another entry of their Bundle."""


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
    if request is not None:
        _name_request(prepared, request)
        if request.method == "delete":
            _read_deletion(prepared, request)
            return
    resource = request.resource if request is not None else None
    if resource is None:
        content_type = request.content_type if request else None
        resource = fhir.read(prepared.arrival.body, content_type=content_type)
    kind = str(resource.get("resourceType", ""))
    prepared.type = kind if kind in fhir.RESOURCE_TYPES else ""  # it goes into lists and logs
    issues = fhir.validate(resource)
    if any(one.is_error for one in issues):
        raise FhirRefusedError(issues)
    if request is not None and request.method != "bundle":
        _read_one(prepared, tools, resource, request)
    elif kind == "Bundle":
        _Bundle(prepared, tools, resource).read()
    elif request is not None:
        raise FhirRefusedError([_issue("fhir_bundle_type", "resourceType", code="invalid")], status=400)
    else:
        _read_kept(prepared, tools, resource)


def _name_request(prepared: Prepared, request: FhirRequest) -> None:
    """Let a request be known again by its client's name for it and by everything that it asks."""
    prepared.control_id = request.request_id
    prepared.repeatable = request.request_id is None
    prepared.application = prepared.arrival.received_by[:_APPLICATION_MOST]
    if request.request_id is not None:
        asked = (request.method, request.type, request.id, request.if_match, request.if_none_exist)
        prepared.digest = digest_of(repr(asked).encode() + b"\n" + prepared.arrival.body)


def _read_deletion(prepared: Prepared, request: FhirRequest) -> None:
    assert request.type, "the door took it from the address"
    assert request.id, "the door took it from the address"
    prepared.type = request.type
    prepared.interactions = (
        Interaction(method="delete", type=request.type, id=request.id, draft=None, if_match=request.if_match),
    )
    prepared.mapped = Mapped(drafts=())


def _read_one(prepared: Prepared, tools: Tools, resource: dict[str, Any], request: FhirRequest) -> None:
    """A single resource at a FHIR door: create or update."""
    kind = resource["resourceType"]
    if request.type != kind:
        raise FhirRefusedError([_issue("fhir_type_differs", "resourceType", code="invalid")], status=400)
    if request.base and request.base.encode() in prepared.arrival.body:
        _rewrite(resource, {}, prepared, tools, keep=False)
    if request.method == "update":
        if resource.get("id") != request.id:
            raise FhirRefusedError([_issue("fhir_id_differs", f"{kind}.id", code="invalid")], status=400)
        identity = request.id or ""
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
        if request is not None and self._type != "transaction":
            raise FhirRefusedError([_issue("fhir_bundle_type", "Bundle.type", code="invalid")], status=400)
        prepared.type = f"Bundle/{self._type}"
        if request is None:
            prepared.control_id = self._identifier
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
            acts.append(replace(act, draft=len(drafts)))
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
        method, url = str(request.get("method", "")), self._here(str(request.get("url", "")))
        if method == "POST" and resource is not None:
            return self._creation(number, resource, request, url)
        match = _RELATIVE.match(url)
        if match and not match[3] and match[1] in fhir.RESOURCE_TYPES and method in ("PUT", "DELETE"):
            if method == "PUT":
                self._check_put(place, resource, match[1], match[2])
            return Interaction(
                method="update" if method == "PUT" else "delete",
                type=match[1],
                id=match[2],
                draft=None,
                if_match=_version(request.get("ifMatch")),
                upsert=method == "PUT",
            )
        raise FhirRefusedError([_issue("fhir_method", f"{place}.request", code="not-supported")])

    def _creation(
        self, number: int, resource: dict[str, Any], request: Mapping[str, Any], url: str
    ) -> Interaction:
        kind, place = resource["resourceType"], f"Bundle.entry[{number}]"
        if url.partition("?")[0] != kind:
            raise FhirRefusedError([_issue("fhir_type_differs", f"{place}.request.url", code="invalid")])
        if kind in _NOT_KEPT:
            raise FhirRefusedError([_issue("fhir_not_kept", f"{place}.resource", code="not-supported")])
        return Interaction(
            method="create",
            type=kind,
            id=_new_id(self._tools, self._prepared, kind, str(number)),
            draft=None,
            if_none_exist=_criteria(request.get("ifNoneExist"), place=f"{place}.request.ifNoneExist"),
        )

    def _check_put(self, place: str, resource: dict[str, Any] | None, kind: str, identity: str) -> None:
        if resource is None or resource["resourceType"] != kind:
            raise FhirRefusedError([_issue("fhir_type_differs", f"{place}.resource", code="invalid")])
        if resource.setdefault("id", identity) != identity:
            raise FhirRefusedError([_issue("fhir_id_differs", f"{place}.resource.id", code="invalid")])
        if kind in _NOT_KEPT:
            raise FhirRefusedError([_issue("fhir_not_kept", f"{place}.resource", code="not-supported")])

    def _here(self, url: str) -> str:
        """Return an address of this door without the door's own."""
        request = self._prepared.request
        own = request.base if request is not None else None
        return (url.removeprefix(f"{own}/") if own else url).lstrip("/")

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
    merges: list[Merge] = []
    subjects: dict[str, Subject] = {}
    named: dict[int, Subject] = {}
    conditional: dict[str, Criterion] = {}
    may_ask = _FORMS_A_QUERY.search(prepared.arrival.body) is not None
    for number, (resource, identity) in enumerate(resources):
        resource["id"] = identity
        kind = resource["resourceType"]
        if may_ask:
            conditional |= _conditions(resource)
        patient = patient_of(resource)
        if kind == "Patient":
            subjects[identity] = _whole_subject(prepared, resource, tools)
            merges += _merges(prepared, resource, tools)
        elif patient is None and (
            told := named_subject_of(
                _with_numbers(resource, conditional), sender=prepared.sender, authorities=tools.authorities
            )
        ):
            named[number] = told
        drafts.append(Draft(type=kind, id=identity, resource=resource, patient=patient))
    prepared.mapped = Mapped(drafts=_with_attachments(drafts), merges=tuple(merges))
    prepared.subjects, prepared.named = subjects, named
    prepared.interactions, prepared.conditional = tuple(acts), conditional


def _merges(prepared: Prepared, resource: Mapping[str, Any], tools: Tools) -> list[Merge]:
    """Return the merges that a Patient tells of: a link `replaced-by` with another number (IHE ITI-104).

    Only numbers of one range are merged, and none that another institution assigns: those are that one's
    to merge.
    """
    sender = prepared.sender
    links = [one for one in resource.get("link", ()) if one.get("type") == "replaced-by"]
    told = [one["other"]["identifier"] for one in links if "identifier" in one.get("other", {})]
    if not told:
        return []
    survivors = subject_of({"identifier": told}, sender=sender, authorities=tools.authorities).identifiers
    absorbed = subject_of(resource, sender=sender, authorities=tools.authorities).identifiers
    return [
        Merge(
            survivor=Subject(institution=sender, identifiers=(kept,)),
            absorbed=Subject(institution=sender, identifiers=(gone,)),
        )
        for kept in survivors
        for gone in absorbed
        if gone != kept and _is_own_range(gone, kept, sender=sender, tools=tools)
    ]


def _is_own_range(one: SubjectIdentifier, other: SubjectIdentifier, *, sender: str, tools: Tools) -> bool:
    if one.kind is not IdentifierKind.LOCAL_NUMBER or (one.kind, one.issuer) != (other.kind, other.issuer):
        return False
    issuer = one.issuer or sender
    bound = tools.authorities.assigned_by.get(issuer)
    if bound is not None:
        return sender in bound
    return issuer == sender or not _INSTITUTION.fullmatch(issuer)


def _conditions(resource: Mapping[str, Any]) -> dict[str, Criterion]:
    """Return the references that say what to look for, read."""
    return {
        literal: _condition(literal)
        for holder, key in fhir.references(resource)
        if isinstance(literal := holder[key], str) and "?" in literal and not _has_scheme(literal)
    }


def _with_numbers(resource: dict[str, Any], conditional: Mapping[str, Criterion]) -> dict[str, Any]:
    """Return the resource as if it named by number whomever it says to look for."""
    if not conditional:
        return resource
    told = dict(resource)
    for name, value in resource.items():
        literal = value.get("reference") if isinstance(value, dict) else None
        if isinstance(literal, str) and literal in conditional:
            system, number = conditional[literal][1][0]
            told[name] = {"identifier": {"system": system, "value": number} if system else {"value": number}}
    return told


def _with_attachments(drafts: Sequence[Draft]) -> tuple[Draft, ...]:
    """Let what a document attaches be about whom the document is about."""
    if not any(draft.type == "Binary" for draft in drafts):
        return tuple(drafts)
    patients = {
        part["attachment"].get("url"): draft.patient
        for draft in drafts
        if draft.type == "DocumentReference"
        for part in draft.resource.get("content", ())
    }
    return tuple(
        replace(draft, patient=patients.get(f"Binary/{draft.id}")) if draft.type == "Binary" else draft
        for draft in drafts
    )


def _whole_subject(prepared: Prepared, resource: Mapping[str, Any], tools: Tools) -> Subject:
    """A Patient is known by its own id too, where its id is the sender's or nothing else is told of it.

    So what refers to it can come before it.
    """
    subject = subject_of(resource, sender=prepared.sender, authorities=tools.authorities)
    if subject.identifiers and prepared.request is not None:
        return subject
    own = stranger(resource["id"], sender=prepared.sender)
    return replace(subject, identifiers=(*subject.identifiers, *own.identifiers))


def stranger(patient: str, *, sender: str) -> Subject:
    """Return a person of whom nothing is known but the id that its Patient has here."""
    own = SubjectIdentifier(
        kind=IdentifierKind.LOCAL_NUMBER, issuer=f"urn:kangshu:fhir:{sender}", value=patient
    )
    return Subject(institution=sender, identifiers=(own,))


def _rewrite(
    resource: dict[str, Any], targets: Mapping[str, str], prepared: Prepared, tools: Tools, *, keep: bool
) -> None:
    """Point references at the resources' places here. With `keep`, the sender's own ids are translated.

    Raises:
        FhirRefusedError: a request's reference leads to an entry that its Bundle does not have.
    """
    request = prepared.request
    own = f"{request.base}/" if request is not None and request.base else None
    for holder, key in fhir.references(resource):
        literal = holder[key]
        if literal in targets:
            holder[key] = targets[literal]
        elif own and literal.startswith(own):
            holder[key] = targets.get(short := literal.removeprefix(own), short)
        elif request is not None and literal.startswith(_LOCAL_ADDRESSES):
            kind = resource["resourceType"]
            raise FhirRefusedError([_issue("fhir_unresolved", f"{kind}: reference", code="not-found")])
        elif keep and (match := _RELATIVE.match(literal)):
            holder[key] = f"{match[1]}/{_kept_id(tools, prepared, match[1], match[2], '')}"
    if targets and resource["resourceType"] in _ATTACHING:
        _rewrite_attachments(resource, targets)


def _rewrite_attachments(value: Any, targets: Mapping[str, str]) -> None:
    if isinstance(value, dict):
        if value.get("url") in targets and "valueUri" not in value:
            value["url"] = targets[value["url"]]
        for one in value.values():
            _rewrite_attachments(one, targets)
    elif isinstance(value, list):
        for one in value:
            _rewrite_attachments(one, targets)


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


def _criteria(text: str | None, *, place: str = "If-None-Exist") -> Identifiers:
    """Read `identifier=system|value`: the only condition that names one resource."""
    if not text:
        return ()
    try:
        pairs = parse_qsl(text.partition("?")[2] or text, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        pairs = []
    if not pairs or any(name != "identifier" or not _is_number(value) for name, value in pairs):
        raise FhirRefusedError([_issue("fhir_condition", place, code="not-supported")], status=400)
    return tuple(_token(value) for _, value in pairs)


def _condition(literal: str) -> Criterion:
    kind, _, query = literal.partition("?")
    try:
        pairs = parse_qsl(query, max_num_fields=20)
    except ValueError:
        pairs = []
    numbers = [value for name, value in pairs if name == "identifier"]
    if kind not in fhir.RESOURCE_TYPES or not numbers or not all(map(_is_number, numbers)):
        raise FhirRefusedError([_issue("fhir_condition", "reference", code="not-supported")])
    return kind, tuple(_token(value) for value in numbers)


def _is_number(value: str) -> bool:
    """Whether a search by it means one number: FHIR takes a comma for `or`."""
    return bool(value.rpartition("|")[2]) and _UNESCAPED_COMMA.search(value) is None


def _token(text: str) -> tuple[str | None, str]:
    system, bar, value = text.partition("|")
    return (system, value) if bar else (None, text)


def _has_scheme(text: str) -> bool:
    return ":" in text.partition("?")[0]


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip().removeprefix("W/").strip('"')
    # What is no version of ours can only be one that is not there.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _issue(key: str, place: str, *, code: str) -> fhir.Issue:
    return fhir.Issue(severity=fhir.Severity.ERROR, code=code, expression=place, text=say[key])
