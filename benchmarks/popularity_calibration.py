"""What the popularity part of SSR's calibration would give other models, on finished runs.

    python benchmarks/popularity_calibration.py comparisons/<dataset>/runs/*

SSR fits the gains of its bands, and a function of an item's interactions, to the likelihood of the
validation part after training. Of that the function alone needs nothing of the model, so that any
model whose scores are inner products could have it: here it gets it, by the same code and the same
prior. The unit of scores, which training by pairs leaves open, is the likeliest of five.

Recall@20 of validation, to which the function is fitted, and of test; full ranking, items of
earlier parts masked, as in a comparison. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from popularity_discount import line_of
from torch import Tensor

import recbole_ssr
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.user_metrics import user_values
from recbole_ssr.experiment import interactions_of
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.model.held_out import held_out_sample
from recbole_ssr.spectral.calibration import calibration, octaves

_K, _METRIC = 20, "recall@20"
_PRIOR = 30  # SSR's default `calibration_prior`
_LOGIT_SCALES = (0.25, 1, 4, 16, 64)
_BLOCK = 1024  # users at a time


def measured(run: str) -> tuple[str, np.ndarray]:
    """Return a run's name and its metric, rows without and with calibration, columns parts.

    Raises UserError for a folder that is no finished run, and for a model whose scores are no inner
    products.
    """
    recommender = recbole_ssr.load(run)
    user, item = recommender.embeddings()
    interactions = interactions_of(recommender.experiment)
    values = [[_metric(user, item, added, interactions, part) for part in ("valid", "test")]
              for added in (torch.zeros(len(item)), of_popularity(user, item, interactions))]
    return line_of(run, recommender.experiment.config["model"]), np.array(values)


def of_popularity(user: Tensor, item: Tensor, interactions: Interactions) -> Tensor:
    """Return what calibration adds to the scores of items, in their unit.

    Shapes: user (U, D), item (I, D); result (I,).
    """
    train, valid = (torch.from_numpy(part).long() for part in (interactions.train,
                                                               interactions.valid))
    sample = held_out_sample(BipartiteGraph(*train, len(user), len(item)), *valid)
    degree = train[1].bincount(minlength=len(item))
    popularity = octaves(degree, int(degree.max()).bit_length() + 1)
    slots = user[sample.users][None, None], item[sample.items][None, None]
    no_bias = torch.zeros(len(sample.items))
    fits = [(scale, calibration(*slots, no_bias, popularity[sample.items], sample.held_out,
                                logit_scale=scale, cosine=False, prior=_PRIOR))
            for scale in _LOGIT_SCALES]
    scale, fit = min(fits, key=lambda pair: pair[1].after)
    return popularity @ fit.popularity / (scale * fit.gains.item() ** 2)


def _metric(user: Tensor, item: Tensor, added: Tensor, interactions: Interactions,
            part: str) -> float:
    earlier = [interactions.train, *([interactions.valid] if part == "test" else [])]
    seen_user, seen_item = torch.from_numpy(np.hstack(earlier)).long()
    pairs = getattr(interactions, part)
    users, ranked = np.unique(pairs[0]), []
    for of_block in torch.from_numpy(users).split(_BLOCK):
        scores = user[of_block] @ item.T + added
        row = torch.full((len(user),), -1).index_put((of_block,), torch.arange(len(of_block)))
        within = row[seen_user] >= 0
        scores[row[seen_user[within]], seen_item[within]] = -torch.inf
        scores[:, 0] = -torch.inf  # padding
        ranked.append(scores.topk(_K).indices)
    ranking = Ranking(users, torch.cat(ranked).numpy())
    return float(np.nanmean(user_values(ranking, pairs, [_METRIC])[_METRIC]))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    args = parser.parse_args(argv)
    print("| model | valid | test | valid, calibrated | test, calibrated |\n|---|---|---|---|---|")
    for run in args.runs:
        try:
            model, values = measured(run)
        except UserError as error:  # a closed form, which has no inner products
            print(f"{run}: {error}", file=sys.stderr)
            continue
        print(f"| {model} | {' | '.join(f'{x:.4f}' for x in values.flat)} |", flush=True)


if __name__ == "__main__":
    main()
