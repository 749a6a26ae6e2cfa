"""The ideal low-pass filter of GF-CF against dense eigenvectors."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ssr.spectral.low_pass import low_pass_factors, lowest_modes, normalised


def random_matrix(n_users, n_items, density=0.2, seed=0):
    R = np.random.default_rng(seed).random((n_users, n_items)) < density
    R[:, 3] = False
    return sp.csr_matrix(R.astype(float))


def test_normalised_entries_are_divided_by_both_roots():
    R = sp.csr_matrix([[1.0, 1, 0], [0, 1, 0], [0, 0, 0]])
    expected = [[1 / np.sqrt(2), 1 / 2, 0], [0, 1 / np.sqrt(2), 0], [0, 0, 0]]
    np.testing.assert_allclose(normalised(R).toarray(), expected)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
@pytest.mark.parametrize("k", [1, 7, 38, 39, 100])
def test_the_filter_projects_on_the_modes_with_the_largest_singular_values(shape, k):
    R = random_matrix(*shape)
    s, Vt = np.linalg.svd(normalised(R).toarray())[1:]
    assert k > len(s) - 2 or s[k - 1] - s[k] > 1e-6
    V, degree = Vt[:k].T[:, :np.sum(s > 1e-9)], np.asarray(R.sum(0)).ravel()
    inverse = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
    left, right = low_pass_factors(R, k)
    assert left.dtype == right.dtype == np.float32 and left.shape[::-1] == right.shape
    W = left @ right
    np.testing.assert_allclose(R @ W, R @ (inverse[:, None] * V @ V.T * np.sqrt(degree)),
                               atol=1e-5)
    assert not W[3].any() and not W[:, 3].any()


def test_every_copy_of_a_repeated_singular_value_is_found_and_the_same_each_time():
    """Twelve components of one pair each beside a larger one: thirteen times the value 1."""
    R = sp.block_diag([sp.identity(12), random_matrix(60, 50), sp.csr_matrix((3, 4))]).tocsr()
    P = normalised(R)
    for k in (13, 20):
        Vt = lowest_modes(P, k)
        np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), atol=1e-8)
        s = np.linalg.svd(P.toarray(), compute_uv=False)[:k]
        np.testing.assert_allclose(np.linalg.norm(P @ Vt.T, axis=0), s, atol=1e-8)
        assert np.array_equal(lowest_modes(P, k), Vt)


def test_no_matrix_of_items_by_items_or_of_users_by_users():
    n, k = 3000, 8
    R = sp.random(n, n, 0.002, "csr", random_state=0)
    R.data[:] = 1
    tracemalloc.start()
    try:
        low_pass_factors(R, k)
        assert tracemalloc.get_traced_memory()[1] < n * n
    finally:
        tracemalloc.stop()
