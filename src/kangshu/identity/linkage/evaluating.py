"""Link any table of persons and compare with the truth, which the linking never sees.

What the columns tell is guessed. A table with names in Chinese characters is linked with the model of the
product, any other with a model that learns from the table itself; thresholds are the same for all.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity.linkage.batch import Linkage, link_table
from kangshu.identity.linkage.declared import default_model
from kangshu.identity.linkage.documents import say
from kangshu.identity.linkage.errors import TableUnusableError
from kangshu.identity.linkage.generic import prepare_generic
from kangshu.identity.linkage.model import LinkageModel
from kangshu.identity.linkage.profiles import TABLE_COLUMNS, prepare
from kangshu.identity.linkage.roles import ColumnRole, Role, guess_roles, record_column
from kangshu.identity.linkage.trainers import train

_NOBODY = ("", "-1")  # in a truth column: the row is of a person who is there once
_HANZI = r"[\x{3400}-\x{9fff}]"
_REGISTRATION = {
    Role.NAME: "name",
    Role.SEX: "sex",
    Role.BIRTH_DATE: "birth_date",
    Role.RESIDENT_NUMBER: "resident_number",
    Role.DOCUMENT_TYPE: "document_type",
    Role.NUMBER: "document_number",
    Role.PHONE: "phone",
    Role.ADDRESS: "address",
    Role.INSTITUTION: "institution",
    Role.LOCAL_NUMBER: "local_number",
}


@dataclass(frozen=True, kw_only=True)
class PersonTable:
    """A table of persons made comparable, and the model to compare it with."""

    profiles: pa.Table
    model: LinkageModel
    roles: tuple[ColumnRole, ...]
    chinese: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a linkage meets the truth, in pairs of records after clustering."""

    pairs_true: int
    pairs_found: int
    pairs_right: int
    records: int
    clusters: int
    clusters_mixed: int | None
    """Clusters that hold two persons; None where the truth is told in pairs."""

    @property
    def precision(self) -> float:
        """The share of found pairs that are right; 1 where none is found."""
        return self.pairs_right / self.pairs_found if self.pairs_found else 1.0

    @property
    def recall(self) -> float:
        """The share of true pairs that are found; 1 where there is none."""
        return self.pairs_right / self.pairs_true if self.pairs_true else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        said = self.pairs_found + self.pairs_true
        return 2 * self.pairs_right / said if said else 1.0


