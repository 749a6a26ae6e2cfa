r"""LightGCN on ids, and with the items' features added by one linear layer per modality.

The baseline that SSR has to beat (He et al., LightGCN, SIGIR 2020), apart from the package's models
and trainer, and with their objectives, sampling, graph and split:

.. math::
    x_u = e_u,\qquad x_i = e_i + \sum_c (W_c f_{ic} + b_c),\qquad
    agg = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l x

    python benchmarks/lightgcn_features.py --data <folder> [--objective bce] [--ids_only]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from datasets import convert
from protocol import Measured, Split, data_config, load_split, measure
from recbole.utils import early_stopping, init_seed
from torch import Tensor, nn

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.objectives import make_objective
from recbole_ssr.spectral.chebyshev import propagate_sum
from recbole_ssr.train.sampling import balanced

DEFAULTS = {
    "features": True,          # one linear layer per modality, or ids only
    "objective": "sampled_softmax",
    "ranking_temperature": 0.2,
    "softmax_candidates": "train",
    "sampling_power": 0.5,     # interactions drawn with weight degree(user)^-a; 0: each once
    "n_layers": 3,
    "embedding_size": 128,
    "init_std": 1e-3,          # of the ids; None is Xavier's uniform, as RecBole's LightGCN
    "l2_weight": 1e-4,         # of half the squared norm of the batch's ids, per interaction
    "learning_rate": 5e-4,
    "epochs": 300,
    "stopping_step": 20,       # evaluations without a better recall@20 on validation
}


class Trained(NamedTuple):
    """What training ends with, measured at the epoch that validation chose."""

    valid: Measured
    test: Measured
    best_epoch: int
    curve: list[float]
    seconds: list[float]


class LightGCN(nn.Module):
    """LightGCN whose items may add projected features to their ids.

    Shapes: features (I, f) by modality; `encode` returns (U, d) and (I, d).
    """

    def __init__(self, graph: BipartiteGraph, features: Sequence[Tensor], width: int,
                 n_layers: int, init_std: float | None):
        super().__init__()
        self.graph, self.F, self.L = graph, list(features), n_layers
        self.E_user = nn.Parameter(torch.empty(graph.n_users, width))
        self.E_item = nn.Parameter(torch.empty(graph.n_items, width))
        for E in (self.E_user, self.E_item):
            if init_std is None:
                nn.init.xavier_uniform_(E)
            else:
                nn.init.normal_(E, std=init_std)
        self.W = nn.ModuleList(nn.Linear(f.shape[1], width) for f in features)

    def encode(self) -> tuple[Tensor, Tensor]:
        item = self.E_item
        for W, f in zip(self.W, self.F):
            item = item + W(f)
        user, item = propagate_sum(self.graph, (self.E_user, item), self.L)
        return user / (self.L + 1), item / (self.L + 1)

    def l2(self, users: Tensor, items: Tensor) -> Tensor:
        """Half the squared norm of ids, summed. Shapes: users, items (B,) with repetitions."""
        norms = (E.square().sum(1).index_select(0, ids).sum()
                 for E, ids in ((self.E_user, users), (self.E_item, items)))
        return sum(norms) / 2


def train(split: Split, options: dict, seed: int) -> Trained:
    """Train until validation stops improving; measure test once, at the best epoch."""
    init_seed(seed, True)
    objective = make_objective(options["objective"], options["ranking_temperature"],
                               options["softmax_candidates"], sampled_cosine=True)
    graph = BipartiteGraph(*split.train, split.n_users, split.n_items)
    features = list(split.features.values()) if options["features"] else []
    model = LightGCN(graph, features, options["embedding_size"], options["n_layers"],
                     options["init_std"])
    optimizer = torch.optim.Adam(model.parameters(), lr=options["learning_rate"])
    degree = torch.bincount(split.train[1], minlength=split.n_items).float()
    loader = balanced(split.loader, options["sampling_power"])
    best, state, waited, curve, seconds = -1.0, None, 0, [], []
    for epoch in range(options["epochs"]):
        start = time.perf_counter()
        for interaction in loader:
            optimizer.zero_grad()
            loss_of(model, interaction, objective, degree, options["l2_weight"]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        curve.append(measured(model, objective.cosine, split, "valid").metrics["recall@20"])
        best, waited, stop, improved = early_stopping(
            curve[-1], best, waited, options["stopping_step"]
        )
        if improved:
            best_epoch, state = epoch, deepcopy(model.state_dict())
        if stop:
            break
    model.load_state_dict(state)
    parts = (measured(model, objective.cosine, split, part) for part in ("valid", "test"))
    return Trained(*parts, best_epoch, curve, seconds)


def loss_of(model: LightGCN, interaction, objective, degree: Tensor, l2_weight: float) -> Tensor:
    """Return the objective of a batch plus the L2 of the ids in it."""
    users, positives, negatives = (
        interaction[name].long() for name in ("user_id", "item_id", "neg_item_id")
    )
    if objective.all_items:
        batch = Batch.of_all_items(users, positives, negatives, len(degree))
        items = positives
    else:
        batch = Batch.of(users, positives, negatives)
        items = torch.cat([positives, negatives])
    user, item = model.encode()
    rows = user.index_select(0, batch.users), item.index_select(0, batch.items)
    return objective(*rows, batch, degree) + l2_weight * model.l2(users, items) / len(users)


@torch.no_grad()
def measured(model: LightGCN, cosine: bool, split: Split, part: str) -> Measured:
    """Rank by inner product, or by cosine where the objective trained cosines."""
    user, item = model.encode()
    item = unit_rows(item) if cosine else item
    return measure(lambda users: user[users] @ item.T, split, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with tiktok/")
    parser.add_argument("--objective", default=DEFAULTS["objective"])
    parser.add_argument("--ids_only", action="store_true", help="leave the features out")
    parser.add_argument("--epochs", type=int, default=DEFAULTS["epochs"])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    options = DEFAULTS | {"objective": arguments.objective, "epochs": arguments.epochs,
                          "features": not arguments.ids_only}
    if arguments.objective in ("bce", "bpr"):
        options["sampling_power"] = 0  # as published
    with tempfile.TemporaryDirectory() as folder:
        settings = convert("tiktok", arguments.data, Path(folder))
        split = load_split(data_config("tiktok", {**settings, "seed": arguments.seed}))
    result = train(split, options, arguments.seed)
    print(f"best epoch {result.best_epoch} of {len(result.curve)}")
    for part in ("valid", "test"):
        print(part, {k: round(v, 4) for k, v in getattr(result, part).metrics.items()})


if __name__ == "__main__":
    main()
