"""Ready vectors of items in a user's own files."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.data.feature_files import check_finite, check_tokens, open_matrix, read_tokens
from recbole_ssr.dataset_prep.table_columns import choose_column
from recbole_ssr.dataset_prep.table_rows import (
    SUFFIXES,
    Table,
    open_parquet,
    open_table,
    suffix_of,
)
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Types as pyarrow writes them.
_NUMBERS = re.compile(r"u?int\d+|halffloat|float|double")
# How pandas writes the index of a data frame, and what it calls such a column when it reads it.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
_LISTS = re.compile(rf"(large_list|list|fixed_size_list)<\w+: ({_NUMBERS.pattern})( not null)?>")


def read_vectors(path: str | Path, tokens: Sequence[str] | None = None,
                 item: Sequence[str | None] = ()) -> tuple[list[str], np.ndarray]:
    """Return the tokens (n) and the matrix (n, dim) of ready vectors; a .npy stays on disk.

    Files:
        .npy: a matrix of numbers; row r belongs to line r of the .tokens file beside it or, where
            there is none, to `tokens`, the items of the item table in their order.
        Parquet: an item column, and numeric columns or one column of lists.
        CSV, TSV, JSON lines: an item column, and columns of numbers or one column with all numbers
            of a vector, in brackets or not, between blanks or commas.

    The item column is the first of `item` that the file has, else one of a usual name. A data
    frame's index that was written as a column is left out.

    Raises UserError for vectors of several widths, values that are no finite float32, repeated or
    blank items, and rows that belong to no item.
    """
    path = Path(path)
    if suffix_of(path) == ".npy":
        names, matrix, named_in = _from_npy(path, tokens)
    elif suffix_of(path) in (".parquet", ".pq"):
        names, matrix, named_in = *_from_parquet(path, item), path
    elif suffix_of(path) not in SUFFIXES:
        raise UserError(_other_format(path))
    else:
        names, matrix, named_in = *_from_table(open_table(path), item), path
    check_tokens(names, len(matrix), path, named_in)
    check_finite(matrix, names, path)
    return names, matrix


def _other_format(path: Path) -> str:
    """Say what is wrong with vectors of no known suffix, and how they become a matrix."""
    if not path.exists():
        return f"{path} does not exist. Correct its path in --vectors."
    target, suffix = f"{path.stem}.npy", suffix_of(path)
    if path.is_dir():
        problem, remedy = "is a folder", (
            f"Stack its files: numpy.save('{target}', numpy.stack([numpy.load(file) for file in "
            f"files])), with the item of each in {path.stem}.tokens")
    else:
        problem, remedy = f"has the suffix {suffix!r}", {
            ".npz": f"Take its matrix out: numpy.save('{target}', numpy.load('{path.name}')[KEY])",
            ".pt": f"Convert it: numpy.save('{target}', torch.load('{path.name}').numpy())",
        }.get(suffix.replace("pth", "pt"), "Save it as one of these")
    return (f"{path} {problem}. Vectors are a matrix in a .npy, a row per item, whose .tokens file "
            "beside it names the item of each row, one per line, or a table, .csv, .tsv, .jsonl "
            f"(each also .gz) or .parquet. {remedy}.")


def _from_npy(path: Path, tokens: Sequence[str] | None) -> tuple[list[str], np.ndarray, Path]:
    if not path.is_file():
        raise UserError(f"{path} does not exist. Correct its path in --vectors.")
    matrix = open_matrix(path)
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise UserError(f"{path} has the shape {matrix.shape} and the type {matrix.dtype}. Save "
                        "items x features, numbers.")
    beside = path.with_suffix(".tokens")
    if beside.is_file():
        return read_tokens(beside), matrix, beside
    if tokens is None:
        raise UserError(f"{path} does not say which item a row belongs to. Write {beside} with the "
                        "item of each row, one per line, or give --items in the order of the rows.")
    if len(tokens) != len(matrix):
        raise UserError(f"{path} has {len(matrix):,} rows, but the item table {len(tokens):,} "
                        f"items. Rows must be in the order of the items, or named in {beside}.")
    return list(tokens), matrix, path


def _from_parquet(path: Path, item: Sequence[str | None]) -> tuple[list[str], np.ndarray]:
    table = open_table(path)
    item, others = _columns(table, item)
    names = [values[0] for _, values in table.rows([item])]
    with open_parquet(path) as file:
        columns = file.read(columns=others).columns
    kinds = [str(column.type) for column in columns]
    if len(others) == 1 and _LISTS.match(kinds[0]):
        return names, _from_lists(path, names, columns[0].combine_chunks())
    for name, kind in zip(others, kinds):
        if not _NUMBERS.fullmatch(kind):
            raise UserError(f"{path}: the column {name!r} holds {kind}, no numbers. Leave only "
                            f"{item!r} and the columns of the vector, or one column of lists.")
    return names, np.column_stack([column.to_numpy() for column in columns]).astype(np.float32)


def _from_lists(path: Path, names: list[str], lists) -> np.ndarray:
    """Return (n, dim) float32 of a pyarrow array of n lists."""
    from pyarrow.compute import list_value_length

    _check_widths(path, names, [width or 0 for width in list_value_length(lists).to_pylist()])
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32).reshape(len(names), -1)


def _from_table(table: Table, item: Sequence[str | None]) -> tuple[list[str], np.ndarray]:
    item, others = _columns(table, item)
    names, rows = [], []
    for number, (name, *values) in table.rows([item, *others], null="nan"):
        if len(others) == 1:
            # Nothing between two commas is no number, and the others do not move up.
            values = re.split(r"\s*,\s*|\s+", values[0].strip("[]() "))
        try:
            rows.append(np.array(values, dtype=np.float32))
        except ValueError as error:
            raise UserError(
                f"{table.path}, {table.unit} {number}: the vector of item {name!r} is no list of "
                f"numbers ({error}). Leave only {item!r} and the columns of the vector."
            ) from error
        names.append(name)
    _check_widths(table.path, names, [len(row) for row in rows])
    return names, np.stack(rows)


def is_index(column: str) -> bool:
    """Tell whether a column is a data frame's index that was written as one."""
    return bool(_INDEX.fullmatch(column))


def _columns(table: Table, named: Sequence[str | None]) -> tuple[str, list[str]]:
    """Return the item column and those of the vector, of which there is at least one."""
    named = next((name for name in named if name in table.columns), None)
    item = choose_column(table, "item", named, also=("id",), flag="--items_key")
    others = [name for name in table.columns if name != item and not is_index(name)]
    if left_out := [name for name in table.columns if is_index(name)]:
        logger.info("%s: the column %r is a data frame's index, and no part of the vectors",
                    table.path, left_out[0])
    if not others:
        raise UserError(f"{table.path} has no columns beside {item!r}. Add those of the vector.")
    return item, others


def _check_widths(path: Path, names: Sequence[str], widths: Sequence[int]) -> None:
    if not widths:
        raise UserError(f"{path} has a header but no rows. Give one vector per item.")
    for name, width in zip(names, widths):
        if width != widths[0] or not width:
            raise UserError(f"{path}: the vector of item {name!r} has {width} numbers, that of "
                            f"{names[0]!r} {widths[0]}. All need one width, above zero.")
