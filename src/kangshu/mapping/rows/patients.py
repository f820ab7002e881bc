"""The Patient of a row: fields are found by their role, so no data set declares them again.

Who a Patient is, is read as everywhere else (`subject_of`); the rest is what only rows hold: the exact code
of sex, and the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kangshu.declarations import Dataset, FhirTerm, Field, FieldType, Role, Step
from kangshu.mapping.authorities import Authorities
from kangshu.mapping.model import IdentifierKind, Subject, SubjectIdentifier
from kangshu.mapping.rows.codecs import Codecs, Encode
from kangshu.mapping.rows.paths import Context, Leaf, compile_reader
from kangshu.mapping.subjects import subject_of

SEX_EXTENSION = "urn:kangshu:code:sex"
"""Carries our code of sex beside `gender`, which has one word for the two kinds of not known."""

_GENDERS = {"0": "unknown", "1": "male", "2": "female", "9": "unknown"}
_SEXES = {"male": "1", "female": "2", "unknown": "0", "other": "9"}

_ROLES = (
    Role.RESIDENT_NUMBER,
    Role.DOCUMENT_TYPE,
    Role.DOCUMENT_NUMBER,
    Role.LOCAL_NUMBER,
    Role.NAME,
    Role.SEX,
    Role.BIRTH_DATE,
    Role.PHONE,
    Role.ADDRESS,
)


class PatientCodec:
    """Reads the fields of one data set that tell who a row is about off a Patient, and writes them."""

    def __init__(self, dataset: Dataset, *, authorities: Authorities, codecs: Codecs) -> None:
        declared = {field for resource in dataset.fhir for field in (one.name for one in resource.fields)}
        fields = {role: field for role in _ROLES if (field := dataset.with_role(role))}
        # A data set that declares the place of such a field itself has its reasons.
        self._fields = {role: field for role, field in fields.items() if field.name not in declared}
        self._authorities = authorities
        self._names = {role: field.name for role, field in self._fields.items()}
        self._leaves: dict[Role, Leaf] = {
            role: codecs.leaf(dataset, field) for role, field in self._fields.items()
        }
        self._encode_day: Encode | None = None
        if (birth := self._fields.get(Role.BIRTH_DATE)) and birth.type is FieldType.DATE:
            self._encode_day = codecs.encode(birth)
        address = self._fields.get(Role.ADDRESS)
        self._read_address = _address_reader(codecs, dataset, address) if address else None
        self.fields = tuple(self._names.values())
        self.signature = (
            dataset.absent_marks,
            *(
                (role, field.name, field.type, field.length, field.exact_length, field.value_set)
                for role, field in self._fields.items()
            ),
        )
        """Two codecs of one signature read the same from a Patient."""

    def read(self, patient: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Return the fields that `patient` tells, those that fit their declaration."""
        told = context.told.get(id(patient))
        if told is None:
            subject = subject_of(patient, sender=context.institution, authorities=self._authorities)
            told = context.told[id(patient)] = _told(subject, patient, context.institution)
        read: dict[str, Any] = {}
        for role, name in self._names.items():
            raw = told.get(role)
            value = None if raw is None else self._leaves[role](raw, context)
            if value is not None:
                read[name] = value
        if self._read_address and (value := self._read_address(patient, context)) is not None:
            read[self._names[Role.ADDRESS]] = value
        return read

    def write(self, values: Mapping[str, Any], *, patient: str, institution: str) -> dict[str, Any]:
        """Return the Patient whose id is `patient` as far as a row tells of it."""
        of = {role: value for role, name in self._names.items() if (value := values.get(name)) is not None}
        made: dict[str, Any] = {"resourceType": "Patient", "id": patient}
        identifiers = [
            {"system": self._authorities.system_of(one), "value": one.value}
            for one in _identifiers(of, institution)
        ]
        if identifiers:
            made["identifier"] = identifiers
        if name := of.get(Role.NAME):
            made["name"] = [{"text": name}]
        if phone := of.get(Role.PHONE):
            made["telecom"] = [{"system": "phone", "value": phone}]
        if sex := of.get(Role.SEX):
            self._write_sex(made, sex)
        if (birth := of.get(Role.BIRTH_DATE)) and self._encode_day:
            made["birthDate"] = self._encode_day(birth)
        if address := of.get(Role.ADDRESS):
            made["address"] = [{"text": address}]
        return made

    @staticmethod
    def _write_sex(patient: dict[str, Any], sex: str) -> None:
        if sex in _GENDERS:
            patient["gender"] = _GENDERS[sex]
        if sex not in ("1", "2"):
            patient["_gender"] = {"extension": [{"url": SEX_EXTENSION, "valueCode": sex}]}


def _address_reader(codecs: Codecs, dataset: Dataset, field: Field) -> Callable[..., Any]:
    term = FhirTerm(path=(Step("address", many=True),), codec="address")
    return compile_reader(term.path, codecs.leaf(dataset, field, term))


def _told(subject: Subject, patient: Mapping[str, Any], institution: str) -> dict[Role, Any]:
    told: dict[Role, Any] = {
        Role.NAME: subject.name,
        Role.PHONE: subject.phone,
        Role.BIRTH_DATE: patient.get("birthDate"),
        Role.SEX: _sex(patient),
    }
    own = False
    for one in subject.identifiers:
        match one.kind:
            case IdentifierKind.RESIDENT_NUMBER:
                told.setdefault(Role.RESIDENT_NUMBER, one.value)
            case IdentifierKind.DOCUMENT:
                if Role.DOCUMENT_NUMBER not in told:
                    told[Role.DOCUMENT_TYPE], told[Role.DOCUMENT_NUMBER] = one.issuer, one.value
            case IdentifierKind.LOCAL_NUMBER:
                # The sender's own number before those of other authorities that it names.
                if not own and (one.issuer == institution or Role.LOCAL_NUMBER not in told):
                    told[Role.LOCAL_NUMBER] = one.value
                    own = one.issuer == institution
    return told


def _sex(patient: Mapping[str, Any]) -> str | None:
    more = patient.get("_gender")
    for one in more.get("extension", ()) if isinstance(more, dict) else ():
        if one.get("url") == SEX_EXTENSION and one.get("valueCode"):
            return one["valueCode"]
    gender = patient.get("gender")
    return _SEXES.get(gender) if isinstance(gender, str) else None


def _identifiers(of: Mapping[Role, Any], institution: str) -> list[SubjectIdentifier]:
    found: list[SubjectIdentifier] = []
    if value := of.get(Role.RESIDENT_NUMBER):
        found.append(SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=value))
    kind, value = of.get(Role.DOCUMENT_TYPE), of.get(Role.DOCUMENT_NUMBER)
    if kind and value:
        found.append(SubjectIdentifier(kind=IdentifierKind.DOCUMENT, issuer=kind, value=value))
    if value := of.get(Role.LOCAL_NUMBER):
        found.append(SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer=institution, value=value))
    return found
