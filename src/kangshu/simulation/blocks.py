"""A block: rows of one data set from many institutions, as columns by field name, before they are files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kangshu.simulation.columns import Column, day, nothing, numbered, picked, text
from kangshu.simulation.population import Population
from kangshu.simulation.region import Region
from kangshu.simulation.streams import Ints

_SEXES = text(["0", "1", "2"])


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of data set `dataset`, ordered by institution.

    `persons` is the true person of each row (-1: the row is about nobody); `days` is the day of the
    event, by which rows go into periods. `columns` may hold fields that a pack does not declare.
    """

    dataset: str
    columns: dict[str, Column]
    institutions: Ints
    persons: Ints
    days: Ints

    def __len__(self) -> int:
        return len(self.institutions)

    def taken(self, rows: Ints) -> Block:
        """Return the block of the rows at positions `rows`."""
        import pyarrow as pa

        index = pa.array(np.asarray(rows, dtype=np.int64))
        return Block(
            dataset=self.dataset,
            columns={name: column.take(index) for name, column in self.columns.items()},
            institutions=self.institutions[rows],
            persons=self.persons[rows],
            days=self.days[rows],
        )


def local_numbers(institutions: Ints, persons: Ints) -> Column:
    """Return the number under which an institution keeps a person: always the same, never two persons'."""
    # 48,271,717 has no divisor in common with 10^8, so the map is one to one within an institution
    value = (
        np.asarray(persons, dtype=np.int64) * 48_271_717 + np.asarray(institutions) * 7_654_321
    ) % 100_000_000
    return numbered("P", (value, 8), count=len(value))


def person_columns(
    population: Population, region: Region, *, institutions: Ints, persons: Ints, days: Ints
) -> dict[str, Column]:
    """Return the columns that say who a row is about and who sends it."""
    count = len(persons)
    return (
        {
            "institution_code": picked(region.institution_codes, institutions),
            "institution_name": picked(region.institution_names, institutions),
            "resident_number": population.number_at(persons, days),
            "document_type": picked(population.document_type, persons),
            "document_number": picked(population.document_number, persons),
            "patient_number": local_numbers(institutions, persons),
            "patient_name": population.name_at(persons, days),
            "sex": picked(_SEXES, population.sex[persons]),
            "birth_date": day(population.birth_day[persons]),
            "phone": picked(population.phone, population.phone_owner[persons]),
        }
        if count
        else empty_person_columns()
    )


def empty_person_columns() -> dict[str, Column]:
    """Return the same columns without a row."""
    names = ("institution_code", "institution_name", "resident_number", "document_type", "document_number")
    more = ("patient_number", "patient_name", "sex", "phone")
    return {name: nothing(0) for name in (*names, *more)} | {"birth_date": day(np.empty(0, np.int32))}
