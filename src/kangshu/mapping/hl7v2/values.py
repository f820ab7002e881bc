"""How the pieces of a field are handed around while it is mapped, and what is known at that moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from kangshu.kernel.texts import Text
from kangshu.mapping import Authorities, Note
from kangshu.standards.hl7v2 import NULL, Message, Segment

Repetition: TypeAlias = tuple[tuple[str, ...], ...]
"""One repetition of a field: its components, each its sub-components."""

NOTES_MOST = 100  # of one message; a note more would tell nobody anything

_PLACE = re.compile(r"([A-Z][A-Z0-9]{1,2})(?:-(\d{1,3}))?(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """A place as declarations name it: `PID-3.4.1` in a segment, `CX.4.1` in a data type; counted from 1."""

    name: str
    field: int | None
    component: int | None
    sub: int | None


def parse_place(text: str) -> Place:
    """Return the parts of `text`.

    Raises:
        KeyError: it names no place.
    """
    found = _PLACE.match(text)
    if found is None:
        raise KeyError(text)
    numbers = [int(number) if number else None for number in found.groups()[1:]]
    return Place(found[1], *numbers)


class Scope:
    """A segment group: its first segments by name, and the resource of each type that stands now."""

    __slots__ = ("first", "name", "parent", "resources", "told")

    def __init__(self, name: str, parent: Scope | None) -> None:
        self.name = name
        self.parent = parent
        self.first: dict[str, Segment] = {}
        self.resources: dict[str, Building] = {}
        self.told = False
        """Whether a result came already: what opens a group after it opens the next one."""

    def find(self, name: str) -> Segment | None:
        """Return the first segment of that name in this group, else in those around it."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.first.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def current(self, kind: str) -> Building | None:
        """Return the resource of that type that stands now, in this group or those around it."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.resources.get(kind)
            if found is not None:
                return found
            scope = scope.parent
        return None


class Building:
    """A resource in the making. `map` is the segment map that began it, `same` what further lines share."""

    __slots__ = ("finish", "id", "key", "kind", "lines", "map", "patient", "reference", "resource", "same")

    def __init__(
        self, kind: str, made: str, key: str, patient: str | None, name: str, finish: tuple[Finish, ...]
    ) -> None:
        self.kind = kind
        self.id = made
        self.key = key
        self.resource: dict[str, Any] = {"resourceType": kind, "id": made}
        self.reference = f"{kind}/{made}"
        self.patient = patient
        self.map = name
        self.finish = finish
        self.same: tuple[str, ...] = ()
        self.lines: list[str] = []


class Moment:
    """Where the mapping of one message stands: the field at hand, and what is known around it."""

    __slots__ = (
        "_blank",
        "authorities",
        "field",
        "fields",
        "known",
        "made",
        "message",
        "no_numbers",
        "notes",
        "scope",
        "segment",
        "sender",
    )

    def __init__(
        self,
        *,
        message: Message,
        sender: str,
        authorities: Authorities,
        scope: Scope,
        width: int,
        no_numbers: frozenset[str],
    ) -> None:
        self.message = message
        self.sender = sender
        self.authorities = authorities
        self.no_numbers = no_numbers
        self.scope = scope
        self.segment: Segment = message.header
        self.field = 0
        self._blank: list[tuple[Repetition, ...]] = [()] * width
        self.fields: list[tuple[Repetition, ...]] = self._blank
        """The fields of the segment at hand by their number, as many as any declaration names."""
        self.made: dict[str, Building] = {}
        """The resources that the segment at hand began."""
        self.known: dict[tuple[object, int], str] = {}
        """Texts out of other segments that were converted before."""
        self.notes: dict[tuple[str, int, str], Note] = {}

    def enter(self, segment: Segment, scope: Scope) -> None:
        """Go on to a segment."""
        self.segment, self.scope, self.field, self.made = segment, scope, 0, {}
        syntax = self.message.syntax
        values, marked = syntax.values, syntax.within
        # Most fields are empty or one piece: those are not worth a call.
        fields = [
            () if not one else (((one,),),) if one.isalnum() or not marked(one) else values(one)
            for one in segment.raw.split(syntax.field)
        ]
        if segment.name == "MSH":
            fields.insert(1, ())
        fields += self._blank[len(fields) :]
        self.fields = fields

    def place(self) -> str:
        """Return the place of the field at hand in the sender's notation."""
        return self.segment.place(self.field) if self.field else self.segment.name

    def note(self, reason: str, text: Text) -> None:
        """Note something about the field at hand, once for each field and reason."""
        mark = (self.segment.name, self.field, reason)
        if mark not in self.notes and len(self.notes) < NOTES_MOST:
            self.notes[mark] = Note(place=self.place(), text=text)


Convert: TypeAlias = Callable[[Repetition, Moment], Any]
"""Gives the FHIR value of one repetition (or component), None where there is nothing to say."""

Finish: TypeAlias = Callable[[Building, Moment], bool]
"""Completes a resource by what rows cannot say; False leaves the resource out."""


def text_at(repetition: Repetition, component: int, sub: int = 0) -> str:
    """Return the piece at these places counted from 0, '' where it is absent or HL7's null.

    The null says that what was told before no longer holds: the new version is without it.
    """
    if len(repetition) <= component:  # asked for far more often than told: an exception would be dear
        return ""
    part = repetition[component]
    if len(part) <= sub:
        return ""
    text = part[sub].strip()
    return "" if text == NULL else text


def first_text(repetition: Repetition) -> str:
    """Return the first piece of a repetition, which always has one; '' where it is HL7's null."""
    text = repetition[0][0]
    return "" if text == NULL else text.strip()


def whole_text(repetition: Repetition) -> str:
    """Return the text of a repetition with the marks that the sender forgot to escape."""
    if len(repetition) == 1 and len(repetition[0]) == 1:
        return "" if repetition[0][0] == NULL else repetition[0][0]
    return "^".join("&".join(component) for component in repetition)


def valued(repetition: Repetition) -> bool:
    """Return whether anything is told: not only blanks, or the null."""
    for component in repetition:
        for text in component:
            if text and text != NULL and not text.isspace():
                return True
    return False
