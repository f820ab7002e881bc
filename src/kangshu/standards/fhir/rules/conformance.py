"""The invariants of resources that describe systems, codes, forms and tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kangshu.standards.fhir.rules.forms import (
    Elements,
    Rule,
    all_of,
    any_of,
    at_most_one_of,
    distinct,
    either,
    excludes,
    is_one_of,
    just_one_of,
    needs,
    only_if,
    there,
)

_HL7 = "http://hl7.org/fhir/StructureDefinition"
_type_in_snapshot = re.compile(r"[a-zA-Z0-9.]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+").fullmatch
_type_in_differential = re.compile(r"[a-zA-Z0-9]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+").fullmatch
_positive = re.compile(r"[0-9]*[1-9][0-9]*").fullmatch
_without_options = (
    "choice",
    "open-choice",
    "decimal",
    "integer",
    "date",
    "dateTime",
    "time",
    "string",
    "quantity",
)
_with_length = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")
_without_target = ("capabilities", "search", "transaction", "history")
_assertions = (
    "contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod",
    "resource", "responseCode", "response", "validateProfileId",
)  # fmt: skip


def _all_below(concepts: Iterable[Elements], name: str) -> Iterator[Elements]:
    waiting = list(concepts)
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(one.get(name, ()))


def _kind_has(kind: str, rule: Rule) -> Rule:
    return lambda value: value.get("kind") != kind or rule(value)


def _lacks(*names: str) -> Rule:
    return lambda value: not any(there(name)(value) for name in names)


def _both(first: Rule, second: Rule) -> Rule:
    return lambda value: first(value) and second(value)


def _is_map_with_comment(target: Elements) -> bool:
    return there("comment")(target) or target.get("equivalence") not in ("narrower", "inexact")


def _has_stratifiers(measure: Elements) -> bool:
    either_one = at_most_one_of("component", "_")
    return either_one(measure) and all(
        any_of("code", "description", "criteria")(one) != there("component")(one)
        for group in measure.get("group", ())
        for one in group.get("stratifier", ())
    )


def _has_known_versions(guide: Elements) -> bool:
    known = set(guide.get("fhirVersion", ()))
    resources = guide.get("definition", {}).get("resource", ())
    return all(set(one.get("fhirVersion", ())) <= known for one in resources)


def _has_known_groups(definition: Elements) -> bool:
    known = {one.get("id") for one in definition.get("grouping", ())}
    return all(
        one.get("groupingId") in known for one in definition.get("resource", ()) if "groupingId" in one
    )


def _prefers_one_each(naming: Elements) -> bool:
    return distinct(one.get("type") for one in naming.get("uniqueId", ()) if one.get("preferred") is True)


def _items_fit_their_type(item: Elements) -> bool:
    kind, has_items = item.get("type"), "item" in item
    return has_items if kind == "group" else not (kind == "display" and has_items)


def _has_no_target(operation: Elements) -> bool:
    if there("sourceId")(operation):
        return True
    if sum(there(name)(operation) for name in ("targetId", "url", "params")) == 1:
        return True
    return operation.get("type", {}).get("code") in _without_target


def _asserts_one_thing(value: Elements) -> bool:
    return "extension" in value or at_most_one_of(*_assertions)(value)


def _compares_with_a_source(value: Elements) -> bool:
    with_value = any_of("compareToSourceExpression", "compareToSourcePath")(value)
    return there("compareToSourceId")(value) == with_value


def _responds(value: Elements) -> bool:
    return value.get("direction") != "request" or _lacks("response", "responseCode")(value)


def _elements(structure: Elements, *views: str) -> list[Elements]:
    return [one for view in views for one in structure.get(view, {}).get("element", ())]


def _roots(structure: Elements) -> list[Elements]:
    return [
        one for one in _elements(structure, "snapshot", "differential") if "." not in one.get("path", ".")
    ]


def _ids_differ(view: str) -> Rule:
    def holds(structure: Elements) -> bool:
        ids = [one.get("id") for one in _elements(structure, view)]
        return None not in ids and distinct(ids)

    return holds


def _is_of_hl7(structure: Elements) -> bool:
    return structure.get("url", "").startswith(_HL7)


def _names_types_of_fhir(structure: Elements) -> bool:
    if not _is_of_hl7(structure):
        return True
    return _all_types(structure, "differential", _type_in_differential) and _all_types(
        structure, "snapshot", _type_in_snapshot
    )


def _all_types(structure: Elements, view: str, matches: Any) -> bool:
    return all(
        matches(kind.get("code", "x")) for one in _elements(structure, view) for kind in one.get("type", ())
    )


def _first(structure: Elements, view: str) -> Elements:
    elements = _elements(structure, view)
    return elements[0] if elements else {}


def _has_default(element: Elements) -> bool:
    return there("defaultValue[x]")(element)


def _snapshot_begins_with_the_type(structure: Elements) -> bool:
    if structure.get("kind") == "logical" or "snapshot" not in structure:
        return True
    return _first(structure, "snapshot").get("path") == structure.get("type")


def _snapshot_keeps_to_the_type(view: Elements) -> bool:
    """What follows the first element lies below it; that the first is the type's own is sdf-11."""
    paths = [one.get("path", "") for one in view.get("element", ())]
    return all(path.startswith(f"{paths[0]}.") for path in paths[1:])


