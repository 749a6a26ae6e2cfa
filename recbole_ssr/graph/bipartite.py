"""The normalised bipartite user-item graph."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.int32 import check_int32
from recbole_ssr.nodes import Nodes
from recbole_ssr.products import add_csr_product, csr_product


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

    def edges(self) -> tuple[Tensor, Tensor]:
        """Return users and items of the distinct interactions, each (E,), sorted by user."""
        crow, cols = self["R"].crow_indices().long(), self["R"].col_indices().long()
        users = torch.arange(self.n_users, device=crow.device)
        return users.repeat_interleave(crow.diff()), cols

    def receiving_rows(self, users: Tensor, items: Tensor, n: int) -> Tensor:
        r"""Return what :math:`\hat R` would hold of n users who are not part of the graph.

        A user's degree is the number of its distinct items, an item's that of the graph, so that
        a user of the graph with its own items has its own row; an item without interactions
        counts as one with the first. Shapes: users (E,) from 0, items (E,); result (n, I) CSR.
        """
        pairs = torch.unique(users.long() * self.n_items + items.long())
        users, items = pairs // self.n_items, pairs % self.n_items
        d_user = torch.bincount(users, minlength=n).double()
        d_item = self["Rt"].crow_indices().diff().clamp(min=1).double()
        values = (d_user[users] * d_item[items]).rsqrt().to(self["R"].dtype)
        return csr_tensor(users, items, values, (n, self.n_items))

    def add_receivers(self, rows: Tensor) -> None:
        """Append users, in place, who receive from their items and send nothing back.

        No other node is changed by them, whatever is propagated. Shapes: rows (n, I) CSR.
        """
        R, Rt = self["R"], self["Rt"]
        crow, added = R.crow_indices(), rows.crow_indices()
        check_int32("interactions", R._nnz() + rows._nnz())
        self.n_users += len(rows)
        self._tensors = {
            "R": _csr(torch.cat([crow, added[1:] + crow[-1]]),
                      torch.cat([R.col_indices(), rows.col_indices()]),
                      torch.cat([R.values(), rows.values()]), (self.n_users, self.n_items)),
            "Rt": _csr(Rt.crow_indices(), Rt.col_indices(), Rt.values(),
                       (self.n_items, self.n_users)),
        }

    def product(self, x: Nodes) -> Nodes:
        r"""Return :math:`\hat A x`.

        Users and items stay apart, as (user, item) pairs: joining them would cost a copy each time.

        Shapes: x and result pairs of (U, D) and (I, D). Not differentiable: callers write their own
        backward.
        """
        return csr_product(self["R"], x[1]), csr_product(self["Rt"], x[0])

    def add_product(self, out: Nodes, x: Nodes, alpha: float = 1.0) -> Nodes:
        r"""Overwrite `out` with :math:`out + \alpha\,\hat A x` and return it.

        Shapes: as in :meth:`product`, all contiguous.
        """
        return (add_csr_product(out[0], self["R"], x[1], alpha),
                add_csr_product(out[1], self["Rt"], x[0], alpha))


def _csr(crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(crow, col, values, shape, check_invariants=False)
