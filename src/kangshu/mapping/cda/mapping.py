"""Clinical documents to FHIR: one `CdaMapping` per pack, applied to each document."""

from __future__ import annotations

from pathlib import Path

from kangshu.mapping.authorities import Authorities
from kangshu.mapping.cda import clinical, header, measuring
from kangshu.mapping.cda.coding import Coder
from kangshu.mapping.cda.loading import load_declarations
from kangshu.mapping.cda.making import Workbench
from kangshu.mapping.cda.matching import Found, Matcher
from kangshu.mapping.cda.model import Becomes, Declarations, DocumentClass, Rule
from kangshu.mapping.model import MakeId, Mapped
from kangshu.standards import cda

_SIMPLE = {
    Becomes.CONDITION: clinical.add_condition,
    Becomes.ALLERGY: clinical.add_allergy,
    Becomes.ALLERGY_FLAG: clinical.add_allergy_flag,
    Becomes.MEDICATION_REQUEST: clinical.add_medication_request,
    Becomes.MEDICATION_STATEMENT: clinical.add_medication_statement,
    Becomes.ORDERED_DRUG: clinical.add_ordered_drug,
    Becomes.IMMUNIZATION: clinical.add_immunization,
    Becomes.PROCEDURE: clinical.add_procedure,
    Becomes.ENCOUNTER: clinical.add_visit,
}
_GOES_ON = {Becomes.ENCOUNTER, Becomes.PANEL}
"""What an entry of these kinds holds is looked at too."""


def load_cda(folder: Path, *, authorities: Authorities) -> CdaMapping:
    """Return the mapping that the files of `folder` declare.

    Raises:
        DeclarationError: one of them is wrong; its place is `file:line`.
    """
    return CdaMapping(load_declarations(folder), authorities=authorities)


class CdaMapping:
    """Turns documents into drafts, as the pack declares it."""

    def __init__(self, declarations: Declarations, *, authorities: Authorities) -> None:
        self._declarations = declarations
        self._authorities = authorities
        self._matcher = Matcher(declarations.rules)
        self._items = frozenset(
            code for rule in declarations.rules if rule.becomes is Becomes.LABORATORY for code in rule.codes
        )

    @property
    def classes(self) -> tuple[DocumentClass, ...]:
        """The classes of documents that are declared, in their order."""
        return tuple(dict.fromkeys(self._declarations.classes.values()))

    def class_of(self, document: cda.Document) -> DocumentClass | None:
        """Return the declared class of a document, by its code, else by its template."""
        known = self._declarations.classes
        for code in (document.type, *document.type.translations):
            if found := known.get((code.system or "", code.code or "")):
                return found
        return next(
            (one for one in known.values() if one.template and one.template in document.templates), None
        )

    def apply(self, document: cda.Document, *, sender: str, make_id: MakeId) -> Mapped:
        """Return what the document becomes: its Patient first, its DocumentReference, what its entries say.

        Raises:
            MappingError: nothing tells whom it is about, or its template was not filled in.
        """
        declared = self.class_of(document)
        bench = Workbench(
            document,
            declarations=self._declarations,
            # Times without a zone are told in that of the document's own time.
            coder=Coder(
                self._declarations,
                self._authorities,
                sender=sender,
                zone=cda.zone_of(document.time) or self._declarations.settings.zone,
            ),
            sender=sender,
            make_id=make_id,
            document_class=declared,
        )
        order_key = header.add_patient(bench)
        if declared is None:
            bench.note("ClinicalDocument/code", "unknown_class")
        elif declared.template and document.templates and declared.template not in document.templates:
            bench.note("ClinicalDocument/templateId", "template_differs")
        header.add_encounter(bench)
        header.add_document(bench)
        if not header.is_withdrawn(document):
            self._add_entries(bench)
        return Mapped(drafts=tuple(bench.drafts), notes=tuple(bench.notes), order_key=order_key)

    def _add_entries(self, bench: Workbench) -> None:
        entries: list[cda.Entry] = []
        for section in bench.document.all_sections():
            if not self._add_section(bench, section, entries):
                bench.note(section.place, "too_many", limit=self._declarations.settings.most_entries)
                break
        report = bench.document_class.report if bench.document_class else None
        if report:
            measuring.add_report(bench, self._declarations.reports[report], entries, items=self._items)

    def _add_section(self, bench: Workbench, section: cda.Section, entries: list[cda.Entry]) -> bool:
        """Map the entries of a section and add them to `entries`; False where these become too many."""
        inner = [list(entry.walk()) for entry in section.entries]
        items = sum(1 for below in inner for one in below if one.code and one.code.code in self._items)
        for entry, below in zip(section.entries, inner, strict=True):
            entries.extend(below)
            if len(entries) > self._declarations.settings.most_entries:
                return False
            found = Found(entry=entry, around=(), siblings=section.entries, section=section)
            self._visit(bench, found, items)
        return True

    def _visit(self, bench: Workbench, found: Found, items: int) -> list[str]:
        """Map an entry, or where no rule takes it what stands below; return references to what came of it."""
        rule = self._matcher.find(found, document=bench.document.code)
        below: list[str] = []
        if rule is None or rule.becomes in _GOES_ON:
            around = (*found.around, found.entry)
            for child in found.entry.children:
                inner = Found(
                    entry=child, around=around, siblings=found.entry.children, section=found.section
                )
                below += self._visit(bench, inner, items)
        if rule is None:
            return below
        made = self._apply(bench, rule, found, items, below)
        return [made] if made else below

    def _apply(self, bench: Workbench, rule: Rule, found: Found, items: int, below: list[str]) -> str | None:
        if simple := _SIMPLE.get(rule.becomes):
            return simple(bench, rule, found)
        if rule.becomes is Becomes.COMPONENTS:
            return measuring.add_components(bench, rule, found, self._matcher)
        if rule.becomes is Becomes.PANEL:
            return measuring.add_panel(bench, found, [one for one in below if one.startswith("Observation/")])
        if rule.becomes is Becomes.LABORATORY:
            made = measuring.add_laboratory(bench, rule, found, items=items)
            bench.results += [made] if made else []
            return made
        return measuring.add_observation(bench, rule, found)
