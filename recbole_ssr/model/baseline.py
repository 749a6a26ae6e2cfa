"""What the bundled baselines share beyond :class:`MultimodalRecommender`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ssr.errors import UserError
from recbole_ssr.model.base import Embeddings, MultimodalRecommender
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.raw_features import RawFeatures
from recbole_ssr.nn.rows import select


class Baseline(MultimodalRecommender):
    """A subclass writes :meth:`forward`, the embeddings of all nodes, and `calculate_loss`.

    `objective: paper` trains the model's own loss: `paper_objective` of it, or, where the paper has
    no common form (`paper_objective` None, then `self.objective` is None), what the model writes
    itself. Any other objective takes the place of the ranking part; the rest of the loss stays.
    """

    def forward(self) -> Embeddings:
        """Return the embeddings of all nodes on the whole training graph."""
        raise NotImplementedError

    def encode(self) -> Embeddings:
        user, item = self.forward()
        # The cosine ranks a user's items: the user's own norm does not matter.
        cosine = self.objective is not None and self.objective.cosine
        return Embeddings(user, unit_rows(item) if cosine else item)

    def rank(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """Return the objective of a batch out of the embeddings of all nodes.

        Shapes: user (U, D), item (I, D); result ().
        """
        items = None if self.objective.all_items else batch.items
        return self.ranking_loss(select(user, batch.users), select(item, items), batch)


def raw_features(config, dataset) -> nn.ModuleList:
    """Return RawFeatures of every modality, in the dataset's order; `train_features` frees them.

    Modalities may have any name, which the keys of a ModuleDict may not. Raises UserError where
    there is none.
    """
    features = dataset.item_features
    if not features.modalities:
        raise UserError("this model needs at least one feature modality and the dataset has none; "
                        "see modalities and feature_path, or take FastLightGCN, which needs none")
    return nn.ModuleList(
        RawFeatures(features.matrix(c), features.has_feature(c), config["train_features"])
        for c in features.modalities
    )


def xavier(*shape: int, normal: bool = False) -> nn.Parameter:
    """Return a parameter with Xavier's uniform (or normal) initial values."""
    init = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    return nn.Parameter(init(torch.empty(*shape)))


def xavier_sides(*sizes: int, trained: bool = True) -> list[nn.Parameter]:
    """Return one table a side, drawn as a single one as where a model has users and items in one.

    Untrained they still belong to the state. Shapes: sizes n_1, n_2, .., d; results (n_k, d).
    """
    *rows, width = sizes
    table = nn.init.xavier_normal_(torch.empty(sum(rows), width))
    return [nn.Parameter(side.clone(), requires_grad=trained) for side in table.split(rows)]


def xavier_linear(n_in: int, n_out: int, bias: bool = True, normal: bool = False) -> nn.Linear:
    """Return a linear layer with Xavier's initial weights and torch's initial bias.

    The released models have it so. It matters where a layer reads embeddings that start near 0,
    as BM3's predictor: from 0 its validation Recall@20 on Amazon Baby is .0733, not .0844.
    """
    layer = nn.Linear(n_in, n_out, bias=bias)
    (nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_)(layer.weight)
    return layer
