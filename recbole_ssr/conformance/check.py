"""One item: tried as a run of ours, then beside RecBole's own code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recbole.data.dataloader import KnowledgeBasedDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import KGDataLoaderState, init_seed

from recbole_ssr.config import PluginConfig, build_config
from recbole_ssr.conformance.data import NAME
from recbole_ssr.conformance.items import BATCHES, RUN, TRAINING, Item
from recbole_ssr.conformance.stock import Stock, stock_of
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.quick_start import load_run, prepare, run, trainer_of
from recbole_ssr.runs import quiet_host

HONOURED, REFUSED, DIFFERENT = "honoured", "refused", "different"
_SETTINGS = {
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "epochs": 1,
    "train_batch_size": 256, "learning_rate": 0.01, "topk": [5, 10], "show_progress": False,
    "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@10", "device": "cpu",
}
_SEED = 7  # of what is drawn while both sides are compared
_CLOSE = 1e-5


class Outcome(NamedTuple):
    """What became of an item: HONOURED, REFUSED or DIFFERENT, and in what words."""

    verdict: str
    words: str


class _Ours(NamedTuple):
    experiment: Experiment
    trainer: object


class _Different(Exception):
    """Both sides disagree; the message says in what."""


def check(item: Item, root: str | Path) -> Outcome:
    """Try an item on the dataset that :func:`write_sixty` left below `root`.

    What is honoured is equal to RecBole: the rows and columns of every part, then batches,
    parameters after an epoch or metrics, as the item says. An error of another kind than
    UserError passes.
    """
    with tempfile.TemporaryDirectory() as scratch, quiet_host():
        try:
            ours = _ours(item, str(root), scratch)
        except UserError as error:
            return Outcome(REFUSED, " ".join(str(error).split()))
        try:
            return Outcome(HONOURED, _compare(item, ours, scratch))
        except _Different as difference:
            return Outcome(DIFFERENT, str(difference))


def _ours(item: Item, root: str, scratch: str) -> _Ours:
    settings = {**_SETTINGS, **item.settings, "data_path": root}
    folder = Path(scratch, "run")
    if item.compared == RUN:
        run(item.model, NAME, config_dict=settings, folder=folder)
        experiment = load_run(folder, device="cpu")
    else:
        experiment = prepare(build_config(item.model, NAME, config_dict=settings))
    experiment.config["run_folder"] = experiment.config["checkpoint_dir"] = str(folder)
    return _Ours(experiment, trainer_of(experiment))


def _compare(item: Item, ours: _Ours, scratch: str) -> str:
    """Return in what both sides agree. Raises _Different."""
    if item.unlike:
        return f"unlike RecBole, {item.unlike}"
    experiment = ours.experiment
    stock = stock_of(experiment.config, scratch)
    model = stock.trainer.model
    model.load_state_dict(experiment.model.state_dict())
    model.load_other_parameter(experiment.model.other_parameter())
    _compare_data(experiment, stock)
    if item.compared == BATCHES:
        return _compare_batches(ours, stock)
    if item.compared == TRAINING:
        return _compare_training(ours, stock)
    return _compare_metrics(item, ours, stock)


def _compare_data(experiment: Experiment, stock: Stock) -> None:
    for name in ("train", "valid", "test"):
        ours, theirs = getattr(experiment, name)._dataset, getattr(stock, name)._dataset
        _same_rows(f"the {name} part", ours.inter_feat, theirs.inter_feat,
                   (ours.uid_field, ours.iid_field))
    for name in ("user_feat", "item_feat", "kg_feat"):
        ours, theirs = (getattr(side.train._dataset, name, None) for side in (experiment, stock))
        if theirs is not None:
            _same_rows(name, ours, theirs, ())


def _same_rows(what: str, ours: Interaction, theirs: Interaction, by: tuple[str, ...]) -> None:
    """Raise _Different unless both have the same columns and rows, up to their order `by`."""
    if len(ours) != len(theirs) or set(theirs.columns) - set(ours.columns):
        raise _Different(f"{what} has {len(ours)} rows of {list(ours.columns)}, in RecBole "
                         f"{len(theirs)} of {list(theirs.columns)}")
    orders = [np.lexsort([side[field].numpy() for field in by]) if by else slice(None)
              for side in (ours, theirs)]
    for field in theirs.columns:
        a, b = (side[field].numpy()[order] for side, order in zip((ours, theirs), orders))
        if not np.allclose(a, b, atol=_CLOSE, equal_nan=True):
            raise _Different(f"{what} has another column {field} than in RecBole")


def _compare_batches(ours: _Ours, stock: Stock) -> str:
    pairs = (ours.experiment.train, ours.experiment.model), (stock.train, stock.trainer.model)
    batches = [_batches(loader, model, ours.experiment.config) for loader, model in pairs]
    if len(batches[0]) != len(batches[1]):
        raise _Different(f"an epoch has {len(batches[0])} batches, in RecBole {len(batches[1])}")
    for n, (a, b) in enumerate(zip(*batches)):
        _same_rows(f"batch {n}", a, b, ())
    return f"an epoch has the same {len(batches[0])} batches"


def _batches(loader, model, config: PluginConfig) -> list[Interaction]:
    if isinstance(loader, KnowledgeBasedDataLoader):
        loader.set_mode(KGDataLoaderState.RSKG)
    if config["train_neg_sample_args"]["dynamic"]:
        loader.get_model(model)
    init_seed(_SEED, True)
    return list(loader)


def _compare_training(ours: _Ours, stock: Stock) -> str:
    for trainer, loader in ((ours.trainer, ours.experiment.train), (stock.trainer, stock.train)):
        init_seed(_SEED, True)
        trainer.fit(loader, saved=False, verbose=False)
    theirs = stock.trainer.model.state_dict()
    for name, value in ours.trainer.model.state_dict().items():
        if not np.allclose(value, theirs[name], atol=_CLOSE):
            raise _Different(f"after an epoch {name} is another than in RecBole")
    return "the same parameters after an epoch"


def _compare_metrics(item: Item, ours: _Ours, stock: Stock) -> str:
    stock.trainer.eval_collector.data_collect(stock.train)
    ours.trainer.eval_collector.data_collect(ours.experiment.train)
    told = {}
    for part in ("valid", "test"):
        a, b = (_measured(trainer, getattr(side, part)) for trainer, side in
                ((ours.trainer, ours.experiment), (stock.trainer, stock)))
        if a.keys() != b.keys() or not all(np.isclose(a[k], b[k], atol=_CLOSE) for k in b):
            raise _Different(f"{part} is {a}, in RecBole {b}")
        told[part] = a
    asked = {part: {name: value for name, value in values.items()
                    if name.partition("@")[0] == item.name.lower()}
             or dict(list(values.items())[:1]) for part, values in told.items()}
    words = [f"{part} {name} {value:.4f}" for part, values in asked.items()
             for name, value in values.items()]
    return f"as RecBole measures: {', '.join(words)}"


def _measured(trainer, part) -> dict[str, float]:
    init_seed(_SEED, True)
    metrics = trainer.evaluate(part, load_best_model=False) or {}
    return {name: float(value) for name, value in metrics.items()}
