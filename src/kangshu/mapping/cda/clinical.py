"""Entries that say what somebody has, takes, had done: conditions, allergies, drugs, procedures, visits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kangshu.mapping.cda.coding import before
from kangshu.mapping.cda.making import Workbench, coded_value, part, text_value, title_of
from kangshu.mapping.cda.matching import Found
from kangshu.mapping.cda.model import Rule
from kangshu.standards import cda

_TERMS = "http://terminology.hl7.org/CodeSystem/"
_LOINC = "http://loinc.org"
_SNOMED = "2.16.840.1.113883.6.96"

# Templates and codes of C-CDA that tell a state; the standard's, not a centre's choice.
_PROBLEM_STATUS = {"55561003": "active", "73425007": "inactive", "413322009": "resolved"}
_CONCERN = frozenset({"2.16.840.1.113883.10.20.22.4.3", "2.16.840.1.113883.10.20.22.4.30"})
_REACTION = "2.16.840.1.113883.10.20.22.4.9"
_SEVERITY = "2.16.840.1.113883.10.20.22.4.8"
_CRITICALITY = "2.16.840.1.113883.10.20.22.4.145"
_SEVERITIES = {
    "255604002": "mild",
    "6736007": "moderate",
    "24484000": "severe",
    "371923003": "moderate",
    "371924009": "severe",
}
_CRITICALITIES = {"CRITL": "low", "CRITH": "high", "CRITU": "unable-to-assess"}
_ALLERGY_KINDS = {
    "416098002": ("allergy", "medication"),
    "414285001": ("allergy", "food"),
    "419511003": (None, "medication"),
    "418471000": (None, "food"),
    "59037007": ("intolerance", "medication"),
    "235719002": ("intolerance", "food"),
    "232347008": ("allergy", "environment"),
    "419199007": ("allergy", None),
}
_NOTHING_IN_PARTICULAR = frozenset({"55607006", "64572001", "404684003", "282291009", "409586006"})
_DISCHARGE_CODES = {"46241-6", "11535-2", "10219-4", "10218-6"}
_ROLE_TITLES = {"46241-6": "入院诊断", "11535-2": "出院诊断", "10219-4": "术前诊断", "10218-6": "术后诊断"}
_MEDICATION = {
    "completed": "completed",
    "active": "active",
    "aborted": "stopped",
    "cancelled": "entered-in-error",
    "suspended": "on-hold",
    "held": "on-hold",
    "nullified": "entered-in-error",
    "new": "intended",
}
_REQUEST = {**_MEDICATION, "aborted": "stopped", "cancelled": "cancelled", "new": "draft"}
_PROCEDURE = {
    "completed": "completed",
    "active": "in-progress",
    "aborted": "stopped",
    "cancelled": "not-done",
    "nullified": "entered-in-error",
}
_ACT_CLASSES = {"AMB", "EMER", "IMP", "FLD", "HH", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR"}
_PERIODS = {"s", "min", "h", "d", "wk", "mo", "a"}


def add_condition(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the Condition of a coded diagnosis."""
    entry = found.entry
    value = coded_value(entry)
    if entry.negated and value and value.code in _NOTHING_IN_PARTICULAR:
        return None  # "no known problems" is nothing that somebody has
    name = text_value(_name_beside(rule, found))
    code = bench.concept(rule, value, place=entry.place, text=name or (value.display if value else None))
    if code is None or value is None or (value.null_flavor and "coding" not in code):
        return None
    resource: dict[str, Any] = {
        **_clinical_status(bench, found),
        **_verification(rule, entry),
        "category": _categories(rule, found),
        "code": code,
        **bench.about(),
        **_onset(bench, rule, entry),
        **_recorded(bench, entry, own_time=not rule.templates),
        **_asserter(bench, entry),
        "evidence": [{"detail": bench.derived()}],
    }
    return bench.add("Condition", entry, resource)


def _name_beside(rule: Rule, found: Found) -> cda.Entry | None:
    """Return the entry that names the diagnosis in words: below it, or with it in the same group."""
    codes = rule.parts.get("name")
    if inside := part(found.entry.children, codes):
        return inside
    if found.parent is None or found.parent.kind != "organizer":
        return None
    coded = [
        one
        for one in found.siblings
        if one.code and found.entry.code and one.code.code == found.entry.code.code
    ]
    return part(found.siblings, codes) if len(coded) == 1 else None


