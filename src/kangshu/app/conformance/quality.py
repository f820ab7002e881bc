"""The checks of the OHDSI Data Quality Dashboard: our answers beside the dashboard's, check by check."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kangshu.declarations import BASE_PACK, load_pack
from kangshu.quality.checksets import CheckAnswer, Report, State, load_checkset, run_checks

OMOP_PACK = BASE_PACK.parent / "omop"
_ARCHIVE = "Synthea27NjParquet_5.4.zip"
_ANSWERS = "dqd_2.8.4_v5.4_Synthea27Nj_answers.csv"
_AS_OF = date(2026, 11, 22)  # any day after the data's last would do
_MOST_BYTES = 64 << 20  # of one table unpacked; the largest has 2.7 MB

Numbers = tuple[int, int]
"""How many are wrong, of how many."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One check with both answers; ours is None where we declare no such check or could not run it."""

    check: str
    about: str
    expected: Numbers
    expected_threshold: str
    found: Numbers | None
    threshold: float | None

    @property
    def equal(self) -> bool:
        """Whether both numbers agree."""
        return self.found == self.expected

    @property
    def telling(self) -> bool:
        """Whether the answer says more than that there was nothing to look at."""
        return self.expected[1] > 0


def compare_omop(samples: Path, *, scratch: Path) -> tuple[Report, list[Compared]]:
    """Return our report over the sample data set and each of the dashboard's answers beside ours."""
    folder = _unpack(samples / "quality" / _ARCHIVE, scratch / "tables")
    pack = load_pack(OMOP_PACK)
    checkset = load_checkset(folder=OMOP_PACK, pack=pack)
    spill = scratch / "spill"
    spill.mkdir()
    report = run_checks(folder, checkset=checkset, pack=pack, as_of=_AS_OF, scratch=spill)
    ours = {_key(answer): answer for answer in report.answers}
    with (samples / "quality" / _ANSWERS).open(encoding="utf-8", newline="") as file:
        return report, [_compared(row, ours) for row in csv.DictReader(file)]


def _unpack(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            name = Path(entry.filename).name
            hidden = name.startswith(".") or "__MACOSX" in entry.filename
            if not hidden and name.endswith(".parquet") and entry.file_size <= _MOST_BYTES:
                (folder / name).write_bytes(source.read(entry))
    return folder


def _key(answer: CheckAnswer) -> tuple[str, str, str, str]:
    check = answer.check
    concepts = check.parameters.get("concept_id") or ", ".join(
        check.parameters.get("concept_ids", "").split()
    )
    return check.name, check.table, check.field, concepts


def _compared(row: dict[str, str], ours: dict[tuple[str, str, str, str], CheckAnswer]) -> Compared:
    key = (row["check"], row["table"].casefold(), row["field"].casefold(), row["concept_id"])
    answer = ours.get(key)
    ran = answer is not None and answer.state is not State.NOT_RUN
    place = ".".join(part for part in key[1:3] if part)
    return Compared(
        check=row["check"],
        about=f"{place} {row['concept_id']}".strip(),
        expected=(int(row["num_violated"]), int(row["num_denominator"])),
        expected_threshold=row["threshold_pct"],
        found=(answer.violated, answer.denominator) if answer and ran else None,
        threshold=answer.check.threshold if answer else None,
    )


def as_markdown(report: Report, compared: Sequence[Compared], *, measured: str) -> str:
    """Return the comparison as a page; `measured` is the line that tells how long it took."""
    equal = sum(one.equal for one in compared)
    lines = [
        "# Quality: the checks of OMOP",
        "",
        "Written by `make conformance` from its results; do not edit. The data set (28 persons of Synthea",
        "in New Jersey as OMOP CDM 5.4) and the answers of the OHDSI Data Quality Dashboard 2.8.4 are",
        "Apache-2.0 and not part of this project. The checks are declared in `packs/omop/checks`: kinds of",
        "checks as SQL with places, and CSV files that say what each applies to; no line of code knows OMOP.",
        "",
        f"{equal:,} of {len(compared):,} answers are equal: the number that is wrong and the number it is",
        f"out of. {sum(one.telling for one in compared):,} of them are about at least one row, "
        f"{sum(one.expected[0] > 0 for one in compared):,} find something wrong. The pack declares",
        f"{len(report.answers):,} checks in all; the others have no answer to compare with.",
        "",
        measured,
        "",
        "| check | level | declared | answers | equal | about rows | find something | thresholds equal |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    levels = {answer.check.name: answer.check.kind.level for answer in report.answers}
    for name, level in levels.items():
        members = [one for one in compared if one.check == name]
        lines.append(
            f"| {name} | {level} | {sum(answer.check.name == name for answer in report.answers):,} "
            f"| {len(members):,} | {sum(one.equal for one in members):,} "
            f"| {sum(one.telling for one in members):,} | {sum(one.expected[0] > 0 for one in members):,} "
            f"| {sum(_same_threshold(one) for one in members):,} |"
        )
    lines += ["", "## Differences", "", *_differences(compared), "", *_KNOWN]
    return "\n".join([*lines, ""])


def _same_threshold(one: Compared) -> bool:
    return one.threshold is not None and float(one.expected_threshold or 0) == one.threshold


def _differences(compared: Sequence[Compared]) -> list[str]:
    different = [one for one in compared if not one.equal]
    if not different:
        return ["None in this data set."]
    return [
        "| check | about | dashboard | ours |",
        "|---|---|---:|---:|",
        *(
            f"| {one.check} | {one.about} | {one.expected[0]:,} of {one.expected[1]:,} | {_told(one.found)} |"
            for one in different
        ),
    ]


def _told(numbers: Numbers | None) -> str:
    return f"{numbers[0]:,} of {numbers[1]:,}" if numbers else "not declared or not run"


_KNOWN = (
    "Where the two would differ on other data, on purpose:",
    "",
    "- The dashboard joins: a record of a person with two rows in `death`, or of a concept below two of the",
    "  named ancestors, counts twice. Here a row counts once.",
    "- The dashboard looks at types as the database holds them. Here a cell that does not fit the declared",
    "  type has no value in every check but `cdmDatatype`, which looks at its text.",
    "- `cdmDatatype` is asked of every whole number of the declarations, also where the dashboard's list",
    "  leaves one out; `fkDomain` of `episode.episode_object_concept_id` (two domains in one cell of that",
    "  list) is not declared.",
    "- A check that needs a table or field that is missing is `not run`, which is no pass.",
)
