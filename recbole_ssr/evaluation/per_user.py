"""Ranking metrics of single users, from what the collector keeps of a full ranking."""

from __future__ import annotations

import torch
from torch import Tensor


def recall_and_ndcg(topk: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return Recall@k and NDCG@k of every user; their means are RecBole's metrics.

    Shapes: topk (users, K + 1) as ``rec.topk``: 1 where a ranked item is relevant, then the number
    of relevant items; k <= K; results (users,), float64, nan without relevant items.
    """
    hits, positives = topk[:, :k].double(), topk[:, -1].double()
    discount = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])[topk[:, -1].clamp(max=k)]
    return hits.sum(1) / positives, hits @ discount / ideal
