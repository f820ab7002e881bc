"""The invariants of clinical, administrative and financial resources, and of Bundles."""

from __future__ import annotations

from kangshu.standards.fhir.dates import is_certainly_after
from kangshu.standards.fhir.rules.forms import (
    UCUM,
    Elements,
    Rule,
    all_of,
    any_of,
    at_most_one_of,
    distinct,
    either,
    excludes,
    has_coding,
    is_one_of,
    just_one_of,
    needs,
    only_if,
    there,
    together,
)

_TERMS = "http://terminology.hl7.org/CodeSystem/"
_ALLERGY_VERIFICATION = _TERMS + "allergyintolerance-verification"
_CONDITION_VERIFICATION = _TERMS + "condition-ver-status"
_CONDITION_CATEGORY = _TERMS + "condition-category"
_WITH_REQUESTS = ("batch", "transaction", "history")
_WITH_RESPONSES = ("batch-response", "transaction-response", "history")


def _is_mistaken(system: str) -> Rule:
    return lambda value: has_coding(value.get("verificationStatus"), system, "entered-in-error")


_allergy_is_mistaken = _is_mistaken(_ALLERGY_VERIFICATION)
_condition_is_mistaken = _is_mistaken(_CONDITION_VERIFICATION)


def _is_over(condition: Elements) -> bool:
    return has_coding(
        condition.get("clinicalStatus"), _TERMS + "condition-clinical", "resolved", "remission", "inactive"
    )


def _is_on_the_problem_list(condition: Elements) -> bool:
    return any(
        has_coding(one, _CONDITION_CATEGORY, "problem-list-item") for one in condition.get("category", ())
    )


def _has_status_if_a_problem(condition: Elements) -> bool:
    return (
        "clinicalStatus" in condition
        or _condition_is_mistaken(condition)
        or not _is_on_the_problem_list(condition)
    )


def _has_no_value_twice(observation: Elements) -> bool:
    """A component with the observation's own code stands for its value, so there cannot be one beside."""
    if "component" not in observation or not there("value[x]")(observation):
        return True
    own = {(one.get("system"), one.get("code")) for one in observation["code"].get("coding", ())}
    return not any(
        (coding.get("system"), coding.get("code")) in own
        for component in observation["component"]
        for coding in component["code"].get("coding", ())
    )


def _is_handed_over_after_preparing(dispense: Elements) -> bool:
    prepared, handed_over = dispense.get("whenPrepared"), dispense.get("whenHandedOver")
    return not prepared or not handed_over or not is_certainly_after(prepared, handed_over)


def _is_modified_after_authoring(task: Elements) -> bool:
    authored, modified = task.get("authoredOn"), task.get("lastModified")
    return not authored or not modified or not is_certainly_after(authored, modified)


def _is_percentage(quantity: Elements) -> bool:
    return quantity.get("code") == "%" and quantity.get("system") == UCUM


def _is_range_of_percentages(value: object) -> bool:
    if not isinstance(value, dict):
        return True
    return all(_is_percentage(value[name]) for name in ("low", "high") if name in value)


def _has_fitting_parts(parameter: Elements) -> bool:
    """One of value, resource and parts."""
    return just_one_of("value[x]", "resource", "part")(parameter)


def _full_urls_differ(bundle: Elements) -> bool:
    if bundle.get("type") == "history":
        return True
    return distinct(
        (entry["fullUrl"], (entry.get("resource") or {}).get("meta", {}).get("versionId"))
        for entry in bundle.get("entry", ())
        if "fullUrl" in entry
    )


def _entries_have(name: str, kinds: tuple[str, ...]) -> Rule:
    """Each entry has `name` if the Bundle's type is among `kinds`, and none if not."""

    def holds(bundle: Elements) -> bool:
        wanted = bundle.get("type") in kinds
        return all((name in entry) == wanted for entry in bundle.get("entry", ()))

    return holds


def _begins_with(kind: str, name: str) -> Rule:
    def holds(bundle: Elements) -> bool:
        if bundle.get("type") != kind:
            return True
        entries = bundle.get("entry", ())
        return bool(entries) and entries[0].get("resource", {}).get("resourceType") == name

    return holds


def _document_has_identifier(bundle: Elements) -> bool:
    identifier = bundle.get("identifier", {})
    return bundle.get("type") != "document" or ("system" in identifier and "value" in identifier)


def _is_not_at_home(value: Elements) -> bool:
    return value.get("use") != "home"


