"""What a rule that is tried would find, and what its process is asked; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kangshu.declarations import Dataset, Pack, Rule

MOST_ROWS = 1_000_000
"""A sample has no more rows than this."""


@dataclass(frozen=True, kw_only=True)
class TrialFile:
    """The rows of one file in which the rule would find something; `first` are the lowest numbers."""

    file: int
    name: str
    failing: int
    first: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TrialPlace:
    """What the rule would find at one institution, among `rows` of the sample that it is about."""

    institution: str
    rows: int
    failing: int
    files: tuple[TrialFile, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a rule would find in a sample: its files and rows, those that the rule is about, those failing."""

    files: int
    rows: int
    applied: int
    failing: int
    places: tuple[TrialPlace, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the process of a trial is asked: a rule, over which rows, within which bounds."""

    home: Path
    pack: Pack
    dataset: Dataset
    rule: Rule
    source: str
    tables: Mapping[str, str]
    names: Mapping[int, str]
    seconds: float
    memory_mib: int
