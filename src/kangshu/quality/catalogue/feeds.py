"""What feeds the columns of data sets: headings of files, HL7 v2 fields, FHIR elements, documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kangshu.declarations import BASE_PACK, Dataset, Field, Pack, Role
from kangshu.mapping.cda import CdaSource, list_cda_sources
from kangshu.mapping.hl7v2 import Hl7v2Source, list_hl7v2_sources
from kangshu.quality.catalogue.model import Feed, Lane
from kangshu.quality.catalogue.uses import path_text

# Elements of many types: what is sent as one type is read as another.
_CHOICE = re.compile(r"^(value|effective|onset|occurrence|performed|deceased|abatement|medication)[A-Z]")
_ATTRIBUTE = re.compile(r"^[a-zA-Z]+")
_EXTENSION = "extension"
"""Extensions are each of its own; an HL7 v2 field that fills one is not told by the element's name."""
_OF_PATIENT: Mapping[Role, str] = {
    Role.RESIDENT_NUMBER: "identifier",
    Role.DOCUMENT_TYPE: "identifier",
    Role.DOCUMENT_NUMBER: "identifier",
    Role.LOCAL_NUMBER: "identifier",
    Role.NAME: "name",
    Role.SEX: "gender",
    Role.BIRTH_DATE: "birthDate",
    Role.PHONE: "telecom",
    Role.ADDRESS: "address",
}
"""Where on a Patient the fields lie that tell who a row is about; see `mapping.rows.patients`."""


def feeds_of(pack: Pack) -> dict[tuple[str, str], tuple[Feed, ...]]:
    """Return what feeds each column of `pack`, by data set and column.

    Raises:
        DeclarationError: the mapping of messages is declared wrongly.
    """
    folder = pack_folder(pack)
    hl7v2: dict[tuple[str, str], list[Hl7v2Source]] = {}
    for source in list_hl7v2_sources(_part(folder, "hl7v2")):
        hl7v2.setdefault((source.resource, _element(source.attribute)), []).append(source)
    cda = list_cda_sources(_part(folder, "cda"))
    return {
        (dataset.name, field.name): _each_once(_feeds(dataset, field, hl7v2, cda))
        for dataset in pack.datasets.values()
        for field in dataset.fields
    }


def pack_folder(pack: Pack) -> Path | None:
    """Return the folder that `pack` was read from; None for one that was made by hand."""
    path = next((dataset.path for dataset in pack.datasets.values() if dataset.path), None)
    return Path(path).parent.parent if path else None


def _part(folder: Path | None, name: str) -> Path:
    """Return where mappings of a kind are declared: in the pack, else built in."""
    own = folder / name if folder else None
    return own if own is not None and own.exists() else BASE_PACK / name


def _feeds(
    dataset: Dataset,
    field: Field,
    hl7v2: Mapping[tuple[str, str], list[Hl7v2Source]],
    cda: tuple[CdaSource, ...],
) -> Iterator[Feed]:
    yield Feed(lane=Lane.FILE, place=field.title.zh)
    if not dataset.fhir or not dataset.fhir[0].messages:
        return
    for resource, element, path in _elements(dataset, field):
        yield Feed(lane=Lane.FHIR, place=path)
        for source in hl7v2.get((resource, element), ()):
            if element != _EXTENSION and _fits(source.attribute, path):
                yield Feed(lane=Lane.HL7V2, place=source.field, through=path, messages=source.messages)
        for rule in cda:
            if rule.resource == resource and field.data_element and field.data_element in rule.elements:
                place = f"{field.data_element} · {rule.rule}"
                yield Feed(lane=Lane.CDA, place=place, through=path)


def _each_once(feeds: Iterable[Feed]) -> tuple[Feed, ...]:
    """Return one feed for each place, in order; the first way on which it comes is told."""
    found: dict[tuple[Lane, str], Feed] = {}
    for feed in feeds:
        known = found.setdefault((feed.lane, feed.place), feed)
        if known.messages != feed.messages:
            messages = tuple(dict.fromkeys((*known.messages, *feed.messages)))
            found[feed.lane, feed.place] = replace(known, messages=messages)
    return tuple(found.values())


def _elements(dataset: Dataset, field: Field) -> Iterator[tuple[str, str, str]]:
    """Yield the resource, the element in it and the whole path of each place that the field is read from."""
    declared = False
    for resource in dataset.fhir:
        for placed in resource.fields:
            if placed.name != field.name:
                continue
            declared = True
            for term in placed.terms:
                if term.reads and term.path:
                    path = f"{resource.type}.{path_text(term.path)}"
                    yield resource.type, _element(term.path[0].name), path
    if not declared and field.role is not None and field.role in _OF_PATIENT:
        element = _OF_PATIENT[field.role]
        yield "Patient", element, f"Patient.{element}"


def _fits(attribute: str, path: str) -> bool:
    """Whether an attribute may fill the place at `path`.

    >>> _fits("period.start", "Encounter.period.end"), _fits("code", "Observation.code.coding.code")
    (False, True)
    """
    told, wanted = attribute.split("."), path.split(".")[1:]
    beyond = told[len(wanted) :]  # a quantity read as a number is not fed by its unit
    same = all(_element(one) == _element(other) for one, other in zip(told, wanted, strict=False))
    return same and not (beyond and beyond[0] in ("unit", "code"))


def _element(attribute: str) -> str:
    """Return the first element of an attribute without its type: `value` of `valueQuantity[].code`."""
    found = _ATTRIBUTE.match(attribute)
    name = found[0] if found else attribute
    choice = _CHOICE.match(name)
    return choice[1] if choice else name
