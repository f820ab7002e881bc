"""The person index at the FHIR door: PIXm, PDQm, its own Patients. All people are synthetic (division 99)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from app_world import csv_bytes, row
from fhir_world import (
    NUMBERS,
    ORIGIN,
    FhirWorld,
    _machine,
    address,
    assert_outcome,
    entry,
    observation,
    open_fhir_world,
    patient,
    unlike,
)
from message_world import HOSPITAL, OTHER_HOSPITAL

from kangshu import identity
from kangshu.standards import fhir
from kangshu.standards.identifiers import resident_check_digit

pytestmark = pytest.mark.database

OWN = "urn:kangshu:person"
RED, BLUE = "urn:oid:2.999.1.2.3", "urn:oid:2.999.5.6.7"
RESIDENTS = "urn:oid:2.16.156.10011.1.3"
_SHARED = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))
SAMPLES = _SHARED / "fhir" / "ch_epr_ihe_profiles"


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[FhirWorld]:
    with open_fhir_world(database_server) as world:
        tokens = world.tokens
        assert isinstance(tokens, dict)
        for who, scopes in {"desk": ("persons.find", "records.read"), "seeker": ("persons.find",)}.items():
            tokens[who] = world.world.run(lambda s=scopes: _machine(world, OTHER_HOSPITAL, s))
        yield world


def resident(serial: int, born: str = "19710512") -> str:
    body = f"990102{born}{serial:03d}"
    return body + resident_check_digit(body)


def someone(
    house: FhirWorld, number: str, *numbers: tuple[str, str], who: str = "hospital", **more: Any
) -> str:
    """Send a Patient and return its id."""
    told = [{"system": NUMBERS, "value": number}]
    told += [{"system": system, "value": value} for system, value in numbers]
    key = next((value for system, value in numbers if system == RESIDENTS), number)
    answer = house.create({**patient(number), **unlike(key), "identifier": told, **more}, who=who)
    assert answer.status_code == 201, answer.text
    return address(answer).partition("/")[2]


def pix(house: FhirWorld, source: str, *targets: str, who: str = "hospital") -> Any:
    query = "&".join(
        [f"sourceIdentifier={quote(source)}", *(f"targetSystem={quote(one)}" for one in targets)]
    )
    return house.get(f"Patient/$ihe-pix?{query}", who=who)


def numbers(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    assert fhir.is_acceptable(fhir.validate(answer.json()))
    told = [one.get("valueIdentifier") for one in answer.json().get("parameter", ())]
    return {f"{one['system']}|{one['value']}" for one in told if one}


def patients(answer: Any) -> list[str]:
    told = [one.get("valueReference") for one in answer.json().get("parameter", ())]
    return [one["reference"] for one in told if one]


def own_id(house: FhirWorld, source: str, *, who: str = "hospital") -> str:
    """Return the id of the index's Patient of whoever holds a number."""
    (found,) = (one for one in patients(pix(house, source, who=who)) if "empi-" in one)
    return found.partition("/")[2]


