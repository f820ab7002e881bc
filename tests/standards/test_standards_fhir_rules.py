"""The invariants of R4: none is forgotten, and each of those that matter to records says yes and no."""

from decimal import Decimal

import pytest

from kangshu.standards import fhir
from kangshu.standards.fhir.definitions import definitions
from kangshu.standards.fhir.rules import ELSEWHERE, NOT_CHECKED, RULE_TEXTS, RULES, conformance, records

UCUM = "http://unitsofmeasure.org"
TERMS = "http://terminology.hl7.org/CodeSystem/"


def coded(system, code):
    return {"coding": [{"system": TERMS + system, "code": code}]}


MISTAKE = coded("allergyintolerance-verification", "entered-in-error")
WRONG = coded("condition-ver-status", "entered-in-error")


def test_every_rule_of_r4_is_checked_or_left_out_with_a_reason():
    known = set(definitions().rules)

    assert set(RULES) | ELSEWHERE | set(NOT_CHECKED) == known
    assert not set(RULES) & ELSEWHERE
    assert not (set(RULES) | ELSEWHERE) & set(NOT_CHECKED)
    assert all(reason.strip() for reason in NOT_CHECKED.values())


def test_only_warnings_and_what_needs_other_resources_is_left_out():
    errors = {key for key in NOT_CHECKED if definitions().rules[key].severity == "error"}

    assert errors == {"ctm-1", "ppc-2", "ppc-3", "ppc-4", "ppc-5"}


