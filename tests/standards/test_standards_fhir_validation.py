"""What is wrong is said with the element's place; what R4 allows is let through. All people are synthetic."""

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards import fhir
from kangshu.standards.fhir import compiling
from kangshu.standards.fhir.definitions import definitions

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
XHTML = "http://www.w3.org/1999/xhtml"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def observation(**more):
    made = {
        "resourceType": "Observation",
        "id": "glucose-1",
        "meta": {"lastUpdated": "2026-03-02T08:30:00.000+08:00", "source": "http://example.org/sender"},
        "text": {"status": "generated", "div": f'<div xmlns="{XHTML}"><p>血糖 <b>6.30</b></p></div>'},
        "identifier": [{"system": "urn:oid:2.16.156.112", "value": "99-1"}],
        "status": "final",
        "category": [{"coding": [{"system": "http://example.org/kind", "code": "laboratory"}]}],
        "code": {"coding": [{"system": LOINC, "code": "2345-7", "display": "Glucose"}], "text": "血糖"},
        "subject": {"reference": "Patient/99", "display": "测试"},
        "effectiveDateTime": "2026-03-02T08:00:00+08:00",
        "issued": "2026-03-02T08:30:00Z",
        "valueQuantity": {"value": Decimal("6.30"), "unit": "mmol/L", "system": UCUM, "code": "mmol/L"},
        "referenceRange": [{"low": {"value": Decimal("3.9")}, "high": {"value": Decimal("6.1")}}],
        "extension": [{"url": "http://example.org/bench", "valueString": "3"}],
    }
    return {name: value for name, value in (made | more).items() if value is not None}


def patient(**more):
    return {"resourceType": "Patient", "id": "p"} | more


def faults(resource):
    """Return the places of the errors, in order."""
    return [issue.expression for issue in fhir.validate(resource) if issue.is_error]


def test_a_good_observation_has_no_issue():
    assert fhir.validate(observation()) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        # What may be there, and how often.
        ({"colour": "red"}, "Observation.colour"),
        ({"status": None}, "Observation.status"),
        ({"code": None}, "Observation.code"),
        ({"category": {"text": "x"}}, "Observation.category"),
        ({"category": []}, "Observation.category"),
        ({"code": [{"text": "x"}]}, "Observation.code"),
        ({"code": {}}, "Observation.code"),
        ({"code": {"id": "only"}}, "Observation.code"),
        ({"code": None, "_code": {"id": "a"}}, "Observation._code"),
        ({"component": [{"valueString": "x"}]}, "Observation.component[0].code"),
        ({"valueString": "too"}, "Observation.value[x]"),
        (
            {"_valueString": {"extension": [{"url": "http://x.org", "valueCode": "a"}]}},
            "Observation.value[x]",
        ),
        ({"valueMoney": {"value": 1}}, "Observation.valueMoney"),
        ({"note": None, "interpretation": [None]}, "Observation.interpretation[0]"),
        ({"status": "final", "_status": []}, "Observation._status"),
        # Types.
        ({"valueQuantity": "6.30"}, "Observation.valueQuantity"),
        ({"valueQuantity": {"value": "6.30"}}, "Observation.valueQuantity.value"),
        ({"valueQuantity": {"value": True}}, "Observation.valueQuantity.value"),
        ({"code": {"text": 17}}, "Observation.code.text"),
        ({"code": {"text": ""}}, "Observation.code.text"),
        ({"code": {"text": None}}, "Observation.code.text"),
        ({"code": {"text": "a\u0007b"}}, "Observation.code.text"),
        ({"code": {"text": "a <script>b</script>"}}, "Observation.code.text"),
        ({"code": {"text": "x" * 1_048_577}}, "Observation.code.text"),
        ({"id": "with_underscore"}, "Observation.id"),
        ({"id": "x" * 65}, "Observation.id"),
        ({"implicitRules": "a b"}, "Observation.implicitRules"),
        ({"identifier": [{"system": "urn:oid:2.16.x"}]}, "Observation.identifier[0].system"),
        ({"identifier": [{"system": "urn:uuid:99"}]}, "Observation.identifier[0].system"),
        # Days and moments.
        ({"effectiveDateTime": "2026-02-29"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "2026-13"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "20260302"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "2026-03-02T08:00:00"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "2026-03-02T08:00+08:00"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "2026-03-02T24:00:00+08:00"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "0000-01-01"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "２０２６-03-02"}, "Observation.effectiveDateTime"),
        ({"issued": "2026-03-02"}, "Observation.issued"),
        (
            {"effectiveDateTime": None, "effectivePeriod": {"start": "2026", "end": "2025"}},
            "Observation.effectivePeriod",
        ),
        # Codes that must be from a list.
        ({"status": "banana"}, "Observation.status"),
        ({"status": "Final"}, "Observation.status"),
        ({"status": ["final"]}, "Observation.status"),
        ({"valueQuantity": {"value": 1, "comparator": "=<"}}, "Observation.valueQuantity.comparator"),
        # References.
        ({"subject": {"reference": "Medication/1"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "http://example.org/fhir/Medication/1"}}, "Observation.subject.reference"),
        ({"subject": {"type": "Medication", "display": "x"}}, "Observation.subject.type"),
        ({"subject": {"reference": "99"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "Patient/"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "Patient/a/b"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "Kranker/1"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "#nobody"}}, "Observation.subject.reference"),
        ({"subject": "Patient/1"}, "Observation.subject"),
        # Extensions.
        ({"extension": [{"valueString": "x"}]}, "Observation.extension[0].url"),
        ({"extension": [{"url": "bench", "valueString": "x"}]}, "Observation.extension[0].url"),
        ({"extension": [{"url": "http://x.org"}]}, "Observation.extension[0]"),
        (
            {"extension": [{"url": "http://x.org", "valueString": "x", "valueCode": "y"}]},
            "Observation.extension[0].value[x]",
        ),
        # Rules.
        ({"dataAbsentReason": {"text": "x"}}, "Observation"),
        ({"referenceRange": [{"appliesTo": [{"text": "x"}]}]}, "Observation.referenceRange[0]"),
        ({"valueQuantity": {"value": 1, "code": "mmol/L"}}, "Observation.valueQuantity"),
        (
            {"referenceRange": [{"low": {"value": 1, "comparator": "<"}}]},
            "Observation.referenceRange[0].low.comparator",
        ),
        # Narratives.
        ({"text": {"status": "generated", "div": "<div>x</div>"}}, "Observation.text.div"),
        ({"text": {"status": "generated"}}, "Observation.text.div"),
    ],
)
def test_a_fault_is_found_at_its_place(change, place):
    assert faults(observation(**change)) == [place]


