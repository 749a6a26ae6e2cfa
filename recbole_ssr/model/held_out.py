"""The held-out interactions that a trained model is calibrated with: all of them, or a sample.

Those of items that the graph has. How popular the others turn out is known of few items, and what
is fitted to these few is not true of others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.nn.rows import places
from recbole_ssr.spectral.calibration import HeldOut

USERS, ITEMS = 4096, 16384  # at most, ITEMS besides the held-out ones
_SEED = 0


class Sample(NamedTuple):
    """Shapes: users (B,), items (n,) ids; held_out in places among both."""

    users: Tensor
    items: Tensor
    held_out: HeldOut


def held_out_sample(
    graph: BipartiteGraph, users: Tensor, items: Tensor, repeatable: bool = False,
    left_out: Tensor | None = None,
) -> Sample | None:
    """Draw users, with all their held-out items, and other items; the same ones every time.

    Items drawn stand for as many as they were drawn from. With `repeatable` users may meet items
    again that they have in the graph; else such pairs are left out, as are items without
    interactions there. None where nothing remains.

    Shapes: users, items (P,) of the held-out interactions; left_out (2, S) of pairs that rankings
    leave out though the graph does not have them; item 0 is padding.
    """
    generator, device = torch.Generator().manual_seed(_SEED), graph["R"].device
    pair = (users.cpu().long() * graph.n_items + items.cpu()).unique()
    seen = torch.stack([side.cpu() for side in graph.edges()])
    if left_out is not None:
        seen = torch.cat([seen, left_out.cpu()], dim=1)
    if repeatable:
        seen = seen[:, :0]
    pair = pair[~torch.isin(pair, seen[0] * graph.n_items + seen[1])]
    is_known = graph["Rt"].crow_indices().diff().cpu() > 0
    pair = pair[is_known[pair % graph.n_items]]
    if len(pair) == 0:
        return None
    users, items = pair // graph.n_items, pair % graph.n_items
    chosen = _at_most(users.unique(), USERS, generator)
    row = places(chosen, graph.n_users)
    users, items = users[row[users] >= 0], items[row[users] >= 0]
    positives = items.unique()
    is_known[positives] = False
    others = is_known.nonzero().squeeze(1)
    drawn = _at_most(others, ITEMS, generator)
    candidates = torch.cat([positives, drawn])
    column = places(candidates, graph.n_items)
    seen = torch.stack([row[seen[0]], column[seen[1]]])
    weight = torch.zeros(len(candidates))
    if len(drawn):
        weight[len(positives):] = math.log(len(others) / len(drawn))
    held_out = HeldOut(torch.stack([row[users], column[items]]), seen[:, (seen >= 0).all(0)],
                       weight)
    return Sample(chosen.to(device), candidates.to(device),
                  HeldOut(*(x.to(device) for x in held_out)))


def _at_most(ids: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return at most `count` of the ids, sorted."""
    if len(ids) <= count:
        return ids
    return ids[torch.randperm(len(ids), generator=generator)[:count]].sort().values
