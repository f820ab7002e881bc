"""What a region pack declares: data sets with fields and rules, code tables; frozen and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from kangshu.declarations.fhir import FhirResource, FhirSettings
from kangshu.declarations.quality import Look, Measure, QualitySettings
from kangshu.kernel.texts import Text

_NO_TEXT = Text(zh="", en="")


class FieldType(StrEnum):
    """How a value is held in the lake."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    BOOLEAN = "boolean"


class Obligation(StrEnum):
    """Whether a sender must fill a field; `conditional` is settled by a rule."""

    REQUIRED = "required"
    CONDITIONAL = "conditional"
    OPTIONAL = "optional"


class Role(StrEnum):
    """What a field tells about who, where and when; the lanes find fields by role, not by name."""

    RESIDENT_NUMBER = "resident-number"  # 居民身份证号码
    DOCUMENT_TYPE = "document-type"  # 证件类型, a code of id_document
    DOCUMENT_NUMBER = "document-number"  # 证件号码 of the kind that document-type names
    LOCAL_NUMBER = "local-number"  # the institution's own number of the patient
    NAME = "name"
    SEX = "sex"
    BIRTH_DATE = "birth-date"
    PHONE = "phone"
    ADDRESS = "address"
    INSTITUTION = "institution"
    VISIT = "visit"  # the institution's number of the visit or stay
    ITEM = "item"  # what the row is about in one phrase: a diagnosis name, a test, a drug
    RESULT = "result"  # its outcome: a value, a text


class Privacy(StrEnum):
    """The personal-data class of a field (GB/T 39725 levels 1, 3, 4, 5)."""

    NONE = "none"
    INDIRECT = "indirect"
    DIRECT = "direct"
    SENSITIVE = "sensitive"


class Severity(StrEnum):
    """`error` rejects the row; `warning` counts and lets it pass."""

    ERROR = "error"
    WARNING = "warning"


class Dimension(StrEnum):
    """The quality dimension that a rule measures."""

    COMPLETENESS = "completeness"
    VALIDITY = "validity"
    CONSISTENCY = "consistency"
    TIMELINESS = "timeliness"
    UNIQUENESS = "uniqueness"
    LINKAGE = "linkage"
    PLAUSIBILITY = "plausibility"


class Scope(StrEnum):
    """Over what a rule looks: a row, a file, all that the region holds, or an institution's whole month."""

    ROW = "row"
    FILE = "file"
    REGION = "region"
    CELL = "cell"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field (数据项) of a data set.

    `name` is the column of the lake; `code` is the standard's own field code (`A11`). A field with
    `repeat` over 1 is sent in numbered columns and held as a list. `length` counts characters of a
    string or total digits of a number, `scale` the digits after the point.
    """

    name: str
    title: Text
    type: FieldType
    obligation: Obligation
    code: str | None = None
    length: int | None = None
    exact_length: bool = False
    scale: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    value_set: str | None = None
    value_set_title: Text = _NO_TEXT
    unit: str | None = None
    role: Role | None = None
    privacy: Privacy = Privacy.NONE
    data_element: str | None = None
    repeat: int = 1
    aliases: tuple[str, ...] = ()
    example: str = ""
    note: Text = _NO_TEXT
    line: int = 0

    def column_names(self) -> tuple[str, ...]:
        """Return the names under which a sender may give the (first) column."""
        named = (self.name, self.title.zh, self.title.en, *self.aliases)
        return (*named, self.code) if self.code else named


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule (规则): a predicate that valid rows meet, in DuckDB's SQL over the field names.

    As with an SQL CHECK, a predicate that is NULL holds: what is missing is the business of
    `obligation`. A rule of scope `file` gives `unique`, the fields whose values occur once. One of scope
    `region` is asked of rows in the lake; its predicate may name its `looks` and use window functions.
    One of scope `cell` is asked of the data set's measures, in the words of `CellView`; `suspects` is a
    predicate over rows that points at those to look at. `applies` is a predicate over the rows that the rule
    is about, all where it is empty. `edition` is the data set's own where the rule states none.
    """

    id: str
    severity: Severity
    dimension: Dimension
    scope: Scope
    fields: tuple[str, ...]
    message: Text
    sql: str = ""
    unique: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    applies: str = ""
    suspects: str = ""
    edition: str = ""
    source: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set (数据集) in one edition; from it come check, lake schema, template and page."""

    name: str
    title: Text
    edition: str
    source: str
    category: str
    description: Text
    valid_from: date
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    measures: tuple[Measure, ...] = ()
    fhir: tuple[FhirResource, ...] = ()
    """The resources that a row is, the anchor first; none where it has no place in FHIR."""
    valid_to: date | None = None
    key: tuple[str, ...] = ()
    event_time: str | None = None
    absent_marks: tuple[str, ...] = ()
    path: str = ""

    def field(self, name: str) -> Field:
        """Return the field called `name`.

        Raises:
            KeyError: there is none.
        """
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def with_role(self, role: Role) -> Field | None:
        """Return the first field that plays `role`, if any does."""
        return next((candidate for candidate in self.fields if candidate.role is role), None)

    @property
    def about_persons(self) -> bool:
        """Whether a row of this data set is about a resident."""
        return any(
            self.with_role(role)
            for role in (Role.RESIDENT_NUMBER, Role.DOCUMENT_NUMBER, Role.LOCAL_NUMBER, Role.NAME)
        )


@dataclass(frozen=True, kw_only=True)
class Code:
    """One row of a code table."""

    code: str
    title: Text
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class CodeTable:
    """A code table (代码表) in one edition. An incomplete one is a sample: it names, but cannot refuse."""

    name: str
    title: Text
    edition: str
    source: str
    codes: tuple[Code, ...]
    complete: bool = True

    def titles(self) -> Mapping[str, Text]:
        """Return the title of each code."""
        return {entry.code: entry.title for entry in self.codes}


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A region pack (区域包): everything a centre declares."""

    name: str
    edition: str
    title: Text
    datasets: Mapping[str, Dataset] = field(default_factory=dict[str, Dataset])
    codes: Mapping[str, CodeTable] = field(default_factory=dict[str, CodeTable])
    functions: str = ""
    """SQL that defines the functions which rules may call (`functions.sql`)."""
    fhir: FhirSettings = field(default_factory=FhirSettings)
    """What all FHIR mappings share (`fhir.toml`)."""
    quality: QualitySettings = field(default_factory=QualitySettings)
    """Scores, expectations, reconciliations and grades (`quality/`)."""

    def dataset(self, name: str) -> Dataset:
        """Return the data set called `name`.

        Raises:
            KeyError: the pack declares none.
        """
        return self.datasets[name]
