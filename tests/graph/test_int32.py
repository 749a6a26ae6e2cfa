"""Where indices of 32 bits end, an error tells so; numbers of pairs have 64."""

import numpy as np
import pytest
import torch

from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.collector import match_positives
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.graph.interactions import interaction_matrix
from recbole_ssr.int32 import LARGEST, check_int32
from recbole_ssr.nn.edges import EdgePattern

MANY = LARGEST + 1


def repeated(value, dtype=torch.int64):
    """A tensor of 2^31 numbers in the memory of one."""
    return torch.tensor([value], dtype=dtype).expand(MANY)


def test_more_entries_or_columns_than_int32_are_refused_before_anything_is_allocated():
    with pytest.raises(UserError, match="2,147,483,648 entries of a sparse matrix"):
        csr_tensor(repeated(0), repeated(0), repeated(1.0, torch.float32), (1, 1))
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(UserError, match="2,147,483,648 columns"):
        csr_tensor(one, one, torch.ones(1), (1, MANY))
    with pytest.raises(UserError, match="3,000,000,000 nodes .*train_share"):
        check_int32("nodes", 3 * 10**9)
    check_int32("nodes", LARGEST)


def test_pairs_whose_number_needs_more_than_32_bits_stay_apart():
    """Ids of 32 bits, with 100,000 users and items: 10^10 pairs."""
    n = 100_000
    users = torch.tensor([0, n - 1, n - 1, n - 2], dtype=torch.int32)
    items = torch.tensor([n - 1, 0, n - 1, n - 1], dtype=torch.int32)
    graph = BipartiteGraph(users, items, n, n)
    found = {tuple(pair) for pair in torch.stack(graph.edges(), 1).tolist()}
    expected = {(0, n - 1), (n - 1, 0), (n - 1, n - 1), (n - 2, n - 1)}
    assert found == expected
    assert graph["R"].col_indices().dtype == graph["R"].crow_indices().dtype == torch.int32
    R = interaction_matrix(users, items, n, n).tocoo()
    assert set(zip(R.row.tolist(), R.col.tolist())) == expected
    pattern = EdgePattern(users, items, (n, n))
    assert pattern.distinct and pattern.matrix(torch.ones(4)).values().sum() == 4


def test_hits_are_found_in_the_last_row_of_a_large_block():
    rows, n_items = 30_000, 100_000  # 3 x 10^9 scores
    items = torch.full((rows, 1), n_items - 1)
    hits, positives = match_positives(items, torch.tensor([rows - 1, 5], dtype=torch.int32),
                                      torch.tensor([n_items - 1, 7]), n_items)
    assert hits.nonzero().tolist() == [[rows - 1, 0]]
    assert np.flatnonzero(positives.numpy()).tolist() == [5, rows - 1]
