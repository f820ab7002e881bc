"""Entries that are measured or seen: Observations, their groups, laboratory items, reports."""

from __future__ import annotations

from typing import Any

from kangshu.mapping.cda.making import CATEGORY, Workbench, coded_value, part, text_value, title_of
from kangshu.mapping.cda.matching import Found, Matcher
from kangshu.mapping.cda.model import Meaning, Report, Rule
from kangshu.standards import cda

_STATUS = {
    "completed": "final",
    "active": "preliminary",
    "held": "registered",
    "suspended": "registered",
    "aborted": "cancelled",
    "cancelled": "cancelled",
    "nullified": "entered-in-error",
}
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_SERVICE = "http://terminology.hl7.org/CodeSystem/v2-0074"
_ELEMENTS = "urn:oid:2.16.156.10011.2.2.1"  # 卫生信息数据元目录


def add_observation(bench: Workbench, rule: Rule, found: Found) -> str | None:
    """Add the Observation of one entry with a value; None where the value is not safe."""
    entry = found.entry
    value = _value(bench, rule, entry)
    if value is None:
        return None
    code = _code(bench, rule, entry)
    if code is None:
        bench.note(entry.place, "nothing_coded")
        return None
    resource: dict[str, Any] = {
        "status": _status(entry),
        **_category(rule.category),
        "code": code,
        **bench.about(),
        **_when(bench, found),
        **_performers(bench, entry),
        **value,
        **_interpretation(bench, entry),
        **_extras(bench, entry),
        **_ranges(bench, entry),
        "derivedFrom": bench.derived(),
    }
    return bench.add("Observation", entry, resource)


def add_components(bench: Workbench, rule: Rule, found: Found, matcher: Matcher) -> str | None:
    """Add one Observation of several values that belong together: systolic and diastolic pressure."""
    entry = found.entry
    components: list[dict[str, Any]] = []
    for name in rule.members:
        member = matcher.named(name)
        one = part(entry.children, member.codes)
        value = _value(bench, member, one) if one else None
        code = _code(bench, member, one) if one else None
        if value and code:
            components.append({"code": code, **value})
    if not components:
        return None
    members = [one for one in entry.children if one.time]
    time = entry.time or (members[0].time if members else None)
    resource: dict[str, Any] = {
        "status": _status(entry),
        **_category(rule.category),
        "code": {"coding": [dict(rule.coding or {})]},
        **bench.about(),
        **_when(bench, found, time),
        "component": components,
        "derivedFrom": bench.derived(),
    }
    return bench.add("Observation", entry, resource)


def add_laboratory(bench: Workbench, rule: Rule, found: Found, *, items: int) -> str | None:
    """Add the Observation of a laboratory item whose number, unit and judgement stand beside it.

    What belongs together is in one group. Without a group it is clear only where the section has one item;
    `items` is how many it has.
    """
    entry = found.entry
    group = _group(found, items)
    numbers = [one for one in group if one.code and one.code.code in rule.parts.get("quantity", ())]
    results = [one for one in group if one.code and one.code.code in rule.parts.get("result", ())]
    if len(numbers) > 1 or len(results) > 1 or not (numbers or results):
        if numbers or results or not group:
            bench.note(entry.place, "unsafe_group")
        return None
    item = _item(bench, entry)
    if item is None:
        bench.note(entry.place, "nothing_coded")
        return None
    value = _laboratory_value(bench, rule, group, numbers, results)
    if value is None:
        return None
    judged = coded_value(results[0]) if results and numbers else None
    interpretation = bench.coder.concept(judged)
    measured = numbers[0] if numbers else entry
    resource: dict[str, Any] = {
        "status": _status(measured),
        **_category(rule.category),
        "code": item,
        **bench.about(),
        **_when(bench, found, entry.time or measured.time),
        **_performers(bench, entry),
        **value,
        **({"interpretation": [interpretation]} if interpretation else _interpretation(bench, measured)),
        **_examined(bench, rule, (*entry.children, *group)),
        **_ranges(bench, measured),
        "derivedFrom": bench.derived(),
    }
    return bench.add("Observation", entry, resource)


def _group(found: Found, items: int) -> tuple[cda.Entry, ...]:
    parent = found.parent
    if parent is not None and parent.kind == "organizer":
        return tuple(one for one in parent.walk() if one is not parent and one is not found.entry)
    below = tuple(one for one in found.entry.walk() if one is not found.entry)
    if items == 1:
        return (*below, *(inner for one in found.siblings if one is not found.entry for inner in one.walk()))
    return below


