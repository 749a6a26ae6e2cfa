r"""Recommenders without parameters: item-item weights fitted once, from interactions and features.

.. math:: s_u = R_u W

R is the (U, I) matrix of training interactions and W an (I, I) matrix that a subclass fits when it
is built. Fitting is deterministic, so that no checkpoint holds W: the data give it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.errors import UserError
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.graph.ease import ease
from recbole_ssr.graph.interactions import interaction_knn, interaction_matrix
from recbole_ssr.graph.item_products import (
    DenseWeights,
    LowRankWeights,
    SparseWeights,
    WeightedSum,
    csr_rows,
)
from recbole_ssr.graph.knn import similarities
from recbole_ssr.model.item_graph import neighbours_of, shares_of
from recbole_ssr.spectral.low_pass import low_pass_factors

logger = logging.getLogger("recbole_ssr")

_USERS_AT_ONCE = 512  # of predict(), whose pairs may be of any number of users


class ClosedForm(GeneralRecommender):
    """A subclass writes :meth:`fit`, which returns W as a module of graph/item_products.py.

    Attributes: `fit_seconds`, the time that fitting took.
    """

    type = ModelType.TRADITIONAL
    input_type = InputType.PAIRWISE
    trainer_class = "recbole_ssr.train.fitted:FittedTrainer"
    dataset_class = "recbole_ssr.data.lazy_features:LazyFeaturesDataset"
    embeds_new_items = False  # whether an item without interactions is scored by its features
    needs_features = True  # of the items

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        train = dataset.inter_feat
        graph = BipartiteGraph(train[self.USER_ID], train[self.ITEM_ID], self.n_users,
                               self.n_items)
        users, items = graph.edges()
        ones, shape = torch.ones(len(users)), (self.n_users, self.n_items)
        self.history = Constants(R=csr_tensor(users, items, ones, shape))
        start = time.perf_counter()
        self.weights = self.fit(config, dataset, graph)
        self.fit_seconds = time.perf_counter() - start
        logger.info("%s fitted in %.1f s", type(self).__name__, self.fit_seconds)

    def fit(self, config, dataset, graph: BipartiteGraph) -> nn.Module:
        """Return the module that maps rows of R, (B, I) CSR, to scores (B, I)."""
        raise NotImplementedError

    @torch.no_grad()
    def scores(self, users: Tensor) -> Tensor:
        """Return the scores of all items. Shapes: users (B,); result (B, I)."""
        return self.weights(csr_rows(self.history["R"], users))

    def full_sort_predict(self, interaction) -> Tensor:
        """Score every item for the users of `interaction`. Shapes: result (B * I,)."""
        return self.scores(interaction[self.USER_ID]).reshape(-1)

    def predict(self, interaction) -> Tensor:
        """Score the pairs of `interaction`. Shapes: result (B,)."""
        items = interaction[self.ITEM_ID]
        users, row = torch.unique(interaction[self.USER_ID], return_inverse=True)
        result = torch.empty(len(items), device=items.device)
        for start in range(0, len(users), _USERS_AT_ONCE):
            scores = self.scores(users[start:start + _USERS_AT_ONCE])
            mine = (row >= start) & (row < start + _USERS_AT_ONCE)
            result[mine] = scores[row[mine] - start, items[mine]]
        return result

    def calculate_loss(self, interaction) -> Tensor:  # noqa: ARG002
        """Return zero: there is nothing to train, whatever trainer asks."""
        return torch.zeros((), requires_grad=True)


def scipy_matrix(graph: BipartiteGraph) -> sp.csr_matrix:
    """Return the interactions of a graph as ones, (U, I) scipy CSR."""
    return interaction_matrix(*graph.edges(), graph.n_users, graph.n_items)


def fit_ease(config, dataset, graph: BipartiteGraph) -> DenseWeights:
    """Fit EASE by `ridge` and `feature_weight`, at 0 without features.

    Raises UserError for more items than `max_items`.
    """
    ridge, beta = config["ridge"], config["feature_weight"]
    check_size(graph.n_items, config["max_items"])
    F = side_by_side(dataset.item_features) if beta else np.zeros((graph.n_items, 0), np.float32)
    R, n_known = scipy_matrix(graph), n_known_of(dataset)
    return DenseWeights(torch.from_numpy(ease(R, F, ridge, beta, n_known)))


def n_known_of(dataset) -> int | None:
    """Return how many items come before new ones of a dataset, padding included; None of all."""
    return getattr(dataset, "n_known_items", None)


def check_size(n_items: int, most: int) -> None:
    """Raise UserError for more items than a dense item-item matrix is meant for."""
    if n_items - 1 > most:
        size = n_items**2 * torch.float32.itemsize / 2**30
        raise UserError(
            f"EASE inverts a dense matrix of items x items and keeps it: {size:,.1f} GiB and about "
            f"{n_items**3:.0e} multiplications for the {n_items - 1:,} items here, and max_items is"
            f" {most:,}. Raise max_items if this machine has the memory, or choose a model that "
            "stays sparse: GFCF, FeatureItemKNN, or ClosedFormSum with ease_weight 0"
        )


def side_by_side(features) -> np.ndarray:
    """Return the features of all modalities, zeros where an item has none. Shapes: (I, f)."""
    _check_modalities(features)
    parts = [features.matrix(c).numpy() * features.has_feature(c).numpy()[:, None]
             for c in features.modalities]
    return np.concatenate(parts, axis=1)


def _check_modalities(features) -> None:
    if not features.modalities:
        raise UserError("There is no feature modality to fit on. Add one to modalities, or leave "
                        "features out: feature_weight 0 in EASE, interaction_weight 1 in item kNN")


def fit_low_pass(config, graph: BipartiteGraph) -> LowRankWeights:
    """Fit the ideal low-pass filter of `modes` modes."""
    left, right = low_pass_factors(scipy_matrix(graph), config["modes"])
    return LowRankWeights(torch.from_numpy(left), torch.from_numpy(right))


def fit_item_knn(config, dataset, graph: BipartiteGraph) -> SparseWeights:
    """Fit item kNN by `knn_k`, `knn_weights` of the modalities and `interaction_weight`."""
    share, shape = config["interaction_weight"], (graph.n_items, graph.n_items)
    edges = []
    if share < 1:
        edges += [(item, near, (1 - share) * value)
                  for item, near, value in _feature_neighbours(config, dataset.item_features)]
    if share > 0:
        item, near, cosine = interaction_knn(scipy_matrix(graph), config["knn_k"])
        edges.append((item, near, share * cosine))
    return SparseWeights(csr_tensor(*map(torch.cat, zip(*edges)), shape))


def _feature_neighbours(config, features) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return per modality the nearest items: item, neighbour, share x cosine, all (E,)."""
    _check_modalities(features)
    k, edges = config["knn_k"], []
    for c, share in zip(features.modalities, shares_of(config["knn_weights"], features.modalities)):
        here = features.has_feature(c)
        near = neighbours_of(config, features, c, k + 1)  # as a rule the item itself and k others
        cosine = similarities(features.matrix(c), here, near)
        ids = here.nonzero()
        other = near != ids
        kept = other & (other.cumsum(1) <= k)
        edges.append((ids.expand_as(near)[kept], near[kept], share * cosine[kept]))
    return edges


def weighted_sum(parts: dict[str, tuple[float, Callable[[], nn.Module]]],
                 standardise: bool = False, n_known: int | None = None) -> WeightedSum:
    """Return the sum of the parts whose weight is not 0; only these are fitted.

    `parts` maps the key of a weight to it and to a function that fits the part; the rest is
    :class:`WeightedSum`'s. Raises UserError where all weights are 0.
    """
    used = [part for part in parts.values() if part[0] != 0]
    if not used:
        raise UserError(f"{', '.join(parts)} are all 0, so that every score would be 0; give one "
                        "of them a weight")
    return WeightedSum([fit() for _, fit in used], [weight for weight, _ in used], standardise,
                       n_known)
