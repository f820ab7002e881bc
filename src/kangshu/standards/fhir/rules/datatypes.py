"""The invariants of data types."""

from __future__ import annotations

import re
from typing import Any

from kangshu.standards.fhir.dates import is_certainly_after
from kangshu.standards.fhir.rules.forms import (
    UCUM,
    Elements,
    Rule,
    any_of,
    distinct,
    excludes,
    just_one_of,
    needs,
    only_if,
    there,
    together,
)

CURRENCY = "urn:iso:std:iso:4217"

_slice_name = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+").fullmatch
_step = r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}"
_path = re.compile(rf"{_step}(?:\.{_step}(?:\[x\])?(?::[^\s.]+)?)*").fullmatch
_number = re.compile(r"[0-9]{1,9}").fullmatch


def _measured_in(*systems: str, code_needed: bool = True) -> Rule:
    """A value needs a code, a system must be one of `systems`."""

    def holds(value: Elements) -> bool:
        if code_needed and "value" in value and "code" not in value:
            return False
        return value.get("system", systems[0]) in systems

    return holds


def _is_extension(extension: Elements) -> bool:
    """Either a value or extensions. Asked for so often that it is written out."""
    has_value = any(key.startswith(("value", "_value")) for key in extension)
    return has_value != ("extension" in extension)


def _is_age(value: Elements) -> bool:
    return _measured_in(UCUM)(value) and value.get("value", 1) > 0


def _is_count(value: Elements) -> bool:
    is_whole = "." not in str(value.get("value", ""))
    return _measured_in(UCUM)(value) and value.get("code", "1") == "1" and is_whole


def _is_duration(value: Elements) -> bool:
    return "code" not in value or (value.get("system") == UCUM and "value" in value)


def _is_in_order(period: Elements) -> bool:
    start, end = period.get("start"), period.get("end")
    return start is None or end is None or not is_certainly_after(start, end)


def _is_range(value: Elements) -> bool:
    """Low is not above high; other units than the same cannot be compared here."""
    low, high = value.get("low", {}), value.get("high", {})
    if "value" not in low or "value" not in high or _unit(low) != _unit(high):
        return True
    return low["value"] <= high["value"]


def _unit(quantity: Elements) -> Any:
    return quantity.get("code") or quantity.get("unit")


def _is_ratio(value: Elements) -> bool:
    both = together("numerator", "denominator")(value)
    return both and ("numerator" in value or "extension" in value)


def _least(name: str) -> Rule:
    return lambda value: value.get(name, 0) >= 0


def _has_fitting_offset(repeat: Elements) -> bool:
    moments = repeat.get("when", ())
    return "offset" not in repeat or (bool(moments) and not {"C", "CM", "CD", "CV"} & set(moments))


def _is_trigger(value: Elements) -> bool:
    kind = value.get("type", "")
    if kind == "named-event":
        return "name" in value
    if kind == "periodic":
        return there("timing[x]")(value)
    return not kind.startswith("data-") or "data" in value


def _least_is_below_most(element: Elements) -> bool:
    most = element.get("max", "*")
    return most == "*" or not _number(most) or element.get("min", 0) <= int(most)


def _may_be_bound(element: Elements) -> bool:
    kinds = {one.get("code") for one in element.get("type", ())}
    coded = {"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"}
    return "binding" not in element or kinds <= {None} or bool(kinds & coded)


def _one_type(value: Elements) -> bool:
    return len(value.get("type", ())) <= 1


def _names_a_value_set(binding: Elements) -> bool:
    return binding.get("valueSet", "urn:").startswith(("http:", "https", "urn:"))


RULES: dict[str, Rule] = {
    "age-1": _is_age,
    "att-1": needs("data", "contentType"),
    "cnt-3": _is_count,
    "cpt-2": needs("value", "system"),
    "dis-1": _measured_in(UCUM),
    "drq-1": just_one_of("path", "searchParam"),
    "drq-2": just_one_of("path", "searchParam"),
    "drt-1": _is_duration,
    "eld-1": any_of("discriminator", "description"),
    "eld-11": _may_be_bound,
    "eld-12": _names_a_value_set,
    "eld-13": lambda element: distinct(one.get("code") for one in element.get("type", ())),
    "eld-14": lambda element: distinct(one.get("key") for one in element.get("constraint", ())),
    "eld-15": excludes("defaultValue[x]", "meaningWhenMissing"),
    "eld-16": lambda element: bool(_slice_name(element.get("sliceName", "x"))),
    "eld-17": only_if("targetProfile", lambda kind: kind.get("code") in ("Reference", "canonical")),
    "eld-18": lambda element: element.get("isModifier") is not True or there("isModifierReason")(element),
    "eld-19": lambda element: bool(_path(element.get("path", "x"))),
    "eld-2": _least_is_below_most,
    "eld-22": needs("sliceIsConstraining", "sliceName"),
    "eld-3": lambda most: most == "*" or bool(_number(most)),
    "eld-4": only_if("aggregation", lambda kind: kind.get("code") in ("Reference", "canonical")),
    "eld-5": excludes(
        "contentReference", "type", "defaultValue[x]", "fixed[x]", "pattern[x]", "example", "minValue[x]",
        "maxValue[x]", "maxLength", "binding",
    ),
    "eld-6": only_if("fixed[x]", _one_type),
    "eld-7": only_if("pattern[x]", _one_type),
    "eld-8": excludes("pattern[x]", "fixed[x]"),
    "exp-1": any_of("expression", "reference"),
    "ext-1": _is_extension,
    "mqty-1": _measured_in(CURRENCY),
    "per-1": _is_in_order,
    "qty-3": needs("code", "system"),
    "rat-1": _is_ratio,
    "rng-2": _is_range,
    "sqty-1": lambda quantity: "comparator" not in quantity,
    "tim-1": needs("duration", "durationUnit"),
    "tim-10": excludes("timeOfDay", "when"),
    "tim-2": needs("period", "periodUnit"),
    "tim-4": _least("duration"),
    "tim-5": _least("period"),
    "tim-6": needs("periodMax", "period"),
    "tim-7": needs("durationMax", "duration"),
    "tim-8": needs("countMax", "count"),
    "tim-9": _has_fitting_offset,
    "trd-1": excludes("data", "timing[x]"),
    "trd-2": needs("condition", "data"),
    "trd-3": _is_trigger,
}  # fmt: skip
