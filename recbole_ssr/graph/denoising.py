"""The user-item graph of one epoch: edges between popular nodes are the likeliest to go."""

from __future__ import annotations

import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import degree_weights, draw_edges, subgraph


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