@pytest.mark.parametrize(
    "change",
    [
        {"effectiveDateTime": "2026"},
        {"effectiveDateTime": "2026-03"},
        {"effectiveDateTime": "2024-02-29"},
        {"effectiveDateTime": "2016-12-31T23:59:60Z"},
        {"effectiveDateTime": "2026-03-02T08:00:00.123456789-00:00"},
        {"valueQuantity": {"value": 0}},
        {"valueQuantity": {"value": Decimal("-1E+3")}},
        {"valueQuantity": None, "valueString": "阴性 (-) < 5"},
        {"valueQuantity": None, "valueInteger": -3},
        {"valueQuantity": None, "valueTime": "08:00:00"},
        {"valueQuantity": None, "valueBoolean": False},
        {"valueQuantity": None, "_valueString": {"extension": [{"url": "http://x.org", "valueCode": "a"}]}},
        {"_status": {"id": "a"}},
        {"status": None, "_status": {"extension": [{"url": "http://x.org", "valueCode": "unknown"}]}},
        {"subject": {"reference": "urn:uuid:patient-of-the-same-bundle"}},
        {"subject": {"reference": "http://example.org/anything"}},
        {"subject": {"reference": "http://example.org/fhir/Patient/1/_history/2"}},
        {"subject": {"reference": "Patient?identifier=http://example.org|99"}},
        {"subject": {"identifier": {"value": "99"}, "type": "Patient"}},
        {"focus": [{"reference": "Medication/1"}]},
        {"extension": [{"url": "http://x.org", "extension": [{"url": "inner", "valueDecimal": 1}]}]},
        {"valueQuantity": None, "valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 64}}},
    ],
)
def test_what_r4_allows_is_accepted(change):
    assert faults(observation(**change)) == []


@pytest.mark.parametrize(
    ("names", "beside", "expected"),
    [
        (["伟"], None, []),
        (["a", "b"], [None, {"id": "x"}], []),
        ([None, "b"], [{"extension": [{"url": "http://x.org", "valueCode": "a"}]}, None], []),
        ([None, "b"], [{"id": "x"}, None], ["Patient.name[0]._given[0]"]),
        ([None, "b"], None, ["Patient.name[0].given[0]"]),
        ([None, "b"], [None, {"id": "x"}], ["Patient.name[0].given[0]"]),
        (["a"], [{"id": "x"}, None], ["Patient.name[0]._given"]),
        (["a"], {"id": "x"}, ["Patient.name[0]._given"]),
        (None, [{"id": "x"}], ["Patient.name[0]._given[0]"]),
        (None, [{"extension": [{"url": "http://x.org", "valueCode": "a"}]}], []),
        (["a"], [{"id": 17}], ["Patient.name[0]._given[0].id"]),
        (["a"], [{}], ["Patient.name[0]._given[0]"]),
        (None, [None], ["Patient.name[0]._given[0]"]),
        ("a", None, ["Patient.name[0].given"]),
    ],
)
def test_a_gap_in_a_list_needs_an_extension_in_its_place(names, beside, expected):
    name = {"family": "测"} | ({"given": names} if names else {}) | ({"_given": beside} if beside else {})

    assert faults(patient(name=[name])) == expected


@pytest.mark.parametrize(
    ("codings", "is_good"),
    [
        ([{"system": CLINICAL, "code": "active"}], True),
        ([{"system": "http://example.org", "code": "x"}, {"system": CLINICAL, "code": "active"}], True),
        ([{"system": CLINICAL, "code": "lively"}], False),
        ([{"system": "http://example.org", "code": "active"}], False),
        ([{"code": "active"}], False),
    ],
)
def test_a_concept_bound_to_a_list_needs_one_coding_of_it(codings, is_good):
    condition = {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": codings},
        "subject": {"reference": "Patient/99"},
    }

    assert faults(condition) == ([] if is_good else ["Condition.clinicalStatus"])


def test_a_list_that_nobody_can_write_down_is_checked_by_form():
    def attachment(kind):
        return patient(photo=[{"contentType": kind, "data": "aGFsbG8="}])

    assert faults(attachment("image/png")) == []
    assert faults(attachment("text/html; charset=UTF-8")) == []
    assert faults(attachment("an image")) == ["Patient.photo[0].contentType"]


@pytest.mark.parametrize(
    ("data", "is_good"), [("aGFsbG8=", True), ("aGFs\nbG8=", True), ("aGFsbG8", False), ("aGFs.bG8", False)]
)
def test_base64_is_decoded_to_see_whether_it_is_some(data, is_good):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": data}

    assert faults(binary) == ([] if is_good else ["Binary.data"])


@pytest.mark.parametrize(
    ("contained", "reference", "places"),
    [
        ([{"resourceType": "Organization", "id": "o", "name": "测试医院"}], "#o", []),
        (
            [{"resourceType": "Organization", "id": "o", "name": "测试医院"}],
            "Organization/1",
            ["Patient.contained[0]"],
        ),
        (
            [{"resourceType": "Organization", "id": "o", "name": "x"}],
            "#p",
            ["Patient.managingOrganization.reference", "Patient.contained[0]"],
        ),
        ([{"resourceType": "Organization", "id": "o", "naem": "x"}], "#o", ["Patient.contained[0].naem"]),
        (
            [{"resourceType": "Organization", "id": "o", "name": "x", "meta": {"versionId": "1"}}],
            "#o",
            ["Patient.contained[0]"],
        ),
        (
            [
                {
                    "resourceType": "Organization",
                    "id": "o",
                    "name": "x",
                    "contained": [{"resourceType": "Basic", "id": "b", "code": {"text": "x"}}],
                }
            ],
            "#o",
            ["Patient.contained[0].contained[0]", "Patient.contained[0]"],
        ),
        ([{"resourceType": "Banana", "id": "o"}], "#o", ["Patient.contained[0]"]),
        ([{"id": "o"}], "#o", ["Patient.contained[0]"]),
        (["o"], "Organization/1", ["Patient.contained[0]"]),
    ],
)
def test_contained_resources_are_checked_and_referred_to(contained, reference, places):
    found = faults(patient(contained=contained, managingOrganization={"reference": reference}))

    assert found == places


def test_a_contained_resource_may_refer_to_what_contains_it():
    inner = {
        "resourceType": "Provenance",
        "id": "i",
        "target": [{"reference": "#"}],
        "recorded": "2026-03-02T08:30:00Z",
        "agent": [{"who": {"display": "测试"}}],
    }

    assert faults(patient(contained=[inner])) == []


def bundle(kind, *entries, **more):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)} | more


