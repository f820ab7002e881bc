"""Which rule an entry falls under; rules are indexed once, by code and by template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kangshu.mapping.cda.making import title_of
from kangshu.mapping.cda.model import Becomes, Rule
from kangshu.standards import cda


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An entry where it stands: the entries around it from the outside in, its neighbours, its section."""

    entry: cda.Entry
    around: tuple[cda.Entry, ...]
    siblings: tuple[cda.Entry, ...]
    section: cda.Section

    @property
    def parent(self) -> cda.Entry | None:
        """The entry directly around it."""
        return self.around[-1] if self.around else None


class Matcher:
    """Finds the first rule, in the order of declaration, of which every selection holds."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_code: dict[str, list[tuple[int, Rule]]] = {}
        self._by_template: dict[str, list[tuple[int, Rule]]] = {}
        self._others: list[tuple[int, Rule]] = []
        self._rules = {rule.name: rule for rule in rules}
        for number, rule in enumerate(rules):
            if rule.templates:
                self._enter(self._by_template, rule.templates, (number, rule))
            elif rule.codes:
                self._enter(self._by_code, rule.codes, (number, rule))
            else:
                self._others.append((number, rule))

    @staticmethod
    def _enter(index: dict[str, list[tuple[int, Rule]]], keys: Iterable[str], item: tuple[int, Rule]) -> None:
        for key in keys:
            index.setdefault(key, []).append(item)

    def named(self, name: str) -> Rule:
        """Return the rule of that name, which the loader has checked."""
        return self._rules[name]

    def find(self, found: Found, *, document: str) -> Rule | None:
        """Return the rule for the entry in a document of the class `document`, or None."""
        entry = found.entry
        candidates = list(self._others)
        if entry.code and entry.code.code:
            candidates += self._by_code.get(entry.code.code, ())
        for template in entry.templates:
            candidates += self._by_template.get(template, ())
        if len(candidates) > 1:
            candidates.sort(key=lambda item: item[0])
        return next((rule for _, rule in candidates if self._holds(rule, found, document)), None)

    def _holds(self, rule: Rule, found: Found, document: str) -> bool:
        entry = found.entry
        section = (found.section.code.code if found.section.code else None) or ""
        parent = found.parent
        return (
            (not rule.kinds or entry.kind in rule.kinds)
            and (not rule.codes or bool(entry.code and entry.code.code in rule.codes))
            and (not rule.moods or (entry.mood or "EVN") in rule.moods)
            and (not rule.documents or document in rule.documents)
            and document not in rule.not_documents
            and (not rule.sections or section in rule.sections)
            and section not in rule.not_sections
            and (not rule.within or (parent is not None and not rule.within.isdisjoint(parent.templates)))
            and (not rule.unless or not any(word in title_of(entry) for word in rule.unless))
            and (not rule.products or (entry.product is not None and entry.product.kind in rule.products))
            and (rule.becomes is not Becomes.COMPONENTS or self._has_members(rule, entry))
        )

    def _has_members(self, rule: Rule, entry: cda.Entry) -> bool:
        codes = {one.code.code for one in entry.children if one.code}
        return all(not self._rules[name].codes.isdisjoint(codes) for name in rule.members)
