"""The lake that benchmarks read holds what it says."""

from __future__ import annotations

import pytest
from lake_samples import PACK, VISIT

from kangshu.lake import build_sample_lake, live_segments, person_rows

pytestmark = pytest.mark.database


def test_a_sample_lake_has_so_many_rows_about_each_person(database_run, lake):
    async def scenario(database):
        rows = await build_sample_lake(
            database, lake.engine, pack=PACK, persons=300, rows_a_person={"visit": 20}
        )
        async with database.connection() as connection:
            segments = await live_segments(connection)
        pages = [
            await person_rows(database, lake.engine, pack=PACK, persons=[person]) for person in (1, 150, 300)
        ]
        return rows, segments, pages

    rows, segments, pages = database_run(scenario)

    assert (rows, len(segments)) == (6000, 2)
    assert [page.total for page in pages] == [20, 20, 20]
    assert set(pages[0].rows[0].values) == {field.name for field in VISIT.fields}
    assert len(pages[0].institutions) > 5
