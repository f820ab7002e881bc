"""The header of a document: Patient, Encounter and DocumentReference."""

from __future__ import annotations

import base64
import re
from typing import Any

from kangshu.mapping.cda.errors import say
from kangshu.mapping.cda.making import Workbench
from kangshu.mapping.cda.model import Meaning
from kangshu.mapping.errors import MappingError
from kangshu.standards import cda

_ROLE = "ClinicalDocument/recordTarget/patientRole"
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_LINES = (
    "streetAddressLine",
    "township",
    "village",
    "streetName",
    "houseNumber",
    "houseNumberNumeric",
    "additionalLocator",
)
_VERSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.version"
_RELATIONS = {"RPLC": "replaces", "APND": "appends", "XFRM": "transforms"}
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_PLACEHOLDER = "${"


def add_patient(bench: Workbench) -> str:
    """Add the Patient and return the key by which the sender knows the person.

    Raises:
        MappingError: no number tells who it is.
    """
    patient = bench.document.patient
    _refuse_placeholders(bench.document)
    identifiers = _person_identifiers(bench)
    key = _person_key(bench, identifiers)
    bench.patient = bench.id_of("Patient", key)
    resource: dict[str, Any] = {}
    if identifiers:
        resource["identifier"] = identifiers
    if names := [_name(one) for one in patient.names]:
        resource["name"] = names
    if telecom := [found for one in patient.telecoms if (found := _telecom(one))]:
        resource["telecom"] = telecom
    resource |= _sex(bench)
    if birth := cda.fhir_date(patient.birth_time):
        resource["birthDate"] = birth
    elif patient.birth_time:
        bench.note(f"{_ROLE}/patient/birthTime", "not_a_time")
    if died := bench.coder.time(patient.deceased_time):
        resource["deceasedDateTime"] = died
    elif patient.deceased is not None:
        resource["deceasedBoolean"] = patient.deceased
    if addresses := [found for one in patient.addresses if (found := _address(one))]:
        resource["address"] = addresses
    if marital := bench.coder.concept(patient.marital_status):
        resource["maritalStatus"] = marital
    if languages := [code for code in patient.languages if _LANGUAGE.fullmatch(code)]:
        resource["communication"] = [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": code}]}} for code in languages
        ]
    bench.put("Patient", bench.patient, resource)
    return f"{bench.sender}|{key}"


def _refuse_placeholders(document: cda.Document) -> None:
    """Refuse what a template engine left behind: it would make one person of all such documents."""
    patient = document.patient
    places = (
        ("ClinicalDocument/id/@extension", (document.identifier,)),
        (f"{_ROLE}/id/@extension", patient.ids),
        (f"{_ROLE}/patient/id/@extension", patient.person_ids),
    )
    for place, ids in places:
        if any(_PLACEHOLDER in (one.extension or "") for one in ids):
            raise MappingError(say("placeholder"), place=place)


def _person_identifiers(bench: Workbench) -> list[dict[str, Any]]:
    """Return the numbers that tell who it is, the institution's own first: it is the sender's key."""
    own: list[dict[str, Any]] = []
    everywhere: list[dict[str, Any]] = []
    patient = bench.document.patient
    for holder, ids in (("id", patient.ids), ("patient/id", patient.person_ids)):
        for one in ids:
            number = bench.coder.number(one)
            meaning = number.meaning if number else None
            if meaning is None and holder == "id" and bench.document.realm == "CN":
                # A root that nobody declared may name a domain, or a card of a family: not a person.
                bench.note(f"{_ROLE}/id", "unknown_number")
                continue
            if meaning not in (None, Meaning.PERSON, Meaning.PATIENT):
                continue
            found = bench.coder.person_identifier(one, everywhere=meaning is not Meaning.PATIENT)
            target = own if meaning is not Meaning.PERSON else everywhere
            if found and found not in own and found not in everywhere:
                target.append(found)
    return own + everywhere


