"""Made-up rows of any data set, as the lake gives them, for tests of the mapping; nobody in them is real."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from hypothesis import strategies as st

from kangshu.declarations import CodeTable, Dataset, Field, FieldType, Obligation, Pack, Role
from kangshu.mapping.rows import RowMapper

INSTITUTION = "99000101599010211A1001"

# What senders write in cells: no blanks at the ends, no control characters.
_letters = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Co", "Cn"))
_digits = st.characters(min_codepoint=48, max_codepoint=57)


def rows_of(pack: Pack, mapper: RowMapper, name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of a data set as far as it is mapped, each required field filled."""
    dataset = pack.datasets[name]
    mapped = mapper.mapped_fields(name)
    needed = dataset.fhir[0].one_of
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for field in dataset.fields:
        if field.name in mapped:
            into = required if field.obligation is Obligation.REQUIRED or field.name in needed else optional
            into[field.name] = values_of(field, pack, dataset)
    return st.fixed_dictionaries(required, optional=optional).map(lambda row: _sane(row, dataset))


def values_of(field: Field, pack: Pack, dataset: Dataset) -> st.SearchStrategy[Any]:
    if field.role is Role.INSTITUTION:
        return st.just(INSTITUTION)
    one = _value(field, pack.codes.get(field.value_set or ""))
    return st.lists(one, min_size=1, max_size=min(field.repeat, 4)) if field.repeat > 1 else one


def _value(field: Field, table: CodeTable | None) -> st.SearchStrategy[Any]:
    if table and table.complete:
        return st.sampled_from([code.code for code in table.codes])
    if field.name in _SPECIAL:
        return _SPECIAL[field.name]
    if field.pattern:
        return st.from_regex(field.pattern, fullmatch=True, alphabet=st.characters(codec="ascii")).filter(
            lambda text: len(text) <= (field.length or 100)
        )
    match field.type:
        case FieldType.STRING:
            size = field.length or 20
            least = size if field.exact_length else 1
            return st.text(_letters, min_size=least, max_size=size if field.exact_length else min(size, 30))
        case FieldType.INTEGER:
            low = int(field.minimum or 0)
            high = int(field.maximum if field.maximum is not None else 10 ** min(field.length or 9, 9) - 1)
            return st.integers(min_value=max(low, 0), max_value=high)
        case FieldType.DECIMAL:
            places = field.scale or 0
            high = field.maximum if field.maximum is not None else 10 ** ((field.length or 9) - places) - 1
            low = field.minimum if field.minimum is not None else 0
            return st.decimals(min_value=int(low), max_value=int(high), places=places)
        case FieldType.DATE:
            return st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1))
        case FieldType.DATETIME:
            return st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(2100, 1, 1))
        case FieldType.BOOLEAN:
            return st.booleans()


def _sane(row: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Keep the few bonds between fields that a mapping relies on, as the data set's own rules do."""
    document = dataset.with_role(Role.DOCUMENT_TYPE), dataset.with_role(Role.DOCUMENT_NUMBER)
    if all(document) and not all(one is not None and one.name in row for one in document):
        for one in document:
            row.pop(one.name if one else "", None)
    # A resident number is the document of kind 01; it has its own field.
    if row.get("document_type") == "01":
        row["document_type"] = "03"
    for prefix in ("other_diagnosis_", "other_procedure_"):
        lists = {name: value for name, value in row.items() if name.startswith(prefix)}
        if lists and f"{prefix}code" not in lists:
            for name in lists:
                del row[name]
        elif lists:
            count = len(row[f"{prefix}code"])
            for name in lists:
                row[name] = row[name][:count]
    return row


_plain = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=20)
_SPECIAL = {
    "icd_version": st.sampled_from([9, 10]),
    "code_system": _plain,
}
