"""Means over neighbours against a dense computation."""

import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.neighbour_mean import NeighbourMean


def test_rows_are_the_means_of_the_neighbours():
    users, items = torch.tensor([1, 1, 2, 3, 3, 3]), torch.tensor([1, 2, 2, 1, 2, 3])
    mean = NeighbourMean(BipartiteGraph(users, items, 5, 4))
    x, y = torch.randn(4, 2), torch.randn(5, 2)
    to_user, to_item = mean["to_user"] @ x, mean["to_item"] @ y
    torch.testing.assert_close(to_user[1], (x[1] + x[2]) / 2)
    torch.testing.assert_close(to_user[3], x[1:].mean(0))
    torch.testing.assert_close(to_item[2], y[1:4].mean(0))
    torch.testing.assert_close(to_item[3], y[3])
    for empty in (to_user[0], to_user[4], to_item[0]):
        assert torch.equal(empty, torch.zeros(2))


def test_each_transpose_is_one():
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(6, (2, 20), generator=generator)
    mean = NeighbourMean(BipartiteGraph(*ends, 6, 6))
    for name in ("to_user", "to_item"):
        assert torch.equal(mean[name].to_dense().T, mean[f"{name}_t"].to_dense())
