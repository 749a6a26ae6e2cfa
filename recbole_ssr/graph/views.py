r"""Graphs with a share of a graph's interactions or nodes left out at random, as views of it.

Wu et al., Self-supervised graph learning for recommendation (SGL), SIGIR 2021, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import draw_edges, subgraph

View = list[BipartiteGraph]  # one graph for all layers, or one a layer


def edge_dropout(
    graph: BipartiteGraph, rate: float, layers: int,  # noqa: ARG001
    generator: torch.Generator,
) -> View:
    """Leave out a share of the interactions, the same in every layer."""
    return [_without_edges(graph, rate, generator)]


def random_walk(
    graph: BipartiteGraph, rate: float, layers: int, generator: torch.Generator
) -> View:
    """Leave out a share of the interactions, drawn for every layer."""
    return [_without_edges(graph, rate, generator) for _ in range(layers)]


def node_dropout(
    graph: BipartiteGraph, rate: float, layers: int,  # noqa: ARG001
    generator: torch.Generator,
) -> View:
    """Leave out a share of the users and of the items with all their interactions."""
    kept = []
    for n, ends in zip((graph.n_users, graph.n_items), graph.edges()):
        here = torch.zeros(n, dtype=torch.bool)
        here[draw_edges(n, 1 - rate, generator)] = True
        kept.append(here.to(ends.device).index_select(0, ends))
    return [subgraph(graph, (kept[0] & kept[1]).nonzero().squeeze(1))]


def _without_edges(
    graph: BipartiteGraph, rate: float, generator: torch.Generator
) -> BipartiteGraph:
    return subgraph(graph, draw_edges(graph["R"].values().numel(), 1 - rate, generator))


AUGMENTATIONS: dict[str, Callable[..., View]] = {
    "edge_dropout": edge_dropout, "node_dropout": node_dropout, "random_walk": random_walk,
}
