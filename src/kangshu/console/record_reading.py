"""What the page of a record reads of the timeline: a page of it, and how much each choice would give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from kangshu.console.openings import Access, Known
from kangshu.console.timeline import Reader
from kangshu.console.visits import Visit
from kangshu.records import Kind, SearchRefusedError, TimelineEntry, TimelinePage, timeline

_PER_PAGE = 100
_PAGE_MOST = 500
_ALLERGIES_MOST = 30
_YEARS = range(1800, 2200)
_CODE_MOST = 64


@dataclass(frozen=True, kw_only=True)
class RecordFilters:
    """What of a record is shown, as the address says it; empty means everything."""

    kind: str = ""
    institution: str = ""
    year: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> RecordFilters:
        """Return the filters in the words of an address; what makes no sense is left out."""
        kind, year, place = (query.get(name, "") for name in ("kind", "year", "institution"))
        is_year = len(year) == 4 and year.isascii() and year.isdigit() and int(year) in _YEARS
        return cls(
            kind=kind if kind in set(Kind) else "",
            institution=place if place.isprintable() and len(place) <= _CODE_MOST else "",
            year=year if is_year else "",
        )

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {"kind": self.kind, "institution": self.institution, "year": self.year}

    def without(self, name: str) -> RecordFilters:
        """Return the filters but this one."""
        return RecordFilters(**{**self.words, name: ""})

    @property
    def wanted(self) -> dict[str, Any]:
        """The filters as `records.timeline` takes them."""
        year = int(self.year or 0)
        return {
            "kinds": [Kind(self.kind)] if self.kind else None,
            "institutions": [self.institution] if self.institution else None,
            "since": date(year, 1, 1) if year else None,
            "until": date(year + 1, 1, 1) if year else None,
        }


@dataclass(frozen=True, kw_only=True)
class RecordRead:
    """A page of the record, and the counts beside each choice: what it would give with the other filters."""

    page: TimelinePage
    everything: TimelinePage
    """The whole record's counts; of its entries at most one."""
    kinds: Mapping[Kind, int]
    institutions: Mapping[str, int]
    years: Mapping[int, int]
    allergies: tuple[TimelineEntry, ...]


async def read_record(visit: Visit, access: Access, filters: RecordFilters) -> RecordRead:
    """Return what the page shows with these filters, read under the grant.

    Each choice is counted with the other filters in force, so one further reading per filter; without
    filters one reading tells all.
    """
    chosen = [name for name, word in filters.words.items() if word]
    others = {filters.without(name) for name in chosen} | ({RecordFilters()} if chosen else set())
    page, *read = await asyncio.gather(
        _page(visit, access, filters), *(_counts(visit, access, one) for one in others)
    )
    counts = {**dict(zip(others, read, strict=True)), filters: page}
    everything = counts[RecordFilters()]
    return RecordRead(
        page=page,
        everything=everything,
        kinds=counts[filters.without("kind")].kinds,
        institutions=counts[filters.without("institution")].institutions,
        years=counts[filters.without("year")].years,
        allergies=await _allergies(visit, access) if everything.kinds.get(Kind.ALLERGY) else (),
    )


def reader_of(visit: Visit, access: Access, known: Known, institution_names: Mapping[str, str]) -> Reader:
    """Return how entries of this record are written for this visitor."""
    return Reader(
        pack=visit.services.pack,
        language=visit.language,
        institution_names=institution_names,
        revealed=access.opening.revealed,
        person=access.person,
        path=access.path,
        mask=known.mask,
        zone=visit.services.zone,
        birth_date=known.summary.birth_date,
    )


async def _page(visit: Visit, access: Access, filters: RecordFilters) -> TimelinePage:
    size = visit.query.get("size", "")
    asked = int(size) if size.isascii() and size.isdigit() and len(size) < 5 else _PER_PAGE
    limit, before = min(max(asked, 1), _PAGE_MOST), visit.query.get("before") or None
    try:
        return await _timeline(visit, access, **filters.wanted, limit=limit, before=before)
    except SearchRefusedError:  # a place that is none: the page begins where it begins
        return await _timeline(visit, access, **filters.wanted, limit=limit)


async def _counts(visit: Visit, access: Access, filters: RecordFilters) -> TimelinePage:
    return await _timeline(visit, access, **filters.wanted, limit=1)


async def _allergies(visit: Visit, access: Access) -> tuple[TimelineEntry, ...]:
    found = await _timeline(visit, access, kinds=[Kind.ALLERGY], limit=_ALLERGIES_MOST)
    return found.entries


async def _timeline(visit: Visit, access: Access, **wanted: Any) -> TimelinePage:
    services = visit.services
    return await timeline(
        services.database,
        services.engine,
        grant=access.grant,
        pack=services.pack,
        rows=services.rows,
        persons=access.persons,
        now=visit.now,
        **wanted,
    )
