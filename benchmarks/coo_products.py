"""Graph products in their straightforward form, to measure the package's own against.

The bipartite graph is one symmetric (N, N) matrix of users and items, an item graph an (I, I)
matrix, both in COO; a product is torch.sparse.mm, its backward autograd's. Matrices are built once
per graph, those of trained edges at every step; inner products along edges gather both ends. Layers
are summed up one by one, as a reader of the paper would write it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from recbole_ssr.model import propagation
from recbole_ssr.nn import edge_dot as edge_dots
from recbole_ssr.nn import edges, sparse
from recbole_ssr.spectral import chebyshev

Nodes = tuple[Tensor, Tensor]

# COO copies of what a graph holds; they live as long as it does.
_matrices, _adjacencies = WeakIdKeyDictionary(), WeakIdKeyDictionary()


def coo_of(matrix: Tensor) -> Tensor:
    """Return a constant CSR matrix in COO, converted once."""
    if matrix not in _matrices:
        _matrices[matrix] = matrix.to_sparse_coo().coalesce()
    return _matrices[matrix]


def adjacency_of(graph) -> Tensor:
    """Return the (N, N) adjacency of a bipartite graph, users first, built once."""
    if graph not in _adjacencies:
        R = coo_of(graph["R"])
        n_users, n_items = R.shape
        user, item = R.indices()
        index = torch.cat([torch.stack([user, item + n_users]),
                           torch.stack([item + n_users, user])], dim=1)
        shape = (n_users + n_items,) * 2
        _adjacencies[graph] = torch.sparse_coo_tensor(index, R.values().repeat(2), shape,
                                                      check_invariants=False).coalesce()
    return _adjacencies[graph]


def adjacency_product(graph, x: Nodes) -> Nodes:
    user, item = x
    out = torch.sparse.mm(adjacency_of(graph), torch.cat([user, item]))
    return out[: len(user)], out[len(user) :]


def layers_of(graph, user: Tensor, item: Tensor, layers: int) -> Iterator[Nodes]:
    x = user, item
    for _ in range(layers):
        x = adjacency_product(graph, x)
        yield x


def propagate_sum(graph, x: Nodes, layers: int) -> Nodes:
    total = x
    for layer in layers_of(graph, *x, layers):
        total = total[0] + layer[0], total[1] + layer[1]
    return total


def propagate_mean(graph, user: Tensor, item: Tensor, layers: int) -> Nodes:
    user, item = propagate_sum(graph, (user, item), layers)
    return user / (layers + 1), item / (layers + 1)


def sparse_product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:  # noqa: ARG001
    return torch.sparse.mm(coo_of(matrix), x)


def add_sparse_product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    return x + sparse_product(x, matrix, transpose)


def users_of(graph, item: Tensor) -> Tensor:
    return torch.sparse.mm(coo_of(graph["R"]), item)


def smoothed(item_graph, item: Tensor, layers: int = 1) -> Tensor:
    for _ in range(layers):
        item = torch.sparse.mm(coo_of(item_graph["T"]), item)
    return item


def edge_product(pattern, values: Tensor, x: Tensor) -> Tensor:
    """torch's gradient of the values passes through a dense matrix of the pattern's shape."""
    index = torch.stack([pattern["rows"], pattern["cols"]])
    matrix = torch.sparse_coo_tensor(index, values, pattern.shape, check_invariants=False)
    return torch.sparse.mm(matrix, x)


def edge_dot(pattern, x: Tensor, y: Tensor) -> Tensor:
    rows, cols = pattern["rows"], pattern["cols"]
    return (x.index_select(0, rows) * y.index_select(0, cols)).sum(1)


REPLACED: dict[Callable, Callable] = {
    propagation.propagate_mean: propagate_mean,
    propagation.layers_of: layers_of,
    propagation.users_of: users_of,
    propagation.smoothed: smoothed,
    chebyshev.propagate_sum: propagate_sum,
    sparse.sparse_product: sparse_product,
    sparse.add_sparse_product: add_sparse_product,
    sparse.adjacency_product: adjacency_product,
    edges.edge_product: edge_product,
    edge_dots.edge_dot: edge_dot,
}


class CooProducts:
    """A context in which every module of the package that is loaded multiplies by COO matrices."""

    def __init__(self):
        self._places = [
            (vars(module), name, value)
            for key, module in list(sys.modules.items())
            if key.partition(".")[0] == "recbole_ssr" and module is not None
            for name, value in list(vars(module).items())
            if inspect.isfunction(value) and value in REPLACED
        ]

    def __enter__(self) -> CooProducts:
        for namespace, name, original in self._places:
            namespace[name] = REPLACED[original]
        return self

    def __exit__(self, *_) -> None:
        for namespace, name, original in self._places:
            namespace[name] = original
