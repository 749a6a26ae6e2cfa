"""Item similarity graphs from features: blockwise k nearest neighbours, no I x I matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor

_ROWS_AT_ONCE = 1024
_SMALLEST_SUM = 1e-12  # a row of similarities that sums to less counts as empty


def knn(features: Tensor, present: Tensor, k: int, block: int = 1024,
        n_known: int | None = None) -> Tensor:
    """Return the k items most similar by cosine, each item itself among them.

    Only items with features are neighbours or have any. Items from `n_known` on are new: each is
    its own neighbour and nobody else's. Memory is block x I, never I x I.

    Shapes: features (I, F); present (I,) bool; result (n_present, min(k, n_present)) item ids,
    one row per present item in ascending order, most similar first.

    >>> features = torch.tensor([[1.0, 0], [0, 1], [0.9, 0.1]])
    >>> knn(features, torch.tensor([True, True, True]), k=2)[0]
    tensor([0, 2])
    """
    ids = present.nonzero().squeeze(1)
    unit = _unit_copy(features, ids)
    first_new = len(ids) if n_known is None else int((ids < n_known).sum())
    k, places = min(k, max(first_new, 1), len(ids)), torch.arange(len(ids), device=ids.device)
    neighbours = []
    for rows, here in zip(unit.split(block), places.split(block)):
        cosine = rows @ unit.T
        if first_new < len(ids):
            cosine[:, first_new:] = -torch.inf
        cosine[places[:len(here)], here] = torch.inf  # others may be as near, by the dozen
        neighbours.append(ids[cosine.topk(k, dim=1).indices])
    return torch.cat(neighbours) if neighbours else ids.new_zeros(0, k)


def _unit_copy(features: Tensor, ids: Tensor) -> Tensor:
    """Return some rows over their norms, in one copy. Shapes: ids (n,); result (n, F)."""
    unit = features[ids]
    return unit.div_(torch.linalg.vector_norm(unit, dim=1, keepdim=True).clamp_(min=1e-12))


def similarities(features: Tensor, present: Tensor, neighbours: Tensor) -> Tensor:
    """Return the cosines of items and their neighbours, as :func:`knn` returned them.

    Shapes: features (I, F); present (I,) bool; neighbours and result (n_present, k).
    """
    unit = F.normalize(features, dim=1)
    ids = present.nonzero().squeeze(1)
    # In place: what a block returned would keep the memory of all that it gathered.
    cosines = features.new_empty(neighbours.shape)
    for out, rows, near in zip(*(x.split(_ROWS_AT_ONCE) for x in (cosines, ids, neighbours))):
        out.copy_(torch.einsum("nf,nkf->nk", unit[rows], unit[near]))
    return cosines


class ItemGraph(Constants):
    r"""Convex combination of one kNN graph per modality.

    .. math:: T = \sum_c \alpha_c T^{(c)}

    Each :math:`T^{(c)}` is directed and normalised by row sums on both sides. Without similarities
    its entries are equal, 1/k for each of the k nearest of i. With them, s_ij being the cosines and
    r their sums over a row, :math:`T^{(c)}_{ij} = s_{ij} / \sqrt{r_i r_j}`; a row whose sum is not
    positive is empty. An item without features in c keeps itself: its row is the identity's, so
    that :math:`T^{(c)}` neither invents nor loses signal.

    Shapes: neighbours[c] and similarities[c] (n_present, k); present[c] (I,) bool; weights[c]
    float; T is I x I.
    """

    def __init__(self, neighbours: list[Tensor], present: list[Tensor], weights: list[float],
                 similarities: list[Tensor] | None = None):
        n_items = len(present[0])
        rows, cols, values = [], [], []
        for c, (near, here, weight) in enumerate(zip(neighbours, present, weights)):
            ids, absent = here.nonzero().squeeze(1), (~here).nonzero().squeeze(1)
            row, col = ids.repeat_interleave(near.shape[1]), near.reshape(-1)
            if similarities is None:
                value = torch.full((near.numel(),), 1 / max(near.shape[1], 1))
            else:
                value = normalised(row, col, similarities[c].reshape(-1), n_items)
            rows += [row, absent]
            cols += [col, absent]
            values += [weight * value, torch.full((len(absent),), weight)]
        row, col, value = torch.cat(rows), torch.cat(cols), torch.cat(values)
        super().__init__(
            T=csr_tensor(row, col, value, (n_items, n_items)),
            Tt=csr_tensor(col, row, value, (n_items, n_items)),
        )


def normalised(row: Tensor, col: Tensor, similarity: Tensor, n: int) -> Tensor:
    r"""Return :math:`s_{ij} / \sqrt{r_i r_j}`, r being row sums; a row without a sum is empty.

    It is differentiable in the similarities. Shapes: all (E,).
    """
    total = similarity.new_zeros(n).index_add(0, row, similarity)
    root = torch.where(total > 0, total.clamp(min=_SMALLEST_SUM).rsqrt(), 0.0)
    return similarity * root.index_select(0, row) * root.index_select(0, col)