def read_table(path: Path) -> pa.Table:
    """Return the CSV (UTF-8 or GB 18030) or Parquet file, every cell a text, empty ones null.

    Raises:
        TableUnusableError: it is no such file, or it has no row.
        OSError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="kangshu-table-") as folder:
        source, told = path, "read_parquet(?)"
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if not parquet:
            told = "read_csv(?, all_varchar=true, header=true, null_padding=true, strict_mode=false)"
            source = _as_utf8(path, Path(folder))
        try:
            with duckdb.connect(":memory:") as engine:
                found = engine.execute(
                    f"SELECT nullif(trim(COLUMNS(*)::VARCHAR), '') FROM {told}", [str(source)]
                ).to_arrow_table()
        except duckdb.Error:
            raise TableUnusableError(say("table_unreadable")) from None
    if not found.num_rows:
        raise TableUnusableError(say("table_empty"))
    return found


def _as_utf8(path: Path, folder: Path) -> Path:
    data = path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        copy = folder / "table.csv"
        copy.write_text(data.decode("gb18030", errors="replace"), encoding="utf-8")
        return copy
    return path


def prepare_table(table: pa.Table, *, truth: Sequence[str] = ()) -> PersonTable:
    """Return the table (all texts) ready to be linked; the `truth` columns are not looked at.

    The profiles' `record` is the number of the row.

    Raises:
        TableUnusableError: no column tells anything by which persons could be compared.
    """
    roles = guess_roles(table, truth=truth)
    if _is_chinese(table, roles):
        return PersonTable(
            profiles=prepare(_registrations(table, roles)), model=default_model(), roles=roles, chinese=True
        )
    made = prepare_generic(table, roles=roles)
    return PersonTable(profiles=made.profiles, model=made.model, roles=roles, chinese=False)


def link_persons(
    table: PersonTable, *, threads: int = 2, memory_limit: str = "1GiB", seed: int = 0
) -> Linkage:
    """Link the table, with the model of the product or, where it is not Chinese, one that learns from it."""
    model = table.model
    if not table.chinese:
        model = train(model, profiles=table.profiles, seed=seed, threads=threads, memory_limit=memory_limit)
    return link_table(model, profiles=table.profiles, threads=threads, memory_limit=memory_limit)


def _is_chinese(table: pa.Table, roles: Sequence[ColumnRole]) -> bool:
    for role in roles:
        if role.role in (Role.NAME, Role.GIVEN_NAME, Role.SURNAME):
            told = pc.drop_null(table[role.column].slice(0, 10_000))
            if len(told) and pc.mean(pc.match_substring_regex(told, _HANZI)).as_py() > 0.3:
                return True
    return False


def _registrations(table: pa.Table, roles: Sequence[ColumnRole]) -> pa.Table:
    """Return the columns of registrations; of two columns of one role the first counts."""
    columns: dict[str, pa.Array | pa.ChunkedArray | np.ndarray] = {"record": np.arange(table.num_rows)}
    for role in roles:
        name = _REGISTRATION.get(role.role)
        if name is not None and name not in columns:
            columns[name] = table[role.column]
    parts = {role.role: table[role.column] for role in reversed(roles)}
    if "name" not in columns and Role.SURNAME in parts and Role.GIVEN_NAME in parts:
        columns["name"] = pc.binary_join_element_wise(
            parts[Role.SURNAME], parts[Role.GIVEN_NAME], "", null_handling="skip"
        )
    missing = pa.nulls(table.num_rows, pa.string())
    return pa.table({name: columns.get(name, missing) for name in ("record", *TABLE_COLUMNS)})


def evaluate_column(clusters: pa.Table, truth: pa.ChunkedArray) -> Evaluation:
    """Compare the clusters of `link_persons` with a column that names each row's true person.

    A row without a name, or with -1, is of a person who is there once.
    """
    names = truth.to_pylist()
    person = np.unique(
        np.array([name if name and name not in _NOBODY else f"\0{row}" for row, name in enumerate(names)]),
        return_inverse=True,
    )[1]
    cluster = _clusters(clusters)
    both = np.unique(cluster * (int(person.max(initial=0)) + 1) + person, return_inverse=True)[1]
    persons_in = np.bincount(cluster[np.unique(both, return_index=True)[1]])
    return Evaluation(
        pairs_true=_pairs(person),
        pairs_found=_pairs(cluster),
        pairs_right=_pairs(both),
        records=len(cluster),
        clusters=len(np.unique(cluster)),
        clusters_mixed=int((persons_in > 1).sum()),
    )


def evaluate_pairs(clusters: pa.Table, records: pa.ChunkedArray, pairs: pa.Table) -> Evaluation:
    """Compare the clusters with true pairs: `pairs` names two values of `records` in its first two columns.

    Pairs of records that the table does not hold count as not found.
    """
    row = {name: place for place, name in reversed(list(enumerate(records.to_pylist())))}
    cluster = _clusters(clusters)
    true: set[tuple[str, str]] = set()
    right = 0
    for one, other in zip(pairs.column(0).to_pylist(), pairs.column(1).to_pylist(), strict=True):
        if (
            one is None
            or other is None
            or one == other
            or (pair := (min(one, other), max(one, other))) in true
        ):
            continue
        true.add(pair)
        right += one in row and other in row and cluster[row[one]] == cluster[row[other]]
    return Evaluation(
        pairs_true=len(true),
        pairs_found=_pairs(cluster),
        pairs_right=int(right),
        records=len(cluster),
        clusters=len(np.unique(cluster)),
        clusters_mixed=None,
    )


def record_names(table: pa.Table, *, truth: Sequence[str] = ()) -> pa.ChunkedArray:
    """Return the column that names the rows of the table."""
    return table[record_column(table, truth=truth)]


def _clusters(clusters: pa.Table) -> npt.NDArray[np.int64]:
    told = clusters.sort_by("record")["cluster"].to_numpy()
    return np.unique(told, return_inverse=True)[1].astype(np.int64)


def _pairs(groups: npt.NDArray[np.int64]) -> int:
    sizes = np.unique(groups, return_counts=True)[1].astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())
