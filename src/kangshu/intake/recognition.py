"""Tell from a file's headings which data set it is and which column holds which field; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kangshu.declarations import Dataset, Field, Obligation, Pack
from kangshu.intake.errors import AmbiguousDatasetError, ColumnsMissingError, NotRecognisedError

_FOLD = str.maketrans({"（": "(", "）": ")", "：": ":", "　": " ", "＊": "*", "／": "/"})
_FIRST_REPEAT = re.compile(r"x(\d{2})")
_LEAST_SHARE = 0.5  # arbitrary: below half of the columns known, a file is more likely something else


@dataclass(frozen=True, kw_only=True)
class Column:
    """Column `position` of a file (from 0) holds the `repeat`-th value (from 1) of `field`."""

    position: int
    field: Field
    repeat: int


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """Which data set a file is, where its fields stand, and which columns nothing is known of."""

    dataset: Dataset
    columns: tuple[Column, ...]
    unknown: tuple[int, ...]


def recognise(
    *, headings: Sequence[str], pack: Pack, dataset: str | None = None, file_name: str = ""
) -> Recognition:
    """Return what a file with these headings is.

    With `dataset` the sender says what it is; otherwise the data set whose columns fit best wins,
    and between equals the one whose name or title stands in `file_name`.

    Raises:
        NotRecognisedError: no data set fits.
        AmbiguousDatasetError: several fit equally well: the sender must say which.
        ColumnsMissingError: the data set is clear, but columns of required fields are missing.
    """
    folded = tuple(_fold(heading) for heading in headings)
    candidates = [pack.datasets[dataset]] if dataset else list(pack.datasets.values())
    found = [_match(folded, candidate) for candidate in candidates]
    best = _best(found, file_name=file_name, chosen=dataset is not None)
    missing = _missing_required(best)
    if missing:
        raise ColumnsMissingError(dataset=best.dataset, fields=missing)
    return best


def _match(folded: tuple[str, ...], dataset: Dataset) -> Recognition:
    known = _headings(dataset)
    columns: list[Column] = []
    unknown: list[int] = []
    taken: set[tuple[str, int]] = set()
    for position, heading in enumerate(folded):
        hit = known.get(heading)
        if hit is None or (hit[0].name, hit[1]) in taken:
            unknown.append(position)
            continue
        taken.add((hit[0].name, hit[1]))
        columns.append(Column(position=position, field=hit[0], repeat=hit[1]))
    return Recognition(dataset=dataset, columns=tuple(columns), unknown=tuple(unknown))


def _best(found: Sequence[Recognition], *, file_name: str, chosen: bool) -> Recognition:
    scored = sorted(((_score(one), one) for one in found), key=lambda pair: pair[0], reverse=True)
    score, best = scored[0]
    known = len(best.columns)
    if not known or (not chosen and known < _LEAST_SHARE * (known + len(best.unknown))):
        raise NotRecognisedError()
    equals = [one for other, one in scored if other == score]
    if len(equals) > 1:
        named = [one for one in equals if _named_in(one.dataset, file_name)]
        if len(named) != 1:
            raise AmbiguousDatasetError(datasets=[one.dataset for one in equals])
        return named[0]
    return best


def _score(one: Recognition) -> float:
    """Known columns count for a data set, missing required fields twice against it."""
    return len(one.columns) - 2 * len(_missing_required(one)) - 0.01 * len(one.dataset.fields)


def _missing_required(one: Recognition) -> list[Field]:
    present = {column.field.name for column in one.columns}
    return [
        field
        for field in one.dataset.fields
        if field.obligation is Obligation.REQUIRED and field.name not in present
    ]


def _named_in(dataset: Dataset, file_name: str) -> bool:
    name = file_name.casefold()
    return dataset.name in name or dataset.title.zh.casefold() in name


@lru_cache(maxsize=256)
def _headings_of(dataset_path: str, dataset: Dataset) -> Mapping[str, tuple[Field, int]]:
    known: dict[str, tuple[Field, int]] = {}
    for field in dataset.fields:
        for repeat in range(1, field.repeat + 1):
            for heading in _spellings(field, repeat):
                known.setdefault(_fold(heading), (field, repeat))
    return known


def _headings(dataset: Dataset) -> Mapping[str, tuple[Field, int]]:
    return _headings_of(dataset.path, dataset)


def _spellings(field: Field, repeat: int) -> list[str]:
    """Return the headings of one value of a field.

    Repeats are numbered as the code numbers its first one (`C06x01C`, `C06x02C`) or by a plain
    number after the name (`other_diagnosis_code_2`, `出院其他诊断编码2`).
    """
    if field.repeat == 1:
        return list(field.column_names())
    spelt: list[str] = list(field.column_names()) if repeat == 1 else []
    for name in field.column_names():
        if number := _FIRST_REPEAT.search(name):
            spelt.append(_FIRST_REPEAT.sub(f"x{int(number[1]) + repeat - 1:02d}", name, count=1))
        else:
            spelt += [f"{name}_{repeat}", f"{name}{repeat}", f"{name}({repeat})", f"{name} {repeat}"]
    return spelt


def repeat_heading(*, heading: str, repeat: int) -> str:
    """Return the heading of the `repeat`-th column of a repeated field whose first is `heading`."""
    if _FIRST_REPEAT.search(heading):
        return _FIRST_REPEAT.sub(lambda found: f"x{int(found[1]) + repeat - 1:02d}", heading, count=1)
    return f"{heading}_{repeat}" if heading.isascii() else f"{heading}{repeat}"


def _fold(heading: str) -> str:
    """Return a heading as it is compared: case, full-width brackets, blanks and the star do not count."""
    return "".join(heading.translate(_FOLD).split()).strip("*").casefold()