def _categories(rule: Rule, found: Found) -> list[dict[str, Any]]:
    section = (found.section.code.code if found.section.code else None) or ""
    concern = found.parent is not None and not _CONCERN.isdisjoint(found.parent.templates)
    code = rule.category or ("problem-list-item" if concern else "encounter-diagnosis")
    categories: list[dict[str, Any]] = [{"coding": [{"system": f"{_TERMS}condition-category", "code": code}]}]
    if section in _DISCHARGE_CODES:
        coding = {"system": _LOINC, "code": section}
        categories.append({"coding": [coding], "text": _ROLE_TITLES[section]})
    title = title_of(found.entry)
    told = {one.get("text") for one in categories}
    categories += [{"text": role} for role in rule.roles if role in title and role not in told]
    return categories


def _clinical_status(bench: Workbench, found: Found) -> dict[str, Any]:
    entry, parent = found.entry, found.parent
    if not entry.templates or (parent and parent.status == "nullified"):
        return {}
    told = next(
        (_PROBLEM_STATUS.get(value.code or "") for one in entry.children if (value := coded_value(one))), None
    )
    if told is None and entry.time and entry.time.high:
        told = "resolved"
    if told is None and parent is not None and not _CONCERN.isdisjoint(parent.templates):
        told = {"active": "active", "completed": "resolved", "suspended": "inactive"}.get(parent.status or "")
    if told is None:
        told = "active" if parent is not None and not _CONCERN.isdisjoint(parent.templates) else None
    return _status("clinicalStatus", "condition-clinical", told)


def _verification(rule: Rule, entry: cda.Entry) -> dict[str, Any]:
    told = "refuted" if entry.negated else None
    if entry.status == "nullified":
        told = "entered-in-error"
    if told is None and any(word in title_of(entry) for word in rule.provisional):
        told = "provisional"
    return _status("verificationStatus", "condition-ver-status", told)


def _status(name: str, system: str, code: str | None) -> dict[str, Any]:
    return {name: {"coding": [{"system": f"{_TERMS}{system}", "code": code}]}} if code else {}


def _onset(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any]:
    """Return onset and abatement; the time of a Chinese diagnosis is when it was made, not when it began."""
    if not rule.templates or entry.time is None:
        return {}
    found: dict[str, Any] = {}
    if start := bench.coder.time(entry.time.start):
        found["onsetDateTime"] = start
    end = bench.coder.time(entry.time.high)
    if end and not (start and before(end, start)):
        found["abatementDateTime"] = end
    return found


def _recorded(bench: Workbench, entry: cda.Entry, *, own_time: bool) -> dict[str, str]:
    times = [party.time.start for party in entry.parties if party.role == "author" and party.time]
    if own_time and entry.time:
        times.insert(0, entry.time.start)
    found = next((time for one in times if (time := bench.coder.time(one))), None) or bench.written
    return {"recordedDate": found} if found else {}


