"""What every multimodal recommender of this package shares."""

from __future__ import annotations

from typing import NamedTuple

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph


class Embeddings(NamedTuple):
    """Final embeddings whose inner products are the scores.

    Shapes: user (U, D); item (I, D).
    """

    user: Tensor
    item: Tensor


class Batch(NamedTuple):
    """The distinct nodes of a training batch and where each interaction finds them.

    Shapes: users (Bu,) and items (Bi,) distinct ids; user, positive, negative (B,) positions in
    them.
    """

    users: Tensor
    items: Tensor
    user: Tensor
    positive: Tensor
    negative: Tensor

    @classmethod
    def of(cls, users: Tensor, positives: Tensor, negatives: Tensor) -> Batch:
        rows_u, user = torch.unique(users, return_inverse=True)
        rows_i, item = torch.unique(torch.cat([positives, negatives]), return_inverse=True)
        return cls(rows_u, rows_i, user, *item.split(len(positives)))


class MultimodalRecommender(GeneralRecommender):
    """Base of the package's models: encode all nodes, score by inner product.

    A subclass writes :meth:`encode` and :meth:`calculate_loss`. Embeddings are computed once per
    evaluation and dropped whenever the parameters may change: on `train()` and on loading.
    """

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        train = dataset.inter_feat
        self.graph = BipartiteGraph(train[self.USER_ID], train[self.ITEM_ID], self.n_users,
                                    self.n_items)
        # Drawn on the CPU on every device, and part of the state, so that a run resumes exactly.
        self.generator = torch.Generator().manual_seed(config["seed"])
        self._encoded: Embeddings | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.drop_encoded())

    def encode(self) -> Embeddings:
        """Compute the embeddings of all users and items."""
        raise NotImplementedError

    def batch(self, interaction) -> Batch:
        """Return the batch's distinct nodes and the positions of its triples."""
        return Batch.of(interaction[self.USER_ID], interaction[self.ITEM_ID],
                        interaction[self.NEG_ITEM_ID])

    def predict(self, interaction) -> Tensor:
        """Score the pairs of `interaction`. Shapes: result (B,)."""
        user, item = self._evaluation_embeddings()
        return (user[interaction[self.USER_ID]] * item[interaction[self.ITEM_ID]]).sum(1)

    def full_sort_predict(self, interaction) -> Tensor:
        """Score every item for the users of `interaction`. Shapes: result (B * I,)."""
        user, item = self._evaluation_embeddings()
        return (user[interaction[self.USER_ID]] @ item.T).view(-1)

    @torch.no_grad()
    def _evaluation_embeddings(self) -> Embeddings:
        if self.training:
            return self.encode()
        if self._encoded is None:
            self._encoded = self.encode()
        return self._encoded

    def drop_encoded(self) -> None:
        """Forget the embeddings kept for evaluation."""
        self._encoded = None

    def train(self, mode: bool = True):
        if mode:
            self.drop_encoded()
        return super().train(mode)

    def _apply(self, fn, recurse=True):
        self.drop_encoded()
        return super()._apply(fn, recurse)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())
