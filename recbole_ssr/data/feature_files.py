"""The two files of one modality: their names, contents and what must hold of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recbole_ssr.errors import UserError

# Working set of one pass over a matrix: far below a matrix worth mapping, above call overhead.
_BLOCK_BYTES = 16 * 2**20
# Models call the item's own embedding "id", beside the modalities.
_RESERVED = "id"


def feature_paths(folder, modality: str) -> tuple[Path, Path]:
    """Return the .npy and .tokens files of a modality; UserError if its name cannot be a file's."""
    if not isinstance(modality, str) or not re.fullmatch(r"\w[\w.\-]*", modality):
        raise UserError(
            f"The modality name {modality!r} is no file name. Use letters, digits, '_', '-', '.'."
        )
    if modality == _RESERVED:
        raise UserError(
            f"The modality name {modality!r} in {folder} is reserved for the embedding of item "
            "ids. Rename its .npy and .tokens files."
        )
    return Path(folder, f"{modality}.npy"), Path(folder, f"{modality}.tokens")


def open_matrix(npy: Path) -> np.ndarray:
    """Map a matrix; UserError for a file that is none, or holds Python objects."""
    try:
        check_sizes(npy)
        return np.lib.format.open_memmap(npy, mode="r")
    # numpy parses the header as Python: a damaged one raises whatever Python's own parser does.
    except Exception as error:
        raise UserError(
            f"{npy} is no readable matrix ({error}). It may be cut off, hold Python objects or be "
            "another format: write it again with numpy.save from a floating point array."
        ) from error


def check_sizes(npy: str | Path) -> None:
    """Raise ValueError for a shape that no array has, which numpy would take: True, -1.

    Further what numpy raises for a file that is no .npy.
    """
    with open(npy, "rb") as file:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in the names of fields only, which no matrix has.
        read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                else np.lib.format.read_array_header_2_0)
        shape = read(file)[0]
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"its header has the shape {shape}")


def read_tokens(names: Path) -> list[str]:
    """Return one token per line; UserError for another encoding than UTF-8."""
    try:
        # Some editors start a UTF-8 file with a byte order mark, which is no part of a token.
        text = names.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{names} is not UTF-8 ({error}). Save it as UTF-8.") from error
    # str.splitlines would also split at characters that may stand inside a token.
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def check_shape(matrix: np.ndarray, npy: Path) -> None:
    """Raise UserError unless the matrix is (n_rows, dim), dim > 0, of a floating point type."""
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize > 8:
        raise UserError(f"{npy} has the type {matrix.dtype}. Save float16, float32 or float64.")
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise UserError(f"{npy} has the shape {matrix.shape}. Save items x features, none empty.")


def check_tokens(tokens: list[str], n_rows: int, npy: Path, names: Path) -> None:
    """Raise UserError unless there is one distinct, printable token per row."""
    if len(tokens) != n_rows:
        raise UserError(
            f"{names} has {len(tokens):,} tokens, but {npy.name} has {n_rows:,} rows. Write one "
            "token per row, in the order of the rows."
        )
    row_of: dict[str, int] = {}
    for row, token in enumerate(tokens):
        if not token.strip() or "\n" in token or "\r" in token:
            raise UserError(
                f"{names}: the token {token!r} of row {row} is blank or broken over lines. Name "
                "the item of that row in one line."
            )
        if row_of.setdefault(token, row) != row:
            raise UserError(
                f"{names}: rows {row_of[token]} and {row} both have the token {token!r}. Keep one "
                f"row per item, here and in {npy.name}."
            )


def non_finite(rows: np.ndarray) -> tuple[int, int] | None:
    """Return row and column of the first value that is no finite float32, as models receive it."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(rows.astype(np.float32))
    return None if finite.all() else tuple(np.argwhere(~finite)[0].tolist())


def check_finite(matrix: np.ndarray, tokens: list[str], npy: Path) -> None:
    """Raise UserError, with row, item and column, for a value that is no finite float32."""
    for block in row_blocks(*matrix.shape):
        place = non_finite(matrix[block])
        if place is not None:
            row, column = block.start + place[0], place[1]
            raise UserError(
                f"{npy}: row {row} (item {tokens[row]!r}) has {matrix[row, column]} in column "
                f"{column}, which is no finite float32. Correct the row, or leave the item out of "
                "both files and choose a feature_fill."
            )


def zero_rows(matrix: np.ndarray) -> np.ndarray:
    """Return which rows are all zeros, none of a single column, where 0 is a value (n_rows,)."""
    zero = np.zeros(len(matrix), dtype=bool)
    if matrix.shape[1] > 1:
        for block in row_blocks(*matrix.shape):
            zero[block] = ~matrix[block].any(axis=1)
    return zero


def row_blocks(n_rows: int, dim: int) -> Iterator[slice]:
    """Yield slices over `n_rows` whose float64 rows fit _BLOCK_BYTES."""
    step = max(1, _BLOCK_BYTES // (8 * dim))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def digest_of(*files: Path) -> str:
    """Return the sha256 (hex) over the contents of `files`, read in blocks."""
    total = hashlib.sha256()
    for path in files:
        try:
            with open(path, "rb") as file:
                total.update(f"{path.name} {os.stat(path).st_size}\n".encode())
                while chunk := file.read(_BLOCK_BYTES):
                    total.update(chunk)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error}). Restore the file.") from error
    return total.hexdigest()
