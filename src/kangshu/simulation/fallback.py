"""Fill a required field that a pack declares and the simulator knows nothing of."""

from __future__ import annotations

import numpy as np

from kangshu.declarations import Field, FieldType, Pack
from kangshu.simulation.columns import Column, constant, day, moment, picked, text, whole
from kangshu.simulation.streams import Ints, mixed
from kangshu.simulation.visits import DAY


def fallback_column(field: Field, *, pack: Pack, persons: Ints, days: Ints) -> Column:
    """Return values of the declared type: codes of the value set, the day of the event, the example."""
    count = len(days)
    if field.value_set:
        codes = text([code.code for code in pack.codes[field.value_set].codes])
        number = mixed(np.maximum(persons, 0), field.line).astype(np.int64) & 0x7FFFFFFF
        return picked(codes, number % len(codes))
    if field.type is FieldType.DATE:
        return day(np.maximum(days, 0))
    if field.type is FieldType.DATETIME:
        return moment(np.maximum(days, 0) * DAY)
    if field.type is FieldType.BOOLEAN:
        return constant("1", count)
    if field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        return whole(np.full(count, int(field.minimum or 0)))
    return constant(field.example or "无", count)
