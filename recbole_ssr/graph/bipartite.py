"""The normalised bipartite user-item graph."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor

Nodes = tuple[Tensor, Tensor]


class BipartiteGraph(Constants):
    r"""Symmetric normalised adjacency of the training interactions.

    .. math::
        \hat A = \begin{pmatrix} 0 & \hat R \\ \hat R^\top & 0 \end{pmatrix},\qquad
        \hat R_{ui} = \frac{1}{\sqrt{d_u d_i}}

    Nodes are users 0..U-1, then items U..U+I-1. :math:`\hat A` is never built: a product is two
    half products with CSR blocks. Its spectrum lies in [-1, 1]; that of the Laplacian
    :math:`L = I - \hat A` in [0, 2]. Nodes without interactions have empty rows. An interaction
    that occurs twice counts once.

    Shapes: users, items (E,) integer; N = U + I nodes.
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int):
        pairs = torch.unique(users.long() * n_items + items.long())
        users, items = pairs // n_items, pairs % n_items
        d_user = torch.bincount(users, minlength=n_users).double()
        d_item = torch.bincount(items, minlength=n_items).double()
        values = (d_user[users] * d_item[items]).rsqrt().float()
        super().__init__(
            R=csr_tensor(users, items, values, (n_users, n_items)),
            Rt=csr_tensor(items, users, values, (n_items, n_users)),
        )
        self.n_users, self.n_items = n_users, n_items

    @property
    def n_nodes(self) -> int:
        return self.n_users + self.n_items

    def edges(self) -> tuple[Tensor, Tensor]:
        """Return users and items of the distinct interactions, each (E,), sorted by user."""
        crow, cols = self["R"].crow_indices().long(), self["R"].col_indices().long()
        users = torch.arange(self.n_users, device=crow.device)
        return users.repeat_interleave(crow.diff()), cols

    def add_product(self, out: Nodes, x: Nodes, alpha: float = 1.0, beta: float = 1.0) -> Nodes:
        r"""Overwrite `out` with :math:`\beta\,out + \alpha\,\hat A x` and return it.

        Users and items stay apart, as (user, item) pairs: joining them would cost a copy each time.

        Shapes: x, out: pairs of (U, D) and (I, D), contiguous. Not differentiable: callers write
        their own backward.
        """
        out[0].addmm_(self["R"], x[1], beta=beta, alpha=alpha)
        out[1].addmm_(self["Rt"], x[0], beta=beta, alpha=alpha)
        return out
