"""Checks of objects and lists: what may be in them, what must be, and what holds between their elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kangshu.standards.fhir.definitions import definitions
from kangshu.standards.fhir.findings import MAXIMUM_FINDINGS, Check, Finding, Findings, below, only_errors
from kangshu.standards.fhir.json_form import plain_name
from kangshu.standards.fhir.model import Severity
from kangshu.standards.fhir.rules import ELSEWHERE, RULES, Rule

KeyedRule: TypeAlias = tuple[str, Rule]

_gap = re.compile(r"\.(\w+)\[(\d+)\]").fullmatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What an object's elements are, apart from the checks of their values.

    `primitives` tells of each primitive element whether it is a list; `choices` are the names of each
    `value[x]`; `required` and `required_choices` must be there; `more` checks what is said in words.
    """

    name: str
    primitives: Mapping[str, bool]
    choices: Sequence[tuple[str, frozenset[str]]]
    required: Sequence[str]
    required_choices: Sequence[tuple[str, frozenset[str]]]
    rules: Sequence[KeyedRule]
    more: Check | None


def object_check(shape: Shape, *, tests: Mapping[str, Check], check_element: Check) -> Check:
    """Return the check of an object. `tests` may be filled later; `check_element` is for `_name`."""
    find = tests.get
    required = tuple(shape.required)
    finish = _finisher(shape)
    other = _other_names(shape, check_element)

    def check(value: Any) -> Findings | None:
        if type(value) is not dict:
            return [Finding("object_expected", "structure")]
        found: Findings | None = None
        for name, item in value.items():
            test = find(name)
            result = test(item) if test is not None else other(value, name, item)
            if result is not None:
                found = joined(found, list(below(f".{name}" if test else _step(name), result)))
                if len(found) >= MAXIMUM_FINDINGS:
                    break
        for name in required:
            if name not in value and f"_{name}" not in value:
                found = joined(found, [Finding("missing", "required", path=f".{name}")])
        if len(value) < 2 and (not value or "id" in value):
            found = joined(found, [Finding("empty_object", "invariant", rule="ele-1")])
        if finish is not None:
            found = finish(value, found)
        return None if found is None else _without_filled_gaps(found, value)

    return check


def _step(name: str) -> str:
    return f".{plain_name(name)}"


def _finisher(shape: Shape) -> Callable[[dict[str, Any], Findings | None], Findings | None] | None:
    """Return what looks at the object as a whole, or `None` where there is nothing to look at."""
    choices, required_choices, rules, more = shape.choices, shape.required_choices, shape.rules, shape.more
    if not choices and not rules and more is None:
        return None
    # With fewer elements than this there cannot be two of one choice.
    enough_for_two = len(shape.required) + 2

    def finish(value: dict[str, Any], found: Findings | None) -> Findings | None:
        for stem, names in required_choices:
            if not value.keys() & names:
                found = joined(found, [Finding("missing", "required", path=f".{stem}")])
        if len(value) >= enough_for_two:
            for stem, names in choices:
                present = value.keys() & names
                if len(present) > 1 and len({name.lstrip("_") for name in present}) > 1:
                    found = joined(found, [Finding("two_choices", "structure", path=f".{stem}")])
        # Where the shape is wrong already, the rules about its parts would only say so again, or fail.
        if found is not None and only_errors(found):
            return found
        if (broken := broken_rules(rules, value)) is not None:
            found = joined(found, broken)
        if more is not None and (broken := more(value)) is not None:
            found = joined(found, broken)
        return found

    return finish


def _other_names(shape: Shape, check_element: Check) -> Callable[[dict[str, Any], str, Any], Findings | None]:
    """Return the check of names that are no elements: `_birthDate` beside `birthDate`, or unknown ones."""
    primitives = shape.primitives

    def check(value: dict[str, Any], name: str, item: Any) -> Findings | None:
        base = name[1:]
        if name[:1] != "_" or base not in primitives:
            return [Finding("unknown_element", "structure", name=plain_name(name))]
        if primitives[base]:
            return _check_beside(item, value.get(base), check_element)
        if base in value and value[base] is None:
            return [Finding("null", "structure")]
        return _check_one_beside(item, base in value, check_element)

    return check


