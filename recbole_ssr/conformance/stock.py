"""RecBole as it is: its Config, data, model and trainer of the settings of a run of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import recbole.trainer.trainer as host
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recbole_ssr.config import PluginConfig, resolved
from recbole_ssr.train.monitors import NoTensorBoard


class Stock(NamedTuple):
    """What RecBole makes of a configuration; train, valid and test are its loaders."""

    train: object
    valid: object
    test: object
    trainer: host.Trainer


def stock_of(config: PluginConfig, scratch: str) -> Stock:
    """Build with RecBole's own code what `config` says, the split drawn with its split_seed.

    RecBole draws a random split with the generator of the parameters; here it is set to
    split_seed before, as it is in our runs.
    """
    settings = {**resolved(config), "gpu_id": "", "checkpoint_dir": scratch}
    with _undisturbed():
        stock = Config(model=config["model"], dataset=config["dataset"], config_dict=settings)
        init_seed(stock["seed"], stock["reproducibility"])
        dataset = create_dataset(stock)
        torch.manual_seed(config["split_seed"])
        loaders = data_preparation(stock, dataset)
        init_seed(stock["seed"], stock["reproducibility"])
        model = get_model(stock["model"])(stock, loaders[0]._dataset).to(stock["device"])
        trainer = get_trainer(stock["MODEL_TYPE"], stock["model"])(stock, model)
    return Stock(*loaders, trainer)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep RecBole from the command line, the environment and the current folder."""
    argv, board = sys.argv, host.get_tensorboard
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    sys.argv, host.get_tensorboard = argv[:1], lambda _logger: NoTensorBoard()
    try:
        yield
    finally:
        sys.argv, host.get_tensorboard = argv, board
        if visible is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
