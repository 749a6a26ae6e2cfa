"""Tasks of runs on the tiny dataset, and what two runs must agree in."""

import numpy as np
from tiny import SETTINGS, write_tiny

from recbole_ssr.compare.store import task_of
from recbole_ssr.evaluation.rankings import read_rankings
from recbole_ssr.result import RunResult


def settings_of(root, **changes):
    """Write the tiny dataset below `root`; return the settings of a comparison on it."""
    return SETTINGS | write_tiny(root / "data") | {"dataset": "tiny", "device": "cpu"} | changes


def tasks_of(settings, runs, models, seeds=(1,), stage="test"):
    return [task_of(model, model, settings, seed, runs, stage) for model in models
            for seed in seeds]


def measured(folder):
    """Everything of a finished run that another one must repeat."""
    result = RunResult.read(folder)
    history = [{k: v for k, v in record.items() if "seconds" not in k}
               for record in result.history]
    rankings, ids = read_rankings(folder / "ranking.npz")
    arrays = {(part, name): value.tolist() for part, ranking in rankings.items()
              for name, value in ranking._asdict().items()}
    return (result.valid, result.test, result.best_epoch, history, result.protocol,
            result.training, arrays, ids)


def recall(ranking, pairs, k):
    """Mean Recall@k, by sets. pairs (2, E): users and items of a part."""
    wanted = {}
    for user, item in pairs.T.tolist():
        wanted.setdefault(user, set()).add(item)
    assert ranking.users.tolist() == sorted(wanted)
    return np.mean([len(wanted[user] & set(items[:k])) / len(wanted[user])
                    for user, items in zip(ranking.users.tolist(), ranking.items.tolist())])


def ndcg(ranking, pairs, k):
    """Mean NDCG@k, by sets."""
    wanted = {}
    for user, item in pairs.T.tolist():
        wanted.setdefault(user, set()).add(item)
    values = []
    for user, items in zip(ranking.users.tolist(), ranking.items.tolist()):
        gain = sum(1 / np.log2(place + 2) for place, item in enumerate(items[:k])
                   if item in wanted[user])
        values.append(gain / sum(1 / np.log2(n + 2) for n in range(min(k, len(wanted[user])))))
    return np.mean(values)
