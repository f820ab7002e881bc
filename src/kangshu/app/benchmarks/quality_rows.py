"""Made-up laboratory results for the benchmarks of the scan, a tenth of them defective."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import duckdb
import pyarrow as pa

from kangshu.declarations import Dataset, Pack, Rule, check_rule, load_pack, read_rule
from kangshu.lake import Segment, SegmentFile, SegmentWriter, lake_folder, lake_schema, new_segment_path

DATASET = "lab_result"
DEFECTIVE = 0.1
"""The share of rows with a defect; a few break a rule without it."""

_SEGMENT_ROWS = 1_000_000
_BATCH_ROWS = 1 << 17
_MARK = "[[rule]]"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # of a resident number's digits (GB 11643)

# Rows of a person lie together, as after a compaction; a report has six items. Every thousandth `fault` under
# 100 is a defect of one of twenty kinds. The division code 990102 is no real place's.
_ROWS = """
WITH numbers AS (
    SELECT i, i // 24 AS person, hash(i // 24) AS p, hash(i // 6) AS r, hash(i) AS h,
        ((hash(i * 31 + 7) >> 9) % 1000)::INTEGER AS fault
    FROM range({first}, {last}) AS t(i)
),
persons AS (
    SELECT *,
        CASE WHEN fault < 100 THEN fault % 20 ELSE -1 END AS kind,
        (r % 60)::INTEGER AS place,
        date '2026-01-01' + ((r >> 8) % 365)::INTEGER AS day,
        date '1940-01-01' + ((p >> 16) % 28000)::INTEGER AS born,
        ((p >> 40) % 1000)::INTEGER AS serial,
        (i % 6)::INTEGER AS item,
        (100 + h % 3400) / 100.0 AS amount
    FROM numbers
),
known AS (
    SELECT *, '990102' || strftime(born, '%Y%m%d') || lpad(serial::VARCHAR, 3, '0') AS digits,
        'H' || lpad(place::VARCHAR, 21, '0') AS institution,
        CASE kind WHEN 10 THEN -amount WHEN 11 THEN 999999 ELSE amount END::DECIMAL(18, 6) AS found,
        day + INTERVAL 8 HOUR + INTERVAL 1 MINUTE * ((h >> 20) % 600)::INTEGER AS moment
    FROM persons
)
SELECT
    (1 + place * 12 + month(day) - 1)::BIGINT AS _file,
    (i + 2)::BIGINT AS _row,
    person::BIGINT AS _person,
    institution AS _institution,
    moment AS _at,
    CASE kind WHEN 14 THEN institution[:21] ELSE institution END AS institution_code,
    digits || substr(CASE kind WHEN 0 THEN '0X987654321' ELSE '10X98765432' END, ({digits}) % 11 + 1, 1)
        AS resident_number,
    CASE kind WHEN 3 THEN '01' END AS document_type,
    NULL::VARCHAR AS document_number,
    'P' || lpad(person::VARCHAR, 9, '0') AS patient_number,
    '张' || chr(19968 + (p % 2000)::INTEGER) AS patient_name,
    CASE kind WHEN 2 THEN 1 + serial % 2 WHEN 12 THEN 7 ELSE 2 - serial % 2 END::VARCHAR AS sex,
    CASE kind WHEN 1 THEN born + 1 WHEN 17 THEN DATE '1880-01-01' ELSE born END::DATE AS birth_date,
    CASE kind WHEN 18 THEN 'L' ELSE 'L' || strftime(day, '%Y%m%d') END || lpad((i // 6)::VARCHAR, 8, '0')
        AS report_number,
    CASE kind WHEN 19 THEN greatest(item, 1) ELSE item + 1 END::BIGINT AS item_number,
    'O' || strftime(day, '%Y%m%d') || lpad((i // 12)::VARCHAR, 8, '0') AS visit_number,
    CASE kind WHEN 8 THEN TIMESTAMP '1930-01-01' WHEN 16 THEN TIMESTAMP '2027-06-01' ELSE moment END
        AS reported_at,
    CASE kind WHEN 9 THEN '2504X' ELSE
        ['250403005', '250403001', '250101015', '250306001', '250307002', '250101001'][item + 1]
    END AS item_code,
    ['丙氨酸氨基转移酶', '总蛋白', '白细胞计数', '钾', '肌酐', '血红蛋白'][item + 1] AS item_name,
    CASE kind WHEN 4 THEN NULL WHEN 15 THEN (found + 1)::VARCHAR ELSE found::VARCHAR END AS value_text,
    CASE kind WHEN 4 THEN NULL ELSE found END AS value_number,
    CASE kind WHEN 7 THEN NULL ELSE ['U/L', 'g/L', '10^9/L', 'mmol/L', 'umol/L', 'g/L'][item + 1] END AS unit,
    CASE kind WHEN 5 THEN 90 ELSE 9 END::DECIMAL(18, 6) AS reference_low,
    30::DECIMAL(18, 6) AS reference_high,
    CASE WHEN kind = 6 THEN CASE WHEN found > 20 THEN 'L' ELSE 'H' END WHEN kind = 13 THEN 'X'
        WHEN found > 30 THEN 'H' WHEN found < 9 THEN 'L' ELSE 'N' END AS flag
FROM known
"""


def benchmark_pack() -> tuple[Pack, Dataset, tuple[Rule, ...]]:
    """Return the built-in pack, its laboratory results, and the twenty rules of the benchmark, checked."""
    pack = load_pack()
    dataset = pack.dataset(DATASET)
    path = Path(str(resources.files(__package__ or __name__) / "quality_rules.toml"))
    parts = path.read_text("utf-8").split(_MARK)[1:]
    rules = tuple(read_rule(_MARK + part, dataset=dataset, path=path) for part in parts)
    for rule in rules:
        check_rule(pack, dataset=dataset, rule=rule)
    return pack, dataset, rules


def write_results(home: Path, *, rows: int) -> list[SegmentFile]:
    """Write so many laboratory results into the lake of `home`, in segments as of large files."""
    schema = lake_schema(load_pack().dataset(DATASET))
    lake_folder(home)
    digits = " + ".join(f"{weight} * digits[{place}]::INTEGER" for place, weight in enumerate(_WEIGHTS, 1))
    written: list[SegmentFile] = []
    with duckdb.connect() as engine:
        engine.execute("SET enable_progress_bar = false")
        for first in range(0, rows, _SEGMENT_ROWS):
            sql = _ROWS.format(first=first, last=min(first + _SEGMENT_ROWS, rows), digits=digits)
            with SegmentWriter(new_segment_path(home=home, dataset=DATASET), schema) as writer:
                for batch in engine.execute(sql).to_arrow_reader(_BATCH_ROWS):
                    writer.write(pa.Table.from_batches([batch]))
                written.append(writer.close())
    return written


def as_segments(home: Path, files: list[SegmentFile], *, dataset: str) -> list[Segment]:
    """Return what a manifest would say of these files, none of it superseded."""
    lake = lake_folder(home)
    return [
        Segment(
            id=number,
            run=1,
            dataset=dataset,
            path=str(file.path.relative_to(lake)),
            rows=file.rows,
            bytes=file.bytes,
            is_sorted=file.is_sorted,
            min_person=file.min_person,
            max_person=file.max_person,
            min_at=file.min_at,
            max_at=file.max_at,
            has_filter=file.filter is not None,
            dropped=(),
            shape=file.shape,
        )
        for number, file in enumerate(files, 1)
    ]
