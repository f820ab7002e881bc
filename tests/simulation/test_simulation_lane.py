"""What the truth expects is what the bulk lane finds: rows rejected, files refused, nothing else."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path

from simulated_region import SimulatedRegion

from kangshu.declarations import Pack
from kangshu.intake import CheckEngine, FileCheck, compile_plan, recognise
from kangshu.standards.tables import TableError, open_table

AFTER_ALL = datetime(2027, 1, 1)


def _rejected(
    path: Path, institution: str, pack: Pack, engine: CheckEngine, scratch: Path
) -> dict[int, set[str]]:
    """Return the rows that the lane rejects, and the checks that they fail."""
    found: dict[int, set[str]] = defaultdict(set)
    with open_table(path, scratch=scratch) as reader:
        recognition = recognise(headings=reader.headings, pack=pack, file_name=path.name)
        plan = compile_plan(recognition=recognition, pack=pack, allowed=[institution])
        check = FileCheck(engine=engine, plan=plan, received_at=AFTER_ALL)
        for batch in reader.batches():
            for failure in check.check(batch).failures:
                found[failure.row].add(failure.code)
    return found


def test_the_lane_rejects_exactly_the_rows_and_files_that_the_truth_says(
    region: SimulatedRegion, pack: Pack, tmp_path: Path
) -> None:
    expected: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for error in region.errors:
        if error["outcome"] == "rejected":
            expected[error["file"]][int(error["row"])].add(error["rule"])
    engine = CheckEngine(pack=pack)
    refused: set[str] = set()
    differing: list[str] = []

    for file in region.files:
        if file["fate"] == "duplicate":
            continue
        try:
            found = _rejected(region.path(file["file"]), file["institution"], pack, engine, tmp_path)
        except TableError:
            refused.add(file["file"])
            continue
        wanted = expected[file["file"]]
        if found.keys() != wanted.keys() or any(not rules <= found[row] for row, rules in wanted.items()):
            differing.append(file["file"])

    engine.close()
    assert refused == {file["file"] for file in region.files if file["fate"] == "rejected"}
    assert differing == []
