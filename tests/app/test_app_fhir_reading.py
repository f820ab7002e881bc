"""The FHIR door over HTTP: searches, everything about a patient, documents; who may read what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fhir_world import (
    NUMBERS,
    ORIGIN,
    FhirWorld,
    address,
    assert_outcome,
    entry,
    observation,
    open_fhir_world,
    patient,
)
from message_world import HOSPITAL, OTHER_HOSPITAL, RESIDENT

from kangshu.standards import fhir
from kangshu.standards.identifiers import resident_check_digit

pytestmark = pytest.mark.database

DOCUMENT = f"""<?xml version="1.0" encoding="GB18030"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="CN"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>
  <templateId root="2.16.156.10011.2.1.1.26"/>
  <id root="2.16.156.10011.1.1" extension="DOC-1"/>
  <code code="C0002" codeSystem="2.16.156.10011.2.4"/><title>门（急）诊病历</title>
  <effectiveTime value="20260301083000"/><confidentialityCode code="N"/><languageCode code="zh-CN"/>
  <recordTarget><patientRole><id root="2.16.156.10011.1.11" extension="P-DOC"/>
    <patient><id root="2.16.156.10011.1.3" extension="{RESIDENT}"/><name>测试甲</name>
      <administrativeGenderCode code="1" codeSystem="2.16.156.10011.2.3.3.4"/><birthTime value="19680512"/>
    </patient></patientRole></recordTarget>
  <author><time value="20260301083000"/><assignedAuthor><id root="2.16.156.10011.1.7" extension="D1"/>
    <assignedPerson><name>测试医生</name></assignedPerson></assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    <id root="2.16.156.10011.1.5" extension="{HOSPITAL}"/><name>合成医院</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><structuredBody><component><section>
    <code code="10154-3" codeSystem="2.16.840.1.113883.6.1"/><title>主诉</title><text>合成内容</text>
  </section></component></structuredBody></component>
