"""The simulated region put together, and what it sends month by month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from kangshu.simulation.blocks import Block
from kangshu.simulation.clinic import Clinic, clinic
from kangshu.simulation.examinations import examination_blocks
from kangshu.simulation.front_page import front_pages
from kangshu.simulation.inpatient import operation_block, stay_blocks
from kangshu.simulation.laboratory import laboratory_blocks, merge_orders, outpatient_orders, stay_orders
from kangshu.simulation.outpatient import visit_blocks
from kangshu.simulation.population import Population, build_population
from kangshu.simulation.region import Region, build_region
from kangshu.simulation.registries import (
    birthplaces,
    births,
    deaths,
    directories,
    immunizations,
    monthly_return,
    registration_stock,
    registrations,
)
from kangshu.simulation.stays import Stays, build_stays
from kangshu.simulation.streams import Ints, stream
from kangshu.simulation.visits import DAY, EPOCH, Visits, month_days, month_visits

GROUPS: tuple[frozenset[str], ...] = (
    frozenset({"outpatient_visit", "diagnosis", "prescription_item", "charge_item"}),
    frozenset(
        {
            "lab_report",
            "lab_result",
            "exam_report",
            "front_page",
            "operation",
            "birth",
            "death",
            "immunization",
            "resident",
            "institution_month",
            "division",
            "institution",
            "population",
        }
    ),
)
"""Data sets that one process writes; each takes about half of the time."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The region, its people and their stays over `months` months from `start`."""

    seed: int
    start: date
    months: int
    region: Region
    population: Population
    clinic: Clinic
    stays: Stays
    birthplaces: Ints

    @property
    def first_day(self) -> int:
        """The first day of the period, counted from 1970-01-01."""
        return (self.start - EPOCH).days


def build_world(*, residents: int, months: int, seed: int, start: date) -> World:
    """Return the world; the same arguments give the same one."""
    first, _ = month_days(start, 0)
    _, end = month_days(start, months - 1)
    region = build_region(residents=residents, seed=seed)
    population = build_population(region=region, residents=residents, seed=seed, start=first, end=end)
    tables = clinic()
    stays = build_stays(population=population, region=region, clinic=tables, seed=seed)
    return World(
        seed=seed,
        start=start.replace(day=1),
        months=months,
        region=region,
        population=population,
        clinic=tables,
        stays=stays,
        birthplaces=birthplaces(population, region, stays),
    )


def standing_blocks(world: World) -> Iterator[Block]:
    """Yield the blocks that belong to no month: directories, and who was registered before."""
    yield from directories(population=world.population, region=world.region, year=world.start.year - 1)
    yield registration_stock(population=world.population, region=world.region, seed=world.seed)


def month_blocks(world: World, month: int, wanted: frozenset[str]) -> Iterator[Block]:
    """Yield the blocks of the data sets `wanted` for the month number `month`.

    A data set may come in two blocks (visits and stays); each is ordered by institution.
    """
    first, after = month_days(world.start, month)
    visits = month_visits(
        population=world.population,
        region=world.region,
        clinic=world.clinic,
        seed=world.seed,
        month=month,
        first=first,
        after=after,
    )
    made = (
        block
        for blocks in (
            _of_visits(world, visits, wanted),
            _of_stays(world, month, first, after, wanted),
            _of_reports(world, month, visits, first, after, wanted),
            _of_registries(world, month, visits, first, after, wanted),
        )
        for block in blocks
    )
    for block in made:
        if block.dataset in wanted and len(block):
            yield block


def _of_visits(world: World, visits: Visits, wanted: frozenset[str]) -> Iterator[Block]:
    if wanted & GROUPS[0]:
        yield from visit_blocks(world.population, world.region, world.clinic, visits)


def _of_stays(world: World, month: int, first: int, after: int, wanted: frozenset[str]) -> Iterator[Block]:
    left = (world.stays.discharged >= first * DAY) & (world.stays.discharged < after * DAY)
    stays = world.stays.taken(np.flatnonzero(left))
    if wanted & {"diagnosis", "prescription_item", "charge_item"}:
        yield from stay_blocks(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            seed=world.seed,
            month=month,
            stays=stays,
        )
    if "front_page" in wanted:
        yield front_pages(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            seed=world.seed,
            stays=stays,
            label=month,
        )
    if "operation" in wanted:
        yield operation_block(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            stays=world.stays,
            first=first,
            after=after,
        )


def _of_reports(
    world: World, month: int, visits: Visits, first: int, after: int, wanted: frozenset[str]
) -> Iterator[Block]:
    near = (world.stays.admitted < after * DAY) & (world.stays.discharged >= first * DAY)
    stays = world.stays.taken(np.flatnonzero(near))
    if wanted & {"lab_report", "lab_result"}:
        random = stream(world.seed, "orders of stays", month)
        orders = merge_orders(
            outpatient_orders(visits), stay_orders(random, world.clinic, stays, first=first, after=after)
        )
        yield from laboratory_blocks(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            seed=world.seed,
            month=month,
            orders=orders,
            after=after,
        )
    if "exam_report" in wanted:
        yield from examination_blocks(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            seed=world.seed,
            month=month,
            visits=visits,
            stays=stays,
            first=first,
            after=after,
        )


def _of_registries(
    world: World, month: int, visits: Visits, first: int, after: int, wanted: frozenset[str]
) -> Iterator[Block]:
    population, region, seed = world.population, world.region, world.seed
    if "birth" in wanted:
        yield births(
            population=population,
            region=region,
            seed=seed,
            month=month,
            places=world.birthplaces,
            first=first,
            after=after,
        )
    if "death" in wanted:
        yield deaths(
            population=population,
            region=region,
            clinic=world.clinic,
            seed=seed,
            month=month,
            stays=world.stays,
            first=first,
            after=after,
        )
    if "immunization" in wanted:
        yield immunizations(
            population=population,
            region=region,
            seed=seed,
            month=month,
            places=world.birthplaces,
            first=first,
            after=after,
        )
    if "resident" in wanted:
        yield registrations(
            population=population, region=region, seed=seed, month=month, first=first, after=after
        )
    if "institution_month" in wanted:
        yield monthly_return(
            region=region,
            seed=seed,
            month=month,
            visits=visits,
            stays=world.stays,
            first=first,
            after=after,
        )
