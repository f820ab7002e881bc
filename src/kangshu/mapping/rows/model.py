"""What a message gives the data sets: rows with their place in FHIR; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetRow:
    """A row of `dataset` that the resource `resource_type/resource_id` gives.

    `values` holds the fields that have one, in the types of the declaration; it is None where the resource
    says that the row it gave earlier no longer holds. `at` is the event time, local and without zone.
    `patient` is the id of the Patient, None where the row is about nobody.
    """

    dataset: str
    values: Mapping[str, Any] | None = field(repr=False)
    resource_type: str
    resource_id: str
    at: datetime | None
    patient: str | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether an earlier row of this resource no longer holds."""
        return self.values is None

    @property
    def key(self) -> str:
        """The resource as a reference: the row takes the place of the earlier one with the same key."""
        return f"{self.resource_type}/{self.resource_id}"
