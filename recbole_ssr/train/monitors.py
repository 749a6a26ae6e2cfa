"""RecBole's TensorBoard and Weights & Biases loggers, for runs that have a folder of their own.

They say what RecBole's say, but write into the run's folder instead of the current one, and begin
with the first value: who only loads or measures a run leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import recbole.trainer.trainer as host
from recbole.utils import WandbLogger

from recbole_ssr.distributed.group import is_main
from recbole_ssr.errors import UserError
from recbole_ssr.train.state import plain_config

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"  # in the run's folder


class RunTensorBoard:
    """What RecBole's trainers call of a SummaryWriter, with its files in `folder`."""

    def __init__(self, folder: Path):
        self._folder, self._writer = folder, None

    def add_scalar(self, *args) -> None:
        """Write a value; see SummaryWriter."""
        self._open().add_scalar(*args)

    def add_hparams(self, hparams: dict, metrics: dict) -> None:
        """Write the settings and the result of a run; see SummaryWriter."""
        self._open().add_hparams(hparams, metrics, run_name=".")

    def flush(self) -> None:
        """Bring everything to the disk: a process that is killed has told all it knew."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close the files; a later value opens others."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(str(self._folder))
        return self._writer


class NoTensorBoard:
    """The same of a process that writes nothing, because another of its run does."""

    def add_scalar(self, *args) -> None:
        """Do nothing."""

    add_hparams = flush = close = add_scalar


class RunWandb(WandbLogger):
    """RecBole's WandbLogger with its files in the run's folder.

    A wandb run that the program has begun itself is used as it is; one that is begun here ends with
    :meth:`finish`, so that the next run of this process gets one of its own.
    """

    def __init__(self, config, folder: Path):
        self._folder, self._ready, self._begun = folder, False, False
        super().__init__(config)

    def setup(self) -> None:
        """Do nothing yet."""

    def begin(self) -> None:
        """Begin a wandb run where the settings ask for one. Raises UserError without wandb."""
        if not (self.log_wandb and is_main()) or self._ready:
            return
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"log_wandb needs wandb ({error}): pip install wandb, or set log_wandb "
                            "to False") from None
        self._wandb = wandb
        if wandb.run is None:
            wandb.init(project=self.config["wandb_project"], config=plain_config(self.config),
                       dir=str(self._folder), name=self._folder.name)
            self._begun = True
        self._set_steps()
        self._ready = True

    def log_metrics(self, metrics, head="train", commit=True) -> None:
        self.begin()
        if self._ready:
            super().log_metrics(metrics, head, commit)

    def log_eval_metrics(self, metrics, head="eval") -> None:
        """Log what a run measured; nothing where it was not trained here."""
        if self._ready:
            super().log_eval_metrics(metrics, head)

    def finish(self) -> None:
        """End a wandb run that was begun here."""
        if self._begun:
            self._wandb.finish()
        self._ready = self._begun = False


@contextmanager
def in_folder(folder: Path | None) -> Iterator[None]:
    """While a trainer is made, give it loggers that write into `folder`; RecBole's without one."""
    if folder is None:
        yield
        return
    names = ("get_tensorboard", "WandbLogger")
    originals = [getattr(host, name) for name in names]
    host.get_tensorboard = lambda _logger: (
        RunTensorBoard(folder / TENSORBOARD) if is_main() else NoTensorBoard())
    host.WandbLogger = lambda config: RunWandb(config, folder)
    try:
        yield
    finally:
        for name, original in zip(names, originals):
            setattr(host, name, original)
