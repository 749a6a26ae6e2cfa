"""RecBole's trainers with run folders, named losses, exact resume and fast evaluation."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import recbole.trainer.trainer as host
import torch
from recbole.data.dataloader import KnowledgeBasedDataLoader
from recbole.utils import calculate_valid_score
from torch import nn
from tqdm import tqdm

from recbole_ssr.compat import model_state
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.collector import FullRankingCollector
from recbole_ssr.train import checkpoint
from recbole_ssr.train.sampling import balanced
from recbole_ssr.train.stopping import rule_of, strict_stopping

logger = logging.getLogger("recbole_ssr")

LAST, BEST = "last.pth", "best.pth"
# RecBole's own protocol; other values are those of other toolkits.
_PROTOCOL = {"test_masking": "train and valid", "stopping_rule": "recbole"}


class RunMixin:
    """Mixed into any RecBole trainer class; see :class:`RunTrainer`.

    With ``config["run_folder"]`` set, the folder receives `best.pth` and, after every epoch,
    `last.pth`, from which :meth:`restore` continues exactly. Without it (stock `run_recbole`) the
    best checkpoint goes where RecBole puts it.

    Attributes: `history`, one dict per finished epoch: epoch, seconds, losses by name, valid;
    `on_epoch`, a function called with the history after every epoch, its checkpoints written;
    `as_measured`, a function from the model with its best parameters to the one that
    :meth:`evaluate` measures from then on.
    """

    def __init__(self, config, model):
        self.run_folder = Path(config["run_folder"]) if config["run_folder"] else None
        # RecBole opens a TensorBoard folder in the current directory; a run has its own folder.
        with _without_tensorboard() if self.run_folder else nullcontext():
            super().__init__(config, model)
        if self.run_folder:
            self.saved_model_file = str(self.run_folder / BEST)
        self.eval_collector = FullRankingCollector(config)
        self.history: list[dict] = []
        self.on_epoch: Callable[[list[dict]], None] | None = None
        self.as_measured: Callable[[nn.Module], nn.Module] | None = None
        self.stopping_rule = rule_of(config["stopping_rule"])
        self.stopped = False
        self._loss_names: tuple[str, ...] | None = None
        self._passes: list[int] = []  # steps of every pass over the data in the last epoch
        self._rng: dict | None = None

    def _build_optimizer(self, **kwargs):
        optimizer = super()._build_optimizer(**kwargs)
        if not self.config["fused_optimizer"] or type(optimizer) not in (
            torch.optim.Adam, torch.optim.AdamW,
        ):
            return optimizer
        options = {**optimizer.defaults, "fused": True, "foreach": None}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        try:
            return type(optimizer)(parameters, **_accepted(type(optimizer), options))
        except RuntimeError:  # no fused kernel for this device in this torch
            return optimizer

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        loss_func = loss_func or self.model.calculate_loss
        if hasattr(self.model, "begin_epoch"):
            self.model.begin_epoch(epoch_idx)
        self._decay_learning_rate(epoch_idx)

        def named(interaction):
            losses = loss_func(interaction)
            self._loss_names = getattr(losses, "_fields", None)
            return losses

        bar = _ProgressLoader(train_data, f"epoch {epoch_idx}", show_progress)
        total = super()._train_epoch(bar, epoch_idx, named, show_progress=False)
        self._passes = bar.passes
        return total

    def _decay_learning_rate(self, epoch: int) -> None:
        """Step sizes fall as decay^(epoch / period), of the epoch alone: a resumed run's agree."""
        decay = self.config["learning_rate_decay"]
        if decay in (None, 1):
            return
        factor = decay ** (epoch / self.config["learning_rate_decay_epochs"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor

    def _check_nan(self, loss):
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss became {loss.item()} in epoch {len(self.history)}; lower "
                f"learning_rate (now {self.learning_rate}) or set clip_grad_norm. The checkpoints "
                "of the epochs before are intact"
            )

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False,
            callback_fn=None):
        """Train until `epochs` or early stopping; return best valid score and result.

        The arguments are RecBole's. Without validation data, and with an eval_step of 0, all epochs
        are trained and the last one is the best.
        """
        self._tell_parity()
        train_data = balanced(train_data, self.config["sampling_power"])
        self.eval_collector.data_collect(train_data)
        if self.config["train_neg_sample_args"].get("dynamic", False):
            _give_model(train_data, self.model)
        if self._rng is not None:
            _set_random_state(self._rng, train_data)
        elif saved:
            self._save_last(train_data)
        if saved and self.start_epoch >= self.epochs and not self.history:
            self._save_checkpoint(-1)
        epochs = range(self.start_epoch, self.start_epoch if self.stopped else self.epochs)
        with tqdm(total=self.epochs, initial=self.start_epoch, unit="epoch", dynamic_ncols=True,
                  desc=str(self.config["model"]), disable=None if show_progress else True) as bar:
            for epoch in epochs:
                record = self._run_epoch(train_data, valid_data, epoch, saved, show_progress)
                if saved:
                    self._save_last(train_data)
                if self.on_epoch:
                    self.on_epoch(self.history)
                bar.update()
                bar.set_postfix_str(_summary(record, self.valid_metric, self.best_valid_score))
                if verbose:
                    logger.debug("epoch %d: %s", epoch, record)
                if callback_fn and "valid" in record:
                    callback_fn(epoch, record["valid"][self.valid_metric])
                if self.stopped:
                    break
        self._add_hparam_to_tensorboard(self.best_valid_score)
        return self.best_valid_score, self.best_valid_result

    def _tell_parity(self) -> None:
        changed = [f"{key}={self.config[key]}" for key, own in _PROTOCOL.items()
                   if self.config[key] not in (None, own)]
        if changed:
            logger.warning("parity mode %s: results compare with those of the same mode alone",
                           ", ".join(changed))

    def _run_epoch(self, train_data, valid_data, epoch, saved, show_progress) -> dict:
        """Train one epoch, evaluate when due, keep the best; return the epoch's record."""
        start = time.perf_counter()
        total = self._train_epoch(train_data, epoch, show_progress=show_progress)
        seconds = time.perf_counter() - start
        losses = self._named_means(total)
        self.train_loss_dict[epoch] = sum(losses.values())
        self._add_train_loss_to_tensorboard(epoch, total)
        record = {"epoch": epoch, "seconds": seconds, "loss": losses}
        selects = bool(valid_data) and self.eval_step > 0
        if selects and (epoch + 1) % self.eval_step == 0:
            start = time.perf_counter()
            result = self.evaluate(valid_data, load_best_model=False)
            record |= {"eval_seconds": time.perf_counter() - start, "valid": dict(result)}
            score = calculate_valid_score(result, self.valid_metric)
            self.best_valid_score, self.cur_step, self.stopped, improved = self.stopping_rule(
                score, self.best_valid_score, self.cur_step, max_step=self.stopping_step,
                bigger=self.valid_metric_bigger,
            )
            if improved:
                self.best_valid_result = dict(result)
        else:
            improved = not selects
        self.history.append(record)
        if improved and saved:
            self._save_checkpoint(epoch)
        return record

    @property
    def best_epoch(self) -> int:
        """The epoch in best.pth; the last one where nothing was validated, -1 before training."""
        measured = [r for r in self.history if "valid" in r]
        best = [r["epoch"] for r in measured
                if r["valid"][self.valid_metric] == self.best_valid_score]
        if not best:
            return len(self.history) - 1
        return best[0 if self.stopping_rule is strict_stopping else -1]

    def _named_means(self, total) -> dict[str, float]:
        """Mean per step of every loss part, by the name the model gives it."""
        parts = total if isinstance(total, tuple) else (total,)
        names = self._loss_names or (
            ("loss",) if len(parts) == 1 else tuple(f"loss{k + 1}" for k in range(len(parts)))
        )
        # Models with knowledge may pass over interactions, then over triples: a part for each.
        steps = self._passes if len(self._passes) == len(parts) else self._passes[-1:] * len(parts)
        return {name: part / max(n, 1) for name, part, n in zip(names, parts, steps)}

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):  # noqa: ARG002
        """Write the best checkpoint, with RecBole's keys."""
        state = model_state(self, epoch)
        if self.run_folder:
            del state["optimizer"]  # last.pth has it; the best epoch is only ever scored
        checkpoint.save(state, kwargs.get("saved_model_file", self.saved_model_file))

    def _save_last(self, train_data) -> None:
        """Write everything that the rest of the run depends on."""
        if not self.run_folder:
            return
        state = model_state(self, len(self.history) - 1) | {
            "best_valid_result": self.best_valid_result,
            "history": self.history,
            "stopped": self.stopped,
            "random_state": _random_state(train_data),
        }
        checkpoint.save(state, self.run_folder / LAST)

    def restore(self, path) -> None:
        """Take over the state of a `last.pth`, so that `fit` goes on where it was written."""
        state = checkpoint.load(path, map_location=self.device)
        try:
            self.model.load_state_dict(state["state_dict"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"checkpoint {path} does not fit this model and dataset: {error}. Did the data or "
                "its features change since the run began? Start a new run instead"
            ) from None
        self.model.load_other_parameter(state["other_parameter"])
        self.history, self.stopped = state["history"], state["stopped"]
        # A run that stopped early may go on when stopping_step was raised.
        self.stopped &= state["cur_step"] > self.stopping_step
        self.start_epoch = state["epoch"] + 1
        self.cur_step, self.best_valid_score = state["cur_step"], state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self._rng = state["random_state"]

    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """Evaluate with RecBole's metrics; the arguments are RecBole's."""
        if eval_data and load_best_model:
            state = checkpoint.load(model_file or self.saved_model_file, map_location=self.device)
            self.model.load_state_dict(state["state_dict"])
            self.model.load_other_parameter(state.get("other_parameter"))
            if self.as_measured:
                self.model = self.as_measured(self.model)
        found = super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
        return found and self._plain(found)

    def _plain(self, metrics: dict) -> dict[str, float]:
        """As Python's numbers: some metrics of RecBole are float32, which no file of ours holds."""
        places = self.config["metric_decimal_place"]
        return {name: round(float(value), places) for name, value in metrics.items()}


class RunTrainer(RunMixin, host.Trainer):
    """RecBole's Trainer for the plugin's models."""


def run_trainer(cls: type) -> type:
    """Return `cls`, any RecBole trainer, with :class:`RunMixin` mixed in.

    Raises UserError for a trainer with a training procedure of its own.
    """
    if issubclass(cls, RunMixin):
        return cls
    if not issubclass(cls, host.Trainer) or cls.fit is not host.Trainer.fit:
        raise UserError(
            f"{cls.__name__} replaces RecBole's training loop and cannot keep a run folder; start "
            "this model with RecBole's own run_recbole"
        )
    return type(f"Run{cls.__name__}", (RunMixin, cls), {})


def _give_model(train_data, model: nn.Module) -> None:
    """Let a loader choose its negatives by the model's scores."""
    if not hasattr(train_data, "get_model"):
        raise UserError(
            f"train_neg_sample_args has dynamic: True, but {type(model).__name__} trains on "
            f"{type(train_data).__name__}, which samples no negatives; set dynamic to False"
        )
    train_data.get_model(model)


class _ProgressLoader:
    """A data loader that draws a transient progress bar while it is iterated."""

    def __init__(self, loader, description: str, show: bool):
        self._loader, self._description, self._show = loader, description, show
        self.passes: list[int] = []

    def __iter__(self):
        self.passes.append(len(self._loader))
        return iter(tqdm(self._loader, desc=self._description, unit="step", leave=False,
                         dynamic_ncols=True, disable=None if self._show else True))

    def __len__(self):
        return len(self._loader)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _NoTensorBoard:
    def add_scalar(self, *_args):
        """Drop the value."""

    def add_hparams(self, *_args):
        """Drop the values."""


@contextmanager
def _without_tensorboard():
    original = host.get_tensorboard
    host.get_tensorboard = lambda _logger: _NoTensorBoard()
    try:
        yield
    finally:
        host.get_tensorboard = original


def _accepted(cls: type, options: dict) -> dict:
    """The options that a constructor takes; optimizers keep more in `defaults`."""
    names = cls.__init__.__code__.co_varnames
    return {k: v for k, v in options.items() if k in names}


def _summary(record: dict, metric: str, best: float) -> str:
    # A model that is fitted without training has no loss.
    parts = [f"loss {sum(record['loss'].values()):.4f}"] if record["loss"] else []
    if "valid" in record:
        parts.append(f"valid {metric} {record['valid'][metric]:.4f} (best {best:.4f})")
    return "  ".join(parts)


def _random_state(train_data) -> dict:
    """Every generator that training draws from."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": list(np.random.get_state()),
        "python": list(random.getstate()),
        "loader": [generator.get_state() for generator in _generators(train_data)],
    }


def _set_random_state(state: dict, train_data) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    np.random.set_state(tuple(state["numpy"]))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kept = state["loader"]
    # One generator was kept as it is before models with knowledge could be resumed.
    for generator, one in zip(_generators(train_data), kept if isinstance(kept, list) else [kept]):
        generator.set_state(one.cpu())


def _generators(train_data) -> list[torch.Generator]:
    """The generators of a loader; those of interactions and of triples with a knowledge graph."""
    if isinstance(train_data, KnowledgeBasedDataLoader):
        return [train_data.general_dataloader.generator, train_data.kg_dataloader.generator]
    return [train_data.generator]
