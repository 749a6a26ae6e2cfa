"""Whether two files of features were made alike: by the rows of the items that both have."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Rows of one encoder differ by rounding and by its batches, at most some 1e-3 in half precision;
# those of two encoders, or of TF-IDF of two corpora, have cosines around zero.
_ALIKE = 0.99
_SAMPLE = 1000


def check_same_encoder(known: np.ndarray, rows: np.ndarray, new: np.ndarray,
                       new_rows: Sequence[int], npy: Path) -> None:
    """Raise UserError where the rows of the same items differ: half have a cosine below .99.

    Rows of zeros say nothing, and an item whose content changed does not count against the others.
    Where there is nothing to compare, the log says so.

    Shapes: known (n, dim), new (m, dim), matrices as stored; rows, new_rows (k,) of the items that
    both have. `npy` is the file of the new ones.
    """
    step = max(1, -(-len(rows) // _SAMPLE))
    a, b = (matrix[np.asarray(places[::step], dtype=np.int64)].astype(np.float64)
            for matrix, places in ((known, rows), (new, new_rows)))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1)[norms > 0] / norms[norms > 0]
    modality = npy.stem
    if not len(cosines):
        logger.info("%s: no item that the run knows, so that nothing tells whether the encoder of "
                    "the run's %s features made these; that is not checked", npy, modality)
        return
    median = float(np.median(cosines))
    if median < _ALIKE:
        raise UserError(
            f"{npy} was made by another encoder than the {modality} features of the run, or by one "
            f"that was fitted to other texts: of the {len(cosines):,} known items in it the median "
            f"cosine with the run's own rows is {median:.2f}, not 1. Encode new items as the "
            "others were, for instance by recbole-ssr prepare --like=DATASET --items=FILE "
            "--out=FOLDER; where the known ones themselves have changed, leave them out of the "
            "file."
        )