def _laboratory_value(
    bench: Workbench,
    rule: Rule,
    group: tuple[cda.Entry, ...],
    numbers: list[cda.Entry],
    results: list[cda.Entry],
) -> dict[str, Any] | None:
    if not numbers:
        concept = bench.coder.concept(coded_value(results[0]), text=text_value(results[0]))
        return {"valueCodeableConcept": concept} if concept else None
    number = numbers[0]
    value = number.value
    if not isinstance(value, cda.Quantity):
        text = text_value(number)
        return {"valueString": text} if text else None
    if value.value is None:
        return {"valueString": value.text} if value.text else None
    unit = text_value(part((*number.children, *group), rule.parts.get("unit")))
    quantity = bench.coder.quantity(value, unit=unit)
    if quantity is None:
        bench.note(number.place, "unsafe_unit")
        return None
    return {"valueQuantity": quantity}


def _item(bench: Workbench, entry: cda.Entry) -> dict[str, Any] | None:
    """Return what was examined: the item is the value of the entry, as a code or as a text."""
    code = coded_value(entry)
    return bench.coder.concept(code, text=None if code and code.title else text_value(entry))


def _examined(bench: Workbench, rule: Rule, entries: tuple[cda.Entry, ...]) -> dict[str, Any]:
    """Return the specimen and the method of an item; the specimen is a resource of its own."""
    found: dict[str, Any] = {}
    specimen = part(entries, rule.parts.get("specimen"))
    if specimen and (reference := _add_specimen(bench, specimen)):
        found["specimen"] = {"reference": reference}
    if method := text_value(part(entries, rule.parts.get("method"))):
        found["method"] = {"text": method}
    return found


def _add_specimen(bench: Workbench, entry: cda.Entry) -> str | None:
    """Add the Specimen of a 标本类别; the bounds of its time are when it was taken and when it arrived."""
    kind = bench.coder.concept(coded_value(entry), text=text_value(entry))
    if kind is None:
        return None
    if entry.place in bench.specimens:  # several items of one group have one specimen
        return bench.specimens[entry.place]
    taken = bench.coder.time(entry.time.start) if entry.time else None
    arrived = bench.coder.time(entry.time.high) if entry.time else None
    resource: dict[str, Any] = {
        "type": kind,
        "subject": bench.subject,
        **({"receivedTime": arrived} if arrived else {}),
        **({"collection": {"collectedDateTime": taken}} if taken else {}),
    }
    return bench.specimens.setdefault(entry.place, bench.add("Specimen", entry, resource))


def add_panel(bench: Workbench, found: Found, results: list[str]) -> str | None:
    """Add the DiagnosticReport of a group whose members, already added, are `results`."""
    entry = found.entry
    code = bench.coder.concept(entry.code)
    if code is None or not results:
        return None
    numeric = any(isinstance(one.value, cda.Quantity | cda.QuantityRange) for one in entry.children)
    times = [one.time for one in (entry, *entry.children) if one.time]
    resource: dict[str, Any] = {
        "status": _status(entry),
        # Pictures are reported in the same way; a number tells the laboratory.
        **({"category": [_service("LAB", "检验")]} if numeric else {}),
        "code": code,
        **bench.about(),
        **bench.coder.dated("effective", times[0] if times else None),
        **_issued(bench),
        "result": [{"reference": one} for one in results],
    }
    return bench.add("DiagnosticReport", entry, resource)