def _person_key(bench: Workbench, identifiers: list[dict[str, Any]]) -> str:
    if identifiers:
        return f"patient|{identifiers[0]['system']}|{identifiers[0]['value']}"
    visit = visit_number(bench, quiet=True)
    if visit is None:
        raise MappingError(say("no_person"), place=f"{_ROLE}/id")
    # A visit's number tells of one person as well, though not of the same one's next visit.
    return f"patient-of-visit|{visit[0].key}"


def _name(name: cda.Name) -> dict[str, Any]:
    found: dict[str, Any] = {}
    uses = {"L": "official", "C": "official", "P": "nickname", "A": "anonymous", "BR": "maiden"}
    if use := uses.get((name.use or "").split(" ")[0]):
        found["use"] = use
    found["text"] = name.full
    if not _HAN.search(name.full):
        if name.family:
            found["family"] = name.family
        if name.given:
            found["given"] = list(name.given)
        if name.prefix:
            found["prefix"] = list(name.prefix)
        if name.suffix:
            found["suffix"] = list(name.suffix)
    return found


def _sex(bench: Workbench) -> dict[str, str]:
    code = bench.document.patient.sex
    if code is None or not code.code:
        return {}
    sexes = bench.declarations.sexes
    found = sexes.get((code.system or "", code.code))
    if found is None and not code.system:
        found = next((meaning for (_, known), meaning in sexes.items() if known == code.code), None)
    if found is None:
        bench.note(f"{_ROLE}/patient/administrativeGenderCode", "unknown_sex")
    return {"gender": found} if found else {}


def _telecom(telecom: cda.Telecom) -> dict[str, str] | None:
    scheme, colon, rest = telecom.value.partition(":")
    systems = {"tel": "phone", "fax": "fax", "mailto": "email", "http": "url", "https": "url"}
    system = systems.get(scheme.lower()) if colon else "phone"
    value = rest if colon and system in ("phone", "fax", "email") else telecom.value
    if not system or not value.strip():
        return None
    found = {"system": system, "value": value.strip()}
    uses = {"H": "home", "HP": "home", "HV": "home", "WP": "work", "MC": "mobile"}
    if use := uses.get((telecom.use or "").split(" ")[0]):
        found["use"] = use
    return found


def _address(address: cda.Address) -> dict[str, Any] | None:
    if address.text:
        return {"text": address.text}
    parts: dict[str, list[str]] = {}
    for name, text in address.parts:
        parts.setdefault(name, []).append(text)
    found: dict[str, Any] = {}
    uses = {"H": "home", "HP": "home", "HV": "home", "WP": "work", "TMP": "temp"}
    if use := uses.get((address.use or "").split(" ")[0]):
        found["use"] = use
    for name, key in (
        ("state", "state"),
        ("city", "city"),
        ("county", "district"),
        ("postalCode", "postalCode"),
        ("country", "country"),
    ):
        if name in parts:
            found[key] = parts[name][0]
    lines = [text for name in _LINES for text in parts.get(name, [])]
    if lines:
        found["line"] = lines
    ordered = [text for name in ("state", "city", "county", *_LINES) for text in parts.get(name, [])]
    if ordered and _HAN.search("".join(ordered)):
        found["text"] = "".join(ordered)
    return found or None


def visit_number(bench: Workbench, *, quiet: bool = False) -> tuple[cda.Identifier, str | None] | None:
    """Return the number of the visit and the class of visit that it tells, or None where nothing tells it."""
    document = bench.document
    numbers = [
        (one, number)
        for one in (*(document.visit.ids if document.visit else ()), *document.patient.ids)
        if (number := bench.coder.number(one)) and number.meaning is Meaning.VISIT and one.extension
    ]
    if len({number.visit for _, number in numbers}) > 1:
        wanted = visit_class(bench)
        fitting = [(one, number) for one, number in numbers if _same_visit(number.visit, wanted)]
        if not fitting or wanted is None:
            if not quiet:
                bench.note(f"{_ROLE}/id", "which_visit")
            return None
        numbers = fitting
    if numbers:
        return numbers[0][0], numbers[0][1].visit
    others = document.visit.ids if document.visit else ()
    undeclared = [one for one in others if one.extension and bench.coder.number(one) is None]
    if undeclared and document.realm == "CN":
        # It may count somebody's visits ("3"): everybody's third visit would become one.
        if not quiet:
            bench.note("ClinicalDocument/componentOf/encompassingEncounter/id", "unknown_number")
        return None
    return (undeclared[0], None) if undeclared else None