def found(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert fhir.is_acceptable(fhir.validate(answer.json())), fhir.validate(answer.json())
    return [one["resource"] for one in answer.json().get("entry", ())]


# --- PIXm, ITI-83 -------------------------------------------------------------------------------------


def test_a_number_leads_to_the_others_of_the_same_person(house: FhirWorld):
    number = resident(1)
    first = someone(house, "X1", (RED, "R1"), (RESIDENTS, number))
    second = someone(house, "X2", (BLUE, "B1"), (RESIDENTS, number), who="other")

    answer = pix(house, f"{RED}|R1")

    assert numbers(answer) >= {f"{BLUE}|B1", f"{RESIDENTS}|{number}", f"{NUMBERS}|X1", f"{NUMBERS}|X2"}
    assert f"{RED}|R1" not in numbers(answer)
    assert {f"Patient/{first}", f"Patient/{second}"} <= set(patients(answer))
    assert numbers(pix(house, f"{RED}|R1", BLUE)) == {f"{BLUE}|B1"}
    assert numbers(pix(house, f"{RED}|R1", RESIDENTS, BLUE)) == {f"{BLUE}|B1", f"{RESIDENTS}|{number}"}
    assert patients(pix(house, f"{RED}|R1", BLUE)) == []
    assert f"Patient/{first}" in patients(pix(house, f"{RED}|R1", f"{ORIGIN}/fhir"))
    assert f"{RED}|R1" in numbers(pix(house, f"{ORIGIN}/fhir|Patient/{first}"))


def test_the_refusals_of_pixm_have_its_statuses_and_words(house: FhirWorld):
    someone(house, "X3", (RED, "R3"))

    unknown = assert_outcome(pix(house, f"{RED}|nobody"), 404, "not-found")
    foreign = assert_outcome(pix(house, "urn:oid:2.999.9.9.9|1"), 400, "code-invalid")
    target = assert_outcome(pix(house, f"{RED}|R3", "urn:oid:2.999.9.9.9"), 403, "code-invalid")

    assert unknown["diagnostics"] == "sourceIdentifier Patient Identifier not found"
    assert foreign["diagnostics"] == "sourceIdentifier Assigning Authority not found"
    assert target["diagnostics"] == "targetSystem not found"
    for query in ("", "?sourceIdentifier=R3", f"?sourceIdentifier={RED}|", f"?sourceIdentifier={RED}|R3&x=1"):
        assert_outcome(house.get(f"Patient/$ihe-pix{query}"), 400, "invalid")


def test_pixm_takes_parameters_and_answers_xml(house: FhirWorld):
    someone(house, "X4", (RED, "R4"), (BLUE, "B4"))
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "sourceIdentifier", "valueString": f"{RED}|R4"},
            {"name": "targetSystem", "valueUri": BLUE},
        ],
    }

    as_json = house.ask("POST", "/fhir/Patient/$ihe-pix", json=body)
    as_xml = house.get(f"Patient/$ihe-pix?sourceIdentifier={RED}|R4&_format=xml")

    assert numbers(as_json) == {f"{BLUE}|B4"}
    assert fhir.from_xml(as_xml.content)["resourceType"] == "Parameters"
    body["parameter"].append({"name": "colour", "valueString": "red"})
    assert_outcome(house.ask("POST", "/fhir/Patient/$ihe-pix", json=body), 400)


def test_whom_the_caller_may_not_read_of_is_not_there_for_pixm(house: FhirWorld):
    someone(house, "X5", (RED, "R5"))

    assert pix(house, f"{RED}|R5", who="other").status_code == 404
    assert pix(house, f"{RED}|R5", who="seeker").status_code == 403
    assert house.entries("person.read")[0].outcome == "refused"
    assert pix(house, f"{RED}|R5").status_code == 200
    assert house.entries("person.read")[0].detail["what"] == "Patient/$ihe-pix"


@pytest.mark.skipif(not SAMPLES.exists(), reason="no samples: set KANGSHU_SAMPLES")
def test_the_swiss_example_of_pixm_is_answered_in_the_form_of_its_answer(house: FhirWorld):
    spid = "urn:oid:2.16.756.5.30.1.127.3.10.3"
    someone(house, "X6", ("urn:oid:2.999.1.2.3", "123"), ("urn:oid:2.999.5.6.7", "M1"), (spid, "S1"))
    asked = (SAMPLES / "ParametersPIXmInput.json").read_bytes()
    expected = fhir.loads((SAMPLES / "ParametersPIXmOutput.json").read_bytes())

    answer = house.ask("POST", "/fhir/Patient/$ihe-pix", content=asked)

    told = answer.json()["parameter"]
    assert [one["name"] for one in told] == [one["name"] for one in expected["parameter"]]
    assert {one["valueIdentifier"]["system"] for one in told} == {
        one["valueIdentifier"]["system"] for one in expected["parameter"]
    }


# --- the index's own Patient --------------------------------------------------------------------------


def test_the_indexs_patient_tells_what_all_institutions_know(house: FhirWorld):
    number = resident(2)
    facts = {"name": [{"text": "测试主索引"}], "gender": "male", "birthDate": "1968-05-12"}
    phone = [{"system": "phone", "value": "13900000001"}]
    first = someone(house, "G1", (RESIDENTS, number), telecom=phone, **facts)
    second = someone(house, "G2", (RESIDENTS, number), who="other", **facts)
    own = own_id(house, f"{NUMBERS}|G1")

    told = house.get(f"Patient/{own}").json()

    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    assert told["identifier"][0] == {"system": OWN, "value": own.removeprefix("empi-")}
    assert {one["value"] for one in told["identifier"]} >= {"G1", "G2", number}
    assert (told["active"], told["gender"], told["birthDate"]) == (True, "male", "1968-05-12")
    assert told["telecom"] == [{"system": "phone", "value": "13900000001"}]
    assert {one["other"]["reference"] for one in told["link"]} == {f"Patient/{first}", f"Patient/{second}"}
    assert {one["type"] for one in told["link"]} == {"seealso"}
    assert_outcome(house.get("Patient/empi-999999999"), 404)
    assert_outcome(house.get(f"Patient/{own_id(house, f'{NUMBERS}|G1')}", who="seeker"), 403)


