r"""Items without interactions, in evaluation.

The graph ends at such an item: band m of its signal G is :math:`h_m(1)\, G`, the same multiple
whatever G holds, where an item that has users has most of its signal in the lowest band. What its
nearest neighbours contribute to their own embeddings tells how items of its kind are heard, and is
added slot by slot, with the weight t of the item graph T:

.. math:: P_i = \eta' \odot A_i + t \sum_{j:\, d_j > 0} T_{ij}\, \eta \odot A_j

A_i are the slots of item i, :math:`\eta` the gains of evaluation and :math:`\eta'` those of items
without interactions. All others keep what they have.

Shapes: I items, n of them without interactions, M bands, C modalities, d channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.model.node_bands import LinearFusion
from recbole_ssr.nn.rows import places
from recbole_ssr.products import csr_product


class UnseenItems(Constants):
    """The items without interactions, and their edges of t T to others.

    Named tensors: items (n,) ids; near (n, I) CSR; item, other and weight (E,) the edges. There are
    none without an item graph. Shapes: degree (I,) interactions, 0 of the padding too.
    """

    def __init__(self, degree: Tensor, item_graph: Constants | None, weight: float):
        items, n_items = (degree == 0).nonzero().squeeze(1), len(degree)
        item = other = items.new_zeros(0)
        value = degree.new_zeros(0, dtype=torch.float32)
        if item_graph is not None and len(items):
            T = item_graph["T"]
            item = torch.arange(n_items, device=items.device).repeat_interleave(
                T.crow_indices().diff())
            kept = (degree[item] == 0) & (degree[T.col_indices()] > 0)
            item, other = item[kept], T.col_indices()[kept].long()
            value = weight * T.values()[kept]
        super().__init__(
            items=items, item=item, other=other, weight=value,
            near=csr_tensor(places(items, n_items)[item], other, value, (len(items), n_items)),
        )

    def with_neighbours(self, items: Tensor | None) -> Tensor | None:
        """Return some items and, behind them, those whose slots they need besides their own.

        Shapes: items (B,) distinct ids, None for all; result (S,) distinct ids.
        """
        if items is None:
            return None
        other = self["other"][torch.isin(self["item"], items)].unique()
        return torch.cat([items, other[~torch.isin(other, items)]])

    def added_to(self, fusion: LinearFusion, items: Tensor | None) -> LinearFusion:
        """Return the sums of some items with what neighbours add to them.

        Shapes: `fusion` of the nodes :meth:`with_neighbours` (items); result of `items` (B,).
        """
        if not len(self["item"]):
            return fusion
        n_items, parts = self["near"].shape[1], fusion.parts()
        sources = self.with_neighbours(items)
        if items is None:
            items = sources = torch.arange(n_items, device=parts.device)
        row = places(items, n_items)[self["item"]]
        column = places(sources, n_items)[self["other"]]
        here = row >= 0
        near = csr_tensor(row[here], column[here], self["weight"][here],
                          (len(items), len(sources)))
        sums = [[own[:len(items)] + csr_product(near, own) for own in band] for band in parts]
        slots = torch.stack([torch.stack(band) for band in sums])
        return LinearFusion(slots, torch.ones_like(slots))