def _same_visit(one: str | None, other: str | None) -> bool:
    outpatient = ("AMB", "EMER")
    return one is None or one == other or (one in outpatient and other in outpatient)


def visit_class(bench: Workbench) -> str | None:
    """Return the class of the visit (`AMB`, `EMER`, `IMP`) that patient type, visit or document tell."""
    document, known = bench.document, bench.declarations.visit_classes
    for code in (document.patient.type, document.visit.code if document.visit else None):
        for one in (code, *code.translations) if code else ():
            if found := known.get((one.system or "", one.code or "")):
                return found
    return bench.document_class.visit if bench.document_class else None


def add_encounter(bench: Workbench) -> None:
    """Add the Encounter where the document numbers the visit; else each document would make its own."""
    found = visit_number(bench)
    if found is None:
        return
    number, tells = found
    document = bench.document
    visit = document.visit
    declared = bench.coder.number(number)
    if declared:
        identifier = bench.coder.identifier(number, range="visit")
        key = number.extension or ""
    else:
        identifier, key = bench.coder.identifier(number), number.key
    kind = visit_class(bench) or tells
    period = bench.coder.period(_visit_time(bench))
    over = bool(period and "end" in period) or bool(bench.document_class and bench.document_class.ends)
    resource: dict[str, Any] = {
        "identifier": [identifier],
        "status": "finished" if over else "unknown",
        "class": {"system": _ACT_CODE, "code": kind}
        if kind
        else {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"},
        "subject": bench.subject,
    }
    location = visit.location if visit else None
    if department := bench.coder.department(location):
        resource["serviceType"] = {"text": department}
    if period:
        resource["period"] = period
    if visit and (discharge := bench.coder.concept(visit.discharge)):
        resource["hospitalization"] = {"dischargeDisposition": discharge}
    place = (visit.facility if visit else None) or _place(location)
    if place:
        resource["location"] = [{"location": {"display": place}}]
    if provider := bench.coder.organization(document.custodian):
        resource["serviceProvider"] = provider
    bench.encounter = bench.id_of("Encounter", f"encounter|{key}")
    bench.put("Encounter", bench.encounter, resource)


def _visit_time(bench: Workbench) -> cda.Period | None:
    """Return the visit's time; some classes put another time there (of a discussion) and title it so."""
    visit = bench.document.visit
    if visit is None:
        return None
    title = visit.code.display if visit.code and not visit.code.code else None
    words = bench.declarations.settings.visit_time_words
    if title and words and not any(word in title for word in words):
        return None
    return visit.time


def _place(location: cda.Organization | None) -> str | None:
    names = [one.name for one in location.chain() if one.name] if location else []
    return " / ".join(reversed(names)) or None


def add_document(bench: Workbench) -> None:
    """Add the DocumentReference: what the document is, and where it is kept as sent."""
    document = bench.document
    title = document.title or (bench.document_class.title.zh if bench.document_class else "")
    attachment: dict[str, Any] = {
        "contentType": "text/xml",
        "url": f"Binary/{bench.reference}",
        "size": document.size,
        "hash": base64.b64encode(document.sha1).decode("ascii"),
    }
    if document.language and _LANGUAGE.fullmatch(document.language):
        attachment["language"] = document.language
    if title:
        attachment["title"] = title
    if created := bench.coder.time(document.time):
        attachment["creation"] = created
    elif document.time:
        bench.note("ClinicalDocument/effectiveTime", "not_a_time")
    resource: dict[str, Any] = {
        **_version(document),
        **_names(bench),
        "status": "entered-in-error" if is_withdrawn(document) else "current",
        "docStatus": "entered-in-error" if is_withdrawn(document) else _doc_status(document),
        "type": _type(bench, title),
        "subject": bench.subject,
        **_dates(bench),
        **_people(bench),
        **_relations(bench),
        **({"description": title} if title else {}),
        **_confidentiality(bench),
        "content": [{"attachment": attachment}],
        "context": _context(bench),
    }
    bench.put("DocumentReference", bench.reference, resource)


def is_withdrawn(document: cda.Document) -> bool:
    """Return whether the document takes its set back: senders number that version -1."""
    return document.version is not None and document.version < 0


def _version(document: cda.Document) -> dict[str, Any]:
    if document.version is None:
        return {}
    return {"extension": [{"url": _VERSION, "valueString": str(document.version)}]}


def _names(bench: Workbench) -> dict[str, Any]:
    document = bench.document
    found: dict[str, Any] = {}
    # A number that is unique with this sender only, under whatever root, is so named.
    if identifier := bench.coder.identifier(document.identifier):
        found["masterIdentifier"] = identifier
    if document.set_id:
        number = bench.coder.identifier(document.set_id, range="" if document.set_id.root else "document-set")
        if number:
            found["identifier"] = [number]
    return found


def _doc_status(document: cda.Document) -> str:
    return "amended" if any(one.type == "RPLC" for one in document.related) else "final"


def _type(bench: Workbench, title: str) -> dict[str, Any]:
    found = bench.coder.concept(bench.document.type) or {}
    declared = bench.document_class
    for coding in found.get("coding", ()):
        if declared and coding["code"] == declared.code:
            coding.setdefault("display", declared.title.zh)
    text = bench.document.type.title if bench.document.type.display else title
    return {**found, "text": text or title or bench.document.code}


def _dates(bench: Workbench) -> dict[str, str]:
    date = bench.coder.instant(bench.document.time)
    return {"date": date} if date else {}


def _people(bench: Workbench) -> dict[str, Any]:
    document = bench.document
    found: dict[str, Any] = {}
    if authors := [one for author in document.authors if (one := bench.coder.party(author))]:
        found["author"] = authors
    if signer := next((one for party in document.signers if (one := bench.coder.party(party))), None):
        found["authenticator"] = signer
    if custodian := bench.coder.organization(document.custodian):
        found["custodian"] = custodian
    return found


def _relations(bench: Workbench) -> dict[str, Any]:
    """Return what the document does to earlier ones; a set without a document's number is only named."""
    found: list[dict[str, Any]] = []
    for one in bench.document.related:
        code = _RELATIONS.get(one.type)
        if code is None:
            continue
        targets = [
            {"reference": f"DocumentReference/{bench.id_of('DocumentReference', f'document|{number.key}')}"}
            for number in one.ids
            if number.key != bench.document.id
        ]
        if not targets and not one.ids and one.set_id and (name := bench.coder.identifier(one.set_id)):
            targets = [{"identifier": name}]
        found.extend({"code": code, "target": target} for target in targets)
    return {"relatesTo": found} if found else {}


def _confidentiality(bench: Workbench) -> dict[str, Any]:
    label = bench.coder.concept(bench.document.confidentiality)
    return {"securityLabel": [label]} if label and "coding" in label else {}


def _context(bench: Workbench) -> dict[str, Any]:
    document = bench.document
    found: dict[str, Any] = {}
    if bench.encounter:
        found["encounter"] = [{"reference": f"Encounter/{bench.encounter}"}]
    period = next((one for time in document.services if (one := bench.coder.period(time))), None)
    if period := period or bench.coder.period(_visit_time(bench)):
        found["period"] = period
    if department := bench.coder.department(document.visit.location if document.visit else None):
        found["practiceSetting"] = {"text": department}
    orders = [
        one
        for one in document.patient.ids
        if (number := bench.coder.number(one)) and number.meaning in (Meaning.ORDER, Meaning.REPORT)
    ]
    related = [
        {"identifier": name} for one in (*orders, *document.orders) if (name := bench.coder.identifier(one))
    ]
    if related:
        found["related"] = related
    found["sourcePatientInfo"] = bench.subject
    return found