def test_the_indexs_patient_leads_to_the_record(house: FhirWorld):
    first = someone(house, "G3")
    result = address(house.create(observation(f"Patient/{first}")))
    own = own_id(house, f"{NUMBERS}|G3")

    by_search = found(house.get(f"Observation?patient=Patient/{own}"))
    everything = found(house.get(f"Patient/{own}/$everything"))

    assert [f"Observation/{one['id']}" for one in by_search] == [result]
    assert [one["resourceType"] for one in everything] == ["Patient", "Observation"]
    assert_outcome(house.get(f"Observation?patient=Patient/{own}", who="other"), 403)
    assert_outcome(house.get("Patient/empi-999999999/$everything"), 404)


def test_the_indexs_patient_cannot_be_written(house: FhirWorld):
    own = {**patient("G4"), "id": "empi-1"}

    assert_outcome(house.put(own), 405)
    assert_outcome(house.ask("DELETE", "/fhir/Patient/empi-1"), 405)
    assert_outcome(house.bundle("transaction", entry("PUT", "Patient/empi-1", own)), 400)


# --- PDQm, ITI-78 -------------------------------------------------------------------------------------


def test_patients_are_found_by_what_people_know_of_them(house: FhirWorld):
    someone(
        house,
        "D1",
        name=[{"family": "Mohrtest", "given": ["Alice"]}],
        birthDate="1958-01-30",
        gender="female",
        telecom=[{"system": "phone", "value": "13900000002"}],
    )
    own = own_id(house, f"{NUMBERS}|D1")

    for query in (
        "family=Mohrtest&given=Alice&active=true&gender=female",
        "family:exact=Mohrtest&gender=female",
        "family=Nobody,Mohrtest&gender=male,female",
        "birthdate=1958-01-30&family=Mohrtest",
        "birthdate=ge1958-01-01&birthdate=lt1958-02-01",
        "birthdate=1958&name=Alice%20Mohrtest",
        "telecom=phone|13900000002&birthdate=1958-01",
        f"identifier={NUMBERS}|D1&family=Mohrtest",
        "_id=" + own,
    ):
        answer = house.get(f"Patient?{query}")
        assert [one["id"] for one in found(answer)] == [own], query
        assert answer.json()["total"] == 1
        assert answer.json()["entry"][0]["fullUrl"] == f"{ORIGIN}/fhir/Patient/{own}"
    for query in (
        "family=Mohrtest&gender=male",
        "family=Mohrtest&gender=other",
        "family=Mohrtest&active=false",
        "birthdate=1958-01-31&family=Mohrtest",
        "birthdate=gt1959&birthdate=lt1958&family=Mohrtest",
        f"identifier={NUMBERS}|D1&identifier={NUMBERS}|D2&family=Mohrtest",
    ):
        answer = house.get(f"Patient?{query}").json()
        assert (answer.get("entry"), answer["total"]) == (None, 0), query
    by_form = house.ask("POST", "/fhir/Patient/_search", data={"family": "Mohrtest", "given": "Alice"})
    assert [one["id"] for one in found(by_form)] == [own]


def test_numbers_of_the_domains_asked_for_are_told_and_no_others(house: FhirWorld):
    someone(house, "D3", (RED, "R-D3"), (BLUE, "B-D3"), name=[{"text": "测试域"}])
    someone(house, "D4", name=[{"text": "测试域"}])

    (only,) = found(house.get(f"Patient?name=测试域&identifier={RED}|"))
    two = found(house.get(f"Patient?name=测试域&identifier={RED}|,{BLUE}|"))

    assert only["identifier"] == [{"system": RED, "value": "R-D3"}]
    assert [len(one["identifier"]) for one in two] == [2]
    unknown = assert_outcome(
        house.get("Patient?name=测试域&identifier=urn:oid:2.999.9.9.9|"), 404, "not-found"
    )
    assert (unknown["severity"], unknown["diagnostics"]) == ("warning", "targetSystem not found")