def _check_one_beside(item: Any, has_value: bool, check_element: Check) -> Findings | None:
    """Check what stands beside a primitive. An id alone is enough only where there is a value."""
    found = check_element(item)
    if found is not None and has_value and item:
        return [one for one in found if one.path or one.key != "empty_object"] or None
    return found


def _check_beside(item: Any, values: Any, check_element: Check) -> Findings | None:
    """Check the extensions beside a list of primitives: as long as it, and something for each gap."""
    if type(item) is not list or not item:
        return [Finding("list_expected", "structure")]
    if values is not None and (type(values) is not list or len(values) != len(item)):
        return [Finding("unequal_lists", "structure")]
    found: Findings = []
    for index, one in enumerate(item):
        if one is None:
            if values is None:
                found.append(Finding("null", "structure", path=f"[{index}]"))
        elif (result := _check_one_beside(one, _has_value(values, index), check_element)) is not None:
            found.extend(below(f"[{index}]", result))
        if len(found) >= MAXIMUM_FINDINGS:
            break
    return found or None


def _has_value(values: Any, index: int) -> bool:
    return values is not None and values[index] is not None


def _without_filled_gaps(found: Findings, value: dict[str, Any]) -> Findings | None:
    """Take back the findings about nulls in lists of primitives that have an extension in their place."""
    left = [one for one in found if not (one.key == "null" and _is_filled(one, value))]
    return left or None


def _is_filled(one: Finding, value: dict[str, Any]) -> bool:
    match = _gap(one.path)
    beside = value.get(f"_{match[1]}") if match is not None else None
    if match is None or type(beside) is not list:
        return False
    index = int(match[2])
    return index < len(beside) and type(beside[index]) is dict


def list_check(check: Check) -> Check:
    """Return the check of a list with something in it, each of which `check` takes."""

    def check_all(value: Any) -> Findings | None:
        if type(value) is not list:
            return [Finding("list_expected", "structure")]
        if not value:
            return [Finding("empty_list", "structure")]
        found: Findings | None = None
        for index, one in enumerate(value):
            result = check(one)
            if result is not None:
                found = joined(found, list(below(f"[{index}]", result)))
                if len(found) >= MAXIMUM_FINDINGS:
                    break
        return found

    def check_list(value: Any) -> Findings | None:
        # Mostly there is one, and mostly it is good.
        if type(value) is list and len(value) == 1 and check(value[0]) is None:
            return None
        return check_all(value)

    return check_list


def list_of_primitives_check(check: Check) -> Check:
    """Return the check of a list of primitives, which has null where there is only an extension."""
    return list_check(lambda one: check(one) if one is not None else [Finding("null", "structure")])


def ruled(check: Check, keys: Sequence[str]) -> Check:
    """Return `check` with the rules `keys` behind it, where there are any that are checked."""
    rules = rules_of(keys)
    if not rules:
        return check

    def check_with_rules(value: Any) -> Findings | None:
        found = check(value)
        if found is not None and only_errors(found):
            return found
        broken = broken_rules(rules, value)
        return found if broken is None else joined(found, broken)

    return check_with_rules


def rules_of(keys: Sequence[str]) -> list[KeyedRule]:
    """Return the rules of these keys that are checked where they stand."""
    return [(key, RULES[key]) for key in keys if key in RULES and key not in ELSEWHERE]


def broken_rules(rules: Sequence[KeyedRule], value: Any) -> Findings | None:
    """Return a finding for each rule that does not hold."""
    found: Findings | None = None
    for key, holds in rules:
        if not holds(value):
            severity = Severity.ERROR if definitions().rules[key].severity == "error" else Severity.WARNING
            found = joined(found, [Finding("rule", "invariant", severity=severity, rule=key)])
    return found


def joined(found: Findings | None, more: Findings) -> Findings:
    """Return both lists as one."""
    return [*found, *more] if found else more
