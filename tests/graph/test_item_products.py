"""EASE, cosines of interactions and products with item-item weights, against dense forms."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ssr.errors import UserError
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.graph.ease import ease
from recbole_ssr.graph.interactions import interaction_knn, interaction_matrix
from recbole_ssr.graph.item_products import (
    DenseWeights,
    GramWeights,
    LowRankWeights,
    SparseWeights,
    WeightedSum,
    csr_rows,
    standardised,
)

USERS, ITEMS = 9, 7


def random_interactions(n_users=USERS, n_items=ITEMS, density=0.4, seed=0):
    R = np.random.default_rng(seed).random((n_users, n_items)) < density
    R[:, 2], R[4] = False, False
    return sp.csr_matrix(R.astype(float))


def as_csr(dense):
    row, col = np.nonzero(dense)
    return csr_tensor(torch.from_numpy(row), torch.from_numpy(col),
                      torch.from_numpy(dense[row, col]).float(), dense.shape)


def peak_of(function, *arguments):
    """Bytes that numpy and scipy hold at most, and the result."""
    tracemalloc.start()
    try:
        result = function(*arguments)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_interactions_are_ones_however_often_they_occur():
    users, items = torch.tensor([1, 0, 1, 1]), torch.tensor([2, 0, 2, 1])
    R = interaction_matrix(users, items, 3, 4)
    assert R.toarray().tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


# EASE


@pytest.mark.parametrize("n_items", [7, 256, 300, 530])  # around the edges of its blocks
def test_ease_equals_the_inverse(n_items):
    R = random_interactions(40, n_items, 0.2)
    F = np.random.default_rng(1).normal(size=(n_items, 5)).astype(np.float32)
    P = np.linalg.inv(R.T @ R + 2.0 * F @ F.T + 3.0 * np.eye(n_items))
    B = np.eye(n_items) - P / np.diag(P)
    result = ease(R, F, 3.0, 2.0)
    assert result.dtype == np.float32 and not np.diag(result).any()
    np.testing.assert_allclose(result, B, atol=2e-5)


def test_new_items_are_regressed_on_known_ones_alone():
    R = random_interactions(40, 12, 0.2)
    F = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    R[:, 9:] = 0
    R = sp.csr_matrix(R)
    before, result = ease(R[:, :9], F[:9], 3.0, 2.0), ease(R, F, 3.0, 2.0, n_known=9)
    np.testing.assert_allclose(result[:9, :9], before, atol=1e-6)
    assert not result[9:].any()
    rows = np.concatenate([R[:, :9].toarray(), np.sqrt(2.0) * F[:9].T, np.sqrt(3.0) * np.eye(9)])
    target = np.concatenate([np.zeros((40, 3)), np.sqrt(2.0) * F[9:].T, np.zeros((9, 3))])
    np.testing.assert_allclose(result[:9, 9:], np.linalg.lstsq(rows, target)[0], atol=1e-5)


def test_ease_holds_one_matrix_of_items_by_items():
    n = 2000
    R = sp.random(500, n, 0.001, "csr", random_state=0)
    F = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    peak, _ = peak_of(ease, R, F, 30.0, 1.0)
    assert peak < 1.4 * 4 * n * n


def test_ease_without_a_solution_names_the_ridge():
    with pytest.raises(UserError, match="ridge is 0.0.*make it larger"):
        ease(random_interactions(), np.zeros((ITEMS, 0), np.float32), 0.0, 0.0)


# Cosines of interactions


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_nearest_items_by_interactions_equal_the_dense_ones(k, block):
    R = random_interactions(30, 12, 0.3)
    norm = np.maximum(np.sqrt(R.toarray().sum(0)), 1e-9)
    C = (R.T @ R).toarray() / np.outer(norm, norm)
    np.fill_diagonal(C, 0)
    item, near, cosine = interaction_knn(R, k, block)
    result = np.zeros_like(C)
    result[item, near] = cosine
    for i, row in enumerate(C):
        order = np.argsort(-np.round(row, 12), kind="stable")[:k]
        expected = [j for j in order if row[j] > 0]
        assert sorted(np.flatnonzero(result[i])) == sorted(expected)
        np.testing.assert_allclose(result[i, expected], row[expected], atol=1e-6)
    assert not result[2].any() and not result[:, 2].any()  # has no interaction


def test_nearest_items_hold_no_matrix_of_items_by_items():
    n = 4000
    R = sp.random(4000, n, 0.001, "csr", random_state=0)
    R.data[:] = 1
    peak, _ = peak_of(interaction_knn, R, 5, 512)
    assert peak < n * n


# Products


@pytest.mark.parametrize("rows", [[0, 1, 2], [5, 4, 5], [4], []])
def test_rows_of_a_sparse_matrix_in_any_order(rows):
    R = random_interactions().toarray() * np.arange(1, ITEMS + 1)
    result = csr_rows(as_csr(R), torch.tensor(rows, dtype=torch.long))
    assert result.layout == torch.sparse_csr
    np.testing.assert_array_equal(result.to_dense(), R[rows])


def products():
    """Every kind of item-item weights with the dense W that it stands for."""
    rng = np.random.default_rng(3)
    W = rng.normal(size=(ITEMS, ITEMS)) * (rng.random((ITEMS, ITEMS)) < 0.5)
    left, right = rng.normal(size=(ITEMS, 2)), rng.normal(size=(2, ITEMS))
    R = random_interactions()
    graph = BipartiteGraph(*(torch.from_numpy(side).long() for side in R.nonzero()), USERS,
                           ITEMS)
    N = graph["R"].to_dense().numpy()
    as_float = [torch.from_numpy(x).float() for x in (W, left, right)]
    return [(DenseWeights(as_float[0]), W), (SparseWeights(as_csr(W.T.copy())), W),
            (LowRankWeights(*as_float[1:]), left @ right), (GramWeights(graph), N.T @ N)]


@pytest.mark.parametrize("kind", range(4))
def test_products_equal_those_with_the_dense_weights(kind):
    module, W = products()[kind]
    R = random_interactions(seed=5).toarray()
    for users in ([0, 3, 3, 8], [4], []):
        result = module(csr_rows(as_csr(R), torch.tensor(users, dtype=torch.long)))
        np.testing.assert_allclose(result, R[users] @ W, atol=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_a_sum_weighs_its_parts(standardise):
    modules, dense = zip(*products())
    R = random_interactions(seed=5).toarray()[[0, 1, 6]]
    result = WeightedSum(modules, (1.0, -2.0, 0.5, 3.0), standardise)(as_csr(R))
    expected = 0
    for W, weight in zip(dense, (1.0, -2.0, 0.5, 3.0)):
        s = R @ W
        if standardise:
            s = (s - s.mean(1, keepdims=True)) / s.std(1, ddof=1, keepdims=True)
        expected = expected + weight * s
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_standardised_scores_have_mean_0_and_deviation_1_where_they_differ():
    s = standardised(torch.tensor([[1.0, 5.0, 3.0], [2.0, 2.0, 2.0]]))
    torch.testing.assert_close(s, torch.tensor([[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
