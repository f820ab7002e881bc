"""The checks of each type, compiled once from the definitions into closures; one walk makes all of them.

Every closure takes a value and returns `None` or what it found, with places relative to the value. On the way
of a good resource no place is put together and nothing is made.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

from kangshu.standards.fhir import primitives, shortcuts
from kangshu.standards.fhir.addresses import check_contained, check_extension_address, reference_check
from kangshu.standards.fhir.bindings import bound
from kangshu.standards.fhir.bundles import check_bundle
from kangshu.standards.fhir.definitions import (
    RESOURCE_TYPES,
    Element,
    TypeDefinition,
    TypeUse,
    definitions,
)
from kangshu.standards.fhir.findings import Check, Finding, Findings
from kangshu.standards.fhir.narrative import check_div
from kangshu.standards.fhir.objects import (
    Shape,
    list_check,
    list_of_primitives_check,
    object_check,
    ruled,
    rules_of,
)

# What R4 says in words about a whole resource.
_MORE: dict[str, Check] = {"Bundle": check_bundle}
_EXTENSIONS = ("extension", "modifierExtension")


def check_any_resource(value: Any) -> Findings | None:
    """Check a resource of whatever type it says it is, with all that is in it."""
    if type(value) is not dict:
        return [Finding("object_expected", "structure")]
    name = value.get("resourceType")
    if type(name) is not str:
        return [Finding("no_resource_type", "structure")]
    check = _compiler.resource(name)
    return check(value) if check is not None else [Finding("unknown_type", "not-supported")]


class _Compiler:
    """The checks of all types that were asked for, and of those below them."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = dict(primitives.CHECKS)
        self._checks |= {"xhtml": check_div, "Resource": check_any_resource}
        self._resources: dict[str, Check] = {}
        self._references: dict[tuple[str, ...], Check] = {}
        self._lock = RLock()

    def resource(self, name: str) -> Check | None:
        """Return the check of a resource type, or `None` where R4 has no such type."""
        if (check := self._resources.get(name)) is not None or name not in RESOURCE_TYPES:
            return check
        with self._lock:
            self._of_type("Element")
            # Only now others may see it: before, parts of it were not there yet.
            self._resources[name] = check = self._of_type(name)
            return check

    def _check_element(self, value: Any) -> Findings | None:
        """Check what stands beside a primitive: an id, extensions."""
        return self._checks["Element"](value)

    def _of_type(self, name: str) -> Check:
        """Return the check of any type. A type that holds itself finds its own check, to be filled later."""
        if (check := self._checks.get(name)) is not None:
            return check
        definition = definitions().types[name]
        tests: dict[str, Check] = {}
        check = object_check(_shape_of(name, definition), tests=tests, check_element=self._check_element)
        if definition.kind == "resource":
            check = _with_contained(check)
            tests["resourceType"] = _take_anything
        check = self._with_shortcut(name, check)
        self._checks[name] = check
        for element in definition.elements:
            if element.max != "0":
                self._add(element, tests, inside_extension=name == "Extension")
        return check

    def _with_shortcut(self, name: str, check: Check) -> Check:
        if name == "Coding":
            return shortcuts.for_coding(check)
        if name == "Reference":
            return shortcuts.for_reference(check)
        if name == "CodeableConcept":
            return shortcuts.for_concept(check, check_coding=self._of_type("Coding"))
        return check

    def _add(self, element: Element, tests: dict[str, Check], *, inside_extension: bool) -> None:
        for name, use in element.names().items():
            check = self._of_use(element, use)
            if element.name in _EXTENSIONS and not inside_extension:
                check = _with_full_address(check)
            if element.codes:
                check = bound(check, kind=use.code, name=element.codes)
            check = ruled(check, element.rules)
            if element.is_list:
                check = list_of_primitives_check(check) if _is_primitive(use) else list_check(check)
            tests[name] = check

    def _of_use(self, element: Element, use: TypeUse) -> Check:
        if element.inner or element.inner_of:
            return self._of_type(element.inner or element.inner_of)
        if element.resource_id:
            return primitives.CHECKS["id"]
        if use.code != "Reference":
            return self._of_type(use.profile or use.code)
        if use.targets not in self._references:
            self._references[use.targets] = reference_check(self._of_type("Reference"), use.targets)
        return self._references[use.targets]


def _shape_of(name: str, definition: TypeDefinition) -> Shape:
    primitive_lists: dict[str, bool] = {}
    choices: list[tuple[str, frozenset[str]]] = []
    required: list[str] = []
    required_choices: list[tuple[str, frozenset[str]]] = []
    for element in definition.elements:
        names = element.names()
        primitive_lists |= {own: element.is_list for own, use in names.items() if _is_primitive(use)}
        both = frozenset(names) | {f"_{own}" for own in names}
        if element.name.endswith("[x]"):
            choices.append((element.name, both))
            required_choices.extend([(element.name, both)] if element.min else ())
        elif element.min:
            required.append(element.name)
    return Shape(
        name=name,
        primitives=primitive_lists,
        choices=choices,
        required=required,
        required_choices=required_choices,
        rules=rules_of(definition.rules),
        more=_MORE.get(name),
    )


def _is_primitive(use: TypeUse) -> bool:
    return use.code in primitives.CHECKS


def _with_contained(check: Check) -> Check:
    def check_resource(value: Any) -> Findings | None:
        found = check(value)
        if found is None and (type(value) is not dict or "contained" not in value):
            return None
        return check_contained(value, found) if type(value) is dict else found

    return check_resource


def _with_full_address(check: Check) -> Check:
    def check_extension(value: Any) -> Findings | None:
        found = check(value)
        return found if found is not None else check_extension_address(value)

    return check_extension


def _take_anything(_: Any) -> Findings | None:
    return None


_compiler = _Compiler()
