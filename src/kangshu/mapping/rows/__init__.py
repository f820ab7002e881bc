"""Between rows of data sets and FHIR resources, both ways, as the data sets' `[[fhir]]` blocks declare.

A message becomes rows, so that a statistic counts it; a row becomes resources, so that a timeline shows it.
Declarations are compiled once into closures. Pure: no clock, no database.
"""

from kangshu.mapping.rows.mapper import RowMapper
from kangshu.mapping.rows.model import DatasetRow

__all__ = ["DatasetRow", "RowMapper"]