@pytest.mark.parametrize(
    "query",
    [
        "gender=male",
        "family=王&gender=male",
        "birthdate=ge1900",
        "birthdate=yesterday&name=x",
        "name=测试*",
        "name=a&family=b",
        "address=x&name=y",
        "name=,",
        "_id=empi-1&name=x",
        "identifier=urn:kangshu:person|1&name=x",
        "name=a,b,c,d,e&birthdate=1958,1959,1960,1961",
        "name=x&_count=many",
        "name:contains=x",
        "_page=p.AAAA",
    ],
)
def test_a_search_of_the_index_that_cannot_be_answered_is_refused(house: FhirWorld, query: str):
    answer = house.get(f"Patient?{query}")

    assert answer.status_code in (400, 410), answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_pages_of_the_index_name_nobody_and_are_for_whom_they_were_made(house: FhirWorld):
    for number in range(5):
        someone(house, f"D-P{number}", name=[{"text": "测试页"}], birthDate=f"196{number}-01-01")

    seen, link = [], f"Patient?name={quote('测试页')}&_count=2"
    while link:
        page = house.get(link).json()
        seen += [one["resource"]["birthDate"][3] for one in page["entry"]]
        link = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
        if link:
            assert "%E6" not in link
            assert_outcome(house.get(link, who="reader"), 410)
            assert_outcome(house.get(link[:-3] + "AAA"), 410)

    assert sorted(seen) == list("01234")


def test_whom_the_caller_may_not_read_of_is_left_out_or_masked(house: FhirWorld):
    number = resident(4)
    someone(house, "D5", (RESIDENTS, number), name=[{"text": "测试遮蔽"}], birthDate="1968-05-12")
    query = f"Patient?name={quote('测试遮蔽')}"

    assert found(house.get(query, who="other")) == []
    assert len(found(house.get(query))) == 1
    for who in ("desk", "seeker"):
        (masked,) = found(house.get(query, who=who))
        assert masked["name"] == [{"text": "测**"}]
        assert masked["birthDate"] == "1968"
        assert [one["system"] for one in masked["identifier"]] == [OWN]
        assert masked["meta"]["security"][0]["code"] == "MASKED"
        assert "link" not in masked
    shown = house.entries("person.query")[0]
    assert shown.detail == {"found": 1, "shown": 1}
    assert_outcome(house.get(query, who="sender"), 403)
    assert_outcome(house.get(query, who="centre"), 403)
    assert_outcome(house.get(query, who="doctor", **{"X-Purpose": "emergency"}), 422)
    opened = house.get(
        query, who="doctor", **{"X-Purpose": "emergency", "X-Purpose-Reason": quote("昏迷患者急诊")}
    )
    assert "测试遮蔽" in opened.text


def test_a_number_leads_to_the_index_where_nobody_sent_a_patient(house: FhirWorld):
    number = resident(5)
    someone(house, "D6", (RESIDENTS, number))

    own = found(house.get(f"Patient?identifier={RESIDENTS}|{number}"))
    others = found(house.get(f"Patient?identifier={RESIDENTS}|{number}", who="seeker"))

    assert [one["id"].startswith("empi-") for one in own] == [False]
    assert [one["id"].startswith("empi-") for one in others] == [True]
    assert found(house.get(f"Patient?identifier={RESIDENTS}|{number}", who="other")) == []


def test_who_came_in_a_file_alone_is_found_and_read_where_the_file_came_from(house: FhirWorld):
    number = resident(6)
    sent = house.world.send(
        csv_bytes([row(901, patient_name="测试档", resident_number=number, birth_date="1971-05-12")])
    )
    assert sent.receipt.accepted == 1, sent.lines

    by_number = found(house.get(f"Patient?identifier={RESIDENTS}|{number}"))
    by_name = found(house.get("Patient?name=测试档"))

    assert [one["id"] for one in by_number] == [one["id"] for one in by_name]
    assert {one["value"] for one in by_name[0]["identifier"]} >= {number, "P00901"}
    assert "link" not in by_name[0]
    assert found(house.get("Patient?name=测试档", who="other")) == []


# --- ITI-104 ------------------------------------------------------------------------------------------


def feed(house: FhirWorld, system: str, value: str, *, who: str = "hospital", **more: Any) -> Any:
    told = {**patient("-"), "identifier": [{"system": system, "value": value}], **more}
    path = f"/fhir/Patient?identifier={quote(f'{system}|{value}')}"
    return house.ask("PUT", path, who=who, content=fhir.dumps(told))


def test_a_feed_creates_then_revises_one_patient(house: FhirWorld):
    made = feed(house, RED, "F1", name=[{"family": "MOHR", "given": ["ALISSA"]}])
    revised = feed(house, RED, "F1", name=[{"family": "MOHR", "given": ["ALICE"]}])
    elsewhere = feed(house, RED, "F1", who="other")

    assert (made.status_code, revised.status_code, elsewhere.status_code) == (201, 200, 201)
    assert address(made) == address(revised) != address(elsewhere)
    assert house.get(address(made)).json()["name"][0]["given"] == ["ALICE"]


