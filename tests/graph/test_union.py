"""The union of item graphs against literal maxima."""

import torch

from recbole_ssr.graph.knn import ItemGraph
from recbole_ssr.graph.union import edge_union


def graph(neighbours, present, similarities):
    return ItemGraph([torch.tensor(neighbours)], [present], [1.0], [torch.tensor(similarities)])


def test_every_edge_of_any_graph_with_its_largest_value():
    present = torch.tensor([True, True, True])
    a = graph([[0, 1], [1, 0], [2, 1]], present, [[1.0, 0.5], [1.0, 0.5], [1.0, 0.2]])
    b = graph([[0, 2], [1, 0], [2, 0]], present, [[1.0, 0.1], [1.0, 0.9], [1.0, 0.1]])
    union = edge_union([a, b], [present, present])
    A, B = a["T"].to_dense(), b["T"].to_dense()
    torch.testing.assert_close(union["T"].to_dense(), torch.maximum(A, B))
    torch.testing.assert_close(union["Tt"].to_dense(), torch.maximum(A, B).T)
    assert union["T"].values().numel() == 8  # of 9, (1, 2) is in neither


def test_a_negative_edge_of_one_graph_alone_stays_negative():
    present = torch.tensor([True, True])
    a = graph([[0, 1], [1, 0]], present, [[1.0, -0.5], [1.0, -0.5]])
    b = graph([[0], [1]], present, [[1.0], [1.0]])
    T = edge_union([a, b], [present, present])["T"].to_dense()
    torch.testing.assert_close(T, torch.tensor([[2.0, -1.0], [-1.0, 2.0]]))


def test_an_item_keeps_itself_only_where_it_has_features_nowhere():
    here, gone = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    a = graph([[0, 1], [1, 0]], here, [[1.0, 0.5], [1.0, 0.5]])
    b = graph([[0]], gone, [[1.0]])
    T = edge_union([a, b], [here, gone])["T"].to_dense()
    assert T[1, 1] == a["T"].to_dense()[1, 1] < 1
    assert T[2].tolist() == [0, 0, 1]


def test_one_graph_is_its_own_union():
    present = torch.tensor([True, True, False])
    a = graph([[0, 1], [1, 0]], present, [[1.0, 0.5], [1.0, 0.5]])
    assert torch.equal(edge_union([a], [present])["T"].to_dense(), a["T"].to_dense())