def _asserter(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    people = [
        one
        for party in entry.parties
        if party.role in ("performer", "author") and (one := bench.coder.party(party))
    ]
    return {"asserter": people[0]} if people else {}


def add_allergy_flag(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the AllergyIntolerance of a flag that is set and the text that says to what."""
    entry = found.entry
    if not isinstance(entry.value, cda.Flag) or not entry.value.value:
        return None
    codes = rule.parts.get("description")
    told = part(entry.children, codes) or part(found.siblings, codes)
    value = coded_value(told)
    text = text_value(told) or next((one.thing_name for one in entry.parties if one.thing_name), None)
    code = bench.coder.concept(value, text=text)
    if code is None:
        bench.note(entry.place, "nothing_coded")
        return None
    resource: dict[str, Any] = {
        **_status("clinicalStatus", "allergyintolerance-clinical", "active"),
        "code": code,
        **bench.about("patient"),
        **_recorded(bench, entry, own_time=False),
    }
    return bench.add("AllergyIntolerance", entry, resource)


def add_allergy(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the AllergyIntolerance of a C-CDA allergy observation."""
    entry, parent = found.entry, found.parent
    kind = coded_value(entry)
    agent = next((one for one in entry.parties if one.type == "CSM"), None)
    code = bench.coder.concept(agent.thing, text=agent.thing_name) if agent else None
    if code is not None and "coding" not in code and "text" not in code:
        code = None
    if code is None and not entry.negated:
        bench.note(entry.place, "nothing_coded")
        return None
    nullified = "nullified" in (entry.status, parent.status if parent else None)
    refuted = "refuted" if entry.negated and code is not None else None
    if code is None:  # nothing in particular is denied: no known allergy
        code = {
            "coding": [
                {"system": "http://snomed.info/sct", "code": "716186003", "display": "No known allergy"}
            ]
        }
    status = _allergy_status(entry, parent)
    allergy_type, category = _ALLERGY_KINDS.get(kind.code or "", (None, None)) if kind else (None, None)
    resource: dict[str, Any] = {
        **({} if nullified else _status("clinicalStatus", "allergyintolerance-clinical", status)),
        **_status(
            "verificationStatus",
            "allergyintolerance-verification",
            "entered-in-error" if nullified else refuted,
        ),
        **({"type": allergy_type} if allergy_type else {}),
        **({"category": [category]} if category else {}),
        **_criticality(entry),
        "code": code,
        **bench.about("patient"),
        **({"onsetDateTime": onset} if entry.time and (onset := bench.coder.time(entry.time.start)) else {}),
        **_recorded(bench, entry, own_time=False),
        **_reactions(bench, entry),
    }
    return bench.add("AllergyIntolerance", entry, resource)


def _allergy_status(entry: cda.Entry, parent: cda.Entry | None) -> str:
    for one in entry.children:
        value = coded_value(one)
        if value and (told := _PROBLEM_STATUS.get(value.code or "")):
            return told
    if entry.time and entry.time.high:
        return "resolved"
    return {"completed": "resolved", "suspended": "inactive", "aborted": "inactive"}.get(
        (parent.status if parent else None) or "", "active"
    )


def _criticality(entry: cda.Entry) -> dict[str, str]:
    for one in entry.children:
        if _CRITICALITY in one.templates and (value := coded_value(one)):
            told = _CRITICALITIES.get(value.code or "")
            return {"criticality": told} if told else {}
    return {}


def _reactions(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    reactions: list[dict[str, Any]] = []
    for one in entry.children:
        if _REACTION not in one.templates:
            continue
        manifestation = bench.coder.concept(coded_value(one))
        if manifestation is None:
            continue
        found: dict[str, Any] = {"manifestation": [manifestation]}
        for inner in one.children:
            value = coded_value(inner)
            if _SEVERITY in inner.templates and value and (told := _SEVERITIES.get(value.code or "")):
                found["severity"] = told
        reactions.append(found)
    return {"reaction": reactions} if reactions else {}


def add_medication_request(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the MedicationRequest of a drug that was prescribed."""
    entry = found.entry
    drug = _drug(bench, entry)
    if drug is None or entry.negated:
        return None
    status = _REQUEST.get(entry.status or "") or rule.status or "unknown"
    resource: dict[str, Any] = {
        "status": status if status != "intended" else "draft",
        "intent": "order" if not rule.templates else "plan",
        "medicationCodeableConcept": drug,
        **bench.about(),
        "supportingInformation": bench.derived(),
        **({"authoredOn": time} if (time := _authored(bench, entry)) else {}),
        **_requester(bench, entry),
        **_dosage("dosageInstruction", bench, rule, entry),
        **_supply(bench, rule, entry),
    }
    return bench.add("MedicationRequest", entry, resource)


def add_medication_statement(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the MedicationStatement of a drug that is or was taken."""
    entry = found.entry
    drug = _drug(bench, entry)
    if drug is None:
        return None
    status = (
        "not-taken" if entry.negated else (_MEDICATION.get(entry.status or "") or rule.status or "unknown")
    )
    resource: dict[str, Any] = {
        "status": status,
        "medicationCodeableConcept": drug,
        "subject": bench.subject,
        **({"context": {"reference": f"Encounter/{bench.encounter}"}} if bench.encounter else {}),
        **bench.coder.dated("effective", entry.time),
        **({"dateAsserted": time} if (time := _authored(bench, entry)) else {}),
        "derivedFrom": bench.derived(),
        **_dosage("dosage", bench, rule, entry),
    }
    return bench.add("MedicationStatement", entry, resource)


def _drug(bench: Workbench, entry: cda.Entry) -> dict[str, Any] | None:
    product = entry.product
    if product is None:
        return None
    found = bench.coder.concept(product.code, text=product.name)
    if found is None and not (entry.negated or (product.code and product.code.null_flavor)):
        bench.note(entry.place, "nothing_coded")
    return found


def _authored(bench: Workbench, entry: cda.Entry) -> str | None:
    times = (party.time.start for party in entry.parties if party.role == "author" and party.time)
    return next((time for one in times if (time := bench.coder.time(one))), None) or bench.written


def _requester(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    authors = [party for party in entry.parties if party.role == "author"] or list(bench.document.authors[:1])
    found = next((one for party in authors if (one := bench.coder.party(party))), None)
    return {"requester": found} if found else {}


def _dosage(name: str, bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    usage = text_value(part(entry.children, rule.parts.get("usage")))
    if text := usage or (entry.text if rule.templates else None):
        found["text"] = text
    if timing := _timing(bench, rule, entry):
        found["timing"] = timing
    if route := bench.coder.concept(entry.route):
        found["route"] = route
    if rule.templates and entry.sites and (site := bench.coder.concept(entry.sites[0])):
        found["site"] = site
    dose = _dose(bench, rule, entry)
    rate = (
        bench.coder.quantity(entry.rate) if isinstance(entry.rate, cda.Quantity) and rule.templates else None
    )
    if dose or rate:
        found["doseAndRate"] = [{**(dose or {}), **({"rateQuantity": rate} if rate else {})}]
    return {name: [found]} if found else {}


def _dose(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any] | None:
    dose = entry.dose
    unit = text_value(part(entry.children, rule.parts.get("dose_unit")))
    if isinstance(dose, cda.QuantityRange):
        low = bench.coder.quantity(dose.low, unit=unit) if dose.low else None
        high = bench.coder.quantity(dose.high, unit=unit) if dose.high else None
        found = {name: bound for name, bound in (("low", low), ("high", high)) if bound}
        return {"doseRange": found} if found else None
    if dose is None or dose.value is None:
        return None
    said = None if dose.unit == "1" else dose.unit
    if (
        not (said or unit) and rule.templates
    ):  # C-CDA counts in what the drug's code says: two puffs, one tablet
        return {"doseQuantity": {"value": dose.value}}
    quantity = bench.coder.quantity(cda.Quantity(value=dose.value, unit=said), unit=unit)
    if quantity is None:
        bench.note(entry.place, "unsafe_unit")
    return {"doseQuantity": quantity} if quantity else None


def _timing(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any] | None:
    told = part(entry.children, rule.parts.get("frequency"))
    concept = bench.coder.concept(coded_value(told), text=text_value(told))
    if concept:
        return {"code": concept}
    for time in entry.times:
        every = time.every
        if every and every.value and every.unit in _PERIODS and every.value > Decimal(0):
            return {"repeat": {"frequency": 1, "period": every.value, "periodUnit": every.unit}}
    return None


def _supply(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any]:
    total = part(entry.children, rule.parts.get("total"))
    value = total.value if total else None
    quantity = bench.coder.quantity(value) if isinstance(value, cda.Quantity) and value.unit != "1" else None
    return {"dispenseRequest": {"quantity": quantity}} if quantity else {}


def add_ordered_drug(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the MedicationRequest of an order (医嘱) that says of itself that it is for a drug."""
    entry = found.entry
    kind = part(found.siblings, rule.parts.get("kind")) or part(entry.children, rule.parts.get("kind"))
    code = coded_value(kind)
    title = (code.title if code else None) or ""
    is_drug = any(word in title for word in rule.part_words) or (
        code is not None and not code.display and code.code in rule.part_codes
    )
    text = text_value(entry)
    if not is_drug or not text:
        return None
    state = text_value(part(entry.children, rule.parts.get("state"))) or ""
    status = next((name for name, words in rule.words.items() if any(word in state for word in words)), None)
    remark = text_value(part(entry.children, rule.parts.get("remark")))
    start = bench.coder.time(entry.time.start) if entry.time else None
    authored = _authored(bench, entry) or start
    bounds = bench.coder.period(entry.time)
    dosage: dict[str, Any] = {"text": text}
    if bounds:
        dosage["timing"] = {"repeat": {"boundsPeriod": bounds}}
    resource: dict[str, Any] = {
        "status": status or rule.status or "unknown",
        "intent": "order",
        "medicationCodeableConcept": {"text": text},
        **bench.about(),
        "supportingInformation": bench.derived(),
        **({"authoredOn": authored} if authored else {}),
        **_requester(bench, entry),
        **({"note": [{"text": remark}]} if remark else {}),
        "dosageInstruction": [dosage],
    }
    return bench.add("MedicationRequest", entry, resource)


def add_immunization(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the Immunization of a vaccine that was given, or was not."""
    entry = found.entry
    vaccine = _drug(bench, entry)
    product = entry.product
    if vaccine is None or product is None:
        return None
    when = bench.coder.time(entry.time.start) if entry.time else None
    resource: dict[str, Any] = {
        "status": "not-done"
        if entry.negated
        else ("entered-in-error" if entry.status == "nullified" else "completed"),
        "vaccineCode": vaccine,
        **bench.about("patient"),
        **({"occurrenceDateTime": when} if when else {"occurrenceString": "unknown"}),
        **({"manufacturer": {"display": product.manufacturer}} if product.manufacturer else {}),
        **({"lotNumber": product.lot} if product.lot else {}),
        **({"route": route} if (route := bench.coder.concept(entry.route)) else {}),
        **_vaccine_dose(bench, entry),
        **_vaccinators(bench, entry),
    }
    if entry.sites and (site := bench.coder.concept(entry.sites[0])):
        resource["site"] = site
    if entry.negated and (reason := _reason(bench, entry)):
        resource["statusReason"] = reason
    return bench.add("Immunization", entry, resource)


def _vaccine_dose(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    quantity = bench.coder.quantity(entry.dose) if isinstance(entry.dose, cda.Quantity) else None
    return {"doseQuantity": quantity} if quantity else {}


def _vaccinators(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    people = [
        one for party in entry.parties if party.role == "performer" and (one := bench.coder.party(party))
    ]
    return {"performer": [{"actor": one} for one in people]} if people else {}


def _reason(bench: Workbench, entry: cda.Entry) -> dict[str, Any] | None:
    reasons = (one for one in entry.children if one.link == "RSON")
    return next((found for one in reasons if (found := bench.coder.concept(one.code))), None)


def add_procedure(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the Procedure of a coded operation or another act that was done."""
    entry = found.entry
    name = text_value(part(entry.children, rule.parts.get("name")))
    display = entry.code.display if entry.code else None
    code = bench.concept(rule, entry.code, place=entry.place, text=name or display)
    if code is None or (
        entry.code and entry.code.null_flavor and "coding" not in code and "text" not in code
    ):
        return None
    resource: dict[str, Any] = {
        "status": "not-done" if entry.negated else _PROCEDURE.get(entry.status or "completed", "unknown"),
        "code": code,
        **bench.about(),
        **bench.coder.dated("performed", entry.time),
        **_doers(bench, entry),
        "report": bench.derived(),
    }
    if sites := [one for site in entry.sites if (one := bench.coder.concept(site))]:
        resource["bodySite"] = sites
    return bench.add("Procedure", entry, resource)


def _doers(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    people: list[dict[str, Any]] = []
    for party in entry.parties:
        if party.role not in ("performer", "participant") or not party.name:
            continue
        if actor := bench.coder.party(party):
            role = bench.coder.concept(party.code)
            people.append({**({"function": role} if role else {}), "actor": actor})
    return {"performer": people} if people else {}


def add_visit(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the Encounter of a visit that is listed in a document."""
    entry = found.entry
    period = bench.coder.period(entry.time)
    kind = bench.coder.concept(entry.code)
    if period is None and kind is None:
        return None
    classes = (
        [one.code for one in (entry.code, *entry.code.translations) if one.code in _ACT_CLASSES]
        if entry.code
        else []
    )
    numbers = [name for one in entry.ids if one.extension and (name := bench.coder.identifier(one))]
    places = [party.thing_name for party in entry.parties if party.type == "LOC" and party.thing_name]
    resource: dict[str, Any] = {
        **({"identifier": numbers} if numbers else {}),
        "status": {"aborted": "cancelled", "cancelled": "cancelled", "active": "in-progress"}.get(
            entry.status or "completed", "finished"
        ),
        "class": {"system": f"{_TERMS}v3-ActCode", "code": classes[0]}
        if classes
        else {"system": f"{_TERMS}v3-NullFlavor", "code": "UNK"},
        **({"type": [kind]} if kind else {}),
        "subject": bench.subject,
        **({"period": period} if period else {}),
        **({"location": [{"location": {"display": place}} for place in places]} if places else {}),
    }
    return bench.add("Encounter", entry, resource)