POST = {"method": "POST", "url": "Patient"}
FULL_URL = "urn:uuid:00000000-0000-0000-0000-00000000000a"


@pytest.mark.parametrize(
    ("resource", "places"),
    [
        (bundle("transaction", {"fullUrl": FULL_URL, "resource": patient(), "request": POST}), []),
        (bundle("transaction", {"resource": patient()}), ["Bundle"]),
        (bundle("collection", {"fullUrl": FULL_URL, "resource": patient()}), []),
        (bundle("collection", {"resource": patient()}), ["Bundle.entry[0].fullUrl"]),
        (bundle("collection", {"fullUrl": "Patient/p", "resource": patient()}), ["Bundle.entry[0].fullUrl"]),
        (
            bundle("collection", {"fullUrl": "http://x.org/Patient/q", "resource": patient()}),
            ["Bundle.entry[0].fullUrl"],
        ),
        (bundle("collection", {"fullUrl": "http://x.org/Patient/p", "resource": patient()}), []),
        (bundle("collection", *[{"fullUrl": FULL_URL, "resource": patient()}] * 2), ["Bundle"]),
        (
            bundle("collection", {"fullUrl": FULL_URL, "resource": patient(gender="banana")}),
            ["Bundle.entry[0].resource.gender"],
        ),
        (bundle("collection", {"fullUrl": FULL_URL, "resource": {"id": "x"}}), ["Bundle.entry[0].resource"]),
        (
            bundle("collection", total=1),
            [
                "Bundle.entry",
            ],
        ),
        (bundle("document", {"fullUrl": FULL_URL, "resource": patient()}), ["Bundle", "Bundle", "Bundle"]),
        (bundle("message", {"fullUrl": FULL_URL, "resource": patient()}), ["Bundle"]),
        (
            bundle(
                "searchset",
                {"fullUrl": FULL_URL, "resource": patient(), "search": {"mode": "match"}},
                total=1,
                link=[{"relation": "self", "url": "http://x.org"}],
            ),
            [],
        ),
        (
            bundle(
                "searchset",
                {"fullUrl": FULL_URL, "resource": patient()},
                link=[{"relation": "self", "url": "http://x.org"}] * 2,
            ),
            ["Bundle.link"],
        ),
    ],
)
def test_bundles_keep_the_rules_of_their_type(resource, places):
    assert faults(resource) == places


