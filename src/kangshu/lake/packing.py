"""Staged rows as one compact value, and as the Arrow table that a segment is written from."""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa

from kangshu.declarations import Dataset, Field, FieldType
from kangshu.lake.model import StagedRow
from kangshu.lake.schema import lake_schema

_Packed: TypeAlias = tuple[str, int | None, datetime | None, str, int, dict[str, Any] | None]

_LENGTH_BYTES = 4
_KEY_BYTES = 16
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Packed])


def pack_rows(rows: Sequence[StagedRow]) -> bytes:
    """Return rows of one data set as one value; `unpack_rows` leads back."""
    plain = _encoder.encode(
        [(row.institution, row.person, row.at, row.key, row.message, row.values) for row in rows]
    )
    return len(plain).to_bytes(_LENGTH_BYTES) + _zstd().compress(plain, asbytes=True)


def unpack_rows(body: bytes, *, dataset: str) -> list[StagedRow]:
    """Return what `pack_rows` packed; `row_table` gives the values back the types that MessagePack lacks."""
    size = int.from_bytes(body[:_LENGTH_BYTES])
    plain = _zstd().decompress(body[_LENGTH_BYTES:], decompressed_size=size, asbytes=True)
    return [
        StagedRow(
            dataset=dataset,
            institution=institution,
            person=person,
            at=at,
            key=key,
            message=message,
            values=values,
        )
        for institution, person, at, key, message, values in _decoder.decode(plain)
    ]


def key_digest(*, dataset: str, key: str) -> bytes:
    """Return by what the manifest knows the row that the resource `key` gives `dataset`."""
    return hashlib.blake2b(f"{dataset}\0{key}".encode(), digest_size=_KEY_BYTES).digest()


def row_table(rows: Sequence[StagedRow], *, dataset: Dataset, file_id: int) -> pa.Table:
    """Return rows that were unpacked as the present edition declares them, numbered from 1.

    A value that fitted the edition of its message and does not fit the present one is left out.
    """
    schema = lake_schema(dataset)
    columns: dict[str, Any] = {
        "_file": pa.array([file_id] * len(rows), pa.int64()),
        "_row": pa.array(range(1, len(rows) + 1), pa.int64()),
        "_person": pa.array([row.person for row in rows], pa.int64()),
        "_institution": pa.array([row.institution for row in rows], pa.string()),
        "_at": pa.array([row.at for row in rows], pa.timestamp("us")),
    }
    values: list[Mapping[str, Any]] = [row.values or {} for row in rows]
    for field in dataset.fields:
        columns[field.name] = _column(field, values, schema.field(field.name).type)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _column(field: Field, rows: Sequence[Mapping[str, Any]], kind: pa.DataType) -> pa.Array:
    """Return one field of all rows: typed by Arrow at once where each value fits, else one by one."""
    name = field.name
    try:
        if field.repeat == 1:
            values = pa.array([row.get(name) for row in rows], _PACKED.get(field.type, pa.string()))
            return values if values.type == kind else values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        pass
    return _column_by_value(field, rows, kind)


def _column_by_value(field: Field, rows: Sequence[Mapping[str, Any]], kind: pa.DataType) -> pa.Array:
    convert = _CONVERSIONS[field.type]
    read = (lambda value: _each(value, convert)) if field.repeat > 1 else (lambda value: _one(value, convert))
    name = field.name
    values = [None if (value := row.get(name)) is None else read(value) for row in rows]
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError):
        return pa.array([_fitting(value, kind) for value in values], kind)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError):
        return None
    return value


def _one(value: Any, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError, InvalidOperation):
        return None


def _each(value: Any, convert: Callable[[Any], Any]) -> list[Any] | None:
    if not isinstance(value, list):
        return None
    return [None if one is None else _one(one, convert) for one in value]


def _zstd() -> pa.Codec:
    # Not shared: a codec is not for two threads.
    return pa.Codec("zstd", compression_level=1)


# How values lie in MessagePack; everything else is text there.
_PACKED: Mapping[FieldType, pa.DataType] = {FieldType.INTEGER: pa.int64(), FieldType.BOOLEAN: pa.bool_()}
_CONVERSIONS: Mapping[FieldType, Callable[[Any], Any]] = {
    FieldType.STRING: str,
    FieldType.INTEGER: int,
    FieldType.DECIMAL: Decimal,
    FieldType.DATE: date.fromisoformat,
    FieldType.DATETIME: datetime.fromisoformat,
    FieldType.BOOLEAN: bool,
}
