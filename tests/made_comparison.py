"""Comparisons made by hand, rich enough for every table, file and picture."""

import math
from dataclasses import fields
from statistics import fmean

import numpy as np

from recbole_ssr.comparison import (
    Comparison,
    Curve,
    Difference,
    Failure,
    Group,
    Line,
    Published,
    Spread,
)
from recbole_ssr.result import RunResult

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
LEVEL = dict(zip(METRICS, (0.08, 0.115, 0.04, 0.05)))  # of the best line
MODELS = ("SSR", "FREEDOM", "SMORE", "LightGCN", "BM3", "VBPR", "MGCN", "LATTICE", "GRCN", "MMGCN",
          "LGMRec", "MENTOR", "PGL", "DualGNN", "SLMRec", "LayerGCN", "FastSGL", "FeatureLightGCN",
          "FeatureEASE", "FeatureItemKNN", "GFCF", "BPR")
PROTOCOL = {
    "split": "split by x_label", "split_fingerprint": "0123456789abcdef" * 4, "group_by": None,
    "order": None, "ranking": "full", "masked": "training and validation items",
    "metrics": ["Recall", "NDCG"], "topk": [10, 20], "valid_metric": "Recall@20", "users": 9308,
    "items": 6710, "train_share": 1.0, "stopping_rule": "recbole", "corruption": None,
}  # fmt: skip
VERSIONS = {"python": "3.11.9", "recbole_ssr": "0.1.0", "recbole": "1.2.1", "torch": "2.6.0",
            "numpy": "1.26.4", "scipy": "1.13.0", "pandas": "2.2.0"}


def made_result(model="SSR", seed=2020, level=1.0, epochs=6, **changes):
    """A finished run; `level` scales its metrics, `changes` replaces attributes."""
    rng = np.random.default_rng([seed, sum(map(ord, model))])
    test = {m: level * LEVEL[m] * (1 + 0.02 * float(rng.normal())) for m in METRICS}
    valid = {m: 1.03 * value for m, value in test.items()}
    best = max(epochs - 3, 0)
    values = dict(
        run=f"comparisons/tiktok/runs/{model}-seed{seed}-ab12cd34", model=model, dataset="tiktok",
        seed=seed, protocol=dict(PROTOCOL), config_hash=f"{sum(map(ord, model)):04x}{seed:04x}",
        valid=valid, test=test, best_epoch=best, epochs=epochs, seconds_per_epoch=2.5 / level,
        seconds_per_evaluation=0.4, seconds=epochs * 2.9 / level, peak_mib=600.0 + 100 * level,
        parameters=int(1_000_000 * level), device="cpu", versions=dict(VERSIONS),
        history=[_epoch(k, best, valid) for k in range(epochs)],
        training={"objective": "bpr", "sampling_power": 0.0, "batch_size": 2048,
                  "negatives": {"distribution": "uniform", "sample_num": 1},
                  "learning_rate": 0.001, "epochs": 300, "stopping_step": 20,
                  "split_seed": None, "modalities": ["image", "text"], "features": "fe" * 32})
    values |= changes
    return RunResult(**{f.name: values[f.name] for f in fields(RunResult) if f.name in values})


def _epoch(k, best, valid):
    reached = 1 - 0.6 * math.exp(-k) - 0.02 * max(k - best, 0)
    return {"epoch": k, "seconds": 2.5, "loss": {"bpr": 0.7 * math.exp(-0.5 * k) + 0.1,
                                                 "align": 0.2 * math.exp(-0.3 * k)},
            "eval_seconds": 0.4, "valid": {m: reached * value for m, value in valid.items()}}


