"""The split and the ranking metrics of the package, for models outside RecBole.

Every user with held-out items is ranked over all items but padding. For validation the training
items are masked, for test the validation items too. The metrics are RecBole's: recall divides by
the user's held-out items, NDCG by the best possible gain at the cut-off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from recbole.data import data_preparation
from recbole.data.dataloader import TrainDataLoader
from recbole.utils import init_seed
from torch import Tensor

from recbole_ssr.config import PluginConfig, build_config
from recbole_ssr.data.dataset import MultimodalDataset

CUTOFFS = (10, 20)
_USERS_PER_STEP = 512

Pairs = tuple[Tensor, Tensor]


class Split(NamedTuple):
    """Interactions by part, item features by modality, and RecBole's loader of training batches.

    Shapes: train, valid, test pairs of (E,) user and item ids, 0 being padding; features (I, f).
    """

    n_users: int
    n_items: int
    train: Pairs
    valid: Pairs
    test: Pairs
    features: dict[str, Tensor]
    loader: TrainDataLoader
    fingerprint: str


class Measured(NamedTuple):
    """Ranking metrics, and recall at the last of CUTOFFS by user.

    Shapes: users (n,) ids, ascending; recall (n,) float64.
    """

    metrics: dict[str, float]
    users: Tensor
    recall: Tensor


def data_config(dataset: str, settings: dict) -> PluginConfig:
    """Configuration of the data alone: RecBole's LightGCN has no setting that changes it."""
    return build_config("LightGCN", dataset, config_dict={"show_progress": False, **settings})


def load_split(config: PluginConfig) -> Split:
    """Read a dataset of the plugin and split it as every run does."""
    init_seed(config["seed"], config["reproducibility"])
    dataset = MultimodalDataset(config)
    loader, valid, test = data_preparation(config, dataset)
    parts = [
        (part[dataset.uid_field].long(), part[dataset.iid_field].long())
        for part in (x._dataset.inter_feat for x in (loader, valid, test))
    ]
    features = {c: dataset.item_features.matrix(c) for c in dataset.item_features.modalities}
    return Split(dataset.user_num, dataset.item_num, *parts, features, loader,
                 dataset.split_fingerprint)


@torch.no_grad()
def measure(scores_of: Callable[[Tensor], Tensor], split: Split, part: str) -> Measured:
    """Rank all items for the users of `part` (valid or test).

    Shapes: scores_of maps (B,) user ids to (B, I) scores.
    """
    held = getattr(split, part)
    seen = [split.train] if part == "valid" else [split.train, split.valid]
    masked = _membership([torch.cat(side) for side in zip(*seen)], split)
    positive = _membership(held, split)
    users = torch.unique(held[0])
    gains = []
    for block in users.split(_USERS_PER_STEP):
        scores = scores_of(block).clone()
        scores[:, 0] = -torch.inf
        scores[_rows(masked, block)] = -torch.inf
        truth = _rows(positive, block)
        top = scores.topk(max(CUTOFFS), dim=1).indices
        gains.append(torch.cat([truth.gather(1, top), truth.sum(1, keepdim=True)], dim=1))
    hits = torch.cat(gains).double()
    return Measured(_metrics(hits), users, recall_at(hits, CUTOFFS[-1]))


def recall_at(hits: Tensor, k: int) -> Tensor:
    """Recall of every user. Shapes: hits (n, K + 1), the last column the number of positives."""
    return hits[:, :k].double().sum(1) / hits[:, -1]


def _metrics(hits: Tensor) -> dict[str, float]:
    discount = 1 / torch.arange(2, max(CUTOFFS) + 2, dtype=torch.float64).log2()
    found = {f"recall@{k}": recall_at(hits, k).mean().item() for k in CUTOFFS}
    for k in CUTOFFS:
        best = discount[:k].cumsum(0)[hits[:, -1].long().clamp(max=k) - 1]
        found[f"ndcg@{k}"] = ((hits[:, :k] @ discount[:k]) / best).mean().item()
    return found


def _membership(pairs: Pairs, split: Split) -> Tensor:
    """Sparse (U, I) matrix of ones, repeated pairs once."""
    ids = torch.unique(pairs[0] * split.n_items + pairs[1])
    index = torch.stack([ids // split.n_items, ids % split.n_items])
    shape = (split.n_users, split.n_items)
    return torch.sparse_coo_tensor(index, torch.ones(len(ids)), shape, is_coalesced=True,
                                   check_invariants=False)


def _rows(matrix: Tensor, rows: Tensor) -> Tensor:
    return matrix.index_select(0, rows).to_dense().bool()