def add_report(bench: Workbench, report: Report, entries: list[cda.Entry], *, items: frozenset[str]) -> None:
    """Add the DiagnosticReport that a document as a whole is, out of all of its `entries`.

    `items` are the data elements that name what was examined; the report is effective when these were.
    """
    document = bench.document
    declared = bench.document_class
    code = bench.coder.concept(document.type) or {}
    for coding in code.get("coding", ()):
        if declared:
            coding.setdefault("display", declared.title.zh)
    kind = text_value(part(entries, frozenset(report.kind)))
    conclusion = _told(entries, report.conclusion, report.conclusion_words)
    if findings := _told(entries, report.findings, report.findings_words):
        bench.results.append(_add_findings(bench, findings))
    anchor = cda.Entry(kind="act", place="ClinicalDocument")
    times = [one.time for one in entries if one.time and one.code and one.code.code in items]
    numbers = [
        bench.coder.identifier(one, range="report")
        for one in document.patient.ids
        if (number := bench.coder.number(one)) and number.meaning is Meaning.REPORT
    ]
    orders = [
        {"identifier": name}
        for one in document.patient.ids
        if (number := bench.coder.number(one))
        and number.meaning is Meaning.ORDER
        and (name := bench.coder.identifier(one, range="order"))
    ]
    status = "amended" if any(one.type == "RPLC" for one in document.related) else "final"
    resource: dict[str, Any] = {
        **({"identifier": numbers} if numbers else {}),
        **({"basedOn": orders} if orders else {}),
        "status": status,
        "category": [_service(report.category, report.category_title)],
        "code": {
            **code,
            "text": kind or document.title or (declared.title.zh if declared else document.code),
        },
        **bench.about(),
        **bench.coder.dated("effective", times[0] if times else None),
        **_issued(bench),
        **_reporters(bench, report, entries),
        **({"specimen": [{"reference": one} for one in bench.specimens.values()]} if bench.specimens else {}),
        **({"result": [{"reference": one} for one in bench.results]} if bench.results else {}),
        **({"conclusion": conclusion} if conclusion else {}),
    }
    bench.add("DiagnosticReport", anchor, resource)


def _told(entries: list[cda.Entry], codes: tuple[str, ...], words: tuple[str, ...]) -> str | None:
    """Return the texts of the data elements `codes`; where `words` are given, of those that are so titled."""
    texts: list[str] = []
    for one in entries:
        fits = (
            one.code
            and one.code.code in codes
            and (not words or any(word in title_of(one) for word in words))
        )
        if fits and (text := text_value(one)) and text not in texts:
            texts.append(text)
    return "\n".join(texts) or None


def _add_findings(bench: Workbench, findings: str) -> str:
    anchor = cda.Entry(kind="observation", place="ClinicalDocument/findings")
    resource: dict[str, Any] = {
        "status": "final",
        "code": {
            "coding": [
                {"system": "http://loinc.org", "code": "59776-5", "display": "Procedure findings Narrative"},
                {"system": _ELEMENTS, "code": "DE04.50.131.00", "display": "检查报告结果-客观所见"},
            ],
            "text": "检查所见",
        },
        **bench.about(),
        **_issued(bench),
        "valueString": findings,
        "derivedFrom": bench.derived(),
    }
    return bench.add("Observation", anchor, resource)


def _reporters(bench: Workbench, report: Report, entries: list[cda.Entry]) -> dict[str, Any]:
    document = bench.document
    performers: list[dict[str, Any]] = []
    for codes in (report.institution, report.department):
        if text := text_value(part(entries, frozenset(codes))):
            performers.append({"display": text})
    if not performers and (custodian := bench.coder.organization(document.custodian)):
        performers.append(custodian)
    people = [one for party in document.authors if (one := bench.coder.party(party))]
    found: dict[str, Any] = {"performer": [*people, *performers]} if performers or people else {}
    signers = [one for party in document.signers if (one := bench.coder.party(party))]
    return found | ({"resultsInterpreter": signers[:1]} if signers else {})


def _service(code: str, title: str) -> dict[str, Any]:
    return {"coding": [{"system": _SERVICE, "code": code}], "text": title}


def _value(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any] | None:
    """Return `value[x]` as the rule allows it; None, with a note, where it does not."""
    value = entry.value
    if rule.units:
        return _measured(bench, rule, entry)
    if isinstance(value, cda.Code):
        if value.null_flavor and not value.code and not value.translations:
            return _absent(value.null_flavor)
        concept = bench.concept(rule, value, place=entry.place)
        return {"valueCodeableConcept": concept} if concept else None
    if isinstance(value, cda.Quantity):
        return _unbound(bench, entry, value)
    if isinstance(value, cda.QuantityRange):
        return _range(bench, value)
    if isinstance(value, cda.Plain):
        return {"valueString": value.text}
    if isinstance(value, cda.Flag):
        return {"valueBoolean": value.value}
    if isinstance(value, cda.Period):
        return bench.coder.dated("value", value) or None
    return _absent("UNK") if value is None and rule.templates else None


