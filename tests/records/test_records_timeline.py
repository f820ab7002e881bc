"""The timeline and trends of a person, from messages and from bulk rows. All persons are numbers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_samples import LOINC, NOW, granted, keep, put, remove, result, visit

from kangshu.consent import AccessRefusedError
from kangshu.declarations import (
    Dataset,
    FhirConstant,
    FhirPath,
    FhirResource,
    Field,
    FieldType,
    Obligation,
    Pack,
)
from kangshu.kernel.texts import Text
from kangshu.lake import (
    Engine,
    SegmentWriter,
    StagedRow,
    commit_file,
    flush_staged,
    lake_schema,
    new_segment_path,
    stage_rows,
)
from kangshu.records import (
    GrantMissingError,
    Kind,
    SearchRefusedError,
    State,
    TimelineEntry,
    detail_title,
    kind_title,
    state_title,
    timeline,
    trend,
    word_title,
)
from kangshu.records.facts import DETAILS, facts_of
from kangshu.records.summary import header_of
from kangshu.storage.database import Database

database_test = pytest.mark.database
_TEXT = Text(zh="", en="")


def _dataset(name: str, *fhir: FhirResource) -> Dataset:
    fields = tuple(
        Field(name=one, title=_TEXT, type=type_, obligation=Obligation.OPTIONAL, length=18, scale=scale)
        for one, type_, scale in (("code", FieldType.STRING, None), ("number", FieldType.DECIMAL, 2))
    )
    return Dataset(
        name=name,
        title=_TEXT,
        edition="1",
        source="test",
        category="clinical",
        description=_TEXT,
        valid_from=date(2020, 1, 1),
        fields=fields,
        rules=(),
        fhir=fhir,
    )


def _resource(type_: str, *constants: str) -> FhirResource:
    path: FhirPath = ()  # where a constant stands does not matter here
    return FhirResource(
        type=type_,
        name=type_.lower(),
        constants=tuple(FhirConstant(path=path, value=one) for one in constants),
    )


_PACK = Pack(
    name="test",
    edition="1",
    title=_TEXT,
    datasets={
        "lab": _dataset("lab", _resource("Observation", "laboratory"), _resource("Encounter")),
        "stay": _dataset("stay", _resource("Encounter"), _resource("Condition")),
        "registry": _dataset("registry", _resource("Patient")),
        "unmapped": _dataset("unmapped"),
    },
)


class _Rows:
    """Makes resources of the rows of the data sets above, as `mapping.rows` does of declared ones."""

    def to_resources(
        self,
        *,
        dataset: str,
        values: Mapping[str, Any],
        institution: str,
        key: str,
        patient: str,
        linked: bool = True,
    ) -> Sequence[Mapping[str, Any]]:
        if dataset == "lab":
            made = result(code=values["code"])
            del made["effectiveDateTime"]
            made["valueQuantity"] = {"value": values["number"], "unit": "U/L"}
            return [made, visit()] if linked else [made]
        if dataset == "stay":
            condition = {
                "resourceType": "Condition",
                "code": {"text": values["code"]},
                "recordedDate": "2026-01-20",
            }
            return [visit(period={"start": "2026-01-10"}), condition, visit()]
        return []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "home", threads=2, memory_mib=128) as opened:
        yield opened


async def _send(
    database: Database,
    engine: Engine,
    dataset: str,
    *rows: tuple[int, str, float],
    file: int,
    institution: str = "H2",
) -> None:
    """Put rows (day of January 2026, or 0 for none; code; number) about person 1 in the lake."""
    schema = lake_schema(_PACK.datasets[dataset])
    moments = [datetime(2026, 1, day, 8) if day else None for day, _, _ in rows]
    columns: dict[str, Any] = {
        "_file": [file] * len(rows),
        "_row": list(range(2, len(rows) + 2)),
        "_person": [1] * len(rows),
        "_institution": [institution] * len(rows),
        "_at": moments,
        "code": [code for _, code, _ in rows],
        "number": [Decimal(str(number)) for _, _, number in rows],
    }
    path = new_segment_path(home=engine.lake.parent, dataset=dataset)
    with SegmentWriter(path, schema) as writer:
        writer.write(pa.table({name: columns[name] for name in schema.names}, schema=schema))
        segment = writer.close()
    async with database.transaction() as connection:
        await commit_file(
            connection,
            file_id=file,
            dataset=dataset,
            institution=institution,
            period=None,
            segments=[segment],
        )


async def _read(database: Database, engine: Engine, **more: Any) -> Any:
    async with database.connection() as connection:
        grant = await granted(connection)
    usual: dict[str, Any] = {"grant": grant, "pack": _PACK, "rows": _Rows(), "persons": [1], "now": NOW}
    return await timeline(database, engine, **(usual | more))


async def _whole(database: Database, engine: Engine, limit: int, **more: Any) -> list[TimelineEntry]:
    entries: list[TimelineEntry] = []
    before = None
    while True:
        page = await _read(database, engine, limit=limit, before=before, **more)
        entries += page.entries
        if page.next is None:
            return entries
        assert len(page.entries) == limit
        before = page.next


def _short(entry: TimelineEntry) -> tuple[Any, ...]:
    return (entry.at and entry.at.strftime("%m-%d %H:%M"), entry.kind.value, entry.institution, entry.source)


@database_test
def test_messages_and_bulk_rows_stand_in_one_order_newest_first(database_run, engine):
    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(result(day="2026-01-12"), "r"),
            put(visit(period={"start": "2026-01-10"}), "v"),
            put({"resourceType": "AllergyIntolerance", "code": {"text": "青霉素"}}, "undated"),
            put({"resourceType": "Patient"}, "p"),
            put({"resourceType": "Coverage"}, "c"),
            put(result(), "of-somebody-else", person=2),
        )
        await _send(database, engine, "lab", (15, "1742-6", 70), (10, "x", 1), (0, "y", 2), file=1)
        await _send(database, engine, "stay", (11, "高血压", 0), file=2)
        await _send(database, engine, "registry", (16, "", 0), file=3)
        await _send(database, engine, "unmapped", (9, "z", 0), file=4)
        return await _read(database, engine)

    page = database_run(scenario)

    assert [_short(entry) for entry in page.entries] == [
        ("01-20 00:00", "diagnosis", "H2", "row"),
        ("01-15 08:00", "laboratory", "H2", "row"),
        ("01-12 10:00", "laboratory", "H1", "record"),
        ("01-10 08:00", "laboratory", "H2", "row"),
        ("01-10 00:00", "visit", "H1", "record"),
        ("01-10 00:00", "visit", "H2", "row"),
        ("01-09 08:00", "other", "H2", "row"),
        (None, "allergy", "H1", "record"),
        (None, "laboratory", "H2", "row"),
    ]
    assert (page.total, page.next) == (9, None)
    assert page.kinds == {
        Kind.VISIT: 2,
        Kind.DIAGNOSIS: 1,
        Kind.LABORATORY: 4,
        Kind.ALLERGY: 1,
        Kind.OTHER: 1,
    }
    assert page.institutions == {"H1": 3, "H2": 6}
    assert page.years == {2026: 7}
    assert [entry.reference for entry in page.entries[:3]] == ["stay/2/2/1", "lab/1/2", "Observation/r"]


@database_test
def test_filters_leave_what_fits_and_count_it(database_run, engine):
    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(result(day="2026-01-12"), "r"),
            put(visit(period={"start": "2026-01-10"}), "v"),
            put({"resourceType": "AllergyIntolerance", "code": {"text": "青霉素"}}, "undated"),
        )
        await _send(database, engine, "lab", (15, "1742-6", 70), (10, "x", 1), (0, "y", 2), file=1)
        await _send(database, engine, "stay", (11, "高血压", 0), file=2)
        pages = []
        for conditions in (
            {"kinds": [Kind.DIAGNOSIS]},
            {"kinds": [Kind.LABORATORY], "institutions": ["H2"]},
            {"since": date(2026, 1, 11), "until": date(2026, 1, 15)},
            {"since": date(2026, 1, 20)},
            {"kinds": [Kind.DOCUMENT]},
            {"since": date(2026, 1, 20), "until": date(2026, 1, 20)},
        ):
            page = await _read(database, engine, **conditions)
            assert (
                page.total == sum(page.kinds.values()) == sum(page.institutions.values()) == len(page.entries)
            )
            pages.append([_short(entry)[:2] for entry in page.entries])
        return pages

    assert database_run(scenario) == [
        [("01-20 00:00", "diagnosis")],
        [("01-15 08:00", "laboratory"), ("01-10 08:00", "laboratory"), (None, "laboratory")],
        [("01-12 10:00", "laboratory")],
        [("01-20 00:00", "diagnosis")],
        [],
        [],
    ]


@database_test
def test_years_are_counted_by_the_clock_here_the_newest_first(database_run, engine):
    async def scenario(database: Database) -> Any:
        new_year, before = "2026-01-01T00:30:00+08:00", "2025-12-31T23:30:00+08:00"
        await keep(
            database,
            put(result(effectiveDateTime=new_year), "a"),
            put(result(effectiveDateTime=before), "b"),
            put({"resourceType": "AllergyIntolerance"}, "undated"),
        )
        await _send(database, engine, "lab", (15, "1742-6", 70), file=1)
        await _send(database, engine, "stay", (11, "高血压", 0), file=2)
        return await _read(database, engine, limit=1)

    assert list(database_run(scenario).years.items()) == [(2026, 4), (2025, 1)]


@database_test
def test_a_stored_entry_tells_its_message_and_its_visit(database_run, engine):
    async def scenario(database: Database) -> Any:
        told = {"encounter": {"reference": "Encounter/v"}}
        await keep(database, put(result(**told), message=41), put(visit(), "v"))
        return await _read(database, engine)

    shown, stay = database_run(scenario).entries

    assert (shown.message, shown.visit) == (41, "Encounter/v")
    assert (stay.message, stay.visit) == (None, None)


@database_test
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=st.lists(st.sampled_from([0, 5, 10, 10, 20]), max_size=8),
    lab=st.lists(st.sampled_from([0, 5, 10, 20]), max_size=8),
    stays=st.lists(st.sampled_from([0, 5, 10]), max_size=3),
    limit=st.integers(min_value=1, max_value=5),
)
def test_pages_together_are_the_whole_timeline_without_gap_or_repeat(
    make_database, tmp_path_factory, stored, lab, stays, limit
):
    async def scenario(url: str, home: Path) -> tuple[list[Any], list[Any], int]:
        with Engine(home, threads=1, memory_mib=64) as engine:
            async with await Database.open(url) as database:
                plain = {"resourceType": "Condition", "code": {"text": "咳嗽"}}
                told = [
                    plain | ({"recordedDate": f"2026-01-{day:02}T08:00:00+08:00"} if day else {})
                    for day in stored
                ]
                await keep(database, *[put(one, f"c{number}") for number, one in enumerate(told)])
                if lab:
                    await _send(database, engine, "lab", *[(day, "x", day) for day in lab], file=1)
                if stays:
                    await _send(database, engine, "stay", *[(day, "x", day) for day in stays], file=2)
                whole = (await _read(database, engine, limit=500)).entries
                pages = await _whole(database, engine, limit)
                total = (await _read(database, engine, limit=limit)).total
                return [one.reference for one in whole], [one.reference for one in pages], total

    whole, pages, total = asyncio.run(scenario(make_database(), tmp_path_factory.mktemp("timeline")))

    assert pages == whole
    assert len(set(whole)) == len(whole) == total == len(stored) + len(lab) + 2 * len(stays)


@database_test
def test_a_merge_shows_both_and_its_undo_shows_each_alone(database_run, engine):
    async def scenario(database: Database) -> Any:
        await keep(database, put(result(1, day="2026-01-01"), "a", person=1), put(result(2), "b", person=9))
        await _send(database, engine, "lab", (15, "1742-6", 70), file=1)
        seen = []
        for persons in ([1], [1, 9], [9, 1], [1]):
            async with database.connection() as connection:
                grant = await granted(connection, persons[0])
            page = await _read(database, engine, persons=persons, grant=grant)
            seen.append([(entry.person, entry.reference) for entry in page.entries])
        return seen

    alone, both, turned, undone = database_run(scenario)

    assert alone == undone == [(1, "lab/1/2"), (1, "Observation/a")]
    assert both == turned == [(9, "Observation/b"), *alone]


@database_test
def test_a_timeline_opens_with_a_grant_for_one_of_the_persons_numbers(database_run, engine):
    async def scenario(database: Database) -> None:
        await keep(database, put(result(), "a"))
        with pytest.raises(GrantMissingError):
            await _read(database, engine, grant=None)
        async with database.connection() as connection:
            grant = await granted(connection, 5)
        with pytest.raises(AccessRefusedError):
            await _read(database, engine, grant=grant)
        with pytest.raises(AccessRefusedError):
            await _read(database, engine, now=NOW + timedelta(hours=2))
        assert (await _read(database, engine, persons=[5, 1], grant=grant)).total == 1
        assert (await _read(database, engine, persons=[], grant=None)).total == 0
        for before in ("", "x", "1~a~b", "99999999999999999999~a~b~c~0~0", "1~b~lab~x~0~0"):
            with pytest.raises(SearchRefusedError):
                await _read(database, engine, before=before)

    database_run(scenario)


@database_test
def test_rows_that_messages_gave_are_not_shown_beside_the_messages_own_resources(database_run, engine):
    async def scenario(database: Database) -> Any:
        await keep(database, put(result(day="2026-01-15"), "r"))
        given_ = {
            "institution": "H1",
            "person": 1,
            "at": datetime(2026, 1, 15),
            "key": "Observation/r",
            "message": 1,
        }
        values = {"code": "1742-6", "number": Decimal("62.00")}
        async with database.transaction() as connection:
            staged = [StagedRow(dataset=name, values=values, **given_) for name in ("lab", "stay")]
            await stage_rows(connection, rows=staged)
        flushed = await flush_staged(database, engine, pack=_PACK)
        page = await _read(database, engine)
        return flushed, page.total, [entry.reference for entry in page.entries]

    assert database_run(scenario) == (2, 1, ["Observation/r"])


@database_test
def test_a_deleted_resource_leaves_the_timeline(database_run, engine):
    async def scenario(database: Database) -> Any:
        await keep(database, put(result(), "a"), put(visit(), "v"))
        await keep(database, remove("Observation", "a"))
        return [entry.reference for entry in (await _read(database, engine)).entries]

    assert database_run(scenario) == ["Encounter/v"]


def _one(resource: dict[str, Any]) -> Any:
    facts = facts_of(resource["resourceType"], resource)
    assert facts is not None
    return facts


def test_a_laboratory_result_shows_value_unit_range_and_flag():
    facts = _one(
        result(
            valueQuantity={"value": Decimal("6.30"), "unit": "mmol/L"},
            referenceRange=[
                {"low": {"value": Decimal("3.9")}, "high": {"value": Decimal("6.1")}, "text": "3.9-6.1"}
            ],
            interpretation=[{"coding": [{"code": "H"}]}],
        )
    )

    assert (facts.kind, facts.title, facts.code, facts.system) == (
        Kind.LABORATORY,
        "丙氨酸氨基转移酶",
        "1742-6",
        LOINC,
    )
    measure = facts.measure
    assert (measure.value, measure.number, measure.unit) == ("6.30", Decimal("6.30"), "mmol/L")
    assert (measure.low, measure.high, measure.usual, measure.flag) == (
        Decimal("3.9"),
        Decimal("6.1"),
        "3.9-6.1",
        "H",
    )


@pytest.mark.parametrize(
    ("value", "shown", "number"),
    [
        ({"valueQuantity": {"value": Decimal("0.1"), "comparator": "<", "unit": "g"}}, "<0.1", None),
        ({"valueQuantity": {"unit": "g"}}, None, None),
        ({"valueQuantity": {"value": Decimal("1E+400000")}}, "1E+400000", Decimal("1E+400000")),
        ({"valueString": " 阴性 "}, "阴性", None),
        ({"valueCodeableConcept": {"coding": [{"code": "NEG", "display": "阴性"}]}}, "阴性", None),
        ({"valueInteger": 3}, "3", Decimal(3)),
        ({"valueBoolean": True}, "true", None),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 160}}}, "1:160", None),
        ({"valueRange": {"low": {"value": 1, "unit": "g"}, "high": {"value": 2}}}, "1 g–2", None),
        ({"valueString": "长" * 5000}, "长" * 1999 + "…", None),
        ({}, None, None),
    ],
)
def test_values_of_every_shape_are_written_as_people_read_them(value, shown, number):
    made = {name: one for name, one in result().items() if name != "valueQuantity"} | value

    measure = _one(made).measure

    assert (measure.value, measure.number) == (shown, number)


@pytest.mark.parametrize(
    ("resource", "kind", "state"),
    [
        (visit(), Kind.VISIT, State.VALID),
        (visit(status="cancelled"), Kind.VISIT, State.CANCELLED),
        (visit(status="entered-in-error"), Kind.VISIT, State.WITHDRAWN),
        (visit(status="planned"), Kind.VISIT, State.PLANNED),
        (result(status="corrected"), Kind.LABORATORY, State.CORRECTED),
        (result(status="cancelled"), Kind.LABORATORY, State.CANCELLED),
        (result(status="preliminary"), Kind.LABORATORY, State.PRELIMINARY),
        ({"resourceType": "Appointment", "status": "noshow"}, Kind.VISIT, State.CANCELLED),
        (
            {
                "resourceType": "Condition",
                "clinicalStatus": {"coding": [{"code": "active"}]},
                "verificationStatus": {"coding": [{"code": "entered-in-error"}]},
            },
            Kind.DIAGNOSIS,
            State.WITHDRAWN,
        ),
        ({"resourceType": "Immunization", "status": "not-done"}, Kind.IMMUNIZATION, State.CANCELLED),
        ({"resourceType": "DocumentReference", "status": "superseded"}, Kind.DOCUMENT, State.REPLACED),
        (
            {"resourceType": "DocumentReference", "status": "current", "docStatus": "entered-in-error"},
            Kind.DOCUMENT,
            State.WITHDRAWN,
        ),
        (
            {"resourceType": "DiagnosticReport", "status": "amended", "result": []},
            Kind.LABORATORY,
            State.CORRECTED,
        ),
        (
            {"resourceType": "DiagnosticReport", "category": [{"coding": [{"code": "RAD"}]}]},
            Kind.EXAMINATION,
            State.VALID,
        ),
        ({"resourceType": "MedicationRequest", "status": "active"}, Kind.PRESCRIPTION, State.VALID),
        ({"resourceType": "Procedure", "status": "completed"}, Kind.OPERATION, State.VALID),
        ({"resourceType": "AllergyIntolerance"}, Kind.ALLERGY, State.VALID),
    ],
    ids=lambda value: value["resourceType"] if isinstance(value, dict) else str(value),
)
def test_corrections_and_cancellations_show_as_what_they_are(resource, kind, state):
    facts = _one(resource)

    assert (facts.kind, facts.state) == (kind, state)


def test_a_document_shows_its_class_and_where_it_is():
    facts = _one(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "type": {"coding": [{"system": "urn:wst500", "code": "C0036"}], "text": "出院小结"},
            "date": "2026-03-01T10:00:00+08:00",
            "author": [{"display": "李医生（虚构）"}],
            "content": [{"attachment": {"url": "Binary/abc", "contentType": "text/xml"}}],
        }
    )

    assert (facts.title, facts.code, facts.document) == ("出院小结", "C0036", "Binary/abc")
    assert [(one.key, one.value) for one in facts.details] == [
        ("document_class", "出院小结"),
        ("author", "李医生（虚构）"),
    ]


def test_everything_that_is_shown_has_a_name():
    for kind in Kind:
        assert kind_title(kind).zh
    for state in State:
        assert state_title(state).zh
    for key in {key for details in DETAILS.values() for key, _ in details}:
        assert detail_title(key).zh
    words = [word_title(word) for word in ("EMER", "HH", "H", "encounter-diagnosis")]
    assert [word and word.zh for word in words] == ["急诊", "家庭病床", "偏高", "就诊诊断"]
    assert word_title("no such word") is None


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["coding", "code", "text", "value", "low", "high", "start", "reference", "display", "end"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_ELEMENTS = (
    "status",
    "category",
    "code",
    "type",
    "class",
    "valueQuantity",
    "valueRange",
    "component",
    "referenceRange",
    "interpretation",
    "period",
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveTiming",
    "identifier",
    "encounter",
    "content",
    "author",
    "participant",
    "contained",
    "medicationReference",
    "masterIdentifier",
    "context",
    "recordedDate",
    "location",
    "vaccineCode",
    "verificationStatus",
)


@given(
    type_=st.sampled_from(sorted({*DETAILS, "Patient", "Basic"})),
    resource=st.dictionaries(st.sampled_from(_ELEMENTS), _ANYTHING, max_size=5),
)
def test_no_resource_however_odd_breaks_its_summary(type_, resource):
    header = header_of(type_, resource)
    facts = facts_of(type_, resource)

    assert -(2**63) <= header.marks < 2**63
    assert (facts is None) == (header.kind is None)


@database_test
def test_a_trend_joins_both_lanes_and_leaves_out_what_is_no_number_or_does_not_hold(database_run, engine):
    async def scenario(database: Database) -> Any:
        low = {"value": Decimal("0.1"), "comparator": "<"}
        pressure = result(code="85354-9", day="2026-01-03")
        pressure["component"] = [
            {"code": {"coding": [{"code": "8480-6"}], "text": "收缩压"}, "valueQuantity": {"value": 128}}
        ]
        await keep(
            database,
            put(result(50, day="2026-01-20"), "b"),
            put(result(40, day="2026-01-01", status="corrected"), "a"),
            put(result(9999, day="2026-01-02", status="entered-in-error"), "w"),
            put(result(valueQuantity=low, day="2026-01-04"), "low"),
            put(result(1, code="2345-7"), "another"),
            put(result(1, day="2026-01-05"), "of-somebody-else", person=2),
            put(pressure, "pressure"),
        )
        await _send(database, engine, "lab", (15, "1742-6", 70.5), (16, "x", 1), (0, "1742-6", 2), file=1)
        async with database.connection() as connection:
            grant = await granted(connection)
        usual: dict[str, Any] = {"grant": grant, "pack": _PACK, "rows": _Rows(), "persons": [1], "now": NOW}
        with pytest.raises(GrantMissingError):
            await trend(database, engine, code="1742-6", **(usual | {"grant": None}))
        return (
            await trend(database, engine, code="1742-6", **usual),
            await trend(database, engine, code="1742-6", limit=2, **usual),
            await trend(
                database, engine, code="1742-6", since=date(2026, 1, 10), until=date(2026, 1, 16), **usual
            ),
            await trend(database, engine, code="8480-6", **usual),
        )

    whole, newest, within, systolic = database_run(scenario)

    assert [(point.at.day, point.number, point.low, point.source) for point in whole.points] == [
        (1, Decimal(40), Decimal(9), "record"),
        (15, Decimal("70.50"), Decimal(9), "row"),
        (20, Decimal(50), Decimal(9), "record"),
    ]
    assert (whole.title, whole.complete, whole.points[0].state) == ("丙氨酸氨基转移酶", True, State.CORRECTED)
    assert ([point.at.day for point in newest.points], newest.complete) == ([15, 20], False)
    assert [point.at.day for point in within.points] == [15]
    assert [(point.number, systolic.title) for point in systolic.points] == [(Decimal(128), "收缩压")]


@database_test
def test_order_and_repetition_of_writes_do_not_change_the_record(make_database, tmp_path):
    writes = [put(result(n, day=f"2026-01-{n:02}"), f"r{n}") for n in range(1, 7)] + [put(visit(), "v")]
    turned = [*writes[::-1], *writes[3:], *writes]

    async def scenario(chosen: list[Any], url: str) -> Counter[Any]:
        with Engine(tmp_path / url[-8:], threads=1, memory_mib=64) as engine:
            async with await Database.open(url) as database:
                for write in chosen:
                    await keep(database, write)
                page = await _read(database, engine)
                return Counter((one.reference, one.version, one.at, one.value) for one in page.entries)

    first = asyncio.run(scenario(writes, make_database()))
    second = asyncio.run(scenario(turned, make_database()))

    assert first == second
    assert len(first) == 7
