"""The catalogue: how full each column is, from where and for what; every row here is made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from figures_world import (
    APRIL,
    CHARGE,
    MARCH,
    NOW,
    PACK,
    RETURN,
    STAY,
    Region,
    charge,
    monthly,
    said,
    stay,
)

from kangshu.declarations import (
    Dimension,
    Look,
    Measure,
    Privacy,
    Rule,
    Scope,
    Severity,
    load_pack,
)
from kangshu.intake import Examined, Share
from kangshu.lake import Engine, SegmentLostError, compact, count_rows
from kangshu.quality import record_file
from kangshu.quality.catalogue import (
    ColumnFigures,
    DatasetFigures,
    Lane,
    UseKind,
    add_up_fills,
    catalogue_of,
    column_figures,
    dataset_figures,
    forget_fills,
    list_source_files,
    list_sources,
    record_fill,
    refresh,
    search,
)
from kangshu.storage.database import Connection, Database

BASE = load_pack()
NOON = datetime(2026, 4, 5, 12, tzinfo=UTC)
LATER = datetime(2026, 4, 9, 12, tzinfo=UTC)
Run = Callable[[Callable[[Region], Awaitable[None]]], None]


@pytest.fixture
def region_run(database_run: Any, tmp_path: Path) -> Run:
    """Run a scenario with a region of its own."""

    def run(work: Callable[[Region], Awaitable[None]]) -> None:
        async def scenario(database: Database) -> None:
            with Engine(tmp_path / "home", threads=2, memory_mib=256) as engine:
                await work(Region(tmp_path / "home", database, engine))

        database_run(scenario)

    return run


async def fill(connection: Connection, file: int, accepted: int, filled: dict[str, int], **more: Any) -> None:
    told = {"dataset": "stay", "institution": "H1", "month": MARCH, "received_at": NOON} | more
    await record_fill(connection, file=file, accepted=accepted, filled=filled, **told)


async def figures(
    connection: Connection, *, institutions: list[str] | None = None
) -> dict[str, ColumnFigures]:
    found = await column_figures(connection, pack=PACK, datasets=["stay"], institutions=institutions)
    return {column: one for (_, column), one in found.items()}


# --- counted as files come in ---


@pytest.mark.database
def test_columns_are_as_full_as_their_files_together(database_run: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await fill(connection, 1, 10, {"stay_number": 10, "cost": 4})
            await fill(connection, 2, 30, {"stay_number": 30, "cost": 0}, received_at=LATER)
            await fill(connection, 3, 5, {"stay_number": 5, "cost": 5}, month=APRIL, institution="H2")

            found = await figures(connection)

            cost = found["cost"]
            assert (cost.rows, cost.filled, cost.rate) == (45, 9, 0.2)
            assert [(one.month, one.rows, one.filled) for one in cost.months] == [
                (MARCH, 40, 4),
                (APRIL, 5, 5),
            ]
            assert (cost.last_arrival, found["stay_number"].last_arrival) == (NOON, LATER)
            assert (found["diagnoses"].rows, found["diagnoses"].rate) == (45, 0), "no file had it"
            total = (await dataset_figures(connection, pack=PACK))["stay"]
            assert (total.rows, total.files, total.institutions) == (45, 3, 2)
            assert total.rate == pytest.approx((45 + 9) / (45 * 4))

    database_run(scenario)


@pytest.mark.database
def test_what_is_asked_is_the_same_before_and_after_adding_up(database_run: Any):
    async def scenario(database: Database) -> None:
        chance = Random(5)
        standing: dict[int, tuple[int, int]] = {}
        for file in range(1, 40):
            replaces = [chance.choice(list(standing))] if standing and chance.random() < 0.4 else []
            for old in replaces:
                del standing[old]
            rows = chance.randint(0, 100)
            standing[file] = rows, chance.randint(0, rows)
            async with database.transaction() as connection:
                await fill(
                    connection,
                    file,
                    rows,
                    {"cost": standing[file][1]},
                    institution=f"H{file % 3}",
                    month=chance.choice([MARCH, APRIL]),
                    replaces=replaces,
                )
            if chance.random() < 0.2:
                await add_up_fills(database)
        async with database.connection() as connection:
            before = await figures(connection), await dataset_figures(connection, pack=PACK)
        await add_up_fills(database)
        async with database.connection() as connection:
            after = await figures(connection), await dataset_figures(connection, pack=PACK)
            parts = [await figures(connection, institutions=[f"H{number}"]) for number in range(3)]

        assert before == after
        cost = after[0]["cost"]
        assert (cost.rows, cost.filled) == tuple(map(sum, zip(*standing.values(), strict=True)))
        assert after[1]["stay"].files == len(standing)
        assert sum(part["cost"].rows for part in parts) == cost.rows
        assert sum(part["cost"].filled for part in parts) == cost.filled

    database_run(scenario)


@pytest.mark.database
def test_a_superseded_file_is_taken_out_and_a_file_said_twice_counts_once(database_run: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await fill(connection, 1, 10, {"cost": 10})
            await fill(connection, 2, 8, {"cost": 6}, replaces=[1])
            await fill(connection, 2, 8, {"cost": 7})
            assert (await figures(connection))["cost"].filled == 7
            await forget_fills(connection, files=[2])
            assert (await figures(connection))["cost"] == ColumnFigures()
            assert (await dataset_figures(connection, pack=PACK))["stay"].files == 0

    database_run(scenario)


@pytest.mark.database
def test_more_values_than_rows_are_refused(database_run: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            for accepted, count in ((3, 4), (3, -1), (-1, 0)):
                with pytest.raises(ValueError, match="at most as many"):
                    await fill(connection, 1, accepted, {"cost": count})

    database_run(scenario)


@pytest.mark.database
def test_sources_tell_who_gave_how_much_of_a_column(database_run: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await fill(connection, 1, 10, {"stay_number": 10, "cost": 4})
            await fill(connection, 2, 20, {"stay_number": 20}, institution="H2")
            await fill(connection, 3, 5, {"cost": 5}, received_at=LATER)

            whole = await list_sources(connection, dataset="stay")
            column = await list_sources(connection, dataset="stay", column="cost")
            own = await list_sources(connection, dataset="stay", institutions=["H1"])
            files = await list_source_files(connection, dataset="stay", column="cost", limit=2)

            assert [(one.institution, one.files, one.rows, one.filled) for one in whole] == [
                ("H2", 1, 20, None),
                ("H1", 2, 15, None),
            ]
            assert [(one.institution, one.filled, one.last_arrival) for one in column] == [
                ("H2", 0, None),
                ("H1", 9, LATER),
            ]
            assert [one.institution for one in own] == ["H1"]
            assert [(one.file, one.rows, one.filled) for one in files] == [(3, 5, 5), (2, 20, 0)]

    database_run(scenario)


# --- counted in the lake ---


@pytest.mark.database
def test_a_refresh_counts_what_stands_in_the_lake(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A"), stay("B"), {**stay("B"), "cost": None}])
        await region.put(STAY, [stay("C", day="2026-04-01")], institution="H2", period="2026-04")
        await region.tell(STAY, {"Encounter/1": stay("D"), "Encounter/2": {**stay("E"), "diagnoses": None}})
        await region.put(RETURN, [monthly(3)])

        done = await refresh(region.database, region.engine, pack=PACK, now=NOW)

        assert {one.dataset: (one.files_added, one.message_rows) for one in done} == {
            "stay": (2, 2),
            "charge": (0, 0),
            "monthly": (1, 0),
        }
        async with region.database.connection() as connection:
            found = await figures(connection)
            assert found["cost"].rows == (await count_rows(connection))["stay"] == 6
            assert (found["cost"].filled, found["diagnoses"].filled) == (5, 5)
            assert (found["stay_number"].different, found["diagnoses"].different) == (5, 1)
            assert found["stay_number"].is_exact
            assert found["cost"].last_arrival is not None, "the last message's"
            total = (await dataset_figures(connection, pack=PACK))["stay"]
            assert (total.rows, total.message_rows, total.files, total.institutions) == (6, 2, 2, 2)
            assert total.refreshed_at == NOW

    region_run(scenario)


@pytest.mark.database
def test_a_refresh_agrees_with_what_was_counted_on_arrival(region_run: Run):
    async def scenario(region: Region) -> None:
        file = await region.put(STAY, [stay("A"), {**stay("B"), "cost": None}])
        async with region.database.transaction() as connection:
            await fill(connection, file, 2, {"stay_number": 2, "discharged_at": 2, "cost": 1, "diagnoses": 2})
            before = await figures(connection)

        done = await refresh(region.database, region.engine, pack=PACK, now=NOW, datasets=["stay"])

        assert (done[0].files_added, done[0].files_removed) == (0, 0)
        async with region.database.connection() as connection:
            after = await figures(connection)
        assert {name: replace(one, different=None) for name, one in after.items()} == before

    region_run(scenario)


@pytest.mark.database
def test_a_refresh_sets_right_what_does_not_stand(region_run: Run):
    async def scenario(region: Region) -> None:
        old = await region.put(STAY, [stay("A")])
        await refresh(region.database, region.engine, pack=PACK, now=NOW)
        new = await region.put(STAY, [stay("A"), stay("B")], replaces=old)

        await refresh(region.database, region.engine, pack=PACK, now=NOW)

        async with region.database.connection() as connection:
            files = await list_source_files(connection, dataset="stay", column="cost")
            assert [(one.file, one.rows) for one in files] == [(new, 2)]

    region_run(scenario)


@pytest.mark.database
def test_corrected_and_withdrawn_messages_count_as_they_are_now(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.tell(STAY, {"Encounter/1": stay("A"), "Encounter/2": stay("B")})
        await refresh(region.database, region.engine, pack=PACK, now=NOW)
        await region.tell(STAY, {"Encounter/1": {**stay("A"), "cost": None}, "Encounter/2": None})
        await refresh(region.database, region.engine, pack=PACK, now=NOW)

        async with region.database.connection() as connection:
            cost = (await figures(connection))["cost"]
            assert (cost.rows, cost.filled) == (1, 0)

    region_run(scenario)


@pytest.mark.database
def test_nothing_new_in_the_lake_needs_no_second_look(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])
        await refresh(region.database, region.engine, pack=PACK, now=NOW)
        await region.put(STAY, [stay("B")])
        await refresh(region.database, region.engine, pack=PACK, now=NOW)
        await region.put(CHARGE, [charge("A")])
        await compact(region.database, region.engine, dataset="stay")

        done = await refresh(region.database, region.engine, pack=PACK, now=NOW)
        forced = await refresh(
            region.database, region.engine, pack=PACK, now=NOW, datasets=["stay"], force=True
        )

        assert {one.dataset: one.skipped for one in done} == {
            "stay": True,
            "charge": False,
            "monthly": True,
        }
        assert [one.skipped for one in forced] == [False]

    region_run(scenario)


class Failing:
    """An engine whose lake lost a data set on the way."""

    def __init__(self, engine: Engine, *, lost: str) -> None:
        self._engine, self._lost = engine, lost
        self.name = engine.name

    def table_sql(self, **more: Any) -> str:
        return self._engine.table_sql(**more)

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        if self._lost in sql and "approx_count_distinct" in sql:
            raise SegmentLostError(said("lost"))
        return self._engine.query(sql, functions=functions)


@pytest.mark.database
def test_a_refresh_that_dies_half_way_leaves_what_was_done_and_is_done_again(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A"), stay("B")])
        await region.put(CHARGE, [charge("A")])
        await region.tell(STAY, {"Encounter/1": stay("C")})
        failing = Failing(region.engine, lost="stay_number")

        with pytest.raises(SegmentLostError):
            await refresh(region.database, failing, pack=PACK, now=NOW)

        async with region.database.connection() as connection:
            totals = await dataset_figures(connection, pack=PACK)
            assert (totals["stay"].rows, totals["stay"].refreshed_at) == (0, None), "wholly or not at all"
            assert totals["monthly"].refreshed_at == NOW, "one that fails does not keep the others"
        await refresh(region.database, region.engine, pack=PACK, now=NOW)
        async with region.database.connection() as connection:
            assert (await figures(connection))["cost"].rows == 3

    region_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize("seed", range(4))
def test_laws_of_fill(region_run: Run, seed: int):
    """0 <= filled <= rows; a file more is its rows more; all institutions together are the region."""

    async def scenario(region: Region) -> None:
        chance, expected = Random(seed), Counter[str]()
        for _ in range(6):
            name = chance.choice(["H1", "H2"])
            rows = [
                {**stay(f"{chance.randint(1, 5)}"), "cost": chance.choice([None, 1])}
                for _ in range(chance.randint(1, 9))
            ]
            before = expected.total()
            await region.put(STAY, rows, institution=name)
            expected[name] += len(rows)
            await refresh(region.database, region.engine, pack=PACK, now=NOW)
            async with region.database.connection() as connection:
                found = await figures(connection)
                parts = [await figures(connection, institutions=[one]) for one in ("H1", "H2")]
            for column, whole in found.items():
                assert whole.rows == expected.total() == before + len(rows)
                assert 0 <= whole.filled <= whole.rows
                assert 0 <= (whole.rate or 0) <= 1
                assert 0 <= (whole.different or 0) <= whole.filled
                assert sum(month.rows for month in whole.months) == whole.rows
                assert sum(month.filled for month in whole.months) == whole.filled
                assert sum(part[column].filled for part in parts) == whole.filled

    region_run(scenario)


# --- declared ---


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("discharged_at", ("front_page", "discharged_at")),
        ("A11", ("front_page", "patient_name")),
        ("出院时间", ("front_page", "discharged_at")),
        ("检验结果数值", ("lab_result", "value_number")),
        ("RESIDENT number", ("birth", "resident_number")),
    ],
)
def test_a_column_is_found_by_name_title_or_code_in_either_language(text: str, first: tuple[str, str]):
    assert catalogue_of(BASE).find(text=text)[0].key == first


def test_all_words_must_be_said_of_a_column_and_its_data_set():
    catalogue = catalogue_of(BASE)

    assert {one.dataset.name for one in catalogue.find(text="检验 sex")} <= {"lab_report", "lab_result"}
    assert catalogue.find(text="no such thing at all") == []
    assert len(catalogue.find()) == sum(len(one.fields) for one in BASE.datasets.values())


def test_facets_narrow_what_is_found():
    catalogue = catalogue_of(BASE)

    direct = catalogue.find(privacy=Privacy.DIRECT, category="clinical")

    assert direct
    assert {one.field.privacy for one in direct} == {Privacy.DIRECT}
    assert {one.dataset.category for one in direct} == {"clinical"}
    assert {one.dataset.name for one in catalogue.find(datasets=["birth"])} == {"birth"}


@pytest.mark.parametrize("text", ["%", "'; DROP", "\\", "(", "a" * 10_000, " ".join("abcdefghijkl"), "\0"])
def test_whatever_is_typed_is_only_looked_for(text: str):
    assert isinstance(catalogue_of(BASE).find(text=text), list)


def test_a_result_is_fed_by_files_and_by_each_kind_of_message():
    column = catalogue_of(BASE).find_column(dataset="lab_result", column="value_number")
    assert column

    places = {(feed.lane, feed.place) for feed in column.feeds}

    assert {
        (Lane.FILE, "检验结果数值"),
        (Lane.HL7V2, "OBX-5"),
        (Lane.CDA, "DE04.30.015.00 · laboratory-item"),
    } <= places
    assert any(lane is Lane.FHIR for lane, _ in places)
    assert len(column.feeds) == len(places), "each place once"


def test_a_unit_has_a_field_of_its_own_and_an_end_is_no_beginning():
    catalogue = catalogue_of(BASE)

    def fields(dataset: str, column: str) -> set[str]:
        found = catalogue.find_column(dataset=dataset, column=column)
        assert found
        return {feed.place for feed in found.feeds if feed.lane is Lane.HL7V2}

    assert "OBX-6" in fields("lab_result", "unit")
    assert "OBX-6" not in fields("lab_result", "value_number")
    assert "PV1-45" in fields("front_page", "discharged_at")
    assert "PV1-44" not in fields("front_page", "discharged_at")


def test_who_a_row_is_about_comes_from_the_patient():
    column = catalogue_of(BASE).find_column(dataset="lab_result", column="birth_date")
    assert column

    assert ("hl7v2", "PID-7") in {(feed.lane, feed.place) for feed in column.feeds}


def test_a_data_set_without_messages_is_fed_by_files_alone():
    columns = catalogue_of(BASE).columns("institution_month")

    assert columns
    assert {feed.lane for column in columns for feed in column.feeds} == {Lane.FILE}


def test_uses_are_read_off_the_declarations():
    def rule(id: str, **more: Any) -> Rule:  # noqa: A002 - as the declaration calls it
        told = {"scope": Scope.ROW, "fields": (), "sql": ""} | more
        return Rule(
            id=id, severity=Severity.ERROR, dimension=Dimension.VALIDITY, message=said("mend it"), **told
        )

    stays = replace(
        STAY,
        key=("stay_number",),
        rules=(
            rule("R1", sql="cost > 0 AND 'discharged_at' <> ''"),
            rule(
                "R2",
                scope=Scope.REGION,
                sql="billed.rows > 0",
                looks=(
                    Look(
                        name="billed",
                        dataset="charge",
                        on=(("stay_number", "stay_number"),),
                        take=(("low", "min(amount)"),),
                        where="charged_at > here.discharged_at",
                    ),
                ),
            ),
        ),
        measures=(Measure(name="m", title=said("m"), sql="count(diagnoses)"),),
    )
    catalogue = catalogue_of(replace(PACK, datasets={**PACK.datasets, "stay": stays}))

    def uses(dataset: str, column: str) -> set[tuple[UseKind, str]]:
        found = catalogue.find_column(dataset=dataset, column=column)
        assert found
        return {(use.kind, use.id) for use in found.uses}

    assert uses("stay", "stay_number") == {
        (UseKind.KEY, ""),
        (UseKind.RULE, "R2"),
        (UseKind.RECONCILIATION, "RC2"),
    }
    assert uses("stay", "cost") == {(UseKind.RULE, "R1"), (UseKind.RECONCILIATION, "RC2")}
    assert uses("stay", "diagnoses") == {(UseKind.MEASURE, "m")}
    assert uses("stay", "discharged_at") == {
        (UseKind.EVENT_TIME, ""),
        (UseKind.RULE, "R2"),
        (UseKind.RECONCILIATION, "RC1"),
        (UseKind.RECONCILIATION, "RC2"),
    }
    assert uses("charge", "amount") == {(UseKind.LOOK, "R2"), (UseKind.RECONCILIATION, "RC2")}
    assert (UseKind.LOOK, "R2") in uses("charge", "charged_at")
    assert uses("monthly", "discharges") == {(UseKind.RECONCILIATION, "RC1")}


@pytest.mark.database
def test_a_search_answers_columns_with_their_figures(database_run: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await fill(connection, 1, 10, {"stay_number": 10, "cost": 4})

            count, entries = await search(connection, pack=PACK, text="cost")
            _, nothing = await search(connection, pack=PACK, text="cost", institutions=["H9"])
            total, page = await search(connection, pack=PACK, offset=2, limit=3)

            assert (count, [(one.column.key, one.figures.filled) for one in entries]) == (
                1,
                [(("stay", "cost"), 4)],
            )
            assert nothing[0].figures.rows == 0
            assert (total, len(page)) == (9, 3)

    database_run(scenario)


@pytest.mark.database
def test_a_file_none_of_whose_rows_passed_is_no_source(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")], institution="H2")
        async with region.database.transaction() as connection:
            await fill(connection, 77, 0, {"cost": 0})
        await refresh(region.database, region.engine, pack=PACK, now=NOW)

        async with region.database.connection() as connection:
            assert [one.institution for one in await list_sources(connection, dataset="stay")] == ["H2"]
            column = await list_sources(connection, dataset="stay", column="cost")
            assert [one.institution for one in column] == ["H2"]
            assert (await dataset_figures(connection, pack=PACK))["stay"].files == 1

    region_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize("whole_period", [True, False])
def test_a_file_counted_as_a_whole_is_told_apart_by_the_next_refresh(region_run: Run, whole_period: bool):
    """The rows of a file for one month count for it; those of a longer one for their own months."""

    async def scenario(region: Region) -> None:
        rows = [stay("A"), {**stay("B", day="2026-04-02"), "cost": None}, {**stay("C"), "_at": None}]
        file = await region.put(STAY, rows, institutions=["H1", "H2", "H2"])
        shares = [
            Share(institution="H1", month=MARCH, rows=1, rejected=0),
            Share(institution="H2", month=MARCH if whole_period else APRIL, rows=2, rejected=0),
        ]
        full = {"stay_number": 3, "discharged_at": 3, "cost": 2, "diagnoses": 3}
        async with region.database.transaction() as connection:
            await record_file(
                connection,
                file=file,
                dataset=STAY,
                examined=Examined(shares=tuple(shares), findings=(), filled=full),
                received_at=NOON,
            )
            await fill(connection, file, 3, full, institution="CENTRE", month=APRIL)

        first = await refresh(region.database, region.engine, pack=PACK, now=NOW, datasets=["stay"])
        again = await refresh(region.database, region.engine, pack=PACK, now=NOW, datasets=["stay"])

        assert [one.skipped for one in (*first, *again)] == [False, True]
        async with region.database.connection() as connection:
            cost = (await figures(connection))["cost"]
            sources = await list_sources(connection, dataset="stay", column="cost")
        own = {MARCH: (3, 2)} if whole_period else {MARCH: (1, 1), APRIL: (2, 1)}
        assert {one.month: (one.rows, one.filled) for one in cost.months} == own
        assert [(one.institution, one.rows, one.filled) for one in sources] == [("H2", 2, 1), ("H1", 1, 1)]
        assert cost.last_arrival == NOON
        assert [one.files for one in sources] == [1, 1], "each has it"
        assert (await _total(region)).files == 1, "it is one file"

    region_run(scenario)


async def _total(region: Region) -> DatasetFigures:
    async with region.database.connection() as connection:
        return (await dataset_figures(connection, pack=PACK))["stay"]


@pytest.mark.database
def test_more_values_than_memory_should_hold_are_estimated(region_run: Run, monkeypatch: pytest.MonkeyPatch):
    async def scenario(region: Region) -> None:
        monkeypatch.setattr("kangshu.quality.catalogue.operations.FEW", 20)
        await region.put(STAY, [stay(f"S{number}") for number in range(300)])

        await refresh(region.database, region.engine, pack=PACK, now=NOW)

        async with region.database.connection() as connection:
            found = await figures(connection)
        number, cost = found["stay_number"], found["cost"]
        assert (cost.different, cost.is_exact, number.is_exact) == (1, True, False)
        assert 100 < (number.different or 0) <= 300

    region_run(scenario)
