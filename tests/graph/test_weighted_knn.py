"""Item graphs with cosines as edge weights, against a dense computation."""

import pytest
import torch
from torch.nn import functional as F

from recbole_ssr.graph import knn as module
from recbole_ssr.graph.knn import ItemGraph, knn, similarities

HERE = torch.tensor([False, True, True, False, True, True, True])


def features(seed=1, width=3):
    """Features on one side of the origin, so that no cosine is negative."""
    return torch.rand(7, width, generator=torch.Generator().manual_seed(seed)) * HERE[:, None]


def dense(X, here, k):
    """s_ij / sqrt(r_i r_j) over the k nearest by cosine; the identity where features miss."""
    unit, n = F.normalize(X, dim=1), len(X)
    S = unit @ unit.T
    kept = torch.zeros(n, n)
    for i in here.nonzero().flatten().tolist():
        order = sorted(here.nonzero().flatten().tolist(), key=lambda j: -S[i, j].item())
        for j in order[:k]:
            kept[i, j] = S[i, j]
    r = kept.sum(1)
    T = torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            if kept[i, j]:
                T[i, j] = kept[i, j] / (r[i] * r[j]).sqrt()
        if not here[i]:
            T[i, i] = 1
    return T


def weighted(X, here, k):
    near = knn(X, here, k)
    return near, similarities(X, here, near)


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_similarities_are_cosines_of_neighbours(monkeypatch, block):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", block)
    X = features()
    near, cosines = weighted(X, HERE, 3)
    for row, i in enumerate(HERE.nonzero().flatten().tolist()):
        for place, j in enumerate(near[row].tolist()):
            expected = F.cosine_similarity(X[i], X[j], dim=0)
            torch.testing.assert_close(cosines[row, place], expected)
    torch.testing.assert_close(cosines[:, 0], torch.ones(5))  # itself


@pytest.mark.parametrize("k", [1, 3, 5])
def test_one_modality_with_missing_items(k):
    X = features()
    near, cosines = weighted(X, HERE, k)
    graph = ItemGraph([near], [HERE], [1.0], [cosines])
    torch.testing.assert_close(graph["T"].to_dense(), dense(X, HERE, k))
    torch.testing.assert_close(graph["Tt"].to_dense(), dense(X, HERE, k).T)


def test_shares_of_modalities_that_miss_different_items():
    other_here = torch.tensor([False, True, False, True, True, True, True])
    X, Y = features(), torch.rand(7, 4, generator=torch.Generator().manual_seed(2))
    (near, cosines), (near_y, cosines_y) = weighted(X, HERE, 3), weighted(Y, other_here, 2)
    graph = ItemGraph([near, near_y], [HERE, other_here], [0.1, 0.9], [cosines, cosines_y])
    expected = 0.1 * dense(X, HERE, 3) + 0.9 * dense(Y, other_here, 2)
    torch.testing.assert_close(graph["T"].to_dense(), expected)


def test_the_graph_is_directed_and_normalised_by_row_sums_on_both_sides():
    """Item 2's neighbour 1 does not have 2 among its own."""
    here = torch.tensor([False, True, True, True])
    near = torch.tensor([[1, 3], [2, 1], [3, 1]])
    cosines = torch.tensor([[1.0, 0.8], [1.0, 0.6], [1.0, 0.8]])
    T = ItemGraph([near], [here], [1.0], [cosines])["T"].to_dense()
    assert T[1, 2] == 0
    assert T[2, 1].item() == pytest.approx(0.6 / (1.6 * 1.8) ** 0.5)
    assert T[2, 2].item() == pytest.approx(1 / 1.6)


def test_a_row_whose_sum_is_not_positive_is_empty():
    here = torch.tensor([False, True, True])
    near, cosines = torch.tensor([[1, 2], [2, 1]]), torch.tensor([[1.0, -1.0], [1.0, 0.5]])
    T = ItemGraph([near], [here], [1.0], [cosines])["T"].to_dense()
    assert torch.isfinite(T).all()
    assert T[1].tolist() == [0, 0, 0] and T[2, 1] == 0
    assert T[2, 2].item() == pytest.approx(1 / 1.5)


def test_equal_cosines_give_the_graph_without_them():
    near = knn(features(), HERE, 3)
    plain = ItemGraph([near], [HERE], [1.0])
    equal = ItemGraph([near], [HERE], [1.0], [torch.full(near.shape, 0.7)])
    torch.testing.assert_close(equal["T"].to_dense(), plain["T"].to_dense())


def test_no_item_with_features():
    nobody = torch.zeros(7, dtype=torch.bool)
    near, cosines = weighted(features(), nobody, 3)
    T = ItemGraph([near], [nobody], [1.0], [cosines])["T"].to_dense()
    assert torch.equal(T, torch.eye(7))
