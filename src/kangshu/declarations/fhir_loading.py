"""Read what the pack says of FHIR: `fhir.toml`, and the `[[fhir]]` blocks of a data set.

    [[fhir]]
    type = "Observation"                         # the anchor: each Observation is a row
    when = ["category[].coding[].code not in imaging vital-signs"]
    withdrawn = ["status in entered-in-error cancelled"]
    constants = ["status = final"]

    [fhir.fields]
    item_name = "code.text"
    flag = "interpretation[].coding[system=$interpretation].code | codes lab_flag"
    value_text = ["valueString | absent value_number", "? valueCodeableConcept.text"]

    [[fhir]]
    type = "DiagnosticReport"
    refers = "result[]"                          # the report refers to the Observation

A term is `[?|!] path { | clause }`: `?` is only read, `!` only written; a clause is a codec with its
argument, or `given` or `absent` with another field on which the writing depends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from kangshu.declarations.errors import DeclarationError, say
from kangshu.declarations.fhir import (
    FhirCodes,
    FhirCondition,
    FhirConstant,
    FhirField,
    FhirResource,
    FhirSettings,
    FhirTerm,
    FhirTest,
)
from kangshu.declarations.model import CodeTable, Field, FieldType
from kangshu.declarations.paths import FhirPath, PathError, fill_system, parse_path
from kangshu.declarations.tables import Source, Table, read_source

_T = TypeVar("_T")

PATIENT_PATHS: Mapping[str, str | None] = {
    **dict.fromkeys(
        (
            *("CarePlan", "ChargeItem", "Communication", "Composition", "Condition", "DeviceRequest"),
            *("DiagnosticReport", "DocumentReference", "Encounter", "Flag", "ImagingStudy", "List"),
            *("MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement"),
            *("Observation", "Procedure", "QuestionnaireResponse", "RiskAssessment", "ServiceRequest"),
            *("Specimen", "Account"),
        ),
        "subject",
    ),
    **dict.fromkeys(
        (
            *("AllergyIntolerance", "Claim", "Device", "EpisodeOfCare", "ExplanationOfBenefit"),
            *("FamilyMemberHistory", "Immunization", "NutritionOrder", "RelatedPerson", "SupplyDelivery"),
        ),
        "patient",
    ),
    "Coverage": "beneficiary",
    "Patient": None,
    **dict.fromkeys(("Organization", "Practitioner", "PractitionerRole", "Location", "Medication"), None),
}
"""Types that a data set may be, and the element that names the patient; None where there is none."""

PATIENT = "patient"
"""The parent of a resource that is linked with the Patient whom the row is about."""

CODECS: Mapping[str, tuple[bool, bool, bool]] = {
    # name: takes an argument, may be read, may be written
    "codes": (True, True, True),  # a code map of fhir.toml
    "text": (False, True, True),  # a number or day that the element holds as text
    "title": (False, False, True),  # the title of the code in the field's own table
    "money": (True, True, True),  # a Money in this currency
    "number": (False, True, False),  # a Quantity's value, where no comparator qualifies it
    "compared": (False, True, False),  # a Quantity with comparator, as text: `<0.5`
    "constant": (True, True, True),  # this value, wherever there is any
    "position": (False, True, False),  # the place among the references of `refers`, from 1
    "ordinal": (False, True, False),  # the place among the message's resources of the type, from 1
    "address": (False, True, False),  # an Address in one line
    "person": (False, True, False),  # a HumanName in one piece
}
_TYPES_OF_CODEC = {
    "codes": {FieldType.STRING, FieldType.INTEGER},
    "text": {FieldType.INTEGER, FieldType.DECIMAL, FieldType.DATE},
    "title": {FieldType.STRING},
    "money": {FieldType.DECIMAL, FieldType.INTEGER},
    "number": {FieldType.DECIMAL, FieldType.INTEGER},
    "compared": {FieldType.STRING},
    "constant": set(FieldType),
    "position": {FieldType.INTEGER},
    "ordinal": {FieldType.INTEGER},
    "address": {FieldType.STRING},
    "person": {FieldType.STRING},
}
_ZONE = re.compile(r"^[+-](0\d|1[0-4]):[0-5]\d$")
_CONDITION = re.compile(r"^(\S+)\s+(not in|in|exists|missing)(?:\s+(\S.*))?$")
_CONSTANT = re.compile(r"^(.+?\S)\s+(:?=)\s+(\S.*)$")
_LITERALS: Mapping[str, bool] = {"true": True, "false": False}


def read_settings(path: Path) -> FhirSettings:
    """Return what `fhir.toml` says; a pack without one has the defaults.

    Raises:
        DeclarationError: it is wrong.
    """
    if not path.exists():
        return FhirSettings()
    source = read_source(path)
    head = source.whole()
    zone = head.string("zone", default="+08:00")
    if not _ZONE.match(zone):
        raise head.wrong("zone", say("wrong_type", key="zone", expected="+08:00", expected_en="+08:00"))
    systems: dict[str, str] = {}
    if "systems" in source.content:
        table = source.table("systems")
        for name in table.values:
            systems[name] = _parsed(
                table, name, lambda name=name: fill_system(table.string(name), systems={})
            )
    codes: dict[str, FhirCodes] = {}
    for table, pairs, also in zip(
        source.tables("codes"), source.nested("codes", "pairs"), source.nested("codes", "also"), strict=True
    ):
        name = table.string("name")
        if name in codes:
            raise table.wrong("name", say("twice", name=name))
        codes[name] = FhirCodes(name=name, pairs=_strings(pairs), also=_strings(also))
    return FhirSettings(zone=zone, systems=systems, codes=codes)


def read_resources(
    source: Source,
    *,
    fields: Mapping[str, Field],
    settings: FhirSettings,
    tables: Mapping[str, CodeTable],
) -> tuple[FhirResource, ...]:
    """Return the `[[fhir]]` blocks of a data set, the anchor first.

    Raises:
        DeclarationError: one of them is wrong.
    """
    found: dict[str, FhirResource] = {}
    for table, places in zip(source.tables("fhir"), source.nested("fhir", "fields"), strict=True):
        resource = _read_resource(
            table, places, anchor=next(iter(found), None), fields=fields, settings=settings
        )
        if resource.name in found:
            raise table.wrong("name", say("twice", name=resource.name))
        if resource.parent not in (None, PATIENT):
            if resource.parent not in found:
                raise table.wrong("parent", say("unknown_resource", name=resource.parent))
            if found[resource.parent].each:
                raise table.wrong("parent", say("under_each"))
        _check_codes(resource, fields=fields, tables=tables, path=source.path)
        found[resource.name] = resource
    return tuple(found.values())


def _read_resource(
    table: Table,
    places: Table | None,
    *,
    anchor: str | None,
    fields: Mapping[str, Field],
    settings: FhirSettings,
) -> FhirResource:
    kind = table.string("type")
    if kind not in PATIENT_PATHS:
        known = ", ".join(sorted(PATIENT_PATHS))
        raise table.wrong("type", say("unknown_value", key="type", value=kind, known=known))
    referred, refers = _one_or_more(table, "referred"), table.optional_string("refers")
    resource = FhirResource(
        type=kind,
        name=table.string("name", default=kind[0].lower() + kind[1:]),
        parent=None if anchor is None else table.string("parent", default=anchor),
        referred=tuple(_path(table, "referred", one, settings) for one in referred),
        refers=_path(table, "refers", refers, settings) if refers else None,
        each=table.flag("each"),
        decides=table.flag("decides"),
        when=_conditions(table, "when", settings),
        withdrawn=_conditions(table, "withdrawn", settings),
        one_of=table.names("one_of", known=fields),
        messages=table.flag("messages", default=True),
        constants=tuple(_constant(table, one, settings) for one in table.strings("constants")),
        fields=_read_places(places, fields=fields, settings=settings) if places else (),
        line=table.line,
        texts={"referred": ", ".join(referred), "refers": refers or ""},
    )
    table.refuse_unknown(but=("fields",))
    linked = bool(resource.referred or resource.refers)
    if anchor is None and (linked or resource.each or table.has("parent")):
        raise table.wrong("type", say("anchor_linked"))
    if anchor is not None and not linked:
        raise table.wrong("type", say("not_linked"))
    if resource.parent == PATIENT and (resource.referred or not resource.refers):
        raise table.wrong("parent", say("under_patient"))
    if anchor is None and resource.decides:
        raise table.wrong("decides", say("anchor_linked"))
    if anchor is not None and (resource.withdrawn or resource.one_of or table.has("messages")):
        raise table.wrong("withdrawn", say("only_anchor"))
    _check_lists(table, resource, fields)
    return resource


def _check_lists(table: Table, resource: FhirResource, fields: Mapping[str, Field]) -> None:
    """Fields that repeat lie in resources of which there are several, and only they do."""
    for place in resource.fields:
        if (fields[place.name].repeat > 1) is not resource.each:
            text = say("repeat_differs", name=place.name)
            raise DeclarationError(text, path=table.path, line=place.line)


def _read_places(
    table: Table, *, fields: Mapping[str, Field], settings: FhirSettings
) -> tuple[FhirField, ...]:
    read: list[FhirField] = []
    for name in table.values:
        if name not in fields:
            raise table.wrong(name, say("unknown_field", name=name))
        terms = [
            _term(table, name, one, fields=fields, settings=settings) for one in _one_or_more(table, name)
        ]
        if not terms:
            raise table.wrong(name, say("no_term", name=name))
        read.append(FhirField(name=name, terms=tuple(terms), line=table.line_of(name)))
    return tuple(read)


def _term(
    table: Table, name: str, text: str, *, fields: Mapping[str, Field], settings: FhirSettings
) -> FhirTerm:
    head, *clauses = [part.strip() for part in text.split("|")]
    reads, writes = not head.startswith("!"), not head.startswith("?")
    head = head.lstrip("?!").strip()
    codec, argument = "", ""
    depends: dict[str, str] = {}
    for clause in clauses:
        word, _, rest = clause.partition(" ")
        rest = rest.strip()
        if word in ("given", "absent"):
            if rest not in fields:
                raise table.wrong(name, say("unknown_field", name=rest))
            depends[word] = rest
        elif word in CODECS and not codec:
            codec, argument = word, rest
        else:
            raise table.wrong(name, say("wrong_clause", clause=clause, known=", ".join(CODECS)))
    if codec:
        takes, may_read, may_write = CODECS[codec]
        if takes is not bool(argument) or (reads and not may_read) or (writes and not may_write):
            raise table.wrong(name, say("wrong_codec", codec=codec))
        if fields[name].type not in _TYPES_OF_CODEC[codec]:
            raise table.wrong(name, say("wrong_codec", codec=codec))
    if codec == "codes" and argument not in settings.codes:
        raise table.wrong(name, say("unknown_codes", name=argument, known=", ".join(settings.codes)))
    if codec == "constant":
        argument = _parsed(table, name, lambda: fill_system(argument, systems=settings.systems))
    if not head and codec not in ("position", "ordinal"):
        raise table.wrong(name, say("no_term", name=name))
    return FhirTerm(
        path=_path(table, name, head, settings) if head else (),
        codec=codec,
        argument=argument,
        reads=reads,
        writes=writes,
        given=depends.get("given"),
        absent=depends.get("absent"),
        text=text,
    )


def _check_codes(
    resource: FhirResource, *, fields: Mapping[str, Field], tables: Mapping[str, CodeTable], path: Path
) -> None:
    """A title comes from a code table, so the field has one."""
    for place in resource.fields:
        for term in place.terms:
            if term.codec == "title" and fields[place.name].value_set not in tables:
                raise DeclarationError(say("no_table", name=place.name), path=path, line=place.line)


def _conditions(table: Table, key: str, settings: FhirSettings) -> tuple[FhirCondition, ...]:
    return tuple(_condition(table, key, one, settings) for one in table.strings(key))


def _condition(table: Table, key: str, text: str, settings: FhirSettings) -> FhirCondition:
    found = _CONDITION.match(text.strip())
    test = FhirTest(found[2]) if found else FhirTest.EXISTS
    listed = test in (FhirTest.IN, FhirTest.NOT_IN)
    # A linked resource is judged once for all rows that share it: no condition may ask for the row's anchor.
    if not found or listed is not bool(found[3]) or "{self}" in text:
        raise table.wrong(key, say("wrong_condition", condition=text))
    return FhirCondition(
        path=_path(table, key, found[1], settings),
        test=test,
        values=frozenset((found[3] or "").split()),
        text=text,
    )


def _constant(table: Table, text: str, settings: FhirSettings) -> FhirConstant:
    found = _CONSTANT.match(text.strip())
    if not found:
        raise table.wrong("constants", say("wrong_constant", constant=text))
    value: str | bool | int = found[3]
    if found[2] == ":=":
        if found[3] in _LITERALS:
            value = _LITERALS[found[3]]
        elif found[3].isdecimal():
            value = int(found[3])
        else:
            raise table.wrong("constants", say("wrong_constant", constant=text))
    else:
        value = _parsed(table, "constants", lambda: fill_system(found[3], systems=settings.systems))
    return FhirConstant(path=_path(table, "constants", found[1], settings), value=value, text=text)


def _path(table: Table, key: str, text: str, settings: FhirSettings) -> FhirPath:
    return _parsed(table, key, lambda: parse_path(text, systems=settings.systems))


def _parsed(table: Table, key: str, work: Callable[[], _T]) -> _T:
    try:
        return work()
    except PathError as error:
        raise table.wrong(key, error.text) from None


def _one_or_more(table: Table, key: str) -> tuple[str, ...]:
    """Return a list of strings that may be written as a single one."""
    return (table.string(key),) if isinstance(table.values.get(key), str) else table.strings(key)


def _strings(table: Table | None) -> Mapping[str, str]:
    return {} if table is None else {name: table.string(name) for name in table.values}
