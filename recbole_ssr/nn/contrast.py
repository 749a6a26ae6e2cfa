"""InfoNCE between two views of the same nodes, without the matrix of similarities."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.softmax import log_denominators


def info_nce(
    anchor: Tensor, positive: Tensor, temperature: float, weight: Tensor | None = None
) -> Tensor:
    r"""InfoNCE on cosines; the other rows of `positive` are the negatives.

    .. math:: -\frac{1}{B} \sum_b \log \frac{\exp(\cos(a_b, p_b) / \tau)}
        {\sum_{b'} \exp(\cos(a_b, p_{b'}) / \tau)}

    van den Oord et al., Representation learning with contrastive predictive coding (2018).

    A sum weighted by `weight` where it is given; a row of weight 0 has no part, as a negative
    neither.

    Shapes: anchor, positive (B, D); weight (B,); result ().

    >>> info_nce(torch.eye(2), torch.eye(2), temperature=0.01)
    tensor(0.)
    """
    places = torch.arange(len(anchor), device=anchor.device)
    among = None if weight is None else weight > 0
    return info_nce_among(anchor, positive, places, temperature, weight, among)


def info_nce_among(
    anchor: Tensor, candidates: Tensor, places: Tensor, temperature: float,
    weight: Tensor | None = None, among: Tensor | None = None,
) -> Tensor:
    """The same where each anchor's positive is one of many candidates.

    A sum weighted by `weight` where it is given, so that one row may stand for many, else the mean.
    `among` tells which candidates there are; all where it is None.

    Shapes: anchor (B, D); candidates (K, D); places (B,) of the positives in them; weight (B,);
    among (K,) bool; result ().
    """
    anchor, candidates = unit_rows(anchor), unit_rows(candidates)
    if weight is None:
        weight = anchor.new_full((len(anchor),), 1 / len(anchor))
    if among is None:
        among = torch.ones(len(candidates), dtype=torch.bool, device=anchor.device)
    denominators = log_denominators(anchor, candidates, weight, among, temperature, bound=1.0)
    cosines = (anchor * candidates.index_select(0, places)).sum(1)
    return denominators - (weight * cosines).sum() / temperature
