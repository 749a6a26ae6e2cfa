"""Scores of items for users, a block of users at a time, whatever the model.

Ids are RecBole's: 0 is padding.

Shapes: U users, I items, D width, B users of a block, J items asked for.
"""

from __future__ import annotations

from typing import Protocol

import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor

from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.graph.item_products import csr_rows
from recbole_ssr.model.base import Embeddings, MultimodalRecommender
from recbole_ssr.model.closed_form import ClosedForm

_WITHOUT_HISTORY = (ModelType.GENERAL, ModelType.TRADITIONAL, ModelType.KNOWLEDGE)
_PAIRS_AT_ONCE = 2**18  # of a model that scores pairs alone
# Attributes under which RecBole's models keep what their scores are inner products of.
_HOST_EMBEDDINGS = (("restore_user_e", "restore_item_e"), ("user_embedding", "item_embedding"))
_CHECKED_USERS = 64


class Scores(Protocol):
    """Scores of the users 0 .. n_users - 1."""

    n_users: int
    n_items: int

    def block(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Return the scores of some users. Shapes: users (B,); items (J,); result (B, I or J).

        The result is the caller's own.
        """


class EmbeddingScores:
    """Inner products. Shapes: user (U, D); item (I, D)."""

    def __init__(self, user: Tensor, item: Tensor):
        self.user, self.item = user, item
        self.n_users, self.n_items = len(user), len(item)

    def block(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        item = self.item if items is None else self.item[items.to(self.item.device)]
        return self.user[users.to(self.user.device)] @ item.T


class HistoryScores:
    """What a closed form makes of histories. Shapes: rows (U, I) CSR of ones."""

    def __init__(self, model: ClosedForm, rows: Tensor):
        self.model, self.rows = model, rows
        self.n_users, self.n_items = rows.shape

    @torch.no_grad()
    def block(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        scores = self.model.weights(csr_rows(self.rows, users.to(self.rows.device)))
        return scores if items is None else scores[:, items.to(scores.device)]


class ModelScores:
    """Whatever a model of RecBole answers when it is asked for all items."""

    def __init__(self, experiment: Experiment):
        self.model, self.dataset = experiment.model, experiment.dataset
        self.device = experiment.config["device"]
        self.n_users, self.n_items = self.dataset.user_num, self.dataset.item_num

    @torch.no_grad()
    def block(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        asked = self.dataset.join(Interaction({self.dataset.uid_field: users.cpu()}))
        try:
            scores = self.model.full_sort_predict(asked.to(self.device))
            scores = scores.view(len(users), self.n_items)
        except NotImplementedError:
            scores = self._by_pairs(users)
        return scores.clone() if items is None else scores[:, items.to(scores.device)]

    def _by_pairs(self, users: Tensor) -> Tensor:
        every = torch.arange(self.n_items)
        pairs = Interaction({
            self.dataset.uid_field: users.cpu().repeat_interleave(self.n_items),
            self.dataset.iid_field: every.repeat(len(users)),
        })
        pairs = self.dataset.join(pairs)
        parts = [self.model.predict(pairs[start:start + _PAIRS_AT_ONCE].to(self.device))
                 for start in range(0, len(pairs), _PAIRS_AT_ONCE)]
        return torch.cat(parts).view(len(users), self.n_items)


def scores_of(experiment: Experiment) -> Scores:
    """Return the scores of a finished run. Raises UserError for a model that needs sequences."""
    model = experiment.model
    if experiment.config["MODEL_TYPE"] not in _WITHOUT_HISTORY:
        raise UserError(f"{experiment.config['model']} scores sequences or contexts, which this "
                        "command does not build; it serves general recommenders")
    if isinstance(model, MultimodalRecommender):
        return EmbeddingScores(*model.final_embeddings())
    if isinstance(model, ClosedForm):
        return HistoryScores(model, model.history["R"])
    return ModelScores(experiment)


@torch.no_grad()
def embeddings_of(experiment: Experiment) -> Embeddings:
    """Return the embeddings whose inner products are a model's scores.

    Models of RecBole have no common name for theirs: what is found is compared with their scores.
    Raises UserError for a model whose scores are no inner products.
    """
    model = experiment.model
    if isinstance(model, MultimodalRecommender):
        return model.final_embeddings()
    if not isinstance(model, ClosedForm):
        scores = ModelScores(experiment)
        users = torch.arange(1, min(scores.n_users, _CHECKED_USERS + 1))
        expected = scores.block(users)  # LightGCN keeps what it propagates on the first question
        for names in _HOST_EMBEDDINGS:
            user, item = (_matrix(getattr(model, name, None)) for name in names)
            if user is None or item is None or user.shape[1:] != item.shape[1:]:
                continue
            if len(item) == scores.n_items and torch.allclose(
                    user[users.to(user.device)] @ item.T, expected, rtol=1e-4, atol=1e-5):
                return Embeddings(user, item)
    raise UserError(
        f"the scores of {experiment.config['model']} are no inner products of one vector per user "
        "and one per item; take a model with such embeddings, for instance SSR or FastLightGCN"
    )


def _matrix(x) -> Tensor | None:
    weight = getattr(x, "weight", x)
    return weight.detach() if isinstance(weight, Tensor) and weight.dim() == 2 else None
