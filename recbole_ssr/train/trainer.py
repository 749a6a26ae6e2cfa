"""RecBole's trainers with run folders, named losses, exact resume and fast evaluation."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import recbole.trainer.trainer as host
import torch
from recbole.data.dataloader import KnowledgeBasedDataLoader
from recbole.utils import calculate_valid_score
from torch import Tensor, nn
from tqdm import tqdm

from recbole_ssr.distributed.group import is_main, place, wait_for_all
from recbole_ssr.distributed.losses import of_all
from recbole_ssr.distributed.sharing import shared_step
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.collector import FullRankingCollector
from recbole_ssr.train import checkpoint, monitors
from recbole_ssr.train.calibration import calibrate, held_out
from recbole_ssr.train.fixed_step import FixedStep, check_fixed_steps
from recbole_ssr.train.parallel import check_in_step, own_users, share_gradients
from recbole_ssr.train.sampling import balanced
from recbole_ssr.train.state import model_state
from recbole_ssr.train.stopping import rule_of, strict_stopping
from recbole_ssr.train.weights import TRAINING, check_parts, is_finite, load_weights
from recbole_ssr.train.written import Written
from recbole_ssr.uncompiled import without_compiler

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
    :meth:`evaluate` measures from then on; `data`, hashes of the data by name, which checkpoints
    keep and are compared with; `calibration`, what a model with gains of evaluation fitted after
    training, and the validation metrics without it.
    """

    def __init__(self, config, model):
        self.run_folder = Path(config["run_folder"]) if config["run_folder"] else None
        with monitors.in_folder(self.run_folder):
            super().__init__(config, model)
        if self.run_folder:
            self.saved_model_file = str(self.run_folder / BEST)
        share_gradients(self)
        self.eval_collector = FullRankingCollector(config)
        self.history: list[dict] = []
        self.on_epoch: Callable[[list[dict]], None] | None = None
        self.as_measured: Callable[[nn.Module], nn.Module] | None = None
        self.data: dict[str, str | None] | None = None
        self.calibration: dict = {}
        self.stopping_rule = rule_of(config["stopping_rule"])
        self.stopped = False
        self._losses: Tensor | tuple[Tensor, ...] = ()  # of the latest step
        self._step: FixedStep | None = None
        self._written = Written(model)
        self._passes: list[int] = []  # steps of every pass over the data in the last epoch
        self._rng: dict | None = None

    def _build_optimizer(self, **kwargs):
        return without_compiler(lambda: self._fused_or_not(**kwargs))

    def _fused_or_not(self, **kwargs) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        if not self.config["fused_optimizer"] or type(optimizer) not in (
            torch.optim.Adam, torch.optim.AdamW,
        ):
            return optimizer
        options = {**optimizer.defaults, "fused": True, "foreach": None}
        if self.config["cuda_graph"] and self.device.type == "cuda":
            options["capturable"] = True
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
            with shared_step():
                losses = loss_func(interaction)
            self._losses = losses = of_all(losses)
            return losses

        bar = _ProgressLoader(train_data, f"epoch {epoch_idx}", show_progress)
        if self.config["cuda_graph"]:
            total = self._train_fixed_steps(bar)
        else:
            total = super()._train_epoch(bar, epoch_idx, named, show_progress=False)
        self._passes = bar.passes
        return total

    def _train_fixed_steps(self, loader) -> tuple[float, ...]:
        """Train an epoch by steps of one shape, waiting for the device at its end alone."""
        self.model.train()
        if self._step is None:
            clip = self.clip_grad_norm and partial(
                nn.utils.clip_grad_norm_, list(self.model.parameters()), **self.clip_grad_norm)
            self._step = FixedStep(self.model, self.optimizer, self.device, clip)
        self._step.begin_epoch()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for interaction in loader:
            total = total + self._step(interaction)
        kind = self._step.kind
        self._losses = getattr(kind, "_make", kind)(total.unbind())
        self._check_nan(total.sum())
        return tuple(total.tolist())

    def _decay_learning_rate(self, epoch: int) -> None:
        """Step sizes fall as decay^(epoch / period), of the epoch alone: a resumed run's agree."""
        decay = self.config["learning_rate_decay"]
        if decay in (None, 1):
            return
        factor = decay ** (epoch / self.config["learning_rate_decay_epochs"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor

    def _check_nan(self, loss):
        if torch.isfinite(loss):
            return
        named = self._by_name(self._losses if isinstance(self._losses, tuple) else (loss,))
        broken = [f"{name} {part.item()}" for name, part in named.items()
                  if not torch.isfinite(part)]
        where = f" ({', '.join(broken)})" if len(named) > 1 and broken else ""
        raise self._diverged(f"the training loss became {loss.item()}{where}")

    def _check_parameters(self) -> None:
        """The last step of an epoch is followed by no loss that would show what it did."""
        for name, parameter in self.model.named_parameters():
            if not is_finite(parameter):
                raise self._diverged(f"{name} holds values that are not finite")

    def _diverged(self, what: str) -> UserError:
        """Return the error of a training that went wrong, and what is left of it."""
        left = [file.name for file in self._checkpoints() if self.history and file.is_file()]
        kept = f". The epochs before are in {' and '.join(left)}" if left else ""
        return UserError(f"{what} in epoch {len(self.history)}; lower learning_rate (now "
                         f"{self.learning_rate}) or set clip_grad_norm{kept}")

    def _checkpoints(self) -> list[Path]:
        best = Path(self.saved_model_file)
        return [best, self.run_folder / LAST] if self.run_folder else [best]

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False,
            callback_fn=None):
        """Train until `epochs` or early stopping; return best valid score and result.

        The arguments are RecBole's. Without validation data, and with an eval_step of 0, all epochs
        are trained and the last one is the best.
        """
        self._tell_parity()
        check_fixed_steps(self.config, type(self.model))
        train_data = balanced(train_data, self.config["sampling_power"])
        self.eval_collector.data_collect(train_data)
        if self.config["train_neg_sample_args"].get("dynamic", False):
            _give_model(train_data, self.model)
        if self._rng is not None:
            _set_random_state(self._rng, train_data)
        else:
            if valid_data and self.config["calibrate"] and hasattr(self.model, "before_training"):
                self.model.before_training(held_out(valid_data)[1])
            if saved:
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
                self.tensorboard.flush()
                if self.on_epoch:
                    self.on_epoch(self.history)
                bar.update()
                summary = _summary(record, self.valid_metric, self.best_valid_score)
                bar.set_postfix_str(summary)
                if show_progress and bar.disable:  # no terminal to draw a bar on
                    logger.info("%s: %d/%d epochs  %s  %.1f s", self.config["model"], epoch + 1,
                                self.epochs, summary, _seconds(record))
                if verbose:
                    logger.debug("epoch %d: %s", epoch, record)
                if callback_fn and "valid" in record:
                    callback_fn(epoch, record["valid"][self.valid_metric])
                if self.stopped:
                    break
        if len(epochs):
            self._add_hparam_to_tensorboard(self.best_valid_score)
        measured = self.best_valid_result or (valid_data and self.history and self.eval_step <= 0)
        if saved and measured and self.config["calibrate"]:
            self.calibration = calibrate(self, valid_data)
        return self.best_valid_score, self.best_valid_result

    def _tell_parity(self) -> None:
        changed = [f"{key}={self.config[key]}" for key, default in _PROTOCOL.items()
                   if self.config[key] not in (None, default)]
        if changed:
            logger.warning("parity mode %s: results compare with those of the same mode alone",
                           ", ".join(changed))

    def _run_epoch(self, train_data, valid_data, epoch, saved, show_progress) -> dict:
        """Train one epoch, evaluate when due, keep the best; return the epoch's record."""
        start = time.perf_counter()
        total = self._train_epoch(train_data, epoch, show_progress=show_progress)
        seconds = time.perf_counter() - start
        self._check_parameters()
        if place().size > 1:
            check_in_step(self.model, _random_state(train_data), epoch)
        losses = self._named_means(total)
        self.train_loss_dict[epoch] = sum(losses.values())
        self._log_losses(epoch, total)
        record = {"epoch": epoch, "seconds": seconds, "loss": losses}
        selects = bool(valid_data) and self.eval_step > 0
        if selects and (epoch + 1) % self.eval_step == 0:
            start = time.perf_counter()
            result = self.evaluate(valid_data, load_best_model=False)
            record |= {"eval_seconds": time.perf_counter() - start, "valid": dict(result)}
            score = calculate_valid_score(result, self.valid_metric)
            self._log_validation(epoch, score, result)
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

    def begin_logging(self) -> None:
        """Begin the loggers of a run with a folder. Raises UserError where wandb is missing."""
        self.wandblogger.begin()

    def end_logging(self) -> None:
        """Close the loggers of a run with a folder."""
        self.tensorboard.close()
        self.wandblogger.finish()

    def _log_losses(self, epoch: int, total) -> None:
        """Log the epoch's losses, summed over its steps, as RecBole does."""
        self._add_train_loss_to_tensorboard(epoch, total)
        self.wandblogger.log_metrics(
            {"epoch": epoch, "train_loss": total, "train_step": epoch}, head="train")

    def _log_validation(self, epoch: int, score: float, result: dict) -> None:
        """Log a validation under the names that RecBole gives it, "Vaild_score" among them."""
        step = sum("valid" in record for record in self.history)
        self.tensorboard.add_scalar("Vaild_score", score, epoch)
        self.wandblogger.log_metrics({**result, "valid_step": step}, head="valid")

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
        # Models with knowledge may pass over interactions, then over triples: a part for each.
        steps = self._passes if len(self._passes) == len(parts) else self._passes[-1:] * len(parts)
        named = self._by_name(parts).items()
        return {name: part / max(n, 1) for (name, part), n in zip(named, steps)}

    def _by_name(self, parts: tuple) -> dict:
        """Return the parts of a loss by the names that the model gives them."""
        names = getattr(self._losses, "_fields", None) or (
            ("loss",) if len(parts) == 1 else tuple(f"loss{k + 1}" for k in range(len(parts)))
        )
        return dict(zip(names, parts))

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):  # noqa: ARG002
        """Write the best checkpoint, with RecBole's keys."""
        if not is_main():
            return
        state = self._state(epoch)
        if self.run_folder:
            del state["optimizer"]  # last.pth has it; the best epoch is only ever scored
        checkpoint.save(state, kwargs.get("saved_model_file", self.saved_model_file))

    def _state(self, epoch: int) -> dict:
        return model_state(self, epoch) | ({"data": self.data} if self.data else {})

    def _save_last(self, train_data) -> None:
        """Write everything that the rest of the run depends on."""
        if not (self.run_folder and is_main()):
            return
        state = self._state(len(self.history) - 1) | {
            "best_valid_result": self.best_valid_result,
            "history": self.history,
            "stopped": self.stopped,
            "random_state": _random_state(train_data),
            "written": self._written.state(),
            "optimizers": {name: other.state_dict() for name, other in self._others().items()},
        }
        checkpoint.save(state, self.run_folder / LAST)

    def _others(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers of a trainer that takes one after the other, as RecVAE's does."""
        return {name: value for name, value in vars(self).items()
                if isinstance(value, torch.optim.Optimizer) and name != "optimizer"}

    def restore(self, path) -> dict:
        """Take over the state of a `last.pth`, so that `fit` goes on where it was written.

        Returns the settings that it was trained by, in plain types.
        """
        state = checkpoint.load(path, map_location=self.device)
        check_parts(state, TRAINING, path)
        load_weights(self.model, state, path, self.config, self.data)
        # Those of earlier versions have neither.
        self._written.restore(state.get("written", {}))
        others = state.get("optimizers") or {"optimizer": state["optimizer"]}
        try:
            for name, optimizer_state in others.items():
                getattr(self, name).load_state_dict(optimizer_state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"checkpoint {path} has the state of another optimizer: {error}. Start "
                            "a new run instead") from None
        self.history, self.stopped = state["history"], state["stopped"]
        # A run that stopped early may go on when stopping_step was raised.
        self.stopped &= state["cur_step"] > self.stopping_step
        self.start_epoch = state["epoch"] + 1
        self.cur_step, self.best_valid_score = state["cur_step"], state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self._rng = state["random_state"]
        return state.get("config", {})

    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """Evaluate with RecBole's metrics; the arguments are RecBole's."""
        if eval_data and load_best_model:
            wait_for_all()  # one of them may be writing it
            state = checkpoint.load(model_file or self.saved_model_file, map_location=self.device)
            load_weights(self.model, state, model_file or self.saved_model_file, self.config,
                         self.data)
            if self.as_measured:
                self.model = self.as_measured(self.model)
        own = own_users(eval_data)
        self.eval_collector.of_all_processes = own is not eval_data
        metrics = super().evaluate(own, load_best_model=False, show_progress=show_progress)
        return metrics and self._plain(metrics)

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


def _seconds(record: dict) -> float:
    return record["seconds"] + record.get("eval_seconds", 0.0)


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
    try:
        torch.set_rng_state(state["torch"].cpu())
        if len(state["cuda"]) == torch.cuda.device_count() > 0:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
        np.random.set_state(tuple(state["numpy"]))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        # One generator was kept as it is before models with knowledge could be resumed.
        kept = state["loader"] if isinstance(state["loader"], list) else [state["loader"]]
        for generator, one in zip(_generators(train_data), kept):
            generator.set_state(one.cpu())
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(f"the random_state in {LAST} is not one of this version ({error!r}); start "
                        "a new run instead") from None


def _generators(train_data) -> list[torch.Generator]:
    """The generators of a loader; those of interactions and of triples with a knowledge graph."""
    if isinstance(train_data, KnowledgeBasedDataLoader):
        return [train_data.general_dataloader.generator, train_data.kg_dataloader.generator]
    return [train_data.generator]