def made_comparison(n_lines=6, n_seeds=3, *, significant=True, failures=True, published=True,
                    groups=True, curves=True, long_labels=False, epochs=6, metrics=METRICS,
                    notes=("2 of the runs were resumed.",)):
    """A comparison of `n_lines` lines, the first being the best.

    With `failures`, the last line lost its last seed, and one more line has no result at all.
    """
    seeds = range(2020, 2020 + n_seeds)
    lines = []
    for k in range(n_lines):
        model = MODELS[k % len(MODELS)]
        label = model if k < len(MODELS) else f"{model} {k}"
        if long_labels:
            label += f" with {'features of every modality, ' * 2}lr=1e-3 & 50%"
        lost = failures and n_seeds > 1 and k == n_lines - 1
        done = tuple(made_result(model, seed, 0.96**k, epochs)
                     for seed in list(seeds)[: n_seeds - lost])
        failed = (_failure(model, seeds[-1], "out of memory: 12.3 GiB asked, 8.0 free"),)
        lines.append(Line(label, model, {"n_layers": 2} if k % 2 else {}, done,
                          failed if lost else (), 20 if k % 3 == 0 else None))
    if failures:
        lines.append(Line("Broken_1", "Broken", {}, (),
                          tuple(_failure("Broken", seed, "ValueError: loss is nan & 100% wrong")
                                for seed in seeds)))
    labels = [line.label for line in lines if line.results]
    return Comparison(
        dataset="tiktok", protocol=dict(PROTOCOL), lines=tuple(lines), metrics=tuple(metrics),
        differences=_differences(lines, metrics, significant) if n_lines > 1 else (),
        groups=_groups(labels, n_seeds) if groups else (),
        curves=_curves(labels, n_seeds) if curves else (),
        published=PUBLISHED if published else (), notes=tuple(notes))


PUBLISHED = (
    Published("SSR", {"recall@20": 0.1139, "ndcg@20": 0.0500}, "Yang et al. 2025, Table 2",
              "three modalities; the release selects on test"),
    Published("MMSSL_x", {"recall@20": 0.0921, "ndcg@20": 0.0392}, "Wei et al. 2023, Table 2", ""),
)


def _failure(model, seed, reason):
    return Failure(seed, reason, f"comparisons/tiktok/runs/{model}-seed{seed}-ff00ff00")


def _differences(lines, metrics, significant):
    """Neighbours, and the two best against all others: all of them `significant`, or none."""
    found = []
    for metric in metrics:
        order = sorted((line for line in lines if line.results),
                       key=lambda line: -_mean(line, metric))
        for a, better in enumerate(order):
            for worse in order[a + 1:] if a < 2 else order[a + 1:a + 2]:
                mean = _mean(better, metric) - _mean(worse, metric)
                p = 0.0002 if significant else 0.31
                found.append(Difference(
                    metric, better.label, worse.label, mean, 0.5 * mean, 1.5 * mean, 0.04, 9308,
                    {"randomisation": p, "t": 1.1 * p, "wilcoxon": 1.2 * p},
                    min(1.0, 3 * p)))
    return tuple(found)


def _mean(line, metric):
    return fmean(result.test[metric] for result in line.results)


def _spread(value, n):
    return Spread(value, 0.03 * value if n > 1 else math.nan, n)


def _by_label(labels, level, n):
    return {label: _spread(level * 0.96**k, n) for k, label in enumerate(labels)}


def _groups(labels, n):
    accuracy = [("users with at most 5 interactions", "users", 4000, 0.7),
                ("users with 6-10 interactions", "users", 3100, 0.9),
                ("users with 11-20 interactions", "users", 1500, 1.0),
                ("users with more than 20 interactions", "users", 708, 1.2),
                ("cold items", "cold", 212, 0.1), ("head items", "popularity", 7100, 1.3),
                ("tail items", "popularity", 2900, 0.3)]
    made = [Group(name, kind, size, {m: _by_label(labels, level * LEVEL[m], n)
                                     for m in ("recall@20", "ndcg@20")})
            for name, kind, size, level in accuracy]
    beyond = (("coverage@20", 0.41), ("gini@20", 0.83), ("average popularity@20", 153.2),
              ("novelty@20", 9.87), ("diversity by image@20", 0.61))
    return (*made, Group("beyond accuracy", "beyond", 9308, {
        name: _by_label(labels, level, n) for name, level in beyond}))


def _curves(labels, n):
    def curve(name, where, levels, slope):
        return Curve(name, where, levels, "recall@20", {
            label: tuple(_spread(0.115 * 0.96**k * (1 + slope * level), n) for level in levels)
            for k, label in enumerate(labels)})

    return (curve("image noise", "training and inference", (0.0, 0.1, 0.3, 0.5), -0.4),
            curve("text missing", "inference", (0.0, 0.5, 1.0), -0.6),
            curve("interactions used in training", "training", (0.2, 0.4, 0.6, 0.8, 1.0), 0.7))
