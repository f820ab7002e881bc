"""`Patient/$match` at the FHIR door: what is asked, what is answered, to whom. All people are synthetic."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fhir_world import (
    NUMBERS,
    ORIGIN,
    FhirWorld,
    _machine,
    address,
    assert_outcome,
    open_fhir_world,
    patient,
    unlike,
)
from hypothesis import given
from hypothesis import strategies as st
from message_world import OTHER_HOSPITAL

from kangshu import identity
from kangshu.api.errors import ParameterRefusedError
from kangshu.api.fhir.matching import _question
from kangshu.identity import Account, Verdict
from kangshu.identity.linkage import default_model
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.standards import fhir
from kangshu.standards.identifiers import resident_check_digit

RESIDENTS = "urn:oid:2.16.156.10011.1.3"
SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")) / "fhir"


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


def person(house: FhirWorld, number: str, **more: Any) -> int:
    """Send a Patient and return the number of its person."""
    made = house.create({**patient(number), **unlike(number), **more})
    assert made.status_code == 201, made.text
    found = house.get(f"Patient/$ihe-pix?sourceIdentifier={ORIGIN}/fhir|{address(made)}").json()
    own = (one["valueIdentifier"] for one in found["parameter"] if "valueIdentifier" in one)
    return next(int(one["value"]) for one in own if one["system"] == "urn:kangshu:person")


def asked(resource: Any, **more: Any) -> dict[str, Any]:
    parameters = [{"name": "resource", "resource": resource}]
    kinds = {bool: "valueBoolean", int: "valueInteger", str: "valueString"}
    parameters += [{"name": name, kinds[type(value)]: value} for name, value in more.items()]
    return {"resourceType": "Parameters", "parameter": parameters}


def match(house: FhirWorld, body: Any, *, who: str = "hospital", **headers: str) -> Any:
    return house.ask("POST", "/fhir/Patient/$match", who=who, content=fhir.dumps(body), headers=headers)


def told(answer: Any) -> list[tuple[str, str, float]]:
    """Return id, grade and score of each entry."""
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert fhir.is_acceptable(fhir.validate(bundle)), fhir.validate(bundle)
    assert (bundle["type"], bundle["total"]) == ("searchset", len(bundle.get("entry", ())))
    found: list[tuple[str, str, float]] = []
    for one in bundle.get("entry", ()):
        (extension,) = one["search"]["extension"]
        assert extension["url"] == "http://hl7.org/fhir/StructureDefinition/match-grade"
        assert one["fullUrl"] == f"{ORIGIN}/fhir/Patient/{one['resource']['id']}"
        found.append((one["resource"]["id"], extension["valueCode"], one["search"]["score"]))
    return found


def weighed(monkeypatch: pytest.MonkeyPatch, *matches: tuple[int, Verdict, float]) -> None:
    """Let the index weigh as told, so that the answer alone is tried here."""

    class Match:
        def __init__(self, person: int, verdict: Verdict, weight: float) -> None:
            self.person = person
            self.account = Account(
                weight=weight, prior=0.0, parts=(), guards=(), verdict=verdict, model="tried"
            )

    async def match_subject(connection: object, **asked: object) -> list[Match]:
        assert asked.keys() == {"keys", "subject", "limit", "model"}
        return [Match(*one) for one in matches]

    async def match_holders(connection: object, **asked: object) -> list[Any]:
        return []

    monkeypatch.setattr(identity, "match_subject", match_subject)
    monkeypatch.setattr(identity, "match_holders", match_holders)


# --- the answer ---------------------------------------------------------------------------------------


@pytest.mark.database
def test_the_likeliest_come_first_with_grade_and_score(house: FhirWorld, monkeypatch: pytest.MonkeyPatch):
    one, two, three, four = (person(house, f"A{number}") for number in range(4))
    weighed(
        monkeypatch,
        (one, Verdict.LINK, 30.0),
        (two, Verdict.POSSIBLE, 5.0),
        (three, Verdict.POSSIBLE, 0.0),
        (four, Verdict.DIFFERENT, -9.0),
    )

    everybody = told(match(house, asked(patient("A0"))))
    bare = told(match(house, patient("A0")))

    assert [(name, grade) for name, grade, _ in everybody] == [
        (f"empi-{one}", "certain"),
        (f"empi-{two}", "probable"),
        (f"empi-{three}", "possible"),
    ]
    assert [score for _, _, score in everybody] == [1.0, 0.969697, 0.5]
    assert bare == everybody
    assert told(match(house, asked(patient("A0"), count=2))) == everybody[:2]
    assert told(match(house, asked(patient("A0"), onlyCertainMatches=True))) == everybody[:1]
    assert told(match(house, asked(patient("A0"), onlyCertainMatches=False, count=1))) == everybody[:1]
    as_xml = match(house, asked(patient("A0")), Accept="application/fhir+xml")
    assert fhir.from_xml(as_xml.content)["resourceType"] == "Bundle"


@pytest.mark.database
def test_of_two_who_both_seem_sure_none_is_certain(house: FhirWorld, monkeypatch: pytest.MonkeyPatch):
    one, two = person(house, "B1"), person(house, "B2")
    weighed(monkeypatch, (one, Verdict.LINK, 30.0), (two, Verdict.LINK, 29.0))

    assert [grade for _, grade, _ in told(match(house, asked(patient("B1"))))] == ["probable", "probable"]
    assert told(match(house, asked(patient("B1"), onlyCertainMatches=True))) == []


@pytest.mark.database
def test_persons_who_were_merged_are_one_match(house: FhirWorld, monkeypatch: pytest.MonkeyPatch):
    one, two = person(house, "C1"), person(house, "C2")

    async def merge() -> None:
        async with house.world.platform.database.transaction() as connection:
            now = house.world.platform.clock.now()
            await identity.merge_persons(
                connection, survivor=one, absorbed=two, actor="staff:test", reason="test", now=now
            )

    house.world.run(merge)
    weighed(monkeypatch, (two, Verdict.LINK, 30.0), (one, Verdict.LINK, 29.0))

    assert told(match(house, asked(patient("C2"), onlyCertainMatches=True))) == [
        (f"empi-{one}", "certain", 1.0)
    ]


@pytest.mark.database
def test_who_may_not_read_of_a_person_sees_nothing_or_a_mask(
    house: FhirWorld, monkeypatch: pytest.MonkeyPatch
):
    one = person(house, "D1", name=[{"text": "测试遮蔽"}])
    weighed(monkeypatch, (one, Verdict.LINK, 30.0))

    whole = match(house, asked(patient("D1")))
    assert "测试遮蔽" in whole.text
    assert {"system": NUMBERS, "value": "D1"} in whole.json()["entry"][0]["resource"]["identifier"]
    assert told(match(house, asked(patient("D1")), who="other")) == []
    for who in ("desk", "seeker"):
        masked = match(house, asked(patient("D1")), who=who)
        assert told(masked) == told(whole)
        assert masked.json()["entry"][0]["resource"]["name"] == [{"text": "测**"}]
        assert "D1" not in masked.text
    assert_outcome(match(house, asked(patient("D1")), who="sender"), 403, "forbidden")
    assert_outcome(match(house, asked(patient("D1")), who=""), 401, "login")
    assert_outcome(match(house, asked(patient("D1")), who="centre"), 403, "forbidden")
    assert len(told(match(house, asked(patient("D1")), who="centre", **{"X-Purpose": "quality"}))) == 1


@pytest.mark.database
def test_every_question_and_everybody_looked_at_are_on_record_without_a_name(
    house: FhirWorld, monkeypatch: pytest.MonkeyPatch
):
    one = person(house, "E1", name=[{"text": "测试留痕"}])
    weighed(monkeypatch, (one, Verdict.LINK, 30.0))

    match(house, asked(patient("E1")))
    match(house, asked(patient("E1")), who="other")

    questions, reads = house.entries("person.query")[:2], house.entries("person.read")[:2]
    assert [entry.detail for entry in questions] == [{"found": 1, "shown": 0}, {"found": 1, "shown": 1}]
    assert {entry.resource for entry in questions} == {"fhir/Patient/$match"}
    assert [(entry.person, entry.outcome) for entry in reads] == [(one, "refused"), (one, "done")]
    assert reads[1].detail == {"what": "Patient/$match"}
    assert "测试留痕" not in str([questions, reads])


@pytest.mark.database
def test_asking_creates_nothing(house: FhirWorld, monkeypatch: pytest.MonkeyPatch):
    weighed(monkeypatch)
    before = house.world.traces().persons

    assert told(match(house, asked(patient("nobody", name="测试无人")))) == []

    assert house.world.traces().persons == before


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.database
@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Parameters"},
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}},
        asked({"resourceType": "Patient"}),
        asked({"resourceType": "Patient", "gender": "male"}),
        asked({"resourceType": "Patient", "gender": "none"}),
        asked({"resourceType": "Observation", "status": "final", "code": {"text": "x"}}),
        asked(patient("X"), count=0),
        asked(patient("X"), count="3"),
        asked(patient("X"), onlyCertainMatches="yes"),
        asked(patient("X"), colour="red"),
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "resource", "resource": patient(one)} for one in "XY"],
        },
        {"resourceType": "Parameters", "parameter": [{"name": "resource", "valueString": "X"}]},
    ],
)
def test_a_question_that_is_none_is_refused(house: FhirWorld, body: Any):
    assert_outcome(match(house, body), 400)


@pytest.mark.database
def test_bodies_are_bounded_and_of_fhir(house: FhirWorld):
    path = "/fhir/Patient/$match"

    assert_outcome(house.ask("POST", path, content=b""), 400)
    assert_outcome(house.ask("POST", path, content=b"{"), 400)
    assert_outcome(house.ask("POST", path, content=b" " * (2 << 20)), 413)
    assert_outcome(house.ask("POST", path, data={"resource": "x"}), 415)
    assert_outcome(house.get("Patient/$match"), 405)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["resourceType", "parameter", "name", "resource", "valueBoolean", "valueInteger"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_parameters_are_a_question_or_refused(told_: Any):
    """Only what passed validation gets so far; a list of parameters is a list of objects."""
    parameters = {"resourceType": "Parameters", "parameter": told_}
    if not fhir.is_acceptable(fhir.validate(parameters)):
        return
    try:
        question = _question(parameters)
    except ParameterRefusedError:
        return
    assert question.patient["resourceType"] == "Patient"


# --- Patients of other projects -----------------------------------------------------------------------


def sample_patients() -> list[dict[str, Any]]:
    """Return the valid Patients among the samples, those inside Bundles too."""
    found: list[dict[str, Any]] = []
    for path in sorted(SAMPLES.rglob("*")):
        if path.suffix not in (".json", ".xml") or path.stat().st_size > 4 << 20:
            continue
        try:
            resource = fhir.read(path.read_bytes())
        except fhir.FhirError:
            continue
        entries = resource.get("entry", ()) if resource.get("resourceType") == "Bundle" else ()
        inside = [one["resource"] for one in entries if isinstance(one, dict) and "resource" in one]
        found += [
            one
            for one in (resource, *inside)
            if isinstance(one, dict) and one.get("resourceType") == "Patient"
        ]
    return [one for one in found if fhir.is_acceptable(fhir.validate(one))]


@pytest.mark.database
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES")
def test_every_sample_patient_is_looked_for_and_none_is_created(house: FhirWorld):
    patients = sample_patients()
    before = house.world.traces().persons

    answers = [match(house, asked(one)) for one in patients]

    assert len(patients) > 20
    for one, answer in zip(patients, answers, strict=True):
        if answer.status_code == 200:
            assert told(answer) == []
        else:  # neither a number nor a name
            assert_outcome(answer, 400)
            assert not (one.get("identifier") and one.get("name"))
    assert house.world.traces().persons == before


# --- the index itself weighs --------------------------------------------------------------------------


def known(**facts: Any) -> dict[str, Any]:
    """Return a Patient that tells these facts and nothing else."""
    return {"resourceType": "Patient", **facts}


@pytest.mark.database
def test_whom_the_index_would_link_is_certain_and_who_arrives_then_is_linked(house: FhirWorld):
    facts = {
        "identifier": [{"system": RESIDENTS, "value": resident(1)}],
        "name": [{"text": "测试真一"}],
        "gender": "male",
        "birthDate": "1971-05-12",
    }
    one = person(house, "W1", **facts, telecom=[{"system": "phone", "value": "13900000011"}])

    ((name, grade, score), *others) = told(match(house, known(**facts)))
    assert (name, grade, others) == (f"empi-{one}", "certain", [])
    assert score > 0.99

    house.create(known(**facts), who="other")
    ((name, grade, _),) = told(match(house, known(**facts), who="other"))
    assert (name, grade) == (f"empi-{one}", "certain")


@pytest.mark.database
def test_who_is_alike_without_a_number_is_found_and_a_stranger_is_not(house: FhirWorld):
    subject = Subject(
        institution=OTHER_HOSPITAL,
        identifiers=(
            SubjectIdentifier(
                kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=resident(9, "19630819")
            ),
        ),
        name="欧阳相似",
        birth_date=date(1963, 8, 19),
        sex="2",
        phone="13900000012",
    )

    async def link() -> int | None:
        platform = house.world.platform
        async with platform.database.transaction() as connection:
            (one,) = await identity.link_claims(
                connection,
                keys=platform.keys,
                claims=[subject],
                now=platform.clock.now(),
                origin=None,
                actor="test",
                random=secrets.token_bytes,
                model=default_model(),
            )
            return one

    one = house.world.run(link)
    facts = {
        "name": [{"text": "欧阳相似"}],
        "gender": "female",
        "birthDate": "1963-08-19",
        "telecom": [{"system": "phone", "value": "13900000012"}],
    }

    ((name, grade, score),) = told(match(house, known(**facts), who="desk"))
    other = told(match(house, known(name=[{"text": "司马无名"}], gender="male", birthDate="1990-01-30")))

    assert name == f"empi-{one}"
    assert grade in ("certain", "probable", "possible")
    assert 0 < score <= 1
    assert other == []


@pytest.mark.database
def test_a_number_alone_finds_its_holder(house: FhirWorld):
    one = person(house, "W3", name=[{"text": "测试号码"}])

    by_number = told(match(house, known(identifier=[{"system": NUMBERS, "value": "W3"}])))

    assert [name for name, _, _ in by_number] == [f"empi-{one}"]


@pytest.mark.database
def test_after_a_merge_is_undone_each_is_found_for_himself_again(house: FhirWorld):
    first = {"identifier": [{"system": RESIDENTS, "value": resident(7, "19540404")}]}
    second = {"identifier": [{"system": RESIDENTS, "value": resident(8, "19550505")}]}
    first |= {"name": [{"text": "测试复一"}], "gender": "male", "birthDate": "1954-04-04"}
    second |= {"name": [{"text": "测试复二"}], "gender": "male", "birthDate": "1955-05-05"}
    one, two = person(house, "W4", **first), person(house, "W5", **second)

    async def turn(*, undo: bool) -> None:
        now = house.world.platform.clock.now()
        async with house.world.platform.database.transaction() as connection:
            if undo:
                merge = await identity.get_merge_of(connection, absorbed=two)
                await identity.undo_merge(connection, merge=merge.id, actor="staff:test", now=now)
            else:
                await identity.merge_persons(
                    connection, survivor=one, absorbed=two, actor="staff:test", reason="test", now=now
                )

    house.world.run(lambda: turn(undo=False))
    assert [name for name, _, _ in told(match(house, known(**second)))] == [f"empi-{one}"]

    house.world.run(lambda: turn(undo=True))
    assert [name for name, _, _ in told(match(house, known(**second)))] == [f"empi-{two}"]
    assert [name for name, _, _ in told(match(house, known(**first)))] == [f"empi-{one}"]