def _measured(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any] | None:
    value = entry.value
    if not isinstance(value, cda.Quantity) or value.value is None:
        return None
    # The data element's own name fixes the unit ("体温(℃)"); another one must be one of those allowed.
    unit = value.unit or rule.units[0]
    quantity = bench.coder.quantity(value, unit=unit)
    if quantity is None or quantity.get("code") not in rule.units:
        bench.note(entry.place, "unsafe_unit")
        return None
    return {"valueQuantity": quantity}


def _unbound(bench: Workbench, entry: cda.Entry, value: cda.Quantity) -> dict[str, Any] | None:
    if value.value is not None and value.unit in (None, "1"):
        # A pure number (a ratio, pH, a count); UCUM writes its unit as 1.
        return {"valueQuantity": {"value": value.value, "system": "http://unitsofmeasure.org", "code": "1"}}
    quantity = bench.coder.quantity(value)
    if quantity is None:
        bench.note(entry.place, "unsafe_unit")
    return {"valueQuantity": quantity} if quantity else None


def _range(bench: Workbench, value: cda.QuantityRange) -> dict[str, Any] | None:
    low = bench.coder.quantity(value.low) if value.low else None
    high = bench.coder.quantity(value.high) if value.high else None
    if low and high:
        return {"valueRange": {"low": low, "high": high}}
    if low and value.low:
        return {"valueQuantity": {**low, "comparator": ">=" if value.low_closed else ">"}}
    if high:
        return {"valueQuantity": {**high, "comparator": "<=" if value.high_closed else "<"}}
    return None


def _absent(null_flavor: str) -> dict[str, Any]:
    reasons = {
        "MSK": "masked",
        "NASK": "not-asked",
        "ASKU": "asked-unknown",
        "NA": "not-applicable",
        "NAV": "temp-unknown",
    }
    return {
        "dataAbsentReason": {"coding": [{"system": _ABSENT, "code": reasons.get(null_flavor, "unknown")}]}
    }


def _code(bench: Workbench, rule: Rule, entry: cda.Entry) -> dict[str, Any] | None:
    code = bench.coder.concept(entry.code)
    if rule.coding is None:
        return code
    codings = [dict(rule.coding), *(code or {}).get("coding", ())]
    text = (code or {}).get("text") or rule.coding.get("display")
    return {"coding": codings, **({"text": text} if text else {})}


def _status(entry: cda.Entry) -> str:
    return _STATUS.get(entry.status or "completed", "final")


def _category(code: str | None) -> dict[str, Any]:
    return {"category": [{"coding": [{"system": CATEGORY, "code": code}]}]} if code else {}


def _when(bench: Workbench, found: Found, time: cda.Period | None = None) -> dict[str, Any]:
    """Return when it was seen: the entry's time, else of those around it, else of what is documented."""
    times = [
        time,
        found.entry.time,
        *(one.time for one in reversed(found.around)),
        *bench.document.services[:1],
    ]
    told = (bench.coder.dated("effective", one) for one in times)
    return {**next((one for one in told if one), {}), **_issued(bench)}


def _issued(bench: Workbench) -> dict[str, str]:
    issued = bench.coder.instant(bench.document.time)
    return {"issued": issued} if issued else {}


def _performers(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    people = [
        one for party in entry.parties if party.role == "performer" and (one := bench.coder.party(party))
    ]
    return {"performer": people} if people else {}


def _interpretation(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    found = [one for code in entry.interpretations if (one := bench.coder.concept(code))]
    return {"interpretation": found} if found else {}


def _extras(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if entry.sites and (site := bench.coder.concept(entry.sites[0])):
        found["bodySite"] = site
    if method := bench.coder.concept(entry.method):
        found["method"] = method
    return found


def _ranges(bench: Workbench, entry: cda.Entry) -> dict[str, Any]:
    ranges: list[dict[str, Any]] = []
    for one in entry.references:
        found: dict[str, Any] = {}
        if isinstance(one.value, cda.QuantityRange):
            for name, bound in (("low", one.value.low), ("high", one.value.high)):
                if bound and (quantity := bench.coder.quantity(bound)):
                    found[name] = quantity
        text = one.text or (one.value.text if isinstance(one.value, cda.Plain) else None)
        if text:
            found["text"] = text
        if found:
            ranges.append(found)
    return {"referenceRange": ranges} if ranges else {}
