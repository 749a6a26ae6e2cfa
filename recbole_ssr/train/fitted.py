"""The trainer of models that are fitted when they are built, without gradient descent."""

from __future__ import annotations

import recbole.trainer.trainer as host
import torch

from recbole_ssr.train.trainer import RunMixin


class FittedTrainer(RunMixin, host.TraditionalTrainer):
    """One epoch that trains nothing and evaluates once; its time is that of fitting the model.

    Whatever `epochs`, `eval_step` and `stopping_step` say: there is one set of scores to measure.
    """

    def __init__(self, config, model):
        super().__init__(config, model)
        self.eval_step = 1

    def _build_optimizer(self, **kwargs):  # noqa: ARG002
        # Optimizers refuse an empty list, and the model has no parameter.
        return torch.optim.SGD([torch.zeros(())], lr=self.learning_rate)

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):  # noqa: ARG002
        return ()

    def _run_epoch(self, *args, **kwargs) -> dict:
        record = super()._run_epoch(*args, **kwargs)
        record["seconds"] = self.model.fit_seconds
        return record
