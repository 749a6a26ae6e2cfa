r"""Users who join a trained model without being part of its training.

A receiver has items, from which it receives whatever is propagated, and sends nothing back: no
other node's embedding moves. With linear propagation the filters of the model are thereby applied
to the new user exactly as to a trained one, and a trained user that joins once more with its own
items and its own rows of the tables has its own embedding.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from recbole_ssr.model.base import MultimodalRecommender

# In place of a trained user whose rows of the tables a receiver takes.
MEAN, NOTHING = 0, -1


@torch.no_grad()
def with_receivers(
    model: MultimodalRecommender, rows: Tensor, source: Tensor
) -> MultimodalRecommender:
    """Return a copy of the model, in evaluation mode, with further users after its own.

    `source` names the trained user whose rows of the tables each receiver takes; MEAN stands for
    the mean of all users with interactions, NOTHING for zeros.

    Shapes: rows (n, I) CSR, as of BipartiteGraph.receiving_rows; source (n,) integer.
    """
    active = model.graph["R"].crow_indices().diff() > 0
    twin = deepcopy(model).eval()
    twin.graph.add_receivers(rows)
    for name in twin.user_tables:
        owner, _, last = name.rpartition(".")
        module = twin.get_submodule(owner)
        table = getattr(module, last).detach()
        first = torch.where(source == MEAN, 1.0, 0.0)[:, None].to(table)
        added = torch.where((source > 0)[:, None].to(table.device), table[source.clamp(min=0)],
                            first * table[active].mean(0))
        setattr(module, last, nn.Parameter(torch.cat([table, added])))
    twin.n_users += len(rows)
    twin.receivers_added(rows)
    twin.drop_encoded()
    return twin
