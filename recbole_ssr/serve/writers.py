"""Recommendations written as they come, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.files import expanded, in_one_step

FORMATS = (".csv", ".jsonl", ".parquet")


def check_format(path: str | bool) -> Path:
    """Return the path of a file to write. Raises UserError where its suffix is of no format."""
    if path is True:
        raise UserError("--out needs a file: --out=recommendations.csv, .jsonl or .parquet")
    path = expanded(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path} ends in none of {', '.join(FORMATS)}."
                        f"{nearest(path.suffix, FORMATS)}")
    return path


def write_blocks(blocks: Iterable[pd.DataFrame], path: str | Path) -> int:
    """Write tables of the same columns one after the other and return the number of rows.

    The suffix says how: .csv, .jsonl (one row a line) or .parquet (one row group a block). The
    file is complete or not there at all. Raises UserError for another suffix.
    """
    path = check_format(path)
    writers = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}
    with in_one_step(path, "Name another file with --out=FILE") as draft:
        return writers[path.suffix](blocks, draft)


def _write_csv(blocks: Iterable[pd.DataFrame], path: Path) -> int:
    with open(path, "w", newline="", encoding="utf-8") as file:
        return _each(blocks, lambda block, first: block.to_csv(file, index=False, header=first))


def _write_json_lines(blocks: Iterable[pd.DataFrame], path: Path) -> int:
    def write(block: pd.DataFrame, first: bool) -> None:  # noqa: ARG001
        block.to_json(file, orient="records", lines=True, force_ascii=False,
                      double_precision=15)

    with open(path, "w", encoding="utf-8") as file:
        return _each(blocks, write)


def _write_parquet(blocks: Iterable[pd.DataFrame], path: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("a .parquet file needs pyarrow: pip install \"recbole_ssr[report]\", or "
                        "write .csv or .jsonl") from None
    writer = None

    def write(block: pd.DataFrame, first: bool) -> None:  # noqa: ARG001
        nonlocal writer
        table = pa.Table.from_pandas(block, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        return _each(blocks, write)
    finally:
        if writer is not None:
            writer.close()


def _each(blocks: Iterable[pd.DataFrame], write: Callable[[pd.DataFrame, bool], object]) -> int:
    rows = 0
    for number, block in enumerate(blocks):
        write(block, number == 0)
        rows += len(block)
    return rows
