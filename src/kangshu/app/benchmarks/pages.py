"""How long a person's page takes, out of a lake of many millions of rows."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.app.benchmarks.lanes import LAB_COLUMNS, take_one, write_residents
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.surroundings import Watch, elsewhere, fresh_folder, fresh_platform, machine
from kangshu.app.benchmarks.visitor import Visitor
from kangshu.app.memory import spare_collector
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform
from kangshu.app.serving import build_app
from kangshu.app.whereabouts import LakeWhereabouts
from kangshu.consent import Purpose, grant_read
from kangshu.declarations import Dataset, Field, FieldType, Role
from kangshu.kernel.periods import Period
from kangshu.lake import (
    SegmentFile,
    SegmentWriter,
    commit_file,
    lake_schema,
    live_segments,
    new_segment_path,
)
from kangshu.records import timeline
from kangshu.security import operations as security
from kangshu.security.principals import Principal, PrincipalKind, Reach
from kangshu.security.principals import Role as StaffRole
from kangshu.security.tokens import form_token
from kangshu.simulation import write_lab_results

_ROWS_EACH = 500
"""Of every person: so many rows of each data set, the second number of them in files that came lately."""
_DATASETS = {
    "lab_result": (260, 13),
    "charge_item": (140, 7),
    "prescription_item": (80, 4),
    "outpatient_visit": (20, 1),
}
_RECENT_FILES = 7  # of each data set: one more and the lake would merge them
_SEGMENT_ROWS = 1 << 17  # as the merge of so wide a data set cuts them
_INSTITUTIONS = 200
_ROWS_FROM_ONE = 25  # so that a person's rows are from twenty institutions
_VOCABULARY = 400  # different values of a column
_FIRST_FILE = 1_000_000  # numbers of files that no receipt has
_LOOKS, _WARM_UP = 200, 5  # of either kind
_RESULTS_PER_PERSON = 9  # of a laboratory file that tells about nearly everybody
_PERIOD = Period.parse("2023..2025")
_THREE_YEARS_S = 3 * 365 * 86_400
_START = np.datetime64("2023-01-01T00:00:00", "s")


async def person_page(size: int, stage: Stage) -> Measurement:
    """Open the pages of persons with 500 rows, as a doctor does, out of a lake of `size` rows."""
    with fresh_folder() as folder:
        residents = folder / "resident.parquet"
        stage("residents")
        await elsewhere(_write_persons, residents, persons=max(size // _ROWS_EACH, 4 * _WARM_UP))
        async with fresh_platform(folder) as platform:
            await take_one(platform, residents)
            persons = await persons_of(platform)
            segments = await _fill(platform, persons, stage)
            stage("pages")
            order = np.random.default_rng(2).permutation(persons).tolist()
            share = min(_WARM_UP + _LOOKS, len(order) // 2)
            with Watch(platform.home) as watch:
                reads = await _read(platform, order[:share])
                times, page_bytes = await _look(platform, order[share : 2 * share])
    assert watch.use is not None, "the watch has ended"
    found = percentiles(times)
    return Measurement(
        value=found["p95"],
        unit="ms",
        **found,
        peak_mib=watch.use.peak_mib,
        conditions={
            "rows": len(persons) * _ROWS_EACH,
            "rows_of_a_person": _ROWS_EACH,
            "persons": len(persons),
            "data_sets": len(_DATASETS),
            "institutions_of_a_person": _ROWS_EACH // _ROWS_FROM_ONE,
            "segments": segments,
            "pages": len(times),
            **{f"grant_audit_rows_{name}_ms": value for name, value in percentiles(reads).items()},
            "page": "500 rows; one page after the other, each person for the first time; session, grant, "
            "audit committed, rows read, HTML made; no network; a doctor who reaches over the region",
            "html_kib": round(page_bytes / 1024),
            "server_peak_mib": watch.use.server_peak_mib,
            "cache": "files in the cache of the operating system",
            **machine(),
        },
    )


def _write_persons(target: Path, *, persons: int) -> None:
    raw = target.with_suffix(".csv")
    write_lab_results(raw, rows=persons * _RESULTS_PER_PERSON, persons=persons)
    write_residents(raw, target, columns=LAB_COLUMNS)
    raw.unlink()


async def persons_of(platform: Platform) -> npt.NDArray[np.int64]:
    """Return the numbers of the persons who were registered, in order."""
    async with platform.database.connection() as connection:
        segments = await live_segments(connection, dataset="resident")
    found = [
        pq.read_table(platform.engine.lake / segment.path, columns=["_person"])["_person"]
        .drop_null()
        .to_numpy()
        for segment in segments
    ]
    return np.unique(np.concatenate(found))


async def _fill(platform: Platform, persons: npt.NDArray[np.int64], stage: Stage) -> int:
    """Put every person's rows into the lake: a merged run for each data set, and files that came lately."""
    made = 0
    for number, (name, (each, recent)) in enumerate(_DATASETS.items()):
        rows = _Rows(platform.home, platform.pack.datasets[name], persons)
        stage(f"{len(persons) * each:,} rows of {name}")
        merged = await asyncio.to_thread(rows.write_run, each - recent)
        files = [merged]
        for part in range(_RECENT_FILES):
            files.append(await asyncio.to_thread(rows.write_file, part, recent))
        for place, segments in enumerate(files):
            async with platform.database.transaction() as connection:
                await commit_file(
                    connection,
                    file_id=_FIRST_FILE + number * 100 + place,
                    dataset=name,
                    institution=_code(place),
                    period=_PERIOD,
                    segments=segments,
                )
            made += len(segments)
    return made


