"""Item similarity graphs from features: blockwise k nearest neighbours, no I x I matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor


def knn(features: Tensor, present: Tensor, k: int, block: int = 1024) -> Tensor:
    """Return the k items most similar by cosine, each item itself among them.

    Only items with features are neighbours or have any. Memory is block x I, never I x I.

    Shapes: features (I, F); present (I,) bool; result (n_present, min(k, n_present)) item ids,
    one row per present item in ascending order, most similar first.
    """
    ids = present.nonzero().squeeze(1)
    unit = F.normalize(features[ids], dim=1)
    k = min(k, len(ids))
    neighbours = [ids[(rows @ unit.T).topk(k, dim=1).indices] for rows in unit.split(block)]
    return torch.cat(neighbours) if neighbours else ids.new_zeros(0, k)


class ItemGraph(Constants):
    r"""Convex combination of one kNN graph per modality.

    .. math:: T = \sum_c \alpha_c T^{(c)}, \qquad
        T^{(c)}_{ij} = 1/k \text{ where } j \text{ is among the } k \text{ nearest of } i

    Each :math:`T^{(c)}` is directed and normalised by row degrees on both sides, which for k
    neighbours everywhere is 1/k. An item without features in c keeps itself: its row is the
    identity's, so that :math:`T^{(c)}` neither invents nor loses signal.

    Shapes: neighbours[c] (n_present, k); present[c] (I,) bool; weights[c] float; T is I x I.
    """

    def __init__(self, neighbours: list[Tensor], present: list[Tensor], weights: list[float]):
        n_items = len(present[0])
        rows, cols, values = [], [], []
        for near, here, weight in zip(neighbours, present, weights):
            ids, absent = here.nonzero().squeeze(1), (~here).nonzero().squeeze(1)
            k = near.shape[1]
            rows += [ids.repeat_interleave(k), absent]
            cols += [near.reshape(-1), absent]
            values += [torch.full((near.numel(),), weight / max(k, 1)),
                       torch.full((len(absent),), weight)]
        row, col, value = torch.cat(rows), torch.cat(cols), torch.cat(values)
        super().__init__(
            T=csr_tensor(row, col, value, (n_items, n_items)),
            Tt=csr_tensor(col, row, value, (n_items, n_items)),
        )
