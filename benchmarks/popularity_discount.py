"""What room for rare items costs: finished runs at several discounts of popularity.

    python benchmarks/popularity_discount.py runs/<your run> [RUN ...]
    python benchmarks/popularity_discount.py --plot=FILE.png comparisons/<dataset>/runs/*

Recall@20 on test of all users and, for tail items (those that together receive a fifth of the
training interactions), of the users who have one; full ranking, training and validation items
masked, as in a comparison. SSR is loaded as `recommend --popularity-discount=...` loads it; from
the scores of any other model as many of their standard deviations, times the log of an item's
training interactions, are taken off. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import recbole_ssr
from recbole_ssr.cli import exit_status
from recbole_ssr.compare.store import TASK_FILE, read_task
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.subsets import Subset, head_and_tail, subset_values
from recbole_ssr.experiment import interactions_of
from recbole_ssr.serve.recommender import Recommender

_K, _METRIC, _HEAD_SHARE = 20, "recall@20", 0.8
_BLOCK = 1024  # users at a time
VALUES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


Curve = dict[float, tuple[float, float]]  # by discount: of all users, of tail items


def measured(run: str, values: tuple[float, ...] = VALUES) -> tuple[str, Curve]:
    """Return a run's name and its Recall@20 on test."""
    recommender = recbole_ssr.load(run)
    own = hasattr(recommender.experiment.model, "popularity_discount")
    interactions = interactions_of(recommender.experiment)
    result = {}
    for value in values:
        if own:
            recommender = recbole_ssr.load(run, popularity_discount=value)
        ranking = _ranking(recommender, interactions, 0 if own else value)
        of_users = (subset_values(ranking, interactions.test, group, [_METRIC]).values[_METRIC]
                    for group in _groups(interactions))
        result[value] = tuple(float(values.mean()) for values in of_users)
    return line_of(run, recommender.experiment.config["model"]), result


def line_of(run: str, model: str) -> str:
    """Return the name of a run's line in its comparison, of any other run its model."""
    return read_task(run).label if (Path(run) / TASK_FILE).exists() else model


def _groups(interactions: Interactions) -> tuple[Subset, Subset]:
    everyone = Subset("all users", "users", np.ones(interactions.n_users, dtype=bool),
                      np.ones(interactions.n_items, dtype=bool))
    return everyone, head_and_tail(interactions, _HEAD_SHARE).subsets[-1]


def _ranking(recommender: Recommender, interactions: Interactions, discount: float) -> Ranking:
    users, seen = np.unique(interactions.test[0]), recommender.catalogue.seen
    degree = np.bincount(interactions.train[1], minlength=interactions.n_items)
    log = np.log(np.maximum(degree, 1))
    log[degree == 0] = log[degree > 0].mean()  # as SSR, whose setting leaves such items alone
    unit = recommender.scores.block(torch.from_numpy(users[:_BLOCK]))[:, 1:].std()
    taken = discount * unit * torch.from_numpy(log).to(unit)
    ranked = []
    for of_block in np.array_split(users, -(-len(users) // _BLOCK)):
        scores = recommender.scores.block(torch.from_numpy(of_block)) - taken
        scores[torch.from_numpy(seen[of_block].toarray() > 0).to(scores.device)] = -torch.inf
        scores[:, 0] = -torch.inf  # padding
        ranked.append(scores.topk(_K).indices.cpu().numpy())
    return Ranking(users, np.concatenate(ranked))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--plot", help="draws the curves of all runs")
    args = parser.parse_args(argv)
    curves = []
    for run in args.runs:
        model, curve = measured(run)
        curves.append((model, curve))
        for value, (all_users, tail) in curve.items():
            print(f"| {model} | {value:g} | {all_users:.4f} | {tail:.4f} |", flush=True)
    if args.plot:
        draw(curves, args.plot)
    return 0


def draw(curves: list[tuple[str, Curve]], path: str) -> None:
    """Draw tail against all users, a line per run that begins at its dot, without a discount."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for model, points in curves:
        x, y = zip(*points.values())
        ours = model == "SSR"
        color = "C3" if ours else "0.65"
        axes.plot(x, y, color=color, linewidth=2 if ours else 1, zorder=3 if ours else 2)
        axes.plot(x[0], y[0], "o", color=color, markersize=6 if ours else 4, zorder=3)
        axes.annotate(model, (x[0], y[0]), (5, -3), textcoords="offset points", fontsize=7,
                      color=color if ours else "0.3")
    axes.margins(x=0.08)
    axes.set(xlabel="Recall@20 on test, all users", ylabel="Recall@20 on test, tail items")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(exit_status(main))
