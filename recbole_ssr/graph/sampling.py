"""Edges kept at random: dropout of interactions, uniform or by the degrees of their ends."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph


def degree_weights(graph: BipartiteGraph) -> Tensor:
    r"""Return :math:`1 / \sqrt{d_u d_i}` of every edge, in the order of `graph.edges()`.

    Edges between popular nodes are the likeliest to be noise (Zhou and Shen, FREEDOM, eq. 8).

    Shapes: result (E,).
    """
    return graph["R"].values()


def draw_edges(
    n_edges: int, keep: float, generator: torch.Generator, weights: Tensor | None = None
) -> Tensor:
    """Draw round(keep * E) edges without replacement, all alike or in proportion to `weights`.

    A race of exponential clocks draws as torch.multinomial does and has no limit on E (multinomial
    stops at 2^24).

    Shapes: weights (E,) positive; result positions in ascending order, on the generator's device.

    >>> len(draw_edges(10, keep=0.3, generator=torch.Generator()))
    3
    """
    clocks = -torch.rand(n_edges, generator=generator, dtype=torch.float64).log()
    if weights is not None:
        clocks /= weights.to(clocks)
    first = clocks.topk(round(keep * n_edges), largest=False, sorted=False).indices
    return first.sort().values


def subgraph(graph: BipartiteGraph, edges: Tensor) -> BipartiteGraph:
    """Return the graph of some edges, normalised by the degrees that they leave.

    Shapes: edges: positions in `graph.edges()`.
    """
    users, items = graph.edges()
    edges = edges.to(users.device)
    return BipartiteGraph(users[edges], items[edges], graph.n_users, graph.n_items)


def denoised(
    graph: BipartiteGraph, edge_dropout: float, generator: torch.Generator
) -> BipartiteGraph:
    r"""Return the graph of (1 - edge_dropout) E edges, normalised by the degrees that they leave.

    They are drawn without replacement in proportion to :math:`1 / \sqrt{d_u d_i}` (Zhou and Shen,
    FREEDOM, eq. 8). Without dropout it is `graph` itself and nothing is drawn.
    """
    if not edge_dropout:
        return graph
    weights = degree_weights(graph)
    return subgraph(graph, draw_edges(len(weights), 1 - edge_dropout, generator, weights))