</ClinicalDocument>""".encode("gb18030")


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[FhirWorld]:
    with open_fhir_world(database_server) as world:
        yield world


@pytest.fixture(scope="module")
def someone(house: FhirWorld) -> str:
    """A Patient of the hospital with seven results on seven days, as `Patient/id`."""
    where = address(house.create(patient("S0")))
    entries = [
        entry(
            "POST",
            "Observation",
            observation(where, number=f"S{day}", effectiveDateTime=f"2026-03-0{day}T08:30:00+08:00"),
        )
        for day in range(1, 8)
    ]
    assert house.bundle("transaction", *entries).status_code == 200
    return where


def days(bundle: dict[str, Any]) -> list[str]:
    return [one["resource"]["effectiveDateTime"][8:10] for one in bundle.get("entry", ())]


def next_of(bundle: dict[str, Any]) -> str:
    return next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "")


# --- search -------------------------------------------------------------------------------------------


def test_a_search_finds_what_it_names(house: FhirWorld, someone: str):
    found = house.get(f"Observation?patient={someone}&date=ge2026-03-05&_total=accurate").json()

    assert fhir.is_acceptable(fhir.validate(found)), fhir.validate(found)
    assert (found["type"], found["total"], days(found)) == ("searchset", 3, ["07", "06", "05"])
    assert found["entry"][0]["fullUrl"].startswith(f"{ORIGIN}/fhir/Observation/")
    assert found["entry"][0]["search"] == {"mode": "match"}


def test_a_search_by_form_finds_the_same_and_its_pages_name_nobody(house: FhirWorld, someone: str):
    number = f"{NUMBERS}|S0"

    async def work(http):
        seen, page = [], None
        page = (
            await http.post(
                "/fhir/Observation/_search",
                data={"patient.identifier": number, "_count": "3", "_sort": "date"},
            )
        ).json()
        while True:
            seen += days(page)
            link = next_of(page)
            if not link:
                return seen, link
            assert "S0" not in link
            page = (await http.get(link)).json()

    seen, _ = house.run(work)

    assert seen == ["01", "02", "03", "04", "05", "06", "07"]


def test_pages_neither_repeat_nor_lose_what_is_written_meanwhile(house: FhirWorld):
    where = address(house.create(patient("S-PAGES")))
    made = [address(house.create(observation(where, number=f"G{n}"))) for n in range(4)]

    first = house.get(f"Observation?patient={where}&_count=2&_sort=_id").json()
    house.create(observation(where, number="G-LATE"))
    house.ask("DELETE", f"/fhir/{first['entry'][0]['resource']['resourceType']}/{sorted(made)[3][12:]}")
    second = house.get(next_of(first)).json()

    seen = [one["resource"]["id"] for page in (first, second) for one in page["entry"]]
    assert seen == sorted(one.partition("/")[2] for one in made)
    assert not next_of(second)


@pytest.mark.parametrize(
    "query",
    [
        "name-of-pet=x",
        "patient={}&_include=Observation:subject",
        "patient={}&date=yesterday",
        "patient={}&code:text=x",
        "patient={}&_count=many",
        "patient={}&_summary=text",
        "patient={}&_total=perhaps",
        "patient={}&date=%00",
        "patient=Patient/unknown&bogus=1",
        "code=14647-2",
    ],
)
def test_a_search_that_is_not_understood_is_refused_and_never_half_done(
    house: FhirWorld, someone: str, query: str
):
    assert_outcome(house.get(f"Observation?{query.format(someone)}"), 400)


def test_a_search_for_nobody_known_finds_nothing(house: FhirWorld):
    found = house.get("Observation?patient=Patient/unknown&date=2026").json()

    assert (found["total"], found.get("entry")) == (0, None)


def test_a_search_that_names_nobody_finds_what_the_own_institution_sent(house: FhirWorld):
    house.create(patient("S-BOTH"))
    house.create(patient("S-BOTH"), who="other")

    def total(who: str) -> int:
        return house.get(f"Patient?identifier={NUMBERS}|S-BOTH&_total=accurate", who=who).json()["total"]

    assert (total("hospital"), total("other")) == (1, 1)


def test_what_concerns_no_person_is_found_by_all(house: FhirWorld):
    organisation = {
        "resourceType": "Organization",
        "identifier": [{"system": "urn:kangshu:test:organisation", "value": "O1"}],
        "name": "合成机构",
    }
    where = address(house.create(organisation))

    query = "Organization?identifier=urn:kangshu:test:organisation|O1"
    assert len(house.get(query, who="other").json()["entry"]) == 1
    assert house.get(where, who="other").status_code == 200


def test_a_page_is_for_whom_it_was_made_and_for_a_while(house: FhirWorld, someone: str):
    link = next_of(house.get(f"Observation?patient={someone}&_count=2").json())

    assert house.get(link).status_code == 200
    assert_outcome(house.get(link, who="reader"), 410, "expired")
    assert_outcome(house.get("Observation?_page=1.2"), 410)
    assert_outcome(house.get(f"{link}&patient={someone}"), 400)


def test_a_form_of_another_kind_is_refused(house: FhirWorld, someone: str):
    path = "/fhir/Observation/_search"

    as_json = house.ask("POST", path, json={"patient": someone})
    endless = house.ask("POST", path, data={"patient": "x" * 70_000})
    many = house.ask("POST", f"{path}?{'&'.join(f'a{n}=1' for n in range(200))}")

    assert_outcome(as_json, 415)
    assert_outcome(endless, 413)
    assert_outcome(many, 400)


# --- everything about a patient -----------------------------------------------------------------------


def test_everything_about_a_patient_comes_in_pages_the_patient_first(house: FhirWorld, someone: str):
    kinds, link = [], f"{someone}/$everything?_count=3"
    while link:
        page = house.get(link).json()
        assert fhir.is_acceptable(fhir.validate(page)), fhir.validate(page)
        kinds += [one["resource"]["resourceType"] for one in page["entry"]]
        link = next_of(page)

    assert kinds == ["Patient"] + ["Observation"] * 7


def test_everything_can_be_narrowed_by_kind_and_time(house: FhirWorld, someone: str):
    narrowed = house.get(f"{someone}/$everything?_type=Observation&start=2026-03-03&end=2026-03-04").json()
    none = house.get(f"{someone}/$everything?_since=2100-01-01T00:00:00%2B08:00").json()

    assert sorted(days(narrowed)) == ["03", "04"]
    assert none["total"] == 0
    for query in ("_type=Dog", "start=soon", "_since=x", "_count=x", "color=red"):
        assert_outcome(house.get(f"{someone}/$everything?{query}"), 400)


def test_everything_about_nobody_is_not_there(house: FhirWorld):
    gone = address(house.create(patient("S-GONE")))
    house.ask("DELETE", f"/fhir/{gone}")

    assert_outcome(house.get("Patient/nobody/$everything"), 404)
    assert_outcome(house.get(f"{gone}/$everything"), 410)


# --- who may read what --------------------------------------------------------------------------------


def test_records_are_read_across_institutions_where_the_person_was(house: FhirWorld):
    first = address(house.create(patient("R1", name="测试同", identifier=_resident("R1"))))
    result = address(house.create(observation(first)))
    assert_outcome(house.get(result, who="other"), 403, "forbidden")

    mine = address(house.create(patient("R2", name="测试同", identifier=_resident("R2")), who="other"))

    assert house.get(result, who="other").status_code == 200
    found = house.get(f"Observation?patient={mine}", who="other").json()
    assert [one["resource"]["id"] for one in found["entry"]] == [result.partition("/")[2]]
    kinds = [
        one["resource"]["resourceType"]
        for one in house.get(f"{mine}/$everything", who="other").json()["entry"]
    ]
    assert kinds == ["Patient", "Patient", "Observation"]


def _resident(number: str) -> list[dict[str, Any]]:
    """A resident number of a division that no place has."""
    return [
        {"system": NUMBERS, "value": number},
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NI"}]},
            "value": f"99010219710512101{resident_check_digit('99010219710512101')}",
        },
    ]


def test_a_purpose_must_fit_who_asks(house: FhirWorld, someone: str):
    assert_outcome(house.get(someone, **{"X-Purpose": "curiosity"}), 400)
    assert_outcome(house.get(someone, **{"X-Purpose": "quality"}), 403)
    assert_outcome(house.get(someone, who="centre"), 403)
    assert house.get(someone, who="centre", **{"X-Purpose": "quality"}).status_code == 200
    read = house.entries("person.read")
    assert [(one.actor, one.purpose, one.outcome) for one in read[:2]] == [
        ("staff:centre", "quality", "done"),
        ("staff:centre", "treatment", "refused"),
    ]
    assert read[0].detail["what"] == someone


def test_the_glass_is_broken_with_a_reason_only_and_that_is_flagged(house: FhirWorld, someone: str):
    reason = "%E6%98%8F%E8%BF%B7%E6%82%A3%E8%80%85%E6%80%A5%E8%AF%8A%00"  # with a character that no text has
    emergency = {"X-Purpose": "emergency"}

    assert_outcome(house.get(someone, who="doctor"), 403)
    assert_outcome(house.get(someone, who="doctor", **emergency), 422)
    opened = house.get(someone, who="doctor", **emergency, **{"X-Purpose-Reason": reason})

    assert opened.status_code == 200
    entry = house.entries("person.read")[0]
    assert entry.detail == {"emergency": True, "reason": "昏迷患者急诊", "what": someone}


def test_what_nobody_could_link_to_a_person_is_its_senders(house: FhirWorld):
    loose = {**observation("Patient/x"), "id": "loose"}
    del loose["subject"]
    house.put(loose)

    assert house.get("Observation/loose").status_code == 200
    assert_outcome(house.get("Observation/loose", who="other"), 403)
    assert_outcome(house.get("Observation/loose/_history", who="other"), 403)
    assert house.get("Observation/loose", who="centre", **{"X-Purpose": "quality"}).status_code == 200
    assert [one.outcome for one in house.entries("unlinked.read")[:2]] == ["done", "refused"]


def test_reads_and_writes_and_their_refusals_are_on_record(house: FhirWorld, someone: str):
    result = address(house.create(observation(someone)))
    house.get(f"Observation?patient={someone}")
    house.get(f"{someone}/$everything")
    house.get(f"{result}/_history")

    what = [one.detail["what"] for one in house.entries("person.read")[:3]]
    assert what == [f"{result}/_history", f"{someone}/$everything", "Observation?"]
    written = house.entries("message.take")[0]
    assert (written.detail["type"], written.outcome) == ("Observation", "done")
    assert written.person is not None
    assert_outcome(house.get(someone, who="sender"), 403, "forbidden")
    assert_outcome(house.create(observation(someone), who="reader"), 403, "forbidden")
    assert_outcome(house.bundle("transaction", who="reader"), 403, "forbidden")
    assert [one.resource for one in house.entries("fhir.write")[:2]] == ["fhir", "fhir/Observation"]
    assert house.entries("fhir.read")[0].resource == "fhir/Patient"
    house.create({**observation(someone), "status": "none"})
    assert house.entries("message.take")[0].outcome == "refused"


def test_many_reads_at_once_are_each_on_record(house: FhirWorld, someone: str):
    before = len(house.entries("person.read", limit=500))

    async def work(http):
        return await asyncio.gather(*(http.get(f"/fhir/{someone}") for _ in range(40)))

    assert {one.status_code for one in house.run(work)} == {200}
    assert len(house.entries("person.read", limit=500)) == min(before + 40, 500)


# --- documents ----------------------------------------------------------------------------------------


def test_a_document_is_read_as_it_was_sent(house: FhirWorld):
    taken = house.ask("POST", "/documents", content=DOCUMENT)
    assert taken.status_code == 201, taken.text
    again = house.ask("POST", "/documents", content=DOCUMENT)
    (reference,) = (one for one in taken.json()["resources"] if one.startswith("DocumentReference/"))

    url = house.get(reference).json()["content"][0]["attachment"]["url"]
    sent = house.get(url)

    assert again.status_code == 200
    assert sent.content == DOCUMENT
    assert sent.headers["content-type"].startswith("text/xml")
    assert sent.headers["content-security-policy"] == "default-src 'none'; sandbox"
    as_fhir = house.get(url, Accept="application/fhir+json").json()
    assert as_fhir["resourceType"] == "Binary"
    assert fhir.is_acceptable(fhir.validate(as_fhir))
    assert_outcome(house.get(url, who="other"), 403)
    assert_outcome(house.get("Binary/nothing"), 404)
    assert house.entries("person.read")[1].detail["what"] == url
    assert_outcome(house.ask("POST", "/fhir/Binary", content=b"{}"), 404)


def test_a_document_in_another_institutions_name_is_refused(house: FhirWorld):
    taken = house.ask("POST", "/documents", who="other", content=DOCUMENT.replace(b"DOC-1", b"DOC-2"))

    assert taken.status_code == 422
    assert taken.headers["content-type"] == "application/problem+json"
    assert taken.json()["place"] == "custodian"


# --- HL7 v2 beside it ---------------------------------------------------------------------------------


def test_an_er7_message_is_acknowledged_over_http(house: FhirWorld):
    from message_world import admission

    taken = house.ask("POST", "/hl7v2", content=admission("HTTP-1", number="H1"))
    wrong = house.ask("POST", "/hl7v2", content=b"hello")
    foreign = house.ask("POST", "/hl7v2", content=admission("HTTP-2", sender=OTHER_HOSPITAL))
    empty = house.ask("POST", "/hl7v2", content=b"")

    assert (taken.status_code, taken.headers["content-type"]) == (200, "application/hl7-v2")
    assert b"MSA|AA|HTTP-1" in taken.content
    assert b"MSA|AR" in wrong.content
    assert b"MSA|AE|HTTP-2" in foreign.content or b"MSA|AR|HTTP-2" in foreign.content
    assert empty.status_code == 422
    assert house.ask("POST", "/hl7v2", who="reader", content=admission("HTTP-3")).status_code == 403
    assert house.ask("POST", "/hl7v2", who="", content=admission("HTTP-4")).status_code == 401
