import torch
from torch.nn import functional as F

from recbole_ssr.graph.knn import ItemGraph, knn


def test_blockwise_equals_dense():
    features = torch.randn(57, 6, generator=torch.Generator().manual_seed(1))
    present = torch.ones(57, dtype=torch.bool)
    unit = F.normalize(features)
    dense = (unit @ unit.T).topk(5, dim=1).indices
    for block in (1, 8, 57, 1000):
        assert torch.equal(knn(features, present, 5, block), dense)


def test_an_item_is_its_own_nearest_neighbour_and_absent_items_are_nobodys():
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(2))
    present = torch.ones(20, dtype=torch.bool)
    present[[0, 7]] = False
    near = knn(features, present, 3)
    assert torch.equal(near[:, 0], present.nonzero().squeeze(1))
    assert not set(near.flatten().tolist()) & {0, 7}


def test_k_beyond_the_items_takes_all_of_them():
    near = knn(torch.randn(4, 3), torch.tensor([False, True, True, True]), 10)
    assert [sorted(row) for row in near.tolist()] == [[1, 2, 3]] * 3


def test_an_item_is_its_own_neighbour_among_more_equal_ones_than_neighbours():
    features = torch.ones(8, 3)
    near = knn(features, torch.ones(8, dtype=torch.bool), 3, block=5)
    assert near[:, 0].tolist() == list(range(8))


def test_graph_is_the_weighted_sum_of_row_normalised_graphs():
    present = torch.tensor([False, True, True, True])
    near = [torch.tensor([[1, 2], [2, 3], [3, 1]]), torch.tensor([[1, 3], [2, 1], [3, 2]])]
    T = ItemGraph(near, [present, present], [0.25, 0.75])["T"].to_dense()
    expected = torch.tensor([
        [1, 0, 0, 0],
        [0, 0.5, 0.125, 0.375],
        [0, 0.375, 0.5, 0.125],
        [0, 0.125, 0.375, 0.5],
    ])
    torch.testing.assert_close(T, expected)


def test_every_row_sums_to_one_and_the_transpose_is_the_transpose():
    present = torch.tensor([True, False, True, True, True])
    near = knn(torch.randn(5, 3), present, 2)
    graph = ItemGraph([near], [present], [1.0])
    torch.testing.assert_close(graph["T"].to_dense().sum(1), torch.ones(5))
    torch.testing.assert_close(graph["T"].to_dense().T, graph["Tt"].to_dense())