@dataclass(frozen=True)
class _Rows:
    """Writes rows of one data set about `persons`; what is not about who, where and when repeats."""

    home: Path
    dataset: Dataset
    persons: npt.NDArray[np.int64]

    def write_run(self, each: int) -> list[SegmentFile]:
        """Write so many rows of each person in the order of persons, cut into segments."""
        total = len(self.persons) * each
        template = self._template(min(total, _SEGMENT_ROWS))

        def write(start: int) -> SegmentFile:
            flat = np.arange(start, min(start + _SEGMENT_ROWS, total))
            return self._write(template, self.persons[flat // each], flat, presorted=True)

        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(write, range(0, total, _SEGMENT_ROWS)))

    def write_file(self, part: int, each: int) -> list[SegmentFile]:
        """Write rows of every seventh person as a file that just came, in no order of persons."""
        chosen = np.repeat(self.persons[part::_RECENT_FILES], each)
        if not len(chosen):
            return []
        random = np.random.default_rng(part)
        return [self._write(self._template(len(chosen)), random.permutation(chosen), np.arange(len(chosen)))]

    def _write(
        self,
        template: pa.Table,
        persons: npt.NDArray[np.int64],
        flat: npt.NDArray[np.int64],
        *,
        presorted: bool = False,
    ) -> SegmentFile:
        schema = lake_schema(self.dataset)
        with SegmentWriter(
            new_segment_path(home=self.home, dataset=self.dataset.name), schema, presorted=presorted
        ) as writer:
            writer.write(self._placed(template.slice(0, len(flat)), persons, flat).select(schema.names))
            return writer.close()

    def _placed(
        self, table: pa.Table, persons: npt.NDArray[np.int64], flat: npt.NDArray[np.int64]
    ) -> pa.Table:
        moments = _START + (_mixed(flat + persons * 977) % _THREE_YEARS_S).astype("timedelta64[s]")
        at = pa.array(moments.astype("datetime64[us]"))
        codes = pa.array([_code(number) for number in range(_INSTITUTIONS)])
        where = codes.take(pa.array((persons * 13 + flat // _ROWS_FROM_ONE) % _INSTITUTIONS))
        ours = {
            "_file": pa.array(np.full(len(flat), _FIRST_FILE)),
            "_row": pa.array(flat),
            "_person": pa.array(persons),
            "_institution": where,
            "_at": at,
            "institution_code": where,
            self.dataset.event_time or "_at": at,
        }
        for name, column in ours.items():
            place = table.column_names.index(name)
            table = table.set_column(place, name, column)
        return table

    def _template(self, rows: int) -> pa.Table:
        schema = lake_schema(self.dataset)
        fields = {field.name: field for field in self.dataset.fields}
        columns = [
            _values(fields[one.name], one.type, rows) if one.name in fields else pa.nulls(rows, one.type)
            for one in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)


def _values(field: Field, kind: pa.DataType, rows: int) -> pa.Array:
    """Return a column that looks like the field's: values of a small vocabulary, in any order."""
    if field.role in (Role.RESIDENT_NUMBER, Role.DOCUMENT_TYPE, Role.DOCUMENT_NUMBER):
        return pa.nulls(rows, kind)
    if field.type is FieldType.STRING:
        words = [f"{field.title.zh}{number}"[: field.length or 40] for number in range(_VOCABULARY)]
        vocabulary = pa.array(["1"] if field.value_set else words, pa.string())
    elif field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        vocabulary = pa.array([Decimal(number) for number in range(1, 10)]).cast(kind)
    else:
        vocabulary = pa.array([0], pa.int64()).cast(pa.timestamp("s")).cast(kind)
    return vocabulary.take(pa.array(_mixed(np.arange(rows) + len(field.name)) % len(vocabulary)))


async def _look(platform: Platform, persons: Sequence[int]) -> tuple[list[float], int]:
    """Open one page after the other; return the milliseconds of each and the bytes of the last."""
    visitor = await signed_in(platform)
    token = form_token(platform.keys, session_token=visitor.cookie("kangshu_session"))
    times: list[float] = []
    last = 0
    for person in persons:
        opened = await visitor.post(
            f"/console/persons/{person}/open", {"purpose": "treatment", "csrf": token}
        )
        assert opened.status == 303, "a stated purpose leads to the record"
        started = time.perf_counter()
        page = await visitor.get(f"/console/persons/{person}", {"size": _ROWS_EACH})
        times.append((time.perf_counter() - started) * 1000)
        assert page.status == 200, "the record is open to this doctor"
        last = len(page.body)
    return times[_WARM_UP:], last


async def _read(platform: Platform, persons: Sequence[int]) -> list[float]:
    """Do what the page does short of making it: grant, audit, rows; return the milliseconds of each."""
    doctor = Principal(
        id="staff:doctor",
        name="doctor",
        kind=PrincipalKind.STAFF,
        roles=frozenset({StaffRole.CLINICIAN}),
        reaches=(Reach.region(),),
    )
    rows = open_lane(platform).tools.rows
    times: list[float] = []
    for person in persons:
        started = time.perf_counter()
        async with platform.database.connection() as connection:
            grant = await grant_read(
                connection,
                principal=doctor,
                person=person,
                purpose=Purpose.TREATMENT,
                now=platform.clock.now(),
                whereabouts=LakeWhereabouts(platform),
            )
        found = await timeline(
            platform.database,
            platform.engine,
            grant=grant,
            pack=platform.pack,
            rows=rows,
            persons=[person],
            now=platform.clock.now(),
            limit=_ROWS_EACH,
        )
        times.append((time.perf_counter() - started) * 1000)
        assert len(found.entries) == _ROWS_EACH, "every person has so many rows"
    return times[_WARM_UP:]


async def signed_in(platform: Platform) -> Visitor:
    """Return a doctor at the console."""
    password = f"Ks-{secrets.token_urlsafe(12)}-1"
    async with platform.database.transaction() as connection:
        await security.create_account(
            connection,
            name="doctor",
            title="benchmark",
            password=password,
            roles=[StaffRole.CLINICIAN],
            reaches=[Reach.region()],
            now=platform.clock.now(),
        )
    visitor = Visitor(build_app(platform))
    spare_collector()
    answer = await visitor.post("/console/sign-in", {"name": "doctor", "password": password})
    assert answer.status == 303, "who has an account is let in"
    return visitor


def _code(number: int) -> str:
    return f"BENCH{number:05d}".ljust(22, "0")


def _mixed(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return numbers in no recognisable order (Knuth's multiplicative hashing)."""
    return (numbers * 2_654_435_761) % (1 << 31)