def test_every_rule_of_records_has_its_words_in_chinese():
    assert set(records.RULES) - set(RULE_TEXTS) == set()
    assert set(RULE_TEXTS) <= set(definitions().rules)
    assert not set(RULE_TEXTS) & {key for key in conformance.RULES if key.startswith(("sdf", "tst", "eld"))}


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("age-1", {"value": 3, "system": UCUM, "code": "a"}, {"value": 0, "system": UCUM, "code": "a"}),
        ("ait-1", {"verificationStatus": MISTAKE}, {}),
        ("ait-2", {"verificationStatus": MISTAKE}, {"verificationStatus": MISTAKE, "clinicalStatus": {}}),
        ("app-2", {"start": "x", "end": "y"}, {"start": "x"}),
        ("app-3", {"status": "cancelled"}, {"status": "booked"}),
        (
            "app-4",
            {"status": "noshow", "cancelationReason": {}},
            {"status": "booked", "cancelationReason": {}},
        ),
        ("att-1", {"data": "x", "contentType": "y"}, {"data": "x"}),
        (
            "bdl-3",
            {"type": "batch", "entry": [{"request": {}}]},
            {"type": "collection", "entry": [{"request": {}}]},
        ),
        (
            "bdl-4",
            {"type": "history", "entry": [{"response": {}}]},
            {"type": "batch", "entry": [{"response": {}}]},
        ),
        (
            "bdl-7",
            {"entry": [{"fullUrl": "a"}, {"fullUrl": "b"}]},
            {"entry": [{"fullUrl": "a"}, {"fullUrl": "a"}]},
        ),
        (
            "bdl-11",
            {"type": "document", "entry": [{"resource": {"resourceType": "Composition"}}]},
            {"type": "document"},
        ),
        ("cnt-3", {"value": 3, "code": "1"}, {"value": Decimal("3.0"), "code": "1"}),
        ("cmp-1", {"text": {}}, {}),
        ("con-3", {"category": []}, {"category": [coded("condition-category", "problem-list-item")]}),
        (
            "con-4",
            {"abatementString": "x", "clinicalStatus": coded("condition-clinical", "resolved")},
            {"abatementString": "x", "clinicalStatus": coded("condition-clinical", "active")},
        ),
        ("con-5", {"verificationStatus": WRONG}, {"verificationStatus": WRONG, "clinicalStatus": {}}),
        ("cpt-2", {"value": "1", "system": "phone"}, {"value": "1"}),
        (
            "csd-1",
            {"concept": [{"code": "a", "concept": [{"code": "b"}]}]},
            {"concept": [{"code": "a", "concept": [{"code": "a"}]}]},
        ),
        ("drt-1", {"value": 1, "system": UCUM, "code": "d"}, {"code": "d"}),
        ("ext-1", {"url": "x", "_valueCode": {}}, {"url": "x", "valueCode": "a", "extension": []}),
        ("fhs-1", {"ageString": "x"}, {"ageString": "x", "bornString": "y"}),
        (
            "mdd-1",
            {"whenPrepared": "2026-03-01", "whenHandedOver": "2026-03-01T08:00:00Z"},
            {"whenPrepared": "2026-03-09", "whenHandedOver": "2026-03-01"},
        ),
        ("obs-3", {"text": "x"}, {"type": {}}),
        ("obs-6", {"_dataAbsentReason": {}}, {"dataAbsentReason": {}, "valueString": "x"}),
        (
            "obs-7",
            {"valueString": "x", "code": coded("a", "1"), "component": [{"code": coded("a", "2")}]},
            {"valueString": "x", "code": coded("a", "1"), "component": [{"code": coded("a", "1")}]},
        ),
        ("org-1", {"identifier": []}, {}),
        ("Parameters:inv-1", {"name": "x", "part": []}, {"name": "x", "part": [], "valueString": "y"}),
        ("pat-1", {"organization": {}}, {"relationship": []}),
        (
            "per-1",
            {"start": "2026-03-02", "end": "2026-03-02T06:00:00Z"},
            {"start": "2026-03-03", "end": "2026-03-02"},
        ),
        (
            "per-1",
            {"start": "2026-03-02T08:00:00+08:00", "end": "2026-03-02T00:00:00Z"},
            {"start": "2026-03-02T08:00:01+08:00", "end": "2026-03-02T00:00:00Z"},
        ),
        ("per-1", {"start": "2026", "end": "2026-01"}, {"start": "2026-02", "end": "2026-01"}),
        ("per-1", {"start": "2026-01-01", "end": "9999-12-31"}, {"start": "9999-12-31", "end": "2026-01-01"}),
        ("prr-1", {"code": {}, "orderDetail": []}, {"orderDetail": []}),
        ("qrs-1", {"answer": []}, {"answer": [], "item": []}),
        ("qty-3", {"code": "x", "system": "y"}, {"code": "x"}),
        ("que-1", {"type": "group", "item": []}, {"type": "display", "item": []}),
        (
            "que-2",
            {"item": [{"linkId": "1", "item": [{"linkId": "2"}]}]},
            {"item": [{"linkId": "1", "item": [{"linkId": "1"}]}]},
        ),
        ("que-12", {"enableWhen": [1, 2]}, {"enableWhen": [1, 2, 3]}),
        ("ras-1", {"low": {"code": "%", "system": UCUM}}, {"low": {"code": "1", "system": UCUM}}),
        ("rat-1", {"numerator": {}, "denominator": {}}, {"numerator": {}}),
        (
            "rng-2",
            {"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "kg"}},
            {"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "g"}},
        ),
        ("tim-4", {"duration": 0}, {"duration": -1}),
        ("tim-9", {"offset": 1, "when": ["MORN"]}, {"offset": 1, "when": ["C"]}),
        ("trd-3", {"type": "named-event", "name": "x"}, {"type": "periodic"}),
        ("tst-7", {"sourceId": "x"}, {"url": "x", "params": "y"}),
        ("vsd-2", {"concept": [], "system": "x"}, {"concept": []}),
    ],
)
def test_a_rule_holds_for_the_good_and_not_for_the_bad(rule, good, bad):
    assert RULES[rule](good)
    assert not RULES[rule](bad)


def test_a_broken_rule_is_told_in_words_of_both_languages():
    resource = {"resourceType": "Organization", "telecom": [{"value": "1"}], "name": "测试医院"}

    [issue] = fhir.validate(resource)

    assert (issue.code, issue.expression) == ("invariant", "Organization.telecom[0]")
    assert issue.text.zh == "不符合规则 cpt-2：联系方式有值就须有类别（system）"
    assert issue.text.en == "rule cpt-2 does not hold: A system is required if a value is provided."


def test_rules_are_not_asked_about_what_is_malformed():
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": "x",
        "component": 17,
        "valueString": "y",
    }

    assert [issue.code for issue in fhir.validate(resource)] == ["structure", "structure"]


def test_a_broken_warning_does_not_make_a_resource_unacceptable():
    problem = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/99"},
        "category": [coded("condition-category", "problem-list-item")],
    }

    issues = fhir.validate(problem)

    assert [issue.severity for issue in issues] == [fhir.Severity.WARNING]
    assert fhir.is_acceptable(issues)