def test_a_transaction_may_have_a_full_url_of_its_own_making():
    resource = bundle(
        "transaction", {"fullUrl": "http://x.org/Patient/q", "resource": patient(), "request": POST}
    )

    issues = fhir.validate(resource)

    assert [(issue.severity, issue.expression) for issue in issues] == [
        (fhir.Severity.WARNING, "Bundle.entry[0].fullUrl")
    ]


@pytest.mark.parametrize("resource", [None, 17, "Patient", [], [patient()]])
def test_what_is_no_object_is_no_resource(resource):
    assert faults(resource) == ["Resource"]


@pytest.mark.parametrize(
    "kind", ["DomainResource", "Resource", "HumanName", "patient", "", None, 17, ["Patient"]]
)
def test_a_type_that_r4_does_not_have_is_refused(kind):
    assert len(faults({"resourceType": kind})) == 1


def test_a_resource_of_another_type_than_expected_is_refused():
    assert fhir.validate(patient(), type="Patient") == []

    [issue] = fhir.validate(patient(), type="Observation")

    assert issue.is_error
    assert issue.expression == "Patient.resourceType"


def test_several_faults_are_all_found_with_errors_before_warnings():
    resource = patient(name=[{"text": "<b>"}], gender="banana", birthDate="2026-02-30")

    issues = fhir.validate(resource)

    assert [(issue.severity.value, issue.expression) for issue in issues] == [
        ("error", "Patient.gender"),
        ("error", "Patient.birthDate"),
        ("warning", "Patient.name[0].text"),
    ]
    assert not fhir.is_acceptable(issues)
    assert fhir.is_acceptable(issues[2:])


def test_the_number_of_issues_is_bounded():
    resource = patient(name=[{f"x{index}": 1 for index in range(5_000)}] * 500)

    assert 100 <= len(fhir.validate(resource)) <= 200


