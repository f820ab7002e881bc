"""Make functions of declarations, once: what runs for a message looks no name up and parses nothing."""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from kangshu.mapping import MappingError
from kangshu.mapping.hl7v2.attributes import wrong_attribute
from kangshu.mapping.hl7v2.conditions import (
    ConditionError,
    Guard,
    Test,
    compile_condition,
    guard_of,
    without_guard,
)
from kangshu.mapping.hl7v2.datatypes import MAKERS, TABLE_NEEDED, Options
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.finishing import RESOURCE_FINISHERS, VALUE_FINISHERS, FinishValue
from kangshu.mapping.hl7v2.loading import wrong
from kangshu.mapping.hl7v2.model import (
    Continuation,
    DatatypeMap,
    Declarations,
    Group,
    MessageMap,
    Origin,
    Row,
    SegmentMap,
    VocabularyMap,
)
from kangshu.mapping.hl7v2.paths import PathError, Put, compile_path, is_simple
from kangshu.mapping.hl7v2.values import (
    Convert,
    Finish,
    Moment,
    Place,
    Repetition,
    parse_place,
    text_at,
    valued,
    whole_text,
)
from kangshu.mapping.hl7v2.vocabulary import Systems
from kangshu.standards.fhir import RESOURCE_TYPES
from kangshu.standards.hl7v2 import NULL

RowRun: TypeAlias = Callable[[Moment, tuple[Repetition, ...], dict[str, Any], dict[str, Any]], None]
KeyRead: TypeAlias = Callable[[Moment], str]