def test_a_feed_updates_the_patient_that_was_created_otherwise(house: FhirWorld):
    before = someone(house, "F2")

    assert address(feed(house, NUMBERS, "F2")) == f"Patient/{before}"
    someone(house, "F2", name=[{"text": "测试乙"}])
    assert_outcome(feed(house, NUMBERS, "F2"), 412, "multiple-matches")


def test_a_feed_names_one_number_that_the_patient_has(house: FhirWorld):
    told = fhir.dumps(patient("F3"))

    for query in ("", "?identifier=F3", f"?identifier={NUMBERS}|F9", f"?identifier={NUMBERS}|F3&name=x"):
        assert_outcome(house.ask("PUT", f"/fhir/Patient{query}", content=told), 400)
    wrong = fhir.dumps({**patient("F3"), "gender": "none"})
    assert_outcome(house.ask("PUT", f"/fhir/Patient?identifier={NUMBERS}|F3", content=wrong), 422)
    assert_outcome(
        house.ask("PUT", f"/fhir/Patient?identifier={NUMBERS}|F3", who="reader", content=told), 403
    )
    assert house.ask("PUT", f"/fhir/Observation?identifier={NUMBERS}|F3", content=told).status_code == 405


def test_a_duplicate_that_was_resolved_is_one_person_with_its_survivor_until_it_is_undone(house: FhirWorld):
    feed(house, RED, "F-994", name=[{"text": "测试留"}])
    feed(house, RED, "F-m94", name=[{"text": "测试并"}], birthDate="1970-01-01")
    before = own_id(house, f"{RED}|F-m94")
    kept = own_id(house, f"{RED}|F-994")
    link = {"other": {"identifier": {"system": RED, "value": "F-994"}}, "type": "replaced-by"}

    merged = feed(house, RED, "F-m94", name=[{"text": "测试并"}], active=False, link=[link])

    assert merged.status_code == 200
    assert own_id(house, f"{RED}|F-m94") == kept != before
    assert f"{RED}|F-m94" in numbers(pix(house, f"{RED}|F-994"))
    gone = house.get(f"Patient/{before}").json()
    assert (gone["active"], gone["link"]) == (
        False,
        [{"other": {"reference": f"Patient/{kept}"}, "type": "replaced-by"}],
    )
    assert fhir.is_acceptable(fhir.validate(gone))
    by_name = found(house.get("Patient?name=测试并"))
    assert [one["id"] for one in by_name] == [kept]

    undo(house, int(before.removeprefix("empi-")))

    assert own_id(house, f"{RED}|F-m94") == before
    assert f"{RED}|F-m94" not in numbers(pix(house, f"{RED}|F-994"))
    assert house.get(f"Patient/{before}").json()["active"] is True
    assert [one["id"] for one in found(house.get("Patient?name=测试并"))] == [before]


def test_nobody_merges_the_numbers_of_another_institution(house: FhirWorld):
    theirs = f"urn:kangshu:institution:{OTHER_HOSPITAL}:patient"
    for value in ("N1", "N2"):
        feed(
            house,
            theirs,
            value,
            who="other",
            name=[{"text": f"测试{value}"}],
            birthDate=f"196{value[1]}-01-01",
        )
    link = {"other": {"identifier": {"system": theirs, "value": "N1"}}, "type": "replaced-by"}

    feed(house, theirs, "N2", name=[{"text": "测试N2"}], birthDate="1962-01-01", link=[link])

    one, two = (own_id(house, f"{theirs}|{value}", who="other") for value in ("N1", "N2"))
    assert one != two


def undo(house: FhirWorld, absorbed: int) -> None:
    """Take back the merge by which a person stands behind another."""

    async def scenario() -> None:
        async with house.world.platform.database.transaction() as connection:
            merge = await identity.get_merge_of(connection, absorbed=absorbed)
            now = house.world.platform.clock.now()
            await identity.undo_merge(connection, merge=merge.id, actor="staff:test", now=now)

    house.world.run(scenario)


# --- what the door says of itself ---------------------------------------------------------------------


def test_the_door_says_what_it_does_for_persons(house: FhirWorld):
    told = house.get("metadata").json()
    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    (of_patients,) = (one for one in told["rest"][0]["resource"] if one["type"] == "Patient")

    assert {one["name"] for one in of_patients["operation"]} == {"everything", "match", "ihe-pix"}
    assert of_patients["conditionalUpdate"] is True
    names = {one["name"] for one in of_patients["searchParam"]}
    assert names >= {"_id", "active", "family", "given", "identifier", "telecom", "birthdate", "gender"}
    assert "mothersMaidenName" in names
    assert HOSPITAL not in house.get("metadata").text