def test_depth_without_end_is_an_issue_not_a_crash():
    item = {"linkId": "1", "type": "group"}
    for _ in range(2_000):
        item = {"linkId": "1", "type": "group", "item": [item]}

    issues = fhir.validate({"resourceType": "Questionnaire", "status": "draft", "item": [item]})

    assert [issue.code for issue in issues] == ["too-long"]


def test_the_outcome_names_place_and_reason_in_the_language_asked_for():
    issues = fhir.validate(patient(birthDate="2026-02-30"))

    assert fhir.outcome(issues)["issue"] == [
        {
            "severity": "error",
            "code": "value",
            "details": {"text": "没有这一天"},
            "diagnostics": "there is no such day",
            "expression": ["Patient.birthDate"],
        }
    ]
    assert fhir.outcome(issues, language="en")["issue"][0]["details"]["text"] == "there is no such day"


def test_an_outcome_is_itself_a_good_resource():
    assert fhir.validate(fhir.outcome([])) == []
    assert fhir.validate(fhir.outcome(fhir.validate(observation(status="banana", colour=1)))) == []


SECRET = "张三 13800000000"


@pytest.mark.parametrize(
    "change",
    [
        {SECRET: SECRET},
        {"status": SECRET},
        {"id": SECRET},
        {"subject": {"reference": SECRET}},
        {"effectiveDateTime": SECRET},
        {"code": {"text": f"{SECRET}<b>\u0000"}},
        {"valueQuantity": {"value": SECRET}},
        {"extension": [{"url": SECRET, "valueString": SECRET}]},
        {"text": {"status": "generated", "div": f'<div xmlns="{XHTML}"><{SECRET[3:]}>x</div>'}},
        {"contained": [{"resourceType": SECRET}]},
    ],
)
def test_no_value_is_ever_part_of_an_issue(change):
    issues = fhir.validate(observation(**change))

    assert issues
    said = json.dumps(fhir.outcome(issues), ensure_ascii=False) + repr(issues)
    assert "张三" not in said
    assert "1380" not in said


def places_in(value, path=()):
    """Yield the place of everything in a value of JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places_in(one, (*path, key))


def changed(resource, path, replacement):
    made = copy.deepcopy(resource)
    holder = made
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = replacement
    return made


PLACES = [path for path in places_in(observation()) if path]
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
junk = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "system", "display", "coding", "text", "reference", "id", "url", "div"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


class WithoutShortcuts(compiling._Compiler):
    """Every value goes through the whole check."""

    def _with_shortcut(self, name, check):
        return check


WHOLE = WithoutShortcuts()


@given(path=st.sampled_from(PLACES), replacement=junk)
def test_shortcuts_accept_what_the_whole_check_accepts_and_nothing_else(path, replacement):
    resource = changed(observation(), path, replacement)
    whole = WHOLE.resource("Observation")

    quick = compiling.check_any_resource(resource) if resource["resourceType"] == "Observation" else None
    if resource["resourceType"] != "Observation":
        return

    assert [(one.key, one.path) for one in quick or ()] == [
        (one.key, one.path) for one in whole(resource) or ()
    ]


@given(path=st.sampled_from(PLACES), replacement=junk)
def test_whatever_stands_in_a_resource_the_check_ends_with_an_answer(path, replacement):
    resource = changed(observation(), path, replacement)

    for issue in fhir.validate(resource):
        assert issue.expression
        assert issue.text.zh


@given(path=st.sampled_from([path for path in PLACES if path[0] not in ("text",)]))
def test_an_unknown_element_is_found_wherever_it_stands(path):
    resource = observation()
    holder = resource
    for step in path:
        holder = holder[step]
    if not isinstance(holder, dict):
        return
    holder["notAnElement"] = "x"

    assert [place.rpartition(".")[2] for place in faults(resource)] == ["notAnElement"]


@given(
    kind=st.sampled_from(sorted(fhir.RESOURCE_TYPES)),
    body=st.dictionaries(st.text(max_size=8), junk, max_size=4),
)
def test_any_object_of_any_type_gets_an_answer(kind, body):
    fhir.validate(body | {"resourceType": kind})


def test_every_type_of_r4_can_be_compiled():
    assert len(fhir.RESOURCE_TYPES) == 146
    assert definitions().release == "4.0.1"
    for name in fhir.RESOURCE_TYPES:
        assert all(issue.code != "not-supported" for issue in fhir.validate({"resourceType": name}))