_DEPTH_MOST = 8
_NUMBER = re.compile(r"-(\d{1,3})")
_SEGMENT_PLACE = re.compile(r"\b([A-Z][A-Z0-9]{2})-(\d{1,3})")
_SEGMENT_WORD = re.compile(r"\b[A-Z][A-Z0-9]{2}\b")
_WORDS = frozenset({"AND", "NOT"})
_EACH_OTHER = frozenset({"OBX", "NTE"})
_CODED = ("CWE", "CE", "CNE", "XCN", "CNN", "PL", "EI", "XON")
"""Data types of codes, staff and places: a few hundred of them make up nearly every message of a sender."""
_REMEMBERED_MOST = 10_000
_THIS = "this "
_NOTHING: tuple[Repetition, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Continued:
    """A compiled continuation."""

    test: Test
    same: Callable[[Moment], tuple[str, ...]]
    field: int
    text: Convert


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentPlan:
    """A compiled segment map: what is run for one segment."""

    name: str
    segment: str
    resource: str
    into: str
    keys: tuple[KeyRead, ...]
    person: tuple[int, ...]
    needs: tuple[int, ...]
    finish: tuple[Finish, ...]
    numbered: bool
    continues: Continued | None
    steps: tuple[tuple[int, RowRun], ...]
    """Fields in the order of the rows, each with what reads it; 0 for rows that read none."""
    known: frozenset[int]
    """Fields that are mapped, or declared to mean nothing here."""
    alone: tuple[tuple[int, RowRun], ...] = ()
    """Of the steps of a new resource those that look at nothing but the segment and the event."""
    others: tuple[tuple[int, RowRun], ...] = ()
    """The rest of them; what they write, those above do not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsePlan:
    """A segment plan in its place in a message."""

    plan: SegmentPlan
    after: frozenset[str]
    test: Test | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MessagePlan:
    """A compiled message map."""

    name: str
    uses: Mapping[str, tuple[UsePlan, ...]]
    known: Mapping[str, frozenset[int]]
    opens: Mapping[str, int]
    """Segments that open a group, with the group's depth from 1."""
    groups: tuple[Group, ...]
    merge: str | None
    patient: str
    default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plans:
    """All compiled message maps by their events."""

    by_event: Mapping[tuple[str, str], MessagePlan]
    absorbed: SegmentPlan | None
    ignored: frozenset[str]
    no_numbers: frozenset[str]
    resources_most: int
    width: int
    """One more than the highest field number that is declared."""

    def of(self, kind: str, event: str) -> MessagePlan | None:
        """Return the plan for a message: that of its event, else of its type, else of any."""
        plans = self.by_event
        return plans.get((kind, event)) or plans.get((kind, "*")) or plans.get(("*", "*"))


def compile_declarations(declarations: Declarations) -> Plans:
    """Return the plans for every message that is declared.

    Raises:
        DeclarationError: something that a declaration names is not there, or is not written as it must be.
    """
    compiler = _Compiler(declarations)
    by_event: dict[tuple[str, str], MessagePlan] = {}
    for message in declarations.messages:
        plan = compiler.message(message)
        for event in message.events:
            kind, _, code = event.partition("^")
            if by_event.setdefault((kind, code or "*"), plan) is not plan:
                raise wrong(message.origin, say("declared_twice", name=event))
    absorbed = next((one for one in declarations.segments.values() if one.into == "aside"), None)
    return Plans(
        by_event=by_event,
        absorbed=compiler.segment(absorbed.name, absorbed.origin) if absorbed else None,
        ignored=declarations.settings.ignored_segments,
        no_numbers=declarations.settings.no_numbers,
        resources_most=declarations.settings.resources_most,
        width=_width(declarations),
    )


def _width(declarations: Declarations) -> int:
    """Return one more than the highest field number in any text of the declarations that may hold one."""
    texts: list[str | None] = []
    for segment in declarations.segments.values():
        texts += [*segment.key, *segment.person, *segment.needs, *segment.ignore]
        texts += [text for row in segment.rows for text in (row.field, row.condition, row.units)]
        if segment.continues is not None:
            continues = segment.continues
            texts += [continues.condition, continues.field, *continues.same]
    texts += [use.condition for message in declarations.messages for use in message.uses]
    return 1 + max((int(number) for text in texts if text for number in _NUMBER.findall(text)), default=0)


class _Compiler:
    def __init__(self, declarations: Declarations) -> None:
        self._declared = declarations
        self._systems = Systems(settings=declarations.settings, known=declarations.systems)
        self._segments: dict[str, SegmentPlan] = {}
        for one in declarations.segments.values():
            self.segment(one.name, one.origin)
        for one in declarations.datatypes.values():
            # Compiled once for what may be wrong in it: those that nothing uses are checked too.
            nothing = VocabularyMap(name="", codes={}, default=None, open=True, origin=one.origin)
            self._datatype(one.name, replace(self._options(None), vocabulary=nothing), one.origin, 0)

    def message(self, message: MessageMap) -> MessagePlan:
        uses: dict[str, list[UsePlan]] = {}
        known: dict[str, frozenset[int]] = {}
        for use in message.uses:
            plan = self.segment(use.map, use.origin)
            test = self._condition(use.condition, _segment_reader(plan.segment), use.origin)
            uses.setdefault(plan.segment, []).append(UsePlan(plan=plan, after=use.after, test=test))
            known[plan.segment] = known.get(plan.segment, frozenset()) | plan.known
        opens = {name: depth for depth, group in enumerate(message.groups, start=1) for name in group.opens}
        return MessagePlan(
            name=message.name,
            uses={name: tuple(plans) for name, plans in uses.items()},
            known=known,
            opens=opens,
            groups=message.groups,
            merge=message.merge,
            patient=message.patient,
            default="*" in message.events,
        )

    def segment(self, name: str, origin: Origin) -> SegmentPlan:
        if name not in self._segments:
            declared = self._declared.segments.get(name)
            if declared is None:
                raise wrong(origin, say("unknown_map", name=name))
            self._segments[name] = self._segment(declared)
        return self._segments[name]

    def _segment(self, declared: SegmentMap) -> SegmentPlan:
        own, origin = declared.segment, declared.origin
        if declared.resource not in RESOURCE_TYPES:
            raise wrong(origin, say("unknown_resource", name=declared.resource))
        read = _segment_reader(own)
        steps, known = self._steps(declared)
        alone, others = _apart(declared)
        return SegmentPlan(
            name=declared.name,
            segment=own,
            resource=declared.resource,
            into=declared.into,
            keys=tuple(_key(text, read, origin) for text in declared.key),
            person=tuple(_own_field(text, own, origin) for text in declared.person),
            needs=tuple(_own_field(text, own, origin) for text in declared.needs),
            finish=tuple(_finisher(one, RESOURCE_FINISHERS, origin) for one in declared.finish),
            numbered=declared.numbered,
            continues=self._continued(declared.continues, own, origin),
            steps=steps,
            alone=self._steps(replace(declared, rows=alone))[0] if alone else (),
            others=self._steps(replace(declared, rows=others))[0] if alone else (),
            known=known
            | {_own_field(text, own, origin) for text in (*declared.ignore, *declared.person)}
            | {place for row in declared.rows for place in _looked_at(row.condition, own)},
        )

    def _continued(self, declared: Continuation | None, own: str, origin: Origin) -> Continued | None:
        if declared is None:
            return None
        read = _segment_reader(own)
        test = self._condition(declared.condition, read, origin)
        assert test is not None, "the loader asks for a condition"
        texts = [_checked(read, text, origin) for text in declared.same]
        return Continued(
            test=test,
            same=lambda moment: tuple(text(moment) for text in texts),
            field=_own_field(declared.field, own, origin),
            text=MAKERS["TX[string]"](self._options(None)),
        )

    def _steps(self, declared: SegmentMap) -> tuple[tuple[tuple[int, RowRun], ...], frozenset[int]]:
        steps: list[tuple[int, list[tuple[Row, RowRun, RowRun]]]] = []
        known: set[int] = set()
        for row in declared.rows:
            number, run = self._row(row, declared.segment, declared.resource)
            if row.units:
                known.add(_own_field(row.units, declared.segment, row.origin))
            known.add(number)
            chosen = self._row(_chosen(row), declared.segment, declared.resource)[1] if number else run
            if steps and steps[-1][0] == number:
                steps[-1][1].append((row, run, chosen))
            else:
                steps.append((number, [(row, run, chosen)]))
        read = _segment_reader(declared.segment)
        return tuple((number, _together(rows, read)) for number, rows in steps), frozenset(known)

    def _row(self, row: Row, own: str, resource: str) -> tuple[int, RowRun]:
        place = _place(row.field, row.origin) if row.field else None
        if place is not None and place.field is None:
            raise wrong(row.origin, say("unknown_place", place=row.field))
        put, many = _path(row.fhir, row.origin)
        if reason := wrong_attribute(resource, row.fhir):
            raise wrong(row.origin, reason)
        test = self._condition(row.condition, _segment_reader(own), row.origin)
        if row.reference is not None and place is None and is_simple(row.fhir):
            return 0, _refer_plainly(row.reference, row.fhir, test, row.origin)
        plain = isinstance(row.constant, bool) or (isinstance(row.constant, str) and "{" not in row.constant)
        if plain and place is None and is_simple(row.fhir):
            return 0, _give_plainly(row.constant, row.fhir, test)
        give = self._given(row)
        if give is not None:
            foreign = place is not None and place.name != own
            number = 0 if place is None or foreign else (place.field or 0)
            if place is not None:
                reader = _checked(_segment_reader(own), row.field or "", row.origin)
                test = _both(test, lambda moment: reader(moment) != "")
            return number, _give(give, put, test)
        assert place is not None, "the loader asks for a field where nothing else is given"
        convert = self._narrowed(row, place)
        if row.strict:
            convert = _strict(convert)
        if place.name != own:
            return 0, _take_elsewhere(place.name, place.field or 0, convert, put, test)
        if row.join is None and is_simple(row.fhir):
            return place.field or 0, _take_plainly(convert, row.fhir, test)
        if row.join is None and is_simple(row.fhir.removesuffix("[]")):
            return place.field or 0, _take_each(convert, row.fhir.removesuffix("[]"), test)
        return place.field or 0, _take(convert, put, test, many=many, join=row.join)

    def _given(self, row: Row) -> Callable[[Moment], Any] | None:
        if row.reference is not None:
            return _referring(row.reference, row.origin)
        return _constant(row.constant) if row.constant is not None else None

    def _narrowed(self, row: Row, place: Place) -> Convert:
        """Return the row's conversion, applied to the component that its field names."""
        name = row.map or ("ID[code]" if row.table else "ST[string]")
        convert = self._datatype(name, self._options(row), row.origin, 0)
        if name in self._declared.datatypes and name.startswith(_CODED) and row.units is None:
            convert = _remembering(convert)
        return _narrow(convert, place.component, place.sub)

    def _options(self, row: Row | None, outer: Options | None = None) -> Options:
        vocabulary = outer.vocabulary if outer else None
        numbers = outer.numbers if outer else "number"
        units = outer.units if outer else None
        if row is not None and row.table:
            vocabulary = self._declared.vocabularies.get(row.table)
            if vocabulary is None:
                raise wrong(row.origin, say("unknown_table", name=row.table))
        if row is not None and row.units:
            number = _place(row.units, row.origin).field or 0
            units = _units_reader(number)
        return Options(
            settings=self._declared.settings,
            systems=self._systems,
            vocabulary=vocabulary,
            numbers=(row.numbers if row else None) or numbers,
            units=units,
        )

    def _datatype(self, name: str, options: Options, origin: Origin, depth: int) -> Convert:
        if depth > _DEPTH_MOST:
            raise wrong(origin, say("recursive_map", name=name))
        declared = self._declared.datatypes.get(name)
        if declared is None:
            if name not in MAKERS:
                raise wrong(origin, say("unknown_map", name=name))
            if name in TABLE_NEEDED and options.vocabulary is None:
                raise wrong(origin, say("table_needed", name=name))
            return MAKERS[name](options)
        if declared.same_as:
            return self._datatype(declared.same_as, options, declared.origin, depth + 1)
        return self._composite(declared, options, depth)

    def _composite(self, declared: DatatypeMap, options: Options, depth: int) -> Convert:
        own = declared.name.partition("[")[0]
        rows = tuple(self._component_row(row, own, options, depth) for row in declared.rows)
        finish = tuple(_finisher(one, VALUE_FINISHERS, declared.origin) for one in declared.finish)
        return _composed(rows, frozenset(declared.requires), finish)

    def _component_row(
        self, row: Row, own: str, options: Options, depth: int
    ) -> Callable[[Repetition, Moment, dict[str, Any], dict[str, Any]], None]:
        put, _ = _path(row.fhir, row.origin)
        test = self._condition(row.condition, _component_reader(own), row.origin)
        place = _place(row.field, row.origin) if row.field else None
        if place is not None and place.name != own:
            raise wrong(row.origin, say("unknown_place", place=row.field))
        if row.constant is not None:
            give = _constant(row.constant)
            if place is not None and place.component:
                at, sub = place.component - 1, (place.sub or 1) - 1
                return _give_component(give, put, _both(test, lambda one: text_at(one, at, sub) != ""))
            return _give_component(give, put, test)
        if place is None:
            raise wrong(row.origin, say["row_gives"])
        if row.map is None and row.table is None and place.component and test is None and row.fhir.isalpha():
            return _take_text(row.fhir, place.component - 1, (place.sub or 1) - 1)
        name = row.map or ("ID[code]" if row.table else "ST[string]")
        convert = self._datatype(name, self._options(row, options), row.origin, depth + 1)
        return _take_component(_narrow(convert, place.component, place.sub), put, test)

    def _condition(
        self, text: str | None, read: Callable[[str], Callable[[Any], str]], origin: Origin
    ) -> Test | None:
        if text is None:
            return None
        try:
            return compile_condition(text, read=read)
        except ConditionError as error:
            raise wrong(origin, error.text) from error


# What runs: each function below returns one that is called for every message, and does the least.


def _remembering(convert: Convert) -> Convert:
    """Keep what codes become: the value follows from the words and the sender alone."""
    known: dict[tuple[str, Repetition], bytes] = {}
    find, load = known.get, marshal.loads

    def remember(repetition: Repetition, moment: Moment) -> Any:
        mark = (moment.sender, repetition)
        kept = find(mark)
        if kept is not None:
            return load(kept)  # a value of its own for each: further rows may add to it
        noted = len(moment.notes)
        value = convert(repetition, moment)
        if value is not None and len(moment.notes) == noted:
            try:
                data = marshal.dumps(value)
            except ValueError:  # an exact decimal
                return value
            if len(known) >= _REMEMBERED_MOST:
                known.clear()
            known[mark] = data
        return value

    return remember


def _chosen(row: Row) -> Row:
    """Return the row as it is once its guard is known to hold."""
    guard = guard_of(row.condition) if row.condition else None
    if guard is None or guard.negated or row.condition is None:
        return row
    return replace(row, condition=without_guard(row.condition))


def _together(
    rows: list[tuple[Row, RowRun, RowRun]], read: Callable[[str], Callable[[Moment], str]]
) -> RowRun:
    """Make one function of the rows of a field; rows that differ in one place's text are chosen by it."""
    runs = tuple(run for _, run, _ in rows)
    if len(runs) == 1:
        return runs[0]
    guards = [guard_of(row.condition) if row.condition else None for row, _, _ in rows]
    place = guards[0].place if guards[0] else ""
    if any(guard is None or guard.place != place for guard in guards):
        return _sequence(runs)
    told = frozenset(text for guard in guards if guard for text in guard.texts)
    chosen = {text: _sequence(_let(rows, guards, text)) for text in told}
    others = _sequence(_let(rows, guards, None))
    get = read(place)

    def switch(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        chosen.get(get(moment).upper(), others)(moment, repetitions, resource, fresh)

    return switch


def _let(
    rows: list[tuple[Row, RowRun, RowRun]], guards: list[Guard | None], text: str | None
) -> tuple[RowRun, ...]:
    """Return the rows that may run where the place has this text; None is a text that no row names."""
    found: list[RowRun] = []
    for (_, run, chosen), guard in zip(rows, guards, strict=True):
        assert guard is not None, "rows are chosen by their guards"
        if guard.negated if text is None else guard.lets(text):
            found.append(run if guard.negated else chosen)
    return tuple(found)


def _sequence(runs: tuple[RowRun, ...]) -> RowRun:
    if len(runs) == 1:
        return runs[0]

    def sequence(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        for run in runs:
            run(moment, repetitions, resource, fresh)

    return sequence


def _take(convert: Convert, put: Put, test: Test | None, *, many: bool, join: str | None) -> RowRun:
    def one(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        for repetition in repetitions:
            value = convert(repetition, moment)
            if value is not None:
                put(resource, fresh, value)
                return

    def each(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        for repetition in repetitions:
            value = convert(repetition, moment)
            if value is not None:
                put(resource, fresh, value)

    def joined(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        values = [value for repetition in repetitions if (value := convert(repetition, moment)) is not None]
        if values:
            put(resource, fresh, (join or "").join(map(str, values)))

    if join is not None:
        return joined
    return each if many else one


def _take_plainly(convert: Convert, name: str, test: Test | None) -> RowRun:
    """The commonest row: the first repetition that tells something becomes an element."""

    def take(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], _: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        for repetition in repetitions:
            value = convert(repetition, moment)
            if value is not None:
                resource[name] = value
                return

    return take


def _give_plainly(value: str | bool, name: str, test: Test | None) -> RowRun:
    def run(moment: Moment, _: tuple[Repetition, ...], resource: dict[str, Any], __: dict[str, Any]) -> None:
        if test is None or test(moment):
            resource[name] = value

    return run


def _refer_plainly(text: str, name: str, test: Test | None, origin: Origin) -> RowRun:
    refer = _referring(text, origin)
    kind = text.removeprefix(_THIS)

    def current(
        moment: Moment, _: tuple[Repetition, ...], resource: dict[str, Any], __: dict[str, Any]
    ) -> None:
        found = moment.scope.current(kind)
        if found is not None:
            resource[name] = {"reference": found.reference}

    def run(moment: Moment, _: tuple[Repetition, ...], resource: dict[str, Any], __: dict[str, Any]) -> None:
        if test is None or test(moment):
            reference = refer(moment)
            if reference is not None:
                resource[name] = reference

    return current if test is None and kind == text else run


def _take_each(convert: Convert, name: str, test: Test | None) -> RowRun:
    """Each repetition becomes an element of a list."""

    def take(
        moment: Moment, repetitions: tuple[Repetition, ...], resource: dict[str, Any], _: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        for repetition in repetitions:
            value = convert(repetition, moment)
            if value is None:
                continue
            elements = resource.setdefault(name, [])
            if isinstance(value, list):
                elements.extend(value)
            else:
                elements.append(value)

    return take


def _take_elsewhere(name: str, number: int, convert: Convert, put: Put, test: Test | None) -> RowRun:
    """Take a field of another segment: the order's time for each of its results. Texts are converted once."""
    mark = object()

    def take(
        moment: Moment, _: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        if test is not None and not test(moment):
            return
        segment = moment.scope.find(name)
        if segment is None:
            return
        known = moment.known.get((mark, segment.number))
        if known is not None:
            put(resource, fresh, known)
            return
        for repetition in segment[number]:
            value = convert(repetition, moment)
            if value is not None:
                put(resource, fresh, value)
                if isinstance(value, str):
                    moment.known[(mark, segment.number)] = value
                return

    return take


def _give(give: Callable[[Moment], Any], put: Put, test: Test | None) -> RowRun:
    def run(
        moment: Moment, _: tuple[Repetition, ...], resource: dict[str, Any], fresh: dict[str, Any]
    ) -> None:
        if test is None or test(moment):
            value = give(moment)
            if value is not None:
                put(resource, fresh, value)

    return run


def _composed(
    rows: tuple[Callable[[Repetition, Moment, dict[str, Any], dict[str, Any]], None], ...],
    requires: frozenset[str],
    finish: tuple[FinishValue, ...],
) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> Any:
        made: dict[str, Any] = {}
        fresh: dict[str, Any] = {}
        for row in rows:
            row(repetition, moment, made, fresh)
        if not made or (requires and requires.isdisjoint(made)):
            return None
        value: Any = made
        for one in finish:
            value = one(value, repetition, moment)
            if value is None:
                return None
        return value

    return convert


def _take_text(
    name: str, at: int, sub: int
) -> Callable[[Repetition, Moment, dict[str, Any], dict[str, Any]], None]:
    def take(repetition: Repetition, _: Moment, made: dict[str, Any], __: dict[str, Any]) -> None:
        if len(repetition) > at and (text := text_at(repetition, at, sub)):
            made[name] = text

    return take


def _take_component(
    convert: Convert, put: Put, test: Test | None
) -> Callable[[Repetition, Moment, dict[str, Any], dict[str, Any]], None]:
    def take(repetition: Repetition, moment: Moment, made: dict[str, Any], fresh: dict[str, Any]) -> None:
        if test is None or test(repetition):
            value = convert(repetition, moment)
            if value is not None:
                put(made, fresh, value)

    return take


def _give_component(
    give: Callable[[Moment], Any], put: Put, test: Test | None
) -> Callable[[Repetition, Moment, dict[str, Any], dict[str, Any]], None]:
    def run(repetition: Repetition, moment: Moment, made: dict[str, Any], fresh: dict[str, Any]) -> None:
        if test is None or test(repetition):
            put(made, fresh, give(moment))

    return run


def _narrow(convert: Convert, component: int | None, sub: int | None) -> Convert:
    """Apply a conversion to a component, or a sub-component, of what it is given."""
    if component is None:
        return convert
    at = component - 1
    within = (sub or 1) - 1

    def whole(repetition: Repetition, moment: Moment) -> Any:
        if len(repetition) <= at:
            return None
        part = repetition[at]
        return convert((part,) if len(part) == 1 else tuple([(piece,) for piece in part]), moment)

    def piece(repetition: Repetition, moment: Moment) -> Any:
        text = text_at(repetition, at, within)
        return convert(((text,),), moment) if text else None

    return whole if sub is None else piece


def _strict(convert: Convert) -> Convert:
    """Refuse the message where something is told that cannot be read."""

    def checked(repetition: Repetition, moment: Moment) -> Any:
        before = len(moment.notes)
        value = convert(repetition, moment)
        if value is None and valued(repetition):
            found = list(moment.notes.values())[before:]
            raise MappingError(found[0].text if found else say["no_time"], place=moment.place())
        return value

    return checked


def _constant(value: Any) -> Callable[[Moment], Any]:
    """Give a fresh copy each time: resources are changed after they are made."""
    if isinstance(value, str):
        if "{sender}" in value:
            return lambda moment: value.replace("{sender}", moment.sender)
        return lambda _: value
    if isinstance(value, dict):
        parts: list[tuple[str, Callable[[Moment], Any]]] = [
            (str(name), _constant(one)) for name, one in value.items()
        ]
        return lambda moment: {name: give(moment) for name, give in parts}
    if isinstance(value, list):
        elements = [_constant(one) for one in value]
        return lambda moment: [give(moment) for give in elements]
    return lambda _: value


def _referring(text: str, origin: Origin) -> Callable[[Moment], Any]:
    """Give a reference to the resource of a type that stands; `this Type` to that of this segment only."""
    kind = text.removeprefix(_THIS)
    if kind not in RESOURCE_TYPES:
        raise wrong(origin, say("unknown_resource", name=kind))
    this = text.startswith(_THIS)

    def refer(moment: Moment) -> dict[str, str] | None:
        found = moment.made.get(kind) if this else moment.scope.current(kind)
        return {"reference": found.reference} if found is not None else None

    return refer


def _both(test: Test | None, further: Test) -> Test:
    if test is None:
        return further
    return lambda moment: test(moment) and further(moment)


# Reading places, for conditions and keys.


def _segment_reader(own: str) -> Callable[[str], Callable[[Any], str]]:
    """Return what reads places in conditions and keys: in the segment at hand, or the nearest of its name."""

    def read(text: str) -> Callable[[Moment], str]:
        place = parse_place(text)
        name, number = place.name, place.field
        if len(name) != 3:
            raise KeyError(text)
        if number is None:
            return lambda moment: name if moment.scope.find(name) is not None else ""
        piece = _first_told if place.component is None else _piece(place.component - 1, (place.sub or 1) - 1)
        if name == own:
            return _own_first(number) if piece is _first_told else lambda moment: piece(moment.fields[number])
        if name == "MSH":
            return lambda moment: piece(moment.message.header[number])

        def elsewhere(moment: Moment) -> str:
            segment = moment.scope.find(name)
            return "" if segment is None else piece(segment[number])

        return elsewhere

    return read


def _own_first(number: int) -> Callable[[Moment], str]:
    """Read a field of the segment at hand as a whole: the commonest place, so the quickest way."""

    def first(moment: Moment) -> str:
        field = moment.fields[number]
        if not field:
            return ""
        repetition = field[0]
        if len(repetition) == 1 and len(repetition[0]) == 1 and len(field) == 1:
            text = repetition[0][0]
            return "" if text == NULL else text.strip()
        return _first_told(field)

    return first


def _first_told(field: tuple[Repetition, ...]) -> str:
    """Return the text of a field as a whole: its first repetition that tells anything."""
    for repetition in field:
        if len(repetition) == 1 and len(repetition[0]) == 1:
            text = repetition[0][0].strip()
            if text and text != NULL:
                return text
        elif valued(repetition):
            return whole_text(repetition).strip().rstrip("^")
    return ""


def _piece(at: int, sub: int) -> Callable[[tuple[Repetition, ...]], str]:
    return lambda field: text_at(field[0], at, sub) if field else ""


def _component_reader(own: str) -> Callable[[str], Callable[[Any], str]]:
    def read(text: str) -> Callable[[Repetition], str]:
        place = parse_place(text)
        if place.name != own or place.component is None:
            raise KeyError(text)
        at, sub = place.component - 1, (place.sub or 1) - 1
        return lambda repetition: text_at(repetition, at, sub)

    return read


def _units_reader(number: int) -> Callable[[Moment], Repetition]:
    def read(moment: Moment) -> Repetition:
        field = moment.fields[number]
        return field[0] if field else ()

    return read


def _key(text: str, read: Callable[[str], Callable[[Moment], str]], origin: Origin) -> KeyRead:
    """Return what reads a key: its parts joined, '' where one that is not marked `?` is not told."""
    parts: list[tuple[Callable[[Moment], str], bool]] = []
    for part in text.split():
        needed = not part.endswith("?")
        name = part.rstrip("?")
        if name.startswith("="):
            literal = name[1:]
            parts.append((lambda _, literal=literal: literal, True))
        elif name.startswith("@"):
            parts.append((_key_of(name[1:], origin), needed))
        else:
            parts.append((_checked(read, name, origin), needed))

    def key(moment: Moment) -> str:
        found: list[str] = []
        for get, needed in parts:
            piece = get(moment)
            if needed and not piece:
                return ""
            found.append(piece.replace("|", "\\p") if "|" in piece and not piece.startswith("@") else piece)
        return "|".join(found)

    return key


def _key_of(kind: str, origin: Origin) -> Callable[[Moment], str]:
    if kind not in RESOURCE_TYPES:
        raise wrong(origin, say("unknown_resource", name=kind))

    def key(moment: Moment) -> str:
        found = moment.scope.current(kind)
        return f"@{found.key}" if found is not None else ""

    return key


def _checked(
    read: Callable[[str], Callable[[Moment], str]], text: str, origin: Origin
) -> Callable[[Moment], str]:
    try:
        return read(text)
    except KeyError:
        raise wrong(origin, say("unknown_place", place=text)) from None


def _place(text: str, origin: Origin) -> Place:
    try:
        return parse_place(text)
    except KeyError:
        raise wrong(origin, say("unknown_place", place=text)) from None


def _own_field(text: str, own: str, origin: Origin) -> int:
    place = _place(text, origin)
    if place.name != own or place.field is None:
        raise wrong(origin, say("other_segment", place=text, segment=own))
    return place.field


def _looked_at(condition: str | None, own: str) -> list[int]:
    """Return the fields of the segment that a condition looks at: what is looked at is not overlooked."""
    found: list[int] = []
    for word in (condition or "").replace("(", " ").replace(")", " ").split():
        name, dash, rest = word.partition("-")
        if name == own and dash and rest.partition(".")[0].isdigit():
            found.append(int(rest.partition(".")[0]))
    return found


def _apart(declared: SegmentMap) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows whose values follow from the segment and the event alone, and the others.

    Results and notes hardly ever come twice with the same words; the patient comes with every message.
    """
    if declared.segment in _EACH_OTHER or declared.into in ("current", "either", "aside"):
        return (), tuple(declared.rows)
    bound = {_attribute(row) for row in declared.rows if not _is_alone(row, declared.segment)}
    alone = tuple(row for row in declared.rows if _attribute(row) not in bound)
    return alone, tuple(row for row in declared.rows if _attribute(row) in bound)


def _is_alone(row: Row, own: str) -> bool:
    if row.reference is not None or (isinstance(row.constant, str) and "{" in row.constant):
        return False
    if isinstance(row.constant, dict | list) and "{" in repr(row.constant).replace("{'", ""):
        return False
    texts = [text for text in (row.field, row.condition, row.units) if text]
    places = [place for text in texts for place in _SEGMENT_PLACE.findall(text)]
    words = {word for text in texts for word in _SEGMENT_WORD.findall(text)} - _WORDS - {own, "MSH"}
    return not words and all(name == own or (name, field) == ("MSH", "9") for name, field in places)


def _attribute(row: Row) -> str:
    """Return the attribute of the resource that a row writes into."""
    return re.split(r"[.\[(]", row.fhir, maxsplit=1)[0]


def _path(text: str, origin: Origin) -> tuple[Put, bool]:
    try:
        return compile_path(text)
    except PathError as error:
        raise wrong(origin, error.text) from error


def _finisher(name: str, known: Mapping[str, Any], origin: Origin) -> Any:
    if name not in known:
        raise wrong(origin, say("unknown_finish", name=name, known=", ".join(known)))
    return known[name]