def _none_has(name: str, inner: str) -> Rule:
    return lambda value: not any(inner in one for one in value.get(name, ()))


RULES: dict[str, Rule] = {
    "ait-1": lambda allergy: "clinicalStatus" in allergy or _allergy_is_mistaken(allergy),
    "ait-2": lambda allergy: "clinicalStatus" not in allergy or not _allergy_is_mistaken(allergy),
    "app-1": any_of("type", "actor"),
    "app-2": together("start", "end"),
    "app-3": either(
        lambda visit: there("start")(visit) and there("end")(visit),
        is_one_of("status", "proposed", "cancelled", "waitlist"),
    ),
    "app-4": only_if("cancelationReason", is_one_of("status", "noshow", "cancelled")),
    "apr-1": any_of("participantType", "actor"),
    "bdl-1": only_if("total", is_one_of("type", "searchset", "history")),
    "bdl-10": lambda bundle: bundle.get("type") != "document" or "timestamp" in bundle,
    "bdl-11": _begins_with("document", "Composition"),
    "bdl-12": _begins_with("message", "MessageHeader"),
    "bdl-2": either(is_one_of("type", "searchset"), _none_has("entry", "search")),
    "bdl-3": _entries_have("request", _WITH_REQUESTS),
    "bdl-4": _entries_have("response", _WITH_RESPONSES),
    "bdl-5": any_of("resource", "request", "response"),
    "bdl-7": _full_urls_differ,
    "bdl-8": lambda entry: "/_history/" not in entry.get("fullUrl", ""),
    "bdl-9": _document_has_identifier,
    "ces-1": just_one_of("category", "productOrService"),
    "cmp-1": any_of("text", "entry", "section"),
    "cmp-2": excludes("emptyReason", "entry"),
    "con-1": any_of("summary", "assessment"),
    "con-2": any_of("code", "detail"),
    "con-3": _has_status_if_a_problem,
    "con-4": only_if("abatement[x]", _is_over),
    "con-5": lambda condition: "clinicalStatus" not in condition or not _condition_is_mistaken(condition),
    "cpl-3": excludes("detail", "reference"),
    "fhs-1": excludes("age[x]", "born[x]"),
    "fhs-2": needs("estimatedAge", "age[x]"),
    "gol-1": needs("detail[x]", "measure"),
    "grp-1": only_if("member", lambda group: group.get("actual") is True),
    "imm-1": any_of("documentType", "reference"),
    "imr-1": any_of("vaccineCode", "targetDisease"),
    "ipn-1": any_of("identifier", "name"),
    "lnk-1": lambda linkage: len(linkage.get("item", ())) > 1,
    "lst-1": excludes("emptyReason", "entry"),
    "lst-2": either(is_one_of("mode", "changes"), _none_has("entry", "deleted")),
    "lst-3": either(is_one_of("mode", "working"), _none_has("entry", "date")),
    "mad-1": any_of("dose", "rate[x]"),
    "mdd-1": _is_handed_over_after_preparing,
    "mrp-1": lambda report: report.get("type") != "data-collection" or "group" not in report,
    "mrp-2": all_of(
        "group", all_of("stratifier", all_of("stratum", just_one_of("value", "component")))
    ),
    "msq-3": lambda sequence: sequence.get("coordinateSystem") in (0, 1),
    "msq-5": together("chromosome", "genomeBuild"),
    "msq-6": just_one_of("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString"),
    "nor-1": any_of("oralDiet", "supplement", "enteralFormula"),
    "obs-3": any_of("low", "high", "text"),
    "obs-6": excludes("dataAbsentReason", "value[x]"),
    "obs-7": _has_no_value_twice,
    "org-1": any_of("identifier", "name"),
    "org-2": _is_not_at_home,
    "org-3": _is_not_at_home,
    "Parameters:inv-1": _has_fitting_parts,
    "pat-1": any_of("name", "telecom", "address", "organization"),
    "ppc-1": any_of("policy", "policyRule"),
    "prr-1": needs("orderDetail", "code"),
    "qrs-1": excludes("answer", "item"),
    "ras-1": _is_range_of_percentages,
    "ras-2": lambda prediction: prediction.get("probabilityDecimal", 0) <= 100,
    "rqg-1": just_one_of("resource", "action"),
    "sev-1": at_most_one_of("name", "query"),
    "Task:inv-1": _is_modified_after_authoring,
}  # fmt: skip
