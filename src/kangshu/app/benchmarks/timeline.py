"""How long the page of a long life takes: twenty years, 5,000 resources, with so many persons in the index.

`--size` is the number of persons in the index; a hundred of them have long lives. What a life holds is the
same at every size, so that the growth is seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from kangshu import records
from kangshu.app.benchmarks.messages import peopled
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.pages import persons_of, signed_in
from kangshu.app.benchmarks.surroundings import Watch, fresh_folder, machine
from kangshu.app.benchmarks.visitor import Visitor
from kangshu.app.platform import Platform
from kangshu.security.tokens import form_token

_LIVES = 100
_WARM_UP = 5
_EACH = 5000  # resources of a life
_BATCH = 1000
_INSTITUTIONS = 12
_LAST_DAY = date(2026, 3, 1)
_DAYS = 20 * 365
_LOINC = "http://loinc.org"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_PAGE_ENTRIES = '<details class="entry">'
_ITEMS = (
    ("14771-0", "空腹血糖", "mmol/L", "3.9", "6.1"),
    ("4548-4", "糖化血红蛋白", "%", "4.0", "6.0"),
    ("14647-2", "总胆固醇", "mmol/L", "2.8", "5.2"),
    ("14798-3", "铁", "μmol/L", "11", "30"),
    ("14682-9", "肌酐", "μmol/L", "57", "111"),
    ("1742-6", "丙氨酸氨基转移酶", "U/L", "9", "50"),
    ("6690-2", "白细胞计数", "10⁹/L", "3.5", "9.5"),
    ("718-7", "血红蛋白", "g/L", "115", "150"),
    ("777-3", "血小板计数", "10⁹/L", "125", "350"),
    ("3084-1", "尿酸", "μmol/L", "155", "357"),
)


@dataclass(frozen=True, kw_only=True)
class _Pages:
    """The milliseconds of one kind of page, and the bytes of the last."""

    times: list[float]
    last_bytes: int


async def timeline_page(size: int, stage: Stage) -> Measurement:
    """Open the records of persons with long lives, as a doctor does: 100 entries, grant and audit."""
    with fresh_folder() as folder:
        async with peopled(folder, size, stage) as platform:
            persons = await persons_of(platform)
            chosen = np.random.default_rng(3).permutation(persons)[: _LIVES + _WARM_UP].tolist()
            stored = await _live(platform, chosen, stage)
            visitor = await signed_in(platform)
            stage("pages")
            with Watch(platform.home) as watch:
                first = await _open(platform, visitor, chosen)
                filtered = await _look(visitor, chosen, "", {"kind": "laboratory", "year": "2020"})
                trends = await _look(visitor, chosen, "/trend", {"code": _ITEMS[0][0]})
    assert watch.use is not None, "the watch has ended"
    found = percentiles(first.times)
    return Measurement(
        value=found["p95"],
        unit="ms",
        **found,
        peak_mib=watch.use.peak_mib,
        conditions={
            "persons": len(persons),
            "lives": len(chosen),
            "resources_of_a_life": _EACH,
            "years_of_a_life": 20,
            "institutions_of_a_life": _INSTITUTIONS,
            "stored_per_second": round(stored),
            "pages": len(first.times),
            "page": "100 entries of 5,000, counts of kinds, institutions and years; each person for the "
            "first time; session, grant, audit committed, HTML made; no network; a doctor who reaches over "
            "the region",
            "html_kib": round(first.last_bytes / 1024),
            **{f"filtered_{name}_ms": value for name, value in percentiles(filtered.times).items()},
            **{f"trend_{name}_ms": value for name, value in percentiles(trends.times).items()},
            "server_peak_mib": watch.use.server_peak_mib,
            **machine(),
        },
    )


async def _live(platform: Platform, persons: Sequence[int], stage: Stage) -> float:
    """Store a life of each person; return the resources stored in a second."""
    stage(f"{len(persons) * _EACH:,} resources")
    spent = 0.0
    for person in persons:
        writes = list(_life(person))
        started = time.perf_counter()
        for at in range(0, len(writes), _BATCH):
            async with platform.database.transaction() as connection:
                await records.store(connection, writes=writes[at : at + _BATCH], now=platform.clock.now())
        spent += time.perf_counter() - started
    return len(persons) * _EACH / spent


async def _open(platform: Platform, visitor: Visitor, persons: Sequence[int]) -> _Pages:
    """State a purpose for each person and open the record for the first time."""
    token = form_token(platform.keys, session_token=visitor.cookie("kangshu_session"))
    times: list[float] = []
    last = 0
    for person in persons:
        stated = await visitor.post(
            f"/console/persons/{person}/open", {"purpose": "treatment", "csrf": token}
        )
        assert stated.status == 303, "a stated purpose leads to the record"
        milliseconds, body = await _get(visitor, f"/console/persons/{person}", {})
        assert body.count(_PAGE_ENTRIES.encode()) == 100, "a page has a hundred entries"
        times.append(milliseconds)
        last = len(body)
    return _Pages(times=times[_WARM_UP:], last_bytes=last)


async def _look(visitor: Visitor, persons: Sequence[int], path: str, query: Mapping[str, str]) -> _Pages:
    """Look at another page of records that are open."""
    times: list[float] = []
    last = 0
    for person in persons:
        milliseconds, body = await _get(visitor, f"/console/persons/{person}{path}", query)
        times.append(milliseconds)
        last = len(body)
    return _Pages(times=times[_WARM_UP:], last_bytes=last)


async def _get(visitor: Visitor, path: str, query: Mapping[str, str]) -> tuple[float, bytes]:
    started = time.perf_counter()
    page = await visitor.get(path, query)
    milliseconds = (time.perf_counter() - started) * 1000
    assert page.status == 200, "the record is open to this doctor"
    return milliseconds, page.body


def _life(person: int) -> Iterator[records.Write]:
    """Yield twenty years of visits, each with its diagnosis, results, drugs, and at times more."""
    made = 0
    visit = 0
    while made < _EACH:
        for number, resource in enumerate(_visit(visit, person)):
            if made == _EACH:
                return
            made += 1
            yield records.Write(
                type=resource["resourceType"],
                id=f"{person}-{visit}-{number}",
                resource=resource,
                person=person,
                institution=f"BENCH{(visit * 5 + person) % _INSTITUTIONS:05d}".ljust(22, "0"),
                message=visit,
            )
        visit += 1


def _visit(visit: int, person: int) -> Iterator[dict[str, Any]]:
    day = _LAST_DAY - timedelta(days=visit * _DAYS * 14 // _EACH)
    at = f"{day.isoformat()}T09:{visit % 60:02d}:00+08:00"
    encounter = {"reference": f"Encounter/{person}-{visit}-0"}
    yield {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"},
        "serviceType": {"text": ("内科", "外科", "内分泌科", "心血管内科")[visit % 4]},
        "period": {"start": at},
        "participant": [{"individual": {"display": "医生"}}],
        "reasonCode": [{"text": "复诊开药"}],
    }
    yield {
        "resourceType": "Condition",
        "code": {
            "text": ("原发性高血压", "2型糖尿病", "慢性胃炎")[visit % 3],
            "coding": [
                {"system": "http://hl7.org/fhir/sid/icd-10", "code": ("I10", "E11", "K29")[visit % 3]}
            ],
        },
        "recordedDate": at,
        "encounter": encounter,
    }
    yield {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": [{"coding": [{"code": "LAB"}]}],
        "code": {"text": "生化检查"},
        "effectiveDateTime": at,
        "conclusion": "部分项目超出参考范围，请结合临床。",
        "encounter": encounter,
    }
    for place in range(8):
        yield _result(visit, place, at, encounter)
    for drug in ("苯磺酸氨氯地平片 5mg", "盐酸二甲双胍片 0.5g"):
        yield {
            "resourceType": "MedicationRequest",
            "status": "completed",
            "intent": "order",
            "medicationCodeableConcept": {"text": drug},
            "dosageInstruction": [{"text": "口服，一日一次，一次一片"}],
            "authoredOn": at,
            "encounter": encounter,
        }
    if visit % 10 == 0:
        yield _rarely(visit, at, encounter)


def _result(visit: int, place: int, at: str, encounter: Mapping[str, Any]) -> dict[str, Any]:
    code, title, unit, low, high = _ITEMS[(visit + place) % len(_ITEMS)]
    span = Decimal(high) - Decimal(low)
    value = Decimal(low) + span * ((visit * 7 + place * 3) % 13) / 10
    return {
        "resourceType": "Observation",
        "status": "corrected" if (visit + place) % 97 == 0 else "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "laboratory"}]}],
        "code": {"coding": [{"system": _LOINC, "code": code}], "text": title},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit},
        "referenceRange": [{"low": {"value": Decimal(low)}, "high": {"value": Decimal(high)}}],
        "encounter": encounter,
    }


def _rarely(visit: int, at: str, encounter: Mapping[str, Any]) -> dict[str, Any]:
    """What not every visit has: an examination, an operation, a vaccine, an allergy, a document."""
    return (
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [{"coding": [{"code": "RAD"}]}],
            "code": {"text": "胸部 CT 平扫"},
            "effectiveDateTime": at,
            "conclusion": "双肺纹理增多，余未见明显异常。",
            "encounter": encounter,
        },
        {
            "resourceType": "Procedure",
            "status": "completed",
            "code": {"text": "白内障超声乳化摘除术"},
            "performedDateTime": at,
            "encounter": encounter,
        },
        {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": {"text": "流感病毒裂解疫苗"},
            "occurrenceDateTime": at,
        },
        {"resourceType": "AllergyIntolerance", "code": {"text": "青霉素"}, "recordedDate": at},
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "description": "门急诊病历",
            "date": at,
            "content": [{"attachment": {"contentType": "text/xml", "url": f"Binary/bench-{visit}"}}],
            "context": {"encounter": [encounter]},
        },
    )[visit // 10 % 5]
