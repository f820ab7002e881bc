"""One `[[fhir]]` block as closures: its conditions, its fields read off a resource and written to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from kangshu.declarations import (
    PATIENT,
    PATIENT_PATHS,
    Dataset,
    FhirCondition,
    FhirResource,
    FhirTerm,
    FhirTest,
    Field,
    Step,
)
from kangshu.mapping.rows.codecs import Codecs, Encode
from kangshu.mapping.rows.paths import (
    Context,
    Reader,
    Values,
    Writer,
    compile_filler,
    compile_reader,
    compile_rest,
    compile_values,
    compile_writer,
    depends_on_anchor,
)

Condition: TypeAlias = Callable[[Any, Context], bool]
_Fields: TypeAlias = tuple[tuple[str, tuple[tuple[str, Reader], ...]], ...]
"""Fields with their terms: the first element of the path, and what reads on from there."""
_REFERENCE = Step("reference")


class Block:
    """A compiled block; `number` tells it from all others of the mapper."""

    def __init__(self, resource: FhirResource, *, number: int, dataset: Dataset, codecs: Codecs) -> None:
        self.type = resource.type
        self.start = resource.type + "/"
        self.name = resource.name
        self.number = number
        self.parent = resource.parent
        self.each = resource.each
        self.decides = resource.decides
        self.under_patient = resource.parent == PATIENT
        self.when = _all(resource.when)
        self.is_conditional = bool(resource.when)
        self.withdrawn = _any(resource.withdrawn) if resource.withdrawn else None
        self.references: tuple[Values, ...] = tuple(
            compile_values((*path, _REFERENCE)) for path in resource.referred
        )
        # One reference in an element of its own is by far the most frequent link.
        only = resource.referred[0] if len(resource.referred) == 1 else ()
        self.plain_reference = only[0].name if len(only) == 1 and not only[0].many else ""
        self.is_plain = bool(self.plain_reference) and resource.refers is None
        self.refers = compile_values((*resource.refers, _REFERENCE)) if resource.refers else None
        if resource.refers and len(resource.refers) == 1 and not resource.refers[0].where:
            self.refers = _plain_references(resource.refers[0].name)
        self.refers_key = resource.texts.get("refers", "")
        patient_path = PATIENT_PATHS[resource.type]
        self.patient_path = (Step(patient_path),) if patient_path else ()
        self._dataset = dataset
        self._codecs = codecs
        fields = [(dataset.field(place.name), place.terms) for place in resource.fields]
        self.positions = tuple(
            field.name for field, terms in fields if any(term.codec == "position" for term in terms)
        )
        self.ordinals = tuple(
            field.name for field, terms in fields if any(term.codec == "ordinal" for term in terms)
        )
        own = [(field, terms) for field, terms in fields if not _of_anchor(terms)]
        fresh = [(field, terms) for field, terms in fields if _of_anchor(terms)]
        self._own: _Fields = tuple((field.name, self._readers(field, terms)) for field, terms in own)
        self._fresh: _Fields = tuple((field.name, self._readers(field, terms)) for field, terms in fresh)
        self.depends_on_anchor = bool(fresh)
        self._constants = tuple(
            (compile_writer(one.path), _constant(one.value)) for one in resource.constants
        )
        self._writers = tuple(
            (field.name, tuple(self._writer(field, term) for term in terms if term.writes and term.path))
            for field, terms in fields
        )
        self.links = tuple(compile_writer((*path, _REFERENCE), fresh=True) for path in resource.referred)
        self.back_link = (
            compile_writer((*resource.refers, _REFERENCE), fresh=True) if resource.refers else None
        )
        self.write_patient = compile_writer((*self.patient_path, _REFERENCE)) if self.patient_path else None

    def read(self, resource: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Return the fields that `resource` holds whichever resource is the anchor."""
        part: dict[str, Any] = {}
        _read_fields(self._own, resource, context, part)
        return part

    def read_fresh(self, resource: Mapping[str, Any], context: Context, part: dict[str, Any]) -> None:
        """Add the fields that depend on the anchor."""
        _read_fields(self._fresh, resource, context, part)

    def write(self, values: Mapping[str, Any], made: dict[str, Any], context: Context) -> bool:
        """Write constants and fields into `made`; return whether any field had a value."""
        for put, fill in self._constants:
            put(made, fill(context), context)
        wrote = False
        for name, writers in self._writers:
            value = values.get(name)
            if value is None:
                continue
            for given, absent, encode, put in writers:
                if given is not None and values.get(given) is None:
                    continue
                if absent is not None and values.get(absent) is not None:
                    continue
                encoded = encode(value)
                if encoded is not None:
                    put(made, encoded, context)
                    wrote = True
        return wrote

    def field_names(self) -> tuple[str, ...]:
        """Return the names of the block's fields."""
        return tuple(name for name, _ in self._writers)

    def _readers(self, field: Field, terms: tuple[FhirTerm, ...]) -> tuple[tuple[str, Reader], ...]:
        return tuple(
            (term.path[0].name, compile_rest(term.path, self._codecs.leaf(self._dataset, field, term)))
            for term in terms
            if term.reads and term.path
        )

    def _writer(self, field: Field, term: FhirTerm) -> tuple[str | None, str | None, Encode, Writer]:
        return term.given, term.absent, self._codecs.encode(field, term), compile_writer(term.path)


def _plain_references(name: str) -> Values:
    """Give the references in one element; reports with hundreds of results are gone through so."""

    def references(resource: Any, context: Context) -> Iterable[Any]:
        del context
        found = resource.get(name)
        members = found if isinstance(found, list) else [found]
        return [one.get("reference") if isinstance(one, dict) else None for one in members]

    return references


def _constant(value: str | bool | int) -> Callable[[Context], Any]:
    return compile_filler(value) if isinstance(value, str) else lambda context: value


def _read_fields(
    fields: _Fields, resource: Mapping[str, Any], context: Context, part: dict[str, Any]
) -> None:
    """The inner loop of all reading: most terms of most fields find nothing under their first name."""
    get = resource.get
    for field, terms in fields:
        for name, rest in terms:
            child = get(name)
            if child is not None:
                value = rest(child, context)
                if value is not None:
                    part[field] = value
                    break


def _of_anchor(terms: tuple[FhirTerm, ...]) -> bool:
    return any(depends_on_anchor(term.path) for term in terms)


def _all(conditions: tuple[FhirCondition, ...]) -> Condition:
    tests = [_condition(one) for one in conditions]
    if len(tests) == 1:
        return tests[0]
    return lambda resource, context: all(test(resource, context) for test in tests)


def _any(conditions: tuple[FhirCondition, ...]) -> Condition:
    tests = [_condition(one) for one in conditions]
    if len(tests) == 1:
        return tests[0]
    return lambda resource, context: any(test(resource, context) for test in tests)


def _condition(condition: FhirCondition) -> Condition:
    wanted = condition.values

    def is_wanted(value: Any, context: Context) -> Any:
        del context
        return True if isinstance(value, str) and value in wanted else None

    def is_any(value: Any, context: Context) -> Any:
        del context
        return None if value is None else True

    listed = condition.test in (FhirTest.IN, FhirTest.NOT_IN)
    find = compile_reader(condition.path, is_wanted if listed else is_any)
    if condition.test in (FhirTest.IN, FhirTest.EXISTS):
        return lambda resource, context: find(resource, context) is not None
    return lambda resource, context: find(resource, context) is None
