"""Statistics of a dataset against values by hand and against slow, direct computations."""

import numpy as np
import pytest

from recbole_ssr.data import feature_files, statistics


def random_ids(seed, n, most):
    return np.random.default_rng(seed).integers(0, most, size=n)


def test_intervals_of_degrees_by_hand():
    degrees = np.array([1, 1, 2, 3, 4, 7, 8, 31])
    assert statistics.powers_of_two(degrees) == [
        (1, 1, 2), (2, 3, 2), (4, 7, 2), (8, 15, 1), (16, 31, 1)]
    assert statistics.powers_of_two(np.array([0, 0, 5])) == [
        (0, 0, 2), (1, 1, 0), (2, 3, 0), (4, 7, 1)]
    assert statistics.powers_of_two(np.array([9])) == [(8, 15, 1)]
    assert statistics.powers_of_two(np.array([0])) == [(0, 0, 1)]
    assert statistics.powers_of_two(np.array([], dtype=int)) == []


@pytest.mark.parametrize("seed", range(3))
def test_every_degree_is_in_its_interval(seed):
    degrees = random_ids(seed, 500, 300)
    for low, high, nodes in statistics.powers_of_two(degrees):
        assert nodes == sum(low <= d <= high for d in degrees)
    assert sum(n for *_, n in statistics.powers_of_two(degrees)) == 500


@pytest.mark.parametrize("seed", range(3))
def test_pairs_against_sets(seed):
    users, items = random_ids(seed, 200, 15).astype(np.int32), random_ids(seed + 9, 200, 12)
    others = random_ids(seed + 20, 80, 15), random_ids(seed + 30, 80, 12)
    codes, held = statistics.pairs(users, items, 12), statistics.pairs(*others, 12)
    mine, theirs = set(zip(users.tolist(), items.tolist())), set(zip(*(x.tolist() for x in others)))
    assert statistics.repeats(codes) == 200 - len(mine) > 0
    assert statistics.shared(codes, held) == len(mine & theirs) > 0


def test_pairs_do_not_overflow():
    users = np.array([2**31 - 1, 0], dtype=np.int32)
    codes = statistics.pairs(users, np.array([5, 5], dtype=np.int32), 2**31 - 1)
    assert codes[0] == (2**31 - 1) ** 2 + 5


def test_what_training_lacks():
    mask = statistics.unseen(np.array([4, 1, 4, 2]), np.array([1, 1, 3]))
    assert mask.tolist() == [True, False, True, True]


def test_share_of_older_by_hand():
    # User 0 trains at 10 and 20, user 1 at 5; user 2 never.
    train = np.array([0, 0, 1]), np.array([20.0, 10.0, 5.0])
    users, times = np.array([0, 0, 1, 2]), np.array([15.0, 20.0, 4.0, 1.0])
    assert statistics.share_older(users, times, *train) == pytest.approx(2 / 3)
    assert np.isnan(statistics.share_older(users[3:], times[3:], *train))


def test_share_of_older_against_a_loop():
    users, train_users = random_ids(1, 100, 9), random_ids(2, 150, 8)
    times, train_times = random_ids(3, 100, 50) + 1.4e9, random_ids(4, 150, 50) + 1.4e9
    older = [t < train_times[train_users == u].max() for u, t in zip(users, times)
             if (train_users == u).any()]
    assert statistics.share_older(users, times, train_users, train_times) == np.mean(older)


def test_vectors_by_hand():
    stored = np.array([[3, 4], [0, 0], [0, -0.0], [3, 4], [4, 3], [-0.0, 1], [0, 1], [3, 4]])
    facts = statistics.vectors(stored)
    np.testing.assert_allclose(facts.norms, [5, 0, 0, 5, 5, 1, 1, 5])
    assert (facts.zero, facts.repeated) == (2, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("block_bytes", [1, 200, 2**20])
def test_vectors_do_not_depend_on_blocks_or_order(tmp_path, monkeypatch, dtype, block_bytes):
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(0)
    matrix = rng.integers(-1, 2, size=(50, 3)).astype(dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(matrix))
    facts = statistics.vectors(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_allclose(facts.norms, np.sqrt((matrix.astype(float) ** 2).sum(1)))
    rows = [tuple(row) for row in matrix.tolist() if any(row)]
    assert (facts.zero, facts.repeated) == (50 - len(rows), len(rows) - len(set(rows)))
    assert facts.repeated > 0 < facts.zero


def test_norms_of_large_values_do_not_overflow():
    facts = statistics.vectors(np.full((1, 4), 1e30, dtype=np.float32))
    assert facts.norms[0] == pytest.approx(2e30)