def _differential_keeps_to_the_type(view: Elements) -> bool:
    paths = [one.get("path", "") for one in view.get("element", ())]
    root = paths[0].partition(".")[0] if paths else ""
    return all(path.startswith(f"{root}.") for path in paths[1:])


def _root_is_bare(structure: Elements) -> bool:
    return not any(
        there(name)(one) for one in _roots(structure) for name in ("label", "code", "requirements")
    )


def _is_extension_with_context(structure: Elements) -> bool:
    if structure.get("type") != "Extension" or structure.get("derivation") == "specialization":
        return True
    return "context" in structure


def _root_has_no_type(view: str, *, also_below: bool) -> Rule:
    def holds(structure: Elements) -> bool:
        first = _first(structure, view)
        if structure.get("kind") == "logical" or (not also_below and "." in first.get("path", ".")):
            return True
        return "type" not in first

    return holds


RULES: dict[str, Rule] = {
    "cmd-1": _is_map_with_comment,
    "cmd-2": lambda unmapped: unmapped.get("mode") != "fixed" or there("code")(unmapped),
    "cmd-3": lambda unmapped: unmapped.get("mode") != "other-map" or there("url")(unmapped),
    "cpb-1": any_of("rest", "messaging", "document"),
    "cpb-12": lambda one: distinct(parameter.get("name") for parameter in one.get("searchParam", ())),
    "cpb-14": _kind_has("instance", there("implementation")),
    "cpb-15": _kind_has("capability", _both(_lacks("implementation"), there("software"))),
    "cpb-16": _kind_has("requirements", _lacks("implementation", "software")),
    "cpb-2": any_of("description", "software", "implementation"),
    "cpb-3": either(
        is_one_of("kind", "instance"),
        lambda statement: not any("endpoint" in one for one in statement.get("messaging", ())),
    ),
    "cpb-7": lambda statement: distinct(
        (one.get("profile"), one.get("mode")) for one in statement.get("document", ())
    ),
    "cpb-9": lambda rest: distinct(one.get("type") for one in rest.get("resource", ())),
    "csd-1": lambda system: distinct(
        one.get("code") for one in _all_below(system.get("concept", ()), "concept")
    ),
    "evv-1": at_most_one_of(
        "definitionReference", "definitionCanonical", "definitionCodeableConcept", "definitionId",
        "definitionByTypeAndValue", "definitionByCombination",
    ),
    "ig-1": _has_known_groups,
    "ig-2": _has_known_versions,
    "inv-2": just_one_of("operation", "assert"),
    "md-1": lambda focus: focus.get("max", "*") == "*" or _positive(focus["max"]) is not None,
    "mea-1": _has_stratifiers,
    "nsd-1": lambda naming: naming.get("kind") != "root"
    or all(one.get("type") != "uuid" for one in naming.get("uniqueId", ())),
    "nsd-2": _prefers_one_each,
    "opd-1": any_of("type", "part"),
    "opd-2": only_if("searchType", is_one_of("type", "string")),
    "opd-3": only_if("targetProfile", is_one_of("type", "Reference", "canonical")),
    "que-1": _items_fit_their_type,
    "que-10": either(is_one_of("type", *_with_length), _lacks("maxLength")),
    "que-11": excludes("answerOption", "initial"),
    "que-12": lambda item: len(item.get("enableWhen", ())) <= 2 or there("enableBehavior")(item),
    "que-13": lambda item: item.get("repeats") is True or len(item.get("initial", ())) <= 1,
    "que-2": lambda form: distinct(one.get("linkId") for one in _all_below(form.get("item", ()), "item")),
    "que-3": lambda item: item.get("type") != "display" or _lacks("code")(item),
    "que-4": excludes("answerOption", "answerValueSet"),
    "que-5": either(is_one_of("type", *_without_options), _lacks("answerValueSet", "answerOption")),
    "que-6": lambda item: item.get("type") != "display" or _lacks("required", "repeats")(item),
    "que-7": lambda when: when.get("operator") != "exists" or there("answerBoolean")(when),
    "que-8": lambda item: item.get("type") not in ("group", "display") or _lacks("initial")(item),
    "que-9": lambda item: item.get("type") != "display" or _lacks("readOnly")(item),
    "sdf-1": lambda structure: structure.get("derivation") == "constraint"
    or distinct(one.get("path") for one in _elements(structure, "snapshot")),
    "sdf-10": only_if(
        "binding", lambda element: any_of("valueSet", "description")(element["binding"])
    ),
    "sdf-11": _snapshot_begins_with_the_type,
    "sdf-14": lambda structure: all(
        "id" in one for one in _elements(structure, "snapshot", "differential")
    ),
    "sdf-15": _root_has_no_type("snapshot", also_below=True),
    "sdf-15a": _root_has_no_type("differential", also_below=False),
    "sdf-16": _ids_differ("snapshot"),
    "sdf-17": _ids_differ("differential"),
    "sdf-18": only_if("contextInvariant", is_one_of("type", "Extension")),
    "sdf-19": _names_types_of_fhir,
    "sdf-2": any_of("name", "uri"),
    "sdf-20": lambda view: not any(
        "slicing" in one for one in view.get("element", ()) if "." not in one.get("path", ".")
    ),
    "sdf-21": lambda structure: structure.get("derivation") == "specialization"
    or not any(map(_has_default, _elements(structure, "differential"))),
    "sdf-22": lambda structure: not _is_of_hl7(structure)
    or not any(map(_has_default, _elements(structure, "snapshot", "differential"))),
    "sdf-23": lambda structure: not any("sliceName" in one for one in _roots(structure)),
    "sdf-3": all_of(
        "element", lambda one: all(there(name)(one) for name in ("definition", "min", "max"))
    ),
    "sdf-4": either(lambda structure: structure.get("abstract") is True, there("baseDefinition")),
    "sdf-5": _is_extension_with_context,
    "sdf-6": any_of("snapshot", "differential"),
    "sdf-8": _snapshot_keeps_to_the_type,
    "sdf-8a": _differential_keeps_to_the_type,
    "sdf-8b": all_of("element", there("base")),
    "sdf-9": _root_is_bare,
    "smp-1": needs("element", "context"),
    "smp-2": needs("context", "contextType"),
    "spd-1": needs("xpath", "xpathUsage"),
    "spd-2": only_if("chain", is_one_of("type", "reference")),
    "tcp-1": lambda system: len(system.get("version", ())) <= 1
    or all(there("code")(one) for one in system["version"]),
    "tcp-2": any_of("description", "software", "implementation"),
    "tcp-3": _kind_has("instance", there("implementation")),
    "tcp-4": _kind_has("capability", _both(_lacks("implementation"), there("software"))),
    "tcp-5": _kind_has("requirements", _lacks("implementation", "software")),
    "TestReport:inv-1": just_one_of("operation", "assert"),
    "tst-1": just_one_of("operation", "assert"),
    "tst-10": _compares_with_a_source,
    "tst-11": _compares_with_a_source,
    "tst-12": _responds,
    "tst-13": _responds,
    "tst-2": just_one_of("operation", "assert"),
    "tst-3": at_most_one_of("expression", "headerField", "path"),
    "tst-4": all_of("capability", any_of("required", "validated")),
    "tst-5": _asserts_one_thing,
    "tst-6": _asserts_one_thing,
    "tst-7": _has_no_target,
    "tst-8": _has_no_target,
    "tst-9": _has_no_target,
    "vsd-1": any_of("valueSet", "system"),
    "vsd-10": needs("code", "system"),
    "vsd-2": lambda include: _lacks("concept", "filter")(include) or there("system")(include),
    "vsd-3": excludes("concept", "filter"),
    "vsd-6": any_of("code", "display"),
    "vsd-9": lambda contains: there("code")(contains) or contains.get("abstract") is True,
}  # fmt: skip
