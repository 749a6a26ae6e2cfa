"""What SSR's gate knows of a node beside its signal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_ssr.model.feature_signal import Propagation

_SMALLEST_SPREAD = 1e-6


def node_facts(
    graph, propagation: Propagation, present: Sequence[Tensor], n_users: int, n_items: int
) -> dict[str, Tensor]:
    """Return the degree of every node, and how far it has each feature modality.

    Log degrees are standardised by the first `n_users` and `n_items`, those trained on.

    Shapes: present (I, 1) of every modality; user (U, C), item (I, C): standardised log degree,
    then one coverage per modality.
    """
    by_user = [propagation.coverage(here[:, 0] > 0, with_users=False)[0] for here in present]
    facts = {}
    for side, n, product, extra in (("user", n_users, graph["R"], by_user),
                                    ("item", n_items, graph["Rt"], present)):
        log_degree = product.crow_indices().diff().float().log1p()[:, None]
        basis = log_degree[:n]
        log_degree = (log_degree - basis.mean()) / basis.std().clamp(min=_SMALLEST_SPREAD)
        facts[side] = torch.cat([log_degree, *extra], dim=1)
    return facts
