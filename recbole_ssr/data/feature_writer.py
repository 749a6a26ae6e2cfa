"""One modality written row by row, for matrices that do not fit into memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.data.feature_files import check_tokens, feature_paths, non_finite
from recbole_ssr.errors import UserError


class FeatureWriter:
    """Writes ``<modality>.npy`` and ``.tokens``; a context manager that leaves both or neither.

    Rows come in any order by :meth:`write`, for tokens that are named as they come; memory is that
    of one block. The type on disk is float32. Messages name `source`, the file with the values,
    where there is one.

    Example: ``with FeatureWriter(folder, "image", 4096) as out: out.write(["a"], vectors)``
    """

    def __init__(self, folder: str | Path, modality: str, dim: int,
                 source: Path | None = None):
        self.npy, self.names = feature_paths(folder, modality)
        self._source = source or self.npy
        self.dim, self.tokens = dim, []
        unique = uuid.uuid4().hex
        self._new = [path.with_name(f".{path.name}.{unique}") for path in (self.npy, self.names)]

    def __enter__(self) -> FeatureWriter:
        self.npy.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._new[0], "wb")
        self._write_header(0)
        return self

    def write(self, tokens: Sequence[str], rows: np.ndarray) -> None:
        """Append `rows` (n, dim) of the items `tokens` (n).

        Raises UserError for another width, and for values that are no finite float32.
        """
        rows = np.asarray(rows)
        if rows.shape != (len(tokens), self.dim):
            raise UserError(
                f"{self._source}: got a block of shape {rows.shape} for {len(tokens)} items and "
                f"{self.dim} dimensions. Every item of a modality needs a vector of one width."
            )
        place = non_finite(rows)
        if place is not None:
            row, column = place
            raise UserError(
                f"{self._source}: item {tokens[row]!r} has {rows[row, column]} in column {column}, "
                "which is no finite float32. Correct its source, or leave the item out."
            )
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self.tokens.extend(str(token) for token in tokens)

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            for path in self._new:
                path.unlink(missing_ok=True)

    def _finish(self) -> None:
        check_tokens(self.tokens, len(self.tokens), self.npy, self.names)
        self._write_header(len(self.tokens))
        self._file.close()
        text = "".join(f"{token}\n" for token in self.tokens)
        self._new[1].write_bytes(text.encode("utf-8"))
        # As in write_features: never a new matrix beside old tokens.
        self.names.unlink(missing_ok=True)
        os.replace(self._new[0], self.npy)
        os.replace(self._new[1], self.names)

    def _write_header(self, n_rows: int) -> None:
        # numpy leaves room in the header for a first dimension of more digits.
        self._file.seek(0)
        shape = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, self.dim)}
        np.lib.format.write_array_header_1_0(self._file, shape)


def write_missing(folder: str | Path, modality: str, tokens: Sequence[str]) -> None:
    """List the items that a modality lacks in ``<modality>.missing``, one a line; none, no file."""
    path = feature_paths(folder, modality)[1].with_suffix(".missing")
    path.unlink(missing_ok=True)
    if tokens:
        path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
