"""The ranking objective as the base of all models offers it."""

import importlib

import pytest
import torch
from stubs import Data, Features, settings, triples
from torch import nn

from recbole_ssr.errors import UserError
from recbole_ssr.model.base import Embeddings, MultimodalRecommender, objective_of
from recbole_ssr.nn.objectives import OBJECTIVES
from recbole_ssr.registry import MODELS

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


@pytest.mark.parametrize("changes, shown", [
    ({"objective": "in_batch_softmax", "sampling_power": 1.0}, [0, 0, 2 / 3, 2, 0, 4 / 3]),
    ({"objective": "sampled_softmax",
      "train_neg_sample_args": {"distribution": "popularity", "alpha": 2.0}}, [1.0, 1, 1, 4, 1, 1]),
    ({"objective": "sampled_softmax", "sampling_power": 1.0}, None),
])
def test_what_is_drawn_more_often_counts_less(changes, shown):
    """Users 1, 2 and 3 have 2, 1 and 1 of the interactions."""
    model = build(**changes)
    if shown is None:
        assert model._shown is None
        return
    torch.testing.assert_close(model._shown["item"], torch.tensor(shown))
    plain = build(objective=changes["objective"])
    batch = triples([1, 3, 2], [3, 5, 3], [2, 3, 5])
    assert model.calculate_loss(batch) != plain.calculate_loss(batch)


def test_wrong_settings_are_explained():
    with pytest.raises(UserError, match="'softmx'.*bce, bpr.*Did you mean 'softmax'"):
        objective_of(KEYS | {"objective": "softmx"})
    with pytest.raises(UserError, match="'trian'.*train, all") as raised:
        objective_of(KEYS | {"softmax_candidates": "trian"})
    assert "Did you mean" not in str(raised.value)
    with pytest.raises(UserError, match="temperature.*make it positive"):
        objective_of(KEYS | {"ranking_temperature": 0})
    assert objective_of({}) is None


# The objective of a model's own paper


class OwnBpr(Factors):
    paper_objective = "bpr"


def test_paper_is_the_objective_that_the_model_names():
    torch.manual_seed(0)
    data = Data(EDGES[:, 0], EDGES[:, 1], 4, 6, Features())
    batch = triples([1, 3], [2, 5], [4, 2])
    losses = []
    for name in ("paper", "bpr"):
        torch.manual_seed(0)
        model = OwnBpr(settings() | KEYS | {"objective": name}, data)
        assert model.objective.name == "bpr"
        losses.append(model.calculate_loss(batch))
    assert losses[0] == losses[1]


def test_paper_is_nothing_where_the_model_writes_its_own_loss():
    assert Factors.paper_objective is None
    model = build(objective="paper")
    assert model.objective is None
    batch = model.batch(triples([1, 3], [2, 5], [4, 2]))  # the nodes of the batch, not all items
    assert batch.items.tolist() == [2, 4, 5]


def test_a_paper_softmax_keeps_the_settings_of_the_softmax():
    objective = objective_of(
        KEYS | {"objective": "paper", "softmax_cosine": True}, "sampled_softmax")
    assert (objective.name, objective.temperature, objective.cosine) == ("sampled_softmax", 0.2,
                                                                         True)


def test_any_other_name_takes_the_place_of_the_papers():
    assert objective_of(KEYS, "bpr").name == "softmax"
    assert objective_of(KEYS | {"objective": "bce"}, None).name == "bce"


def test_a_misspelt_paper_is_explained():
    with pytest.raises(UserError, match="'papr'.*paper is the model's own. Did you mean 'paper'"):
        objective_of(KEYS | {"objective": "papr"}, "bpr")
    with pytest.raises(UserError, match="temperature.*make it positive"):
        objective_of(KEYS | {"objective": "paper", "ranking_temperature": -1}, "bpr")


def test_every_bundled_model_has_a_paper_objective_that_exists():
    for name, module in MODELS.items():
        cls = getattr(importlib.import_module(module), name)
        assert getattr(cls, "paper_objective", None) in (None, *OBJECTIVES), name
