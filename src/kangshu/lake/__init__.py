"""The lake (数据湖): every accepted row of every data set, in Parquet, under a manifest in PostgreSQL.

A sender's file comes in whole with the caller's transaction or not at all, and a later file can take its
place. Rows are found by person in milliseconds and counted by DuckDB in bulk. What the manifest does
not name does not exist. The lake does not ask who reads: callers hold a grant.
"""

from kangshu.lake.engine import Engine
from kangshu.lake.errors import (
    CompactionLostError,
    EngineMissingError,
    FileCommittedError,
    FileNotLiveError,
    LakeError,
    LakeFullError,
    QueryFailedError,
    QueryRefusedError,
    QueryStoppedError,
    SegmentLostError,
)
from kangshu.lake.folder import lake_folder, new_segment_path
from kangshu.lake.model import (
    FIRST_MESSAGE_FILE,
    Compaction,
    FileSource,
    FileState,
    LakeFile,
    PersonRow,
    PersonRows,
    RowKey,
    Segment,
    SegmentFile,
    StagedRow,
    Staging,
    Sweep,
)
from kangshu.lake.operations import (
    commit_file,
    compact,
    delete_retired,
    discard_segments,
    supersede_file,
    sweep_orphans,
)
from kangshu.lake.queries import (
    count_message_rows,
    count_rows,
    institutions_of,
    list_files,
    live_segments,
    person_rows,
)
from kangshu.lake.querying import LakeEngine
from kangshu.lake.sampling import build_sample_lake
from kangshu.lake.schema import SYSTEM_COLUMNS, lake_schema
from kangshu.lake.spark import SparkEngine, open_spark
from kangshu.lake.staging import flush_staged, stage_rows, staging
from kangshu.lake.writing import SegmentWriter

__all__ = [
    "FIRST_MESSAGE_FILE",
    "SYSTEM_COLUMNS",
    "Compaction",
    "CompactionLostError",
    "Engine",
    "EngineMissingError",
    "FileCommittedError",
    "FileNotLiveError",
    "FileSource",
    "FileState",
    "LakeEngine",
    "LakeError",
    "LakeFile",
    "LakeFullError",
    "PersonRow",
    "PersonRows",
    "QueryFailedError",
    "QueryRefusedError",
    "QueryStoppedError",
    "RowKey",
    "Segment",
    "SegmentFile",
    "SegmentLostError",
    "SegmentWriter",
    "SparkEngine",
    "StagedRow",
    "Staging",
    "Sweep",
    "build_sample_lake",
    "commit_file",
    "compact",
    "count_message_rows",
    "count_rows",
    "delete_retired",
    "discard_segments",
    "flush_staged",
    "institutions_of",
    "lake_folder",
    "lake_schema",
    "list_files",
    "live_segments",
    "new_segment_path",
    "open_spark",
    "person_rows",
    "stage_rows",
    "staging",
    "supersede_file",
    "sweep_orphans",
]
