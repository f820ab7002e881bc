"""The workbench of one document: drafts, notes and references are gathered here while it is mapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kangshu.mapping.cda.coding import Coder
from kangshu.mapping.cda.errors import say
from kangshu.mapping.cda.model import Declarations, DocumentClass, Rule
from kangshu.mapping.model import Draft, MakeId, Note
from kangshu.standards import cda

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"

_MOST_NOTES = 200


class Workbench:
    """What is known while one document becomes drafts."""

    def __init__(
        self,
        document: cda.Document,
        *,
        declarations: Declarations,
        coder: Coder,
        sender: str,
        make_id: MakeId,
        document_class: DocumentClass | None,
    ) -> None:
        self.document = document
        self.declarations = declarations
        self.coder = coder
        self.sender = sender
        self.document_class = document_class
        self.patient = ""
        self.encounter: str | None = None
        self.results: list[str] = []
        """References to what a report reports."""
        self.specimens: dict[str, str] = {}
        """References to Specimens by the place of their entry."""
        self.drafts: list[Draft] = []
        self.notes: list[Note] = []
        self._make_id = make_id
        self._ids: set[tuple[str, str]] = set()
        self.reference = self.id_of("DocumentReference", f"document|{document.id}")
        # A later version of a set says the same things anew: its entries take the places of the earlier ones.
        self._base = document.set_id.key if document.set_id else document.id

    def id_of(self, type: str, key: str) -> str:  # noqa: A002 - the protocol's word, and FHIR's
        """Return the id of the resource that `key` names among this sender's."""
        return self._make_id(type, f"{self.sender}|{key}")

    def note(self, place: str, key: str, **values: object) -> None:
        """Say that something was taken in otherwise than it stands."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(Note(place=place, text=say(key, **values)))

    def add(self, type: str, entry: cda.Entry, resource: dict[str, Any], *, part: str = "") -> str:  # noqa: A002
        """Add a draft that an entry became, with its source; return the reference to it."""
        identity = self.id_of(type, self._key(type, entry, part))
        if (
            type,
            identity,
        ) in self._ids:  # a sender that numbers two entries alike: the place tells them apart
            identity = self.id_of(type, f"{type}|{self._base}|{entry.place}|{part}")
        return self.put(type, identity, resource)

    def put(self, type: str, identity: str, resource: dict[str, Any]) -> str:  # noqa: A002
        """Add a draft under the id `identity`; return the reference to it."""
        self._ids.add((type, identity))
        content: dict[str, Any] = {"resourceType": type, "id": identity}
        if type not in ("Patient", "DocumentReference"):
            content["meta"] = {"source": f"DocumentReference/{self.reference}"}
        content |= resource
        self.drafts.append(Draft(type=type, id=identity, resource=content, patient=self.patient or None))
        return f"{type}/{identity}"

    def _key(self, type: str, entry: cda.Entry, part: str) -> str:  # noqa: A002
        # Ids with an extension, or a UUID, name one thing; a bare OID names a kind of things.
        for one in entry.ids:
            if (one.extension and one.root) or (one.root and "-" in one.root):
                # With the patient: a sender that numbers carelessly must not mix two people's records.
                return f"{type}|{self.patient}|{one.key}|{part}"
        return f"{type}|{self._base}|{entry.place}|{part}"

    @property
    def subject(self) -> dict[str, str]:
        """The reference to the patient."""
        return {"reference": f"Patient/{self.patient}"}

    def about(self, name: str = "subject") -> dict[str, Any]:
        """Return the references to the patient and the visit."""
        found: dict[str, Any] = {name: self.subject}
        if self.encounter:
            found["encounter"] = {"reference": f"Encounter/{self.encounter}"}
        return found

    def derived(self) -> list[dict[str, str]]:
        """Return the reference to the document, for elements that name a source."""
        return [{"reference": f"DocumentReference/{self.reference}"}]

    @property
    def written(self) -> str | None:
        """When the document says that it was written, by its author, else by its header."""
        times = (author.time.start for author in self.document.authors if author.time)
        return next((found for time in times if (found := self.coder.time(time))), None) or self.coder.time(
            self.document.time
        )

    def concept(
        self, rule: Rule, code: cda.Code | None, *, place: str, text: str | None = None
    ) -> dict[str, Any] | None:
        """Return the CodeableConcept of a value, with a note where its code is not kept."""
        found = self.coder.concept(code, systems=rule.systems, text=text)
        if code and code.code and found and "coding" not in found:
            declared = self.coder.system(code.system)
            allowed = declared is not None and (not rule.systems or declared.name in rule.systems)
            self.note(place, "code_shape" if allowed else "code_system")
        if found is None:
            self.note(place, "nothing_coded")
        return found


def coded_value(entry: cda.Entry | None) -> cda.Code | None:
    """Return an entry's value where it is a code."""
    value = entry.value if entry else None
    return value if isinstance(value, cda.Code) else None


def text_value(entry: cda.Entry | None) -> str | None:
    """Return an entry's value as text: a text as it is, of a code what a person reads."""
    value = entry.value if entry else None
    if isinstance(value, cda.Plain):
        return value.text or None
    if isinstance(value, cda.Code):
        return value.title or None
    if isinstance(value, cda.Quantity) and value.text:
        return f"{value.text} {value.unit}" if value.unit else value.text
    return None


def part(entries: Sequence[cda.Entry], codes: frozenset[str] | None) -> cda.Entry | None:
    """Return the first entry whose data element is one of `codes`."""
    return next((one for one in entries if codes and one.code and one.code.code in codes), None)


def title_of(entry: cda.Entry) -> str:
    """Return how an entry names itself: its data element's display, with the qualifiers."""
    if entry.code is None:
        return ""
    return " ".join(dict.fromkeys((entry.code.title, *entry.code.qualifiers)))
