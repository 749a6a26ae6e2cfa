"""The nearest of every node by a product of sparse matrices, without the whole product."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]


def nearest_by_product(left: sp.csr_matrix, right: sp.csr_matrix, k: int, block: int) -> Edges:
    """Return the k largest entries beside the diagonal of every row of left @ right, if not 0.

    Among equal entries the lower column comes first, so that the result does not depend on
    `block`, the rows at a time.

    Shapes: left (n, m); right (m, n); results (E,): row, column, entry, sorted by row, largest
    entry first.
    """
    blocks = []
    for start in range(0, left.shape[0], block):
        product = (left[start:start + block] @ right).tocoo()
        rows, cols, values = product.row + start, product.col, product.data
        other = rows != cols
        rows, cols, values = rows[other], cols[other], values[other]
        order = np.lexsort((cols, -values, rows))
        rows, cols, values = rows[order], cols[order], values[order]
        # Position of every entry in its row.
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left") < k
        blocks.append((rows[kept], cols[kept], values[kept]))
    return tuple(np.concatenate(part) for part in zip(*blocks))
