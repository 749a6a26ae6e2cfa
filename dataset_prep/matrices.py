"""Splits in the layout of MMSSL and DiffMM: trnMat.pkl, valMat.pkl and tstMat.pkl."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.mmrec import from_ids
from recbole_ssr.dataset_prep.unpickle import load_sparse
from recbole_ssr.errors import UserError

FILES = (("trnMat.pkl",), ("valMat.pkl",), ("tstMat.pkl",))


def read_matrices(files: tuple[Path | None, ...]) -> tuple[Interactions, int, list[str]]:
    """Read train, valid and test (None: no such part), each users x items.

    Returns interactions, the number of items that the matrices have a column for, and remarks.

    Every entry that is not zero is one interaction, whatever its value; entries of one place add
    up, as they do in every matrix. Order: train, valid, test, within each by user, then item.

    Raises UserError for files that :func:`load_sparse` refuses, and for matrices of unequal shapes.
    """
    notes, parts = [], []
    shape = None
    for path in files:
        if path is None:
            parts.append((np.empty(0, np.int64), np.empty(0, np.int64)))
            continue
        matrix = load_sparse(path)
        if shape is not None and matrix.shape != shape:
            raise UserError(f"{path} is {matrix.shape[0]:,} x {matrix.shape[1]:,}, but "
                            f"{files[0].name} is {shape[0]:,} x {shape[1]:,}. All three need the "
                            "same users and items: are they of one dataset?")
        shape, stored = matrix.shape, matrix.nnz
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        if matrix.nnz < stored:
            notes.append(f"{path.name}: {stored - matrix.nnz:,} of {stored:,} entries are zero, or "
                         "in the place of another, and count as none")
        order = np.lexsort((matrix.col, matrix.row))
        parts.append((matrix.row[order], matrix.col[order]))
    users, items = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    labels = np.repeat(np.arange(3, dtype=np.int8), [len(part[0]) for part in parts])
    return from_ids(users, items, labels=labels), shape[1], notes
