"""The FHIR door over HTTP: what clients write and read, and how they hear of what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

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
from message_world import HOSPITAL

from kangshu import records
from kangshu.api.fhir.demographics import is_for_index
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import open_platform
from kangshu.app.serving import build_app
from kangshu.intake.messages import MessageFormat
from kangshu.standards import fhir

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[FhirWorld]:
    with open_fhir_world(database_server) as world:
        yield world


@pytest.fixture(scope="module")
def someone(house: FhirWorld) -> str:
    """A Patient of the hospital, as `Patient/id`."""
    return address(house.create(patient("P0")))


# --- what the door says of itself ---------------------------------------------------------------------


def test_the_capability_statement_is_valid_and_needs_no_token(house: FhirWorld):
    told = house.get("metadata", who="").json()

    assert told["resourceType"] == "CapabilityStatement"
    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    kinds = {one["type"]: one for one in told["rest"][0]["resource"]}
    assert {"name": "date", "type": "date"} in kinds["Observation"]["searchParam"]
    assert kinds["Binary"]["interaction"] == [{"code": "read"}]


def test_every_parameter_that_the_statement_lists_is_taken(house: FhirWorld):
    kinds = house.get("metadata", who="").json()["rest"][0]["resource"]
    values = {"date": "2026", "reference": "x", "token": "x", "string": "x", "uri": "urn:x"}
    for kind in kinds:
        for one in kind.get("searchParam", ()):
            if kind["type"] == "Patient" and is_for_index([(one["name"], "x")]):
                continue  # asked of the person index: see the tests of persons
            records.check_search(type=kind["type"], parameters=[(one["name"], values[one["type"]])])


# --- one resource -------------------------------------------------------------------------------------


def test_what_is_created_can_be_read_as_it_was_sent(house: FhirWorld, someone: str):
    created = house.create(observation(someone))

    assert created.status_code == 201
    assert created.headers["etag"] == 'W/"1"'
    assert created.headers["location"].startswith(f"{ORIGIN}/fhir/Observation/")
    assert created.headers["location"].endswith("/_history/1")
    read = house.get(address(created))
    assert read.status_code == 200
    assert fhir.loads(read.content) == fhir.loads(created.content)
    assert read.headers["last-modified"] == created.headers["last-modified"]
    assert b'"value":6.30' in read.content
    assert read.json()["meta"]["versionId"] == "1"


def test_a_resource_without_a_change_is_not_sent_again(house: FhirWorld, someone: str):
    created = house.create(observation(someone))

    same = house.get(address(created), **{"If-None-Match": created.headers["etag"]})
    later = house.get(address(created), **{"If-Modified-Since": created.headers["last-modified"]})
    other = house.get(address(created), **{"If-None-Match": 'W/"7"'})

    assert (same.status_code, later.status_code, other.status_code) == (304, 304, 200)
    assert same.content == b""


def test_what_a_client_prefers_is_what_it_gets(house: FhirWorld, someone: str):
    bare = house.create(observation(someone), Prefer="return=minimal")
    outcome = house.create(observation(someone), Prefer="return=OperationOutcome")

    assert (bare.status_code, bare.content) == (201, b"")
    assert bare.headers["location"]
    assert outcome.json()["resourceType"] == "OperationOutcome"


def test_an_update_is_a_new_version_and_the_old_one_stays(house: FhirWorld, someone: str):
    created = house.create(observation(someone))
    resource = created.json()

    updated = house.put({**resource, "status": "amended"}, **{"If-Match": 'W/"1"'})
    again = house.put({**resource, "status": "amended"})

    assert (updated.status_code, updated.headers["etag"]) == (200, 'W/"2"')
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"2"')  # nothing changed
    where = address(created)
    assert house.get(f"{where}/_history/1").json()["status"] == "final"
    assert house.get(f"{where}/_history/2").json()["status"] == "amended"
    assert_outcome(house.get(f"{where}/_history/3"), 404, "not-found")


def test_an_update_of_another_version_than_the_client_saw_is_refused(house: FhirWorld, someone: str):
    resource = house.create(observation(someone)).json()
    house.put({**resource, "status": "amended"})

    assert_outcome(house.put({**resource, "status": "corrected"}, **{"If-Match": 'W/"1"'}), 412, "conflict")
    assert_outcome(house.put({**resource, "status": "corrected"}, **{"If-Match": "*.*"}), 400)
    assert house.get(f"Observation/{resource['id']}").json()["status"] == "amended"


def test_of_parallel_updates_of_one_version_one_is_carried_out(house: FhirWorld, someone: str):
    resource = house.create(observation(someone)).json()

    async def work(http):
        updates = [
            http.put(
                f"/fhir/Observation/{resource['id']}",
                content=fhir.dumps({**resource, "note": [{"text": f"{number}"}]}),
                headers={"If-Match": 'W/"1"'},
            )
            for number in range(8)
        ]
        return [one.status_code for one in await asyncio.gather(*updates)]

    assert sorted(house.run(work)) == [200] + [412] * 7


def test_a_client_may_choose_the_id_of_what_is_new(house: FhirWorld, someone: str):
    chosen = {**observation(someone), "id": "result.A-17"}

    first, second = house.put(chosen), house.put({**chosen, "status": "amended"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert house.get("Observation/result.A-17").json()["status"] == "amended"
    assert_outcome(house.ask("PUT", "/fhir/Observation/other", content=fhir.dumps(chosen)), 400, "invalid")


def test_only_the_institution_that_sent_a_resource_changes_it(house: FhirWorld, someone: str):
    resource = house.create(observation(someone)).json()

    assert_outcome(house.put({**resource, "status": "amended"}, who="other"), 403, "forbidden")
    assert_outcome(house.ask("DELETE", f"/fhir/Observation/{resource['id']}", who="other"), 403, "forbidden")
    assert house.get(f"Observation/{resource['id']}").headers["etag"] == 'W/"1"'


def test_what_is_deleted_is_gone_and_its_history_stays(house: FhirWorld, someone: str):
    where = address(house.create(observation(someone)))

    gone = house.ask("DELETE", f"/fhir/{where}")

    assert (gone.status_code, gone.content) == (204, b"")
    assert_outcome(house.get(where), 410, "deleted")
    assert house.get(f"{where}/_history/1").status_code == 200
    history = house.get(f"{where}/_history").json()
    assert [one["request"]["method"] for one in history["entry"]] == ["DELETE", "PUT"]
    assert fhir.is_acceptable(fhir.validate(history)), fhir.validate(history)
    assert house.ask("DELETE", f"/fhir/{where}").status_code == 204
    assert house.put({**observation(someone), "id": where.partition("/")[2]}).status_code == 201


def test_a_deletion_too_minds_the_version_that_the_client_saw(house: FhirWorld, someone: str):
    where = address(house.create(observation(someone)))
    path = f"/fhir/{where}"

    assert_outcome(house.ask("DELETE", path, headers={"If-Match": 'W/"2"'}), 412)
    assert house.ask("DELETE", path, headers={"If-Match": 'W/"1"'}).status_code == 204


def test_a_history_is_paged_newest_first(house: FhirWorld, someone: str):
    resource = house.create(observation(someone)).json()
    for status in ("amended", "corrected", "cancelled"):
        house.put({**resource, "status": status})

    seen, link = [], f"Observation/{resource['id']}/_history?_count=2"
    while link:
        page = house.get(link).json()
        seen += [one["resource"]["status"] for one in page["entry"]]
        link = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")

    assert seen == ["cancelled", "corrected", "amended", "final"]


# --- conditional create -------------------------------------------------------------------------------


def test_a_conditional_create_makes_one_of_eight_that_come_at_once(house: FhirWorld):
    condition = {"If-None-Exist": f"identifier={NUMBERS}|P-ONCE"}

    async def work(http):
        asked = [
            http.post("/fhir/Patient", content=fhir.dumps(patient("P-ONCE")), headers=condition)
            for _ in range(8)
        ]
        return await asyncio.gather(*asked)

    answers = house.run(work)

    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
    assert len({address(one) for one in answers}) == 1
    found = house.get(f"Patient?identifier={NUMBERS}|P-ONCE&_total=accurate").json()
    assert found["total"] == 1


def test_a_conditional_create_makes_one_across_two_programs(house: FhirWorld):
    condition = {"If-None-Exist": f"identifier={NUMBERS}|P-TWO"}

    async def work(http):
        async with open_platform(house.world.home) as second:
            app = build_app(second, open_lane(second))
            async with house.client("hospital", app=app) as other:
                asked = [
                    one.post("/fhir/Patient", content=fhir.dumps(patient("P-TWO")), headers=condition)
                    for _ in range(6)
                    for one in (http, other)
                ]
                return await asyncio.gather(*asked)

    answers = house.run(work)

    assert sorted(one.status_code for one in answers) == [200] * 11 + [201]
    assert len({address(one) for one in answers}) == 1


def test_a_condition_that_fits_several_is_refused_and_so_is_one_that_is_not_understood(house: FhirWorld):
    for _ in range(2):
        house.create(patient("P-TWICE"))

    several = house.create(patient("P-TWICE"), **{"If-None-Exist": f"identifier={NUMBERS}|P-TWICE"})

    assert_outcome(several, 412, "multiple-matches")
    for condition in ("name=x", "identifier=a,b", "identifier=", "identifier=s|"):
        assert_outcome(house.create(patient("P-X"), **{"If-None-Exist": condition}), 400)


def test_a_patient_found_in_place_of_a_new_one_tells_nothing_new_of_the_person(house: FhirWorld):
    first = address(house.create(patient("P-KNOWN", name="测试己")))

    house.create(
        patient("P-KNOWN", name="测试庚", birth="1999-09-09"),
        **{"If-None-Exist": f"identifier={NUMBERS}|P-KNOWN"},
    )

    assert house.get(first).json()["name"] == [{"text": "测试己"}]
    assert house.get(first).headers["etag"] == 'W/"1"'


# --- the same request again ---------------------------------------------------------------------------


def test_a_request_that_is_sent_again_under_its_name_is_carried_out_once(house: FhirWorld, someone: str):
    first = house.create(observation(someone), **{"X-Request-Id": "r-1"})
    second = house.create(observation(someone), **{"X-Request-Id": "r-1"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["x-request-id"] == "r-1"


def test_eight_copies_of_a_request_at_once_are_carried_out_once(house: FhirWorld, someone: str):
    async def work(http):
        body = fhir.dumps(observation(someone))
        asked = [
            http.post("/fhir/Observation", content=body, headers={"X-Request-Id": "r-8"}) for _ in range(8)
        ]
        return await asyncio.gather(*asked)

    answers = house.run(work)

    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
    assert len({one.headers["location"] for one in answers}) == 1


def test_a_name_of_a_request_is_good_for_one_request(house: FhirWorld, someone: str):
    named = {"X-Request-Id": "r-2"}
    resource = house.create(observation(someone), **named).json()

    assert_outcome(house.create(observation(someone, value="9.99"), **named), 409, "duplicate")
    assert_outcome(house.put(resource, **named), 409)
    assert_outcome(house.ask("DELETE", f"/fhir/Observation/{resource['id']}", headers=named), 409)
    assert house.create(observation(someone), who="sender", **named).status_code == 201  # another client's
    assert_outcome(house.create(observation(someone), **{"X-Request-Id": "x" * 129}), 400)


def test_a_repeated_transaction_is_answered_with_where_its_resources_are(house: FhirWorld):
    entries = [
        entry("POST", "Patient", patient("P-R1"), full_url="urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        entry("POST", "Observation", observation("urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7")),
    ]

    first = house.bundle("transaction", *entries, **{"X-Request-Id": "t-1"}).json()
    second = house.bundle("transaction", *entries, **{"X-Request-Id": "t-1"}).json()

    def places(told):
        return [one["response"]["location"] for one in told["entry"]]

    assert places(second) == places(first)


# --- transactions and batches -------------------------------------------------------------------------

ONE, TWO = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"


def test_a_transaction_ties_its_resources_together(house: FhirWorld):
    answer = house.bundle(
        "transaction",
        entry("POST", "Patient", patient("P-T1"), full_url=ONE),
        entry("POST", "Observation", observation(ONE, number="T1"), full_url=TWO),
        entry("PUT", "Observation/t-two", {**observation(ONE), "id": "t-two"}),
        entry(
            "POST",
            "DiagnosticReport",
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": {"text": "合成"},
                "subject": {"reference": ONE},
                "result": [{"reference": TWO}, {"reference": "Observation/t-two"}],
            },
        ),
    )

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    assert [one["response"]["status"] for one in told["entry"]] == ["201"] * 4
    places = [one["response"]["location"].partition("/_history")[0] for one in told["entry"]]
    report = house.get(places[3]).json()
    assert report["subject"]["reference"] == places[0]
    assert [one["reference"] for one in report["result"]] == places[1:3]
    assert house.get("Observation/t-two").json()["subject"]["reference"] == places[0]


def test_a_transaction_is_carried_out_wholly_or_not_at_all(house: FhirWorld, someone: str):
    kept = house.create(observation(someone)).json()
    before = house.get("Patient?identifier=P-NEVER&_total=accurate").json()["total"]

    answer = house.bundle(
        "transaction",
        entry("POST", "Patient", patient("P-NEVER")),
        entry("DELETE", f"Observation/{kept['id']}"),
        entry("PUT", "Observation/t-none", {**observation(someone), "id": "t-none"}, ifMatch='W/"3"'),
    )

    assert_outcome(answer, 412, "conflict")
    assert house.get("Patient?identifier=P-NEVER&_total=accurate").json()["total"] == before == 0
    assert house.get(f"Observation/{kept['id']}").status_code == 200
    assert house.get("Observation/t-none").status_code == 404


def test_a_transaction_updates_and_deletes(house: FhirWorld, someone: str):
    first, second = (house.create(observation(someone)).json() for _ in range(2))

    answer = house.bundle(
        "transaction",
        entry("PUT", f"Observation/{first['id']}", {**first, "status": "amended"}, ifMatch='W/"1"'),
        entry("DELETE", f"Observation/{second['id']}"),
    )

    assert [one["response"]["status"] for one in answer.json()["entry"]] == ["200", "204"]
    assert house.get(f"Observation/{first['id']}").json()["status"] == "amended"
    assert house.get(f"Observation/{second['id']}").status_code == 410


def test_a_transaction_creates_what_is_not_there_and_finds_what_is(house: FhirWorld):
    known = address(house.create(patient("P-T2")))

    answer = house.bundle(
        "transaction",
        entry("POST", "Patient", patient("P-T2"), full_url=ONE, ifNoneExist=f"identifier={NUMBERS}|P-T2"),
        entry("POST", "Observation", observation(ONE)),
        entry("POST", "Observation", observation(f"Patient?identifier={NUMBERS}|P-T2")),
    )

    told = answer.json()["entry"]
    assert [one["response"]["status"] for one in told] == ["200", "201", "201"], told
    for one in told[1:]:
        read = house.get(one["response"]["location"].partition("/_history")[0])
        assert read.json()["subject"]["reference"] == known
    assert house.get(f"Observation?patient={known}&_total=accurate").json()["total"] == 2


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([entry("POST", "Observation", observation(ONE))], 422),
        ([entry("POST", "Observation", observation("Patient?identifier=nobody|0"))], 412),
        ([entry("POST", "Observation", observation("Patient/nobody"))], 422),
        ([entry("POST", "Patient", observation("Patient/x"))], 422),
        ([entry("PATCH", "Patient/x", patient("x"))], 422),
        ([entry("POST", "Patient?name=x")], 422),
        (
            [
                entry("PUT", "Patient/twice", {**patient("t"), "id": "twice"}),
                entry("DELETE", "Patient/twice"),
            ],
            422,
        ),
        (
            [
                entry("POST", "Patient", patient("t1"), full_url=ONE),
                entry("POST", "Patient", patient("t2"), full_url=ONE),
            ],
            422,
        ),
        ([entry("PUT", "Patient/one", {**patient("t"), "id": "other"})], 422),
        ([entry("POST", "Patient", {**patient("t"), "birthDate": "1968-13-01"})], 422),
    ],
)
def test_a_transaction_that_cannot_be_carried_out_is_refused_whole(house: FhirWorld, entries, status):
    assert_outcome(house.bundle("transaction", entry("POST", "Patient", patient("P-NOT")), *entries), status)
    assert house.get("Patient?identifier=P-NOT&_total=accurate").json()["total"] == 0


def test_other_bundles_are_not_carried_out(house: FhirWorld):
    collection = house.bundle("collection")

    assert_outcome(collection, 400, "invalid")
    assert_outcome(house.ask("POST", "/fhir", content=fhir.dumps(patient("x"))), 400)


def test_the_entries_of_a_batch_stand_for_themselves(house: FhirWorld, someone: str):
    kept = house.create(observation(someone)).json()

    answer = house.bundle(
        "batch",
        entry("POST", "Patient", patient("P-B1")),
        entry("POST", "Patient", {**patient("P-B2"), "gender": "none"}),
        entry("GET", f"Observation/{kept['id']}"),
        entry("GET", f"Observation?patient={someone}&_count=1&_total=accurate"),
        entry("GET", "Observation/nothing"),
        entry("PUT", f"Observation/{kept['id']}", {**kept, "status": "amended"}, ifMatch='W/"9"'),
        entry("DELETE", f"Observation/{kept['id']}x"),
        entry("PATCH", f"Observation/{kept['id']}", kept),
        entry("GET", "http://elsewhere.test/Patient/1"),
    )

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    statuses = [one["response"]["status"] for one in told["entry"]]
    assert statuses == ["201", "422", "200", "200", "404", "412", "204", "405", "400"]
    assert told["entry"][2]["resource"]["id"] == kept["id"]
    assert told["entry"][3]["resource"]["type"] == "searchset"
    assert told["entry"][1]["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]


def test_a_batch_of_reads_needs_no_right_to_write(house: FhirWorld, someone: str):
    answer = house.bundle(
        "batch", entry("GET", someone), entry("POST", "Patient", patient("x")), who="reader"
    )

    assert [one["response"]["status"] for one in answer.json()["entry"]] == ["200", "403"]


def test_a_batch_without_entries_is_answered_without_entries(house: FhirWorld):
    assert house.bundle("batch").json() == {"resourceType": "Bundle", "type": "batch-response"}
    assert_outcome(house.bundle("batch", *[entry("GET", "Patient/x")] * 501), 413, "too-long")
    assert_outcome(house.bundle("batch", {"resource": patient("x")}), 400)


def test_a_binary_of_a_transaction_is_about_whom_its_document_is_about(house: FhirWorld, someone: str):
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": someone},
        "content": [{"attachment": {"contentType": "text/plain", "url": ONE}}],
    }
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "5ZCI5oiQ"}

    told = house.bundle(
        "transaction",
        entry("POST", "DocumentReference", document),
        entry("POST", "Binary", binary, full_url=ONE),
    ).json()

    place = told["entry"][0]["response"]["location"].partition("/_history")[0]
    url = house.get(place).json()["content"][0]["attachment"]["url"]
    assert url == told["entry"][1]["response"]["location"].partition("/_history")[0]
    assert house.get(url).content.decode() == "合成"
    assert house.get(url, Accept="application/fhir+json").json()["data"] == "5ZCI5oiQ"
    assert_outcome(house.get(url, who="other"), 403)


# --- what comes together ------------------------------------------------------------------------------


def test_of_two_institutions_that_choose_one_id_at_once_one_has_it(house: FhirWorld):
    async def work(http):
        async with house.client("other") as other:
            body = fhir.dumps({**patient("P-RACE"), "id": "chosen-by-two"})
            asked = [one.put("/fhir/Patient/chosen-by-two", content=body) for one in (http, other)]
            return await asyncio.gather(*asked)

    assert sorted(one.status_code for one in house.run(work)) == [201, 403]


def test_what_is_about_a_patient_in_a_file_may_come_before_the_patient(house: FhirWorld):
    async def person_of(reference: str) -> int | None:
        kind, _, identity = reference.partition("/")
        async with house.world.platform.database.connection() as connection:
            (header,) = await records.read_headers(connection, requests=[(kind, identity)])
        assert header is not None
        return header.person

    async def work(_http):
        found = []
        for resource in (observation("Patient/late"), {**patient("P-LATE"), "id": "late"}):
            result = await house.lane.take(
                body=fhir.dumps(resource),
                format=MessageFormat.FHIR,
                channel="file",
                principal=None,
                sender=HOSPITAL,
            )
            found += result.resources
        return [await person_of(one) for one in found]

    first, second = house.run(work)

    assert first is not None
    assert first == second


def test_a_refused_condition_leaves_nothing_for_others_to_find(house: FhirWorld):
    """Of two requests with one condition in one batch the first is refused for something else."""
    condition = {"ifNoneExist": f"identifier={NUMBERS}|P-FRESH"}
    wrong = [
        entry("POST", "Patient", patient("P-FRESH"), full_url=ONE, **condition),
        entry("POST", "Observation", observation("Patient/nobody")),
    ]
    right = [entry("POST", "Patient", patient("P-FRESH"), full_url=ONE, **condition)]

    async def work(http):
        bundles = [
            {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            for entries in (wrong, right, wrong, right)
        ]
        return await asyncio.gather(*(http.post("/fhir", content=fhir.dumps(one)) for one in bundles))

    answers = house.run(work)

    assert [one.status_code for one in answers] == [422, 200, 422, 200]
    places = {
        one.json()["entry"][0]["response"]["location"].partition("/_history")[0] for one in answers[1::2]
    }
    assert len(places) == 1
    assert house.get(places.pop()).status_code == 200
