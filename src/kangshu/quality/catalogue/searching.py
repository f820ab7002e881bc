"""The columns of a pack as a catalogue that is searched by words, Chinese or English; pure."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from kangshu.declarations import Dataset, Pack, Privacy
from kangshu.quality.catalogue.feeds import feeds_of
from kangshu.quality.catalogue.model import Column
from kangshu.quality.catalogue.uses import uses_of

_MOST_WORDS = 8
_MOST_LETTERS = 100
_KEPT = 4
"""Catalogues of so many packs are remembered: a process has one, tests a few."""
_SEPARATOR = "\n"


@dataclass(frozen=True, kw_only=True)
class _Indexed:
    """A column with what is looked at: its names one by one, and all that is said of it in one text."""

    column: Column
    names: frozenset[str]
    titles: str
    everything: str


class Catalogue:
    """All columns of one pack with what feeds and uses them; made once, asked from any thread."""

    def __init__(self, pack: Pack) -> None:
        """Read the declarations of `pack`.

        Raises:
            DeclarationError: the mapping of messages is declared wrongly.
        """
        self.pack = pack
        uses, feeds = uses_of(pack), feeds_of(pack)
        self._columns = {
            (dataset.name, field.name): Column(
                dataset=dataset,
                field=field,
                feeds=feeds[dataset.name, field.name],
                uses=uses.get((dataset.name, field.name), ()),
            )
            for dataset in pack.datasets.values()
            for field in dataset.fields
        }
        self._indexed = [_index(column) for column in self._columns.values()]

    def columns(self, dataset: str) -> tuple[Column, ...]:
        """Return the columns of a data set in their order; none of one that is not declared."""
        return tuple(column for (name, _), column in self._columns.items() if name == dataset)

    def find_column(self, *, dataset: str, column: str) -> Column | None:
        """Return the column, if it is declared."""
        return self._columns.get((dataset, column))

    def find(
        self,
        *,
        text: str = "",
        category: str = "",
        privacy: Privacy | None = None,
        datasets: Sequence[str] | None = None,
    ) -> list[Column]:
        """Return the columns about which all words of `text` are said, the nearest first.

        A column whose name, title, alias, standard's code or data element is the text itself comes first,
        then those with it in a title, then the others; among equals the order of the pack. Upper and lower
        case are the same.
        """
        words = text.casefold()[:_MOST_LETTERS].split()[:_MOST_WORDS]
        whole = " ".join(words)
        found = [
            (_distance(one, words, whole), place, one.column)
            for place, one in enumerate(self._indexed)
            if all(word in one.everything for word in words)
            and (not category or one.column.dataset.category == category)
            and (privacy is None or one.column.field.privacy is privacy)
            and (datasets is None or one.column.dataset.name in datasets)
        ]
        return [column for _, _, column in sorted(found, key=lambda one: one[:2])]


_catalogues: list[Catalogue] = []
_guard = threading.Lock()


def catalogue_of(pack: Pack) -> Catalogue:
    """Return the catalogue of `pack`, made on the first call and remembered."""
    with _guard:
        for made in _catalogues:
            if made.pack is pack:
                return made
    fresh = Catalogue(pack)
    with _guard:
        _catalogues.insert(0, fresh)
        del _catalogues[_KEPT:]
    return fresh


def _index(column: Column) -> _Indexed:
    field, dataset = column.field, column.dataset
    names = {name.casefold() for name in (*field.column_names(), field.data_element or "") if name}
    titles = _SEPARATOR.join((field.title.zh, field.title.en, field.name, *field.aliases)).casefold()
    said = (
        *names,
        field.value_set or "",
        field.value_set_title.zh,
        field.value_set_title.en,
        field.note.zh,
        field.note.en,
        field.unit or "",
        *_dataset_words(dataset),
    )
    return _Indexed(
        column=column,
        names=frozenset(names),
        titles=titles,
        everything=_SEPARATOR.join(dict.fromkeys((titles, *(word.casefold() for word in said)))),
    )


def _dataset_words(dataset: Dataset) -> tuple[str, ...]:
    return dataset.name, dataset.title.zh, dataset.title.en, dataset.source


def _distance(one: _Indexed, words: Sequence[str], whole: str) -> int:
    if whole in one.names:
        return 0
    if any(name.startswith(whole) for name in one.names):
        return 1
    return 2 if all(word in one.titles for word in words) else 3
