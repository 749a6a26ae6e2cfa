"""Scores for users by the items that they have, without any training.

A model that propagates over the graph takes a new user through the same filters as the trained
ones (:mod:`recbole_ssr.model.receivers`). Where it also has a trained vector per user, a user known
from training keeps its own, and a new one gets the mean of those of all users with interactions.
Degrees: the user's is the number of items given, the items' stay those of training, as if the user
had not been counted; so a user of the training data with its own history has its own scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.model.base import MultimodalRecommender
from recbole_ssr.model.closed_form import ClosedForm
from recbole_ssr.model.receivers import with_receivers
from recbole_ssr.serve.scores import EmbeddingScores, HistoryScores, Scores


def folded_in(experiment: Experiment, users: Tensor, items: Tensor, source: Tensor) -> Scores:
    """Return scores for n users by their items.

    `source` is the id that a user has in training, 0 for a new one. Raises UserError, which names
    the model, where it has no such step.

    Shapes: users (E,) from 0, items (E,) ids; source (n,).
    """
    model = experiment.model
    if isinstance(model, ClosedForm):
        n_items = experiment.dataset.item_num
        pairs = torch.unique(users.long() * n_items + items.long())
        ones = torch.ones(len(pairs))
        rows = csr_tensor(pairs // n_items, pairs % n_items, ones, (len(source), n_items))
        return HistoryScores(model, rows.to(experiment.config["device"]))
    if not isinstance(model, MultimodalRecommender) or model.user_tables is None:
        raise UserError(
            f"{experiment.config['model']} has no embedding of a user by the user's items alone; "
            "train it with these users, or take a model that propagates over the graph (SSR, "
            "FastLightGCN, FREEDOM) or a closed form (FeatureItemKNN, FeatureEASE, GFCF)"
        )
    device = model.graph["R"].device
    rows = model.graph.receiving_rows(users.to(device), items.to(device), len(source))
    user, item = with_receivers(model, rows, source.to(device)).final_embeddings()
    return EmbeddingScores(user[len(user) - len(source):], item)
