"""The region's rows without files, for those who put them straight into a lake, with the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from kangshu.declarations import Pack
from kangshu.simulation.anomalies import SHARE, plan_anomalies
from kangshu.simulation.blocks import Block
from kangshu.simulation.columns import one_array
from kangshu.simulation.distortion import Distortion
from kangshu.simulation.injection import Faulty, inject
from kangshu.simulation.operations import month_labels
from kangshu.simulation.streams import stream
from kangshu.simulation.styles import Senders, field_of
from kangshu.simulation.truth import AnomalyRows
from kangshu.simulation.visits import EPOCH, month_days
from kangshu.simulation.world import GROUPS, World, build_world, month_blocks, standing_blocks


@dataclass(frozen=True, kw_only=True)
class RegionRows:
    """Rows of a data set of one month; `columns` gives for each field its columns in `table`, one a repeat.

    `institutions` and `persons` say whose each row is (-1: nobody's); `errors` has row (position), field,
    kind, rule and outcome of what was put in.
    """

    dataset: str
    month: date
    table: pa.Table
    columns: dict[str, list[str]]
    institutions: pa.Array
    persons: pa.Array
    errors: pa.Table


class RegionWithoutFiles:
    """A simulated region that is asked for its rows; the same arguments give the same ones."""

    def __init__(
        self,
        *,
        residents: int,
        months: int,
        seed: int,
        pack: Pack,
        start: date,
        anomalies: float = SHARE,
        errors: bool = True,
    ) -> None:
        self._pack = pack
        self._seed = seed
        self._errors = errors
        self._world = build_world(residents=residents, months=months, seed=seed, start=start)
        self._senders = Senders.of(self._world.region)
        plan = plan_anomalies(region=self._world.region, months=months, seed=seed, share=anomalies)
        self._distortion = Distortion(plan, stays=self._world.stays, start=self._world.start, seed=seed)

    @property
    def directory(self) -> pa.Table:
        """The list of institutions, as the centre sends it."""
        blocks = {block.dataset: block for block in _directories(self._world)}
        return pa.table(dict(blocks["institution"].columns))

    def rows(self) -> Iterator[RegionRows]:
        """Yield all rows, month by month; a data set may come twice in a month."""
        wanted = frozenset(self._pack.datasets)
        for month in range(self._world.months):
            first, _ = month_days(self._world.start, month)
            day = date.fromordinal(EPOCH.toordinal() + first)
            for group in GROUPS:
                for number, block in enumerate(month_blocks(self._world, month, group & wanted)):
                    changed = self._distortion.apply(block, month=month)
                    if len(changed):
                        yield self._told(self._faulty(changed, month, number), day)

    def anomalies(self) -> list[AnomalyRows]:
        """Return what is wrong with whole months, once `rows` have been asked for to the end."""
        labels = month_labels(self._world.start, self._world.months)
        codes = self._world.region.institutions.codes
        return sorted(
            AnomalyRows(
                institution=codes[done.institution],
                dataset=done.dataset,
                month=labels[done.month],
                kind=done.kind,
                rows=done.rows,
                of=done.of,
                detail=done.detail,
            )
            for done in self._distortion.close()
            if done.rows
        )

    def _faulty(self, block: Block, month: int, number: int) -> Faulty:
        return inject(
            block=block,
            pack=self._pack,
            population=self._world.population,
            random=stream(self._seed, "errors", block.dataset, month, number),
            rates=self._senders.rates * self._errors,
            dots=self._senders.dots * self._errors,
            legacy=self._senders.legacy & self._errors,
            ragged_ok=self._senders.text,
        )

    def _told(self, faulty: Faulty, month: date) -> RegionRows:
        block = faulty.block
        columns: dict[str, list[str]] = {}
        for column in block.columns:
            columns.setdefault(field_of(column)[0], []).append(column)
        return RegionRows(
            dataset=block.dataset,
            month=month,
            table=pa.table({name: one_array(column) for name, column in block.columns.items()}),
            columns=columns,
            institutions=self._world.region.institution_codes.take(
                pa.array(np.asarray(block.institutions, dtype=np.int64))
            ),
            persons=pa.array(np.asarray(block.persons, dtype=np.int64)),
            errors=pa.table(
                {
                    "row": pa.array(np.asarray(faulty.errors.rows, dtype=np.int64)),
                    "field": pa.array(faulty.errors.fields, pa.string()),
                    "kind": pa.array(faulty.errors.kinds, pa.string()),
                    "rule": pa.array(faulty.errors.rules, pa.string()),
                    "outcome": pa.array(faulty.errors.outcomes, pa.string()),
                }
            ),
        )


def _directories(world: World) -> Iterator[Block]:
    return (block for block in standing_blocks(world) if block.dataset != "resident")
