"""After training: the gains of evaluation that a model fits to the validation part."""

from __future__ import annotations

import logging

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer.trainer import Trainer
from recbole.utils import calculate_valid_score
from torch import Tensor

from recbole_ssr.distributed.group import is_main, wait_for_all
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Ranking
from recbole_ssr.evaluation.user_metrics import user_values
from recbole_ssr.train import checkpoint
from recbole_ssr.train.weights import load_weights

logger = logging.getLogger("recbole_ssr")

_ERRORS = 2  # standard errors that a metric may fall by


def calibrate(trainer: Trainer, valid_data) -> dict:
    """Let the model of the best epoch fit its gains, and write it to its checkpoint.

    They are kept unless the validation metric falls by more than two standard errors of the
    difference between users: the score without them had chosen the epoch, and is as much too high
    as the best of many is. That score stays as it is. A run that is interrupted here
    does the same again; one that is interrupted later finds it in the checkpoint.

    Returns what the model has fitted, whether it is kept, and the validation metrics without it;
    nothing for a model that has nothing to fit, or where other items than all are ranked.
    """
    model = trainer.model
    if not hasattr(model, "calibrate"):
        return {}
    if not isinstance(valid_data, FullSortEvalDataLoader):
        logger.info("not calibrated: validation ranks sampled items, not all")
        return {}
    file = trainer.saved_model_file
    wait_for_all()  # one of them may be writing it
    state = checkpoint.load(file, map_location=trainer.device)
    load_weights(model, state, file, trainer.config, trainer.data)
    if isinstance(state.get("calibration"), dict):  # by a process that was stopped later
        return state["calibration"]
    model.eval()
    users, items = held_out(valid_data)
    fitted = model.calibrate(users, items, bool(trainer.config["repeatable"]),
                             _beside_graph(valid_data))
    if fitted is None:
        return {}
    after = _measured(trainer, valid_data)
    with model.uncalibrated():
        before = _measured(trainer, valid_data)
    kept = not _is_worse(trainer, before, after, np.stack([users.numpy(), items.numpy()]))
    if not kept:
        model.drop_calibration()
    state["calibration"] = {
        "kept": kept, "gains": fitted.gains.tolist(), "bias": fitted.bias.item(),
        "popularity": fitted.popularity.tolist(), "uncalibrated": {"valid": before[0]},
    }
    if is_main():
        checkpoint.save(state | {"state_dict": model.state_dict()}, file)
    values = [calculate_valid_score(m, trainer.valid_metric) for m, _ in (before, after)]
    logger.info("calibrated on the validation part: %s %.4f, before %.4f%s", trainer.valid_metric,
                *values[::-1], "" if kept else "; left as before")
    return state["calibration"]


def held_out(part) -> tuple[Tensor, Tensor]:
    """Return users and items of the interactions that a loader evaluates on. Shapes: (P,) each."""
    dataset = part._dataset
    return dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]


def _beside_graph(part: FullSortEvalDataLoader) -> Tensor | None:
    """Return users and items that rankings leave out beside the graph's, (2, S), if there are any:
    with a `train_share` below 1 the rest of the training part.
    """
    if part.config["train_share"] in (None, 1) or not hasattr(part, "positives"):
        return None
    users, items = part._sampler.used_ids.of(range(part.positives.n_users))
    left = ~part.positives.has(users, items)
    return torch.from_numpy(np.stack([users[left], items[left]]))


def _measured(trainer: Trainer, part) -> tuple[dict, Ranking | None]:
    collector = trainer.eval_collector
    collector.keep_ranking, kept = True, collector.keep_ranking
    try:
        metrics = trainer.evaluate(part, load_best_model=False)
        return metrics, collector.take_ranking()
    finally:
        collector.keep_ranking = kept


def _is_worse(trainer: Trainer, before: tuple, after: tuple, pairs: np.ndarray) -> bool:
    """Tell whether a metric fell beyond chance; of metrics that users do not have, at all."""
    metric = trainer.valid_metric
    change = calculate_valid_score(after[0], metric) - calculate_valid_score(before[0], metric)
    loss = -change if trainer.valid_metric_bigger else change
    if loss <= 0 or before[1] is None or after[1] is None:
        return bool(loss > 0)
    try:
        values = [user_values(ranking, pairs, [metric.lower()])[metric.lower()]
                  for _, ranking in (before, after)]
    except UserError:
        return True
    differences = values[1] - values[0]
    differences = differences[~np.isnan(differences)]
    return bool(loss > _ERRORS * differences.std() / np.sqrt(len(differences)))
