"""Say what is wrong with a resource: structure, cardinality, types, codes, invariants, narratives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kangshu.kernel.texts import Language, Text
from kangshu.standards.fhir.compiling import check_any_resource
from kangshu.standards.fhir.definitions import definitions
from kangshu.standards.fhir.errors import say
from kangshu.standards.fhir.findings import MAXIMUM_FINDINGS, Finding
from kangshu.standards.fhir.json_form import MAXIMUM_DEPTH, plain_name
from kangshu.standards.fhir.model import Issue, Severity
from kangshu.standards.fhir.rules import RULE_TEXTS


def validate(resource: Any, *, type: str | None = None) -> list[Issue]:  # noqa: A002 - FHIR's own word
    """Return what is wrong with `resource`, errors first, at most some hundred issues; empty: nothing is.

    `type` is the resource type that is expected, where one is. Contained resources and the entries of a
    Bundle are checked too. Profiles, terminology beyond required code lists, and whether references can be
    resolved are not.
    """
    try:
        found = check_any_resource(resource)
    except RecursionError:
        found = [Finding("too_deep", "too-long", limit=MAXIMUM_DEPTH)]
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    if type is not None and name != type:
        found = [Finding("other_type", "invalid", path=".resourceType", type=type), *(found or ())]
    if found is None:
        return []
    root = plain_name(name) if isinstance(name, str) else "Resource"
    return sorted(_issues(root, found), key=lambda issue: not issue.is_error)


def is_acceptable(issues: Iterable[Issue]) -> bool:
    """Tell whether there is no error among `issues`."""
    return not any(issue.is_error for issue in issues)


def outcome(issues: Sequence[Issue], *, language: Language = "zh") -> dict[str, Any]:
    """Return `issues` as an OperationOutcome, with both languages in the text where they differ.

    No issues give one that says that all is well.
    """
    if not issues:
        issues = [
            Issue(severity=Severity.INFORMATION, code="informational", expression="", text=say("all_well"))
        ]
    return {"resourceType": "OperationOutcome", "issue": [_as_outcome(issue, language) for issue in issues]}


def _as_outcome(issue: Issue, language: Language) -> dict[str, Any]:
    other: Language = "en" if language == "zh" else "zh"
    made: dict[str, Any] = {
        "severity": issue.severity.value,
        "code": issue.code,
        "details": {"text": issue.text.in_(language)},
        "diagnostics": issue.text.in_(other),
    }
    if issue.expression:
        made["expression"] = [issue.expression]
    return made


def _issues(root: str, found: Sequence[Finding]) -> Iterable[Issue]:
    for one in found[: 2 * MAXIMUM_FINDINGS]:
        yield Issue(severity=one.severity, code=one.code, expression=root + one.path, text=_text(one))


def _text(one: Finding) -> Text:
    if one.key != "rule":
        return say(one.key, **one.values)
    rule = str(one.values["rule"])
    words = RULE_TEXTS.get(rule) or Text(
        zh=definitions().rules[rule].human, en=definitions().rules[rule].human
    )
    return say("rule", rule=rule.rpartition(":")[2], human=words.zh, human_en=words.en)
