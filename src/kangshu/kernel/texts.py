"""Text for people in two languages, Chinese first, both from one catalogue per package.

A catalogue is a `texts.toml` beside the package's code:

    [ragged_row]
    zh = "本行有 {actual} 列，标题有 {expected} 列"
    en = "the row has {actual} cells, the heading has {expected}"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """One sentence in Chinese and in English. It never holds a personal value."""

    zh: str
    en: str

    def in_(self, language: Language) -> str:
        """Return the sentence in `language`."""
        return self.zh if language == "zh" else self.en

    def __str__(self) -> str:
        return f"{self.zh} / {self.en}" if self.en and self.en != self.zh else self.zh


class Catalogue(Mapping[str, Text]):
    """The texts of one package; calling it with a key and values gives the finished sentence."""

    def __init__(self, entries: Mapping[str, Text], *, name: str) -> None:
        self._entries = dict(entries)
        self._name = name

    def __call__(self, key: str, /, **values: object) -> Text:
        """Return the text of `key` with its `{places}` filled from `values`.

        Raises:
            KeyError: the catalogue has no such text, or a place has no value.
        """
        entry = self._entries[key]
        return Text(zh=entry.zh.format(**values), en=entry.en.format(**values))

    def __getitem__(self, key: str) -> Text:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def load_catalogue(package: str) -> Catalogue:
    """Return the catalogue of `package` (its `texts.toml`).

    Raises:
        FileNotFoundError: the package has no catalogue.
    """
    source = resources.files(package).joinpath("texts.toml").read_text(encoding="utf-8")
    entries = {key: Text(zh=entry["zh"], en=entry["en"]) for key, entry in tomllib.loads(source).items()}
    return Catalogue(entries, name=package)
