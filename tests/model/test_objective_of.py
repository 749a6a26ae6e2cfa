"""The ranking objective as the base of all models offers it."""

import pytest
import torch
from stubs import Data, Features, settings, triples
from torch import nn

from recbole_ssr.errors import UserError
from recbole_ssr.model.base import Embeddings, MultimodalRecommender, objective_of

KEYS = {"objective": "softmax", "ranking_temperature": 0.2, "softmax_candidates": "train",
        "softmax_cosine": False}
EDGES = torch.tensor([[1, 2], [1, 3], [2, 3], [3, 5]])  # item 4 is never seen


class Factors(MultimodalRecommender):
    """Free embeddings."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user = nn.Parameter(torch.randn(self.n_users, 3))
        self.item = nn.Parameter(torch.randn(self.n_items, 3))

    def encode(self):
        return Embeddings(self.user, self.item)

    def calculate_loss(self, interaction):
        batch = self.batch(interaction)
        user, item = self.user[batch.users], self.item[batch.items]
        return self.ranking_loss(user, item, batch)


def build(**changes):
    torch.manual_seed(0)
    data = Data(EDGES[:, 0], EDGES[:, 1], 4, 6, Features())
    return Factors(settings() | KEYS | changes, data)


@pytest.mark.parametrize("name", ["bce", "bpr", "sampled_softmax", "in_batch_softmax"])
def test_sampled_objectives_see_the_nodes_of_the_batch(name):
    batch = build(objective=name).batch(triples([1, 3], [2, 5], [4, 2]))
    assert batch.users.tolist() == [1, 3] and batch.items.tolist() == [2, 4, 5]


@pytest.mark.parametrize("name", ["softmax", "cosine_softmax"])
def test_full_objectives_see_every_item(name):
    batch = build(objective=name).batch(triples([1, 3], [2, 5], [4, 2]))
    assert batch.users.tolist() == [1, 3] and batch.items.tolist() == list(range(6))


def test_degrees_count_training_interactions_and_follow_the_model():
    model = build()
    assert model.item_degree.tolist() == [0, 0, 1, 2, 0, 1]
    assert model.double().item_degree.dtype == torch.float64
    assert set(model.state_dict()) == {"user", "item", "_extra_state"}


def test_the_ranking_loss_is_that_of_the_settings():
    model = build()
    loss = model.calculate_loss(triples([1, 3], [2, 5], [4, 2]))
    scores = (model.user[[1, 3]] @ model.item[[2, 3, 5]].T) / 0.2
    expected = nn.functional.cross_entropy(scores, torch.tensor([0, 2]))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert not model.item.grad[[0, 1, 4]].any()


def test_wrong_settings_are_explained():
    with pytest.raises(UserError, match="'softmx'.*bce, bpr.*Did you mean 'softmax'"):
        objective_of(KEYS | {"objective": "softmx"})
    with pytest.raises(UserError, match="'trian'.*train, all") as raised:
        objective_of(KEYS | {"softmax_candidates": "trian"})
    assert "Did you mean" not in str(raised.value)
    with pytest.raises(UserError, match="temperature.*make it positive"):
        objective_of(KEYS | {"ranking_temperature": 0})
    assert objective_of({}) is None
