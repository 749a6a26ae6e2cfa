"""Repairs of RecBole 1.2.0 and 1.2.1 on current numpy, scipy and torch.

:func:`apply` runs at ``import recbole_ssr``. Each ``_shim_`` function states the symptom that a
user sees without it and the remedy; what it replaces stays reachable as ``__wrapped__``. Nothing
here imports ``recbole.quick_start``, so that ray stays optional.
"""

import copy
import functools
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import recbole.data.utils
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.evaluator.collector import Collector, DataStruct
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.sampler import Sampler
from recbole.sampler.sampler import AbstractSampler
from recbole.trainer.trainer import DecisionTreeTrainer, PretrainTrainer, Trainer
from recbole.utils import EvaluatorType, InputType, ModelType, init_logger, init_seed

from recbole_ssr.data import large
from recbole_ssr.data.used_items import UsedItems
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.data_struct import COLLECTED, take_data_struct
from recbole_ssr.import_hooks import Execute, around_import, stand_in
from recbole_ssr.registry import model_class
from recbole_ssr.train import checkpoint
from recbole_ssr.train.state import model_state, progress
from recbole_ssr.train.weights import check_parts, load_weights

logger = logging.getLogger("recbole_ssr")

# Names that RecBole (first three lines) and ray (last) still use, with what they stood for.
NUMPY_ALIASES = {
    "bool": np.bool_, "int": np.int_, "float": np.float64, "complex": np.complex128,
    "object": np.object_, "str": np.str_, "long": np.int_, "unicode": np.str_,
    "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_,
    "bool8": np.bool_,
}  # fmt: skip

_CONFIG_ENUMS = {"MODEL_TYPE": ModelType, "MODEL_INPUT_TYPE": InputType, "eval_type": EvaluatorType}
_QUICK_START = "recbole.quick_start.quick_start"
_LDIFFREC = "recbole.model.general_recommender.ldiffrec"
_POP = "recbole.model.general_recommender.pop"
_SINE = "recbole.model.sequential_recommender.sine"
_MARK = "_recbole_ssr_shim"


def apply() -> None:
    """Apply every repair that this environment needs. Calling it again changes nothing."""
    _shim_numpy_aliases()
    _shim_dok_update()
    _shim_checkpoint_saving()
    _shim_other_parameters()
    _shim_load_data_and_model()
    _shim_kmeans()
    _shim_anomaly_detection()
    _shim_time_based_split()
    _shim_interaction_indexing()
    _shim_data_struct()
    _shim_large_data()
    _shim_popularity_of_negatives()
    _shim_pop()


def _replace(owner: type | ModuleType, name: str, make: Callable[[Callable], Callable]) -> None:
    """Replace the function `owner.name` by `make(it)`, once."""
    original = getattr(owner, name)
    if not getattr(original, _MARK, False):
        replacement = functools.wraps(original)(make(original))
        setattr(replacement, _MARK, True)
        setattr(owner, name, replacement)


def _shim_numpy_aliases() -> None:
    """Give numpy back the type names that it dropped.

    Symptom: "module 'numpy' has no attribute 'float'" in Interaction, metrics and Dataset before
    the first Config was built; with numpy 2, "`np.float_` was removed" in every Config.
    Remedy: define the missing names.
    """
    for name, target in NUMPY_ALIASES.items():
        # Not hasattr: numpy answers for a dropped name with a warning or an error of its own.
        if name not in vars(np):
            setattr(np, name, target)


def _shim_dok_update() -> None:
    """Give dok matrices back the method that inserts many entries at once.

    Symptom: scipy 1.13 and newer, "'dok_matrix' object has no attribute '_update'" when LightGCN,
    NGCF, NCL, GCMC, SpectralCF, KGIN or MCCLK is built.
    Remedy: add the method.
    """
    if hasattr(sp.dok_matrix, "_update"):
        return

    def _update(self: sp.dok_matrix, entries: dict) -> None:
        self._dict.update(entries)

    sp.dok_matrix._update = _update


def _shim_checkpoint_saving() -> None:
    """Write checkpoints that hold data only.

    Symptom: torch 2.6 and newer, "Weights only load failed" when a stock run has trained and loads
    its best epoch, because the file holds a pickled Config.
    Remedy: save plain types, which stock code then loads without complaint, and which cannot run
    code on loading.
    """
    _replace(Trainer, "_save_checkpoint", lambda _: _save_checkpoint)
    _replace(PretrainTrainer, "save_pretrained_model", lambda _: _save_pretrained_model)
    _replace(DecisionTreeTrainer, "_save_checkpoint", lambda _: _save_tree_checkpoint)


def _save_checkpoint(self: Trainer, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    if not self.config["single_spec"] and self.config["local_rank"] != 0:
        return
    file = kwargs.pop("saved_model_file", self.saved_model_file)
    checkpoint.save(model_state(self, epoch), file)
    if verbose:
        self.logger.info("Saving current: %s", file)


def _save_pretrained_model(self: PretrainTrainer, epoch: int, saved_model_file: str) -> None:
    checkpoint.save(model_state(self, epoch), saved_model_file)
    self.saved_model_file = saved_model_file


def _save_tree_checkpoint(self: DecisionTreeTrainer, epoch: int) -> None:
    state = progress(self, epoch) | {"state_dict": self.temp_best_file, "other_parameter": None}
    checkpoint.save(state, self.saved_model_file)


def _shim_other_parameters() -> None:
    """Decode arrays and sparse matrices of a plain checkpoint on their way into a model.

    Symptom: ItemKNN, EASE and SLIM get dicts in place of the scipy matrices they were saved with.
    Remedy: decode before the stock method sets the attributes.
    """

    def make(original: Callable) -> Callable:
        return lambda self, para: original(self, checkpoint.from_plain(para))

    _replace(AbstractRecommender, "load_other_parameter", make)


def restore_config(plain: dict) -> Config:
    """Rebuild the Config that `plain_config` of train/state.py described, without argv or files.

    A GPU that this machine lacks becomes the CPU.

    Raises:
        UserError: `plain` lacks model, dataset or device, or names a model nobody registered.
    """
    missing = [key for key in ("model", "dataset", "device", "MODEL_TYPE") if key not in plain]
    if missing:
        raise UserError(f"the saved configuration lacks {', '.join(missing)}: train again.")
    config = Config.__new__(Config)
    config._init_parameters_category()
    config.yaml_loader = config._build_yaml_loader()
    final = copy.deepcopy(plain)
    for key, kind in _CONFIG_ENUMS.items():
        if isinstance(final.get(key), str):
            final[key] = kind[final[key]]
    final["device"] = _present_device(final["device"])
    try:
        config.model_class = model_class(final["model"], final.get("profile"))
    # ImportError too: RecBole searches its tree models last, and their libraries may be missing.
    except (ValueError, ImportError) as error:
        raise UserError(
            f"the saved configuration names the model {final['model']!r}, which is unknown here: "
            "import the package that registers it first."
        ) from error
    config.model, config.dataset = final["model"], final["dataset"]
    config.file_config_dict, config.variable_config_dict, config.cmd_config_dict = {}, {}, {}
    config.internal_config_dict = copy.deepcopy(final)
    config.external_config_dict = {}
    config.final_config_dict = final
    return config


def _present_device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        logger.warning("The recorded device %s is absent here: using the CPU.", name)
        return torch.device("cpu")
    return device


def _shim_load_data_and_model() -> None:
    """Let ``recbole.quick_start`` be imported without ray, and read plain checkpoints.

    Symptom: "No module named 'ray'", which it needs for Ray's tuning alone; torch 2.6 and newer,
    "Weights only load failed" from ``load_data_and_model``; with a plain checkpoint, a dict where a
    Config is expected.
    Remedy: a stand-in for ray's tune that raises where it is used; replace the function, where
    quick_start was not imported yet as soon as it is.
    """
    module = sys.modules.get(_QUICK_START)
    if module is not None:
        _patch_quick_start(module)
        _patch_quick_start(sys.modules[_QUICK_START.rpartition(".")[0]])
    around_import(_QUICK_START, _import_quick_start)


def _import_quick_start(module: ModuleType, execute: Execute) -> None:
    with stand_in("ray", "tune"):
        execute(module)
    _patch_quick_start(module)


def _patch_quick_start(module: ModuleType) -> None:
    _replace(module, "load_data_and_model", lambda _: _load_data_and_model)


def _load_data_and_model(model_file: str) -> tuple:
    state = checkpoint.load(model_file)
    check_parts(state, {"config": dict}, model_file)
    config = restore_config(state["config"])
    if config["device"].type != "cpu":
        state = checkpoint.load(model_file, map_location=config["device"])
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    logger.info(config)
    dataset = create_dataset(config)
    logger.info(dataset)
    parts = data_preparation(config, dataset)
    # A second time, as in training, where the split must not decide the initial weights.
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, parts[0]._dataset).to(config["device"])
    load_weights(model, state, model_file, config)
    return config, model, dataset, *parts


def _shim_kmeans() -> None:
    """Let RecBole's general models be imported without kmeans_pytorch.

    Symptom: RecBole 1.2.0, "No module named 'kmeans_pytorch'" for every general model, since
    LDiffRec, which may use it, imports it at the top.
    Remedy: a stand-in that raises where LDiffRec uses it.
    """

    def load(module: ModuleType, execute: Execute) -> None:
        with stand_in("kmeans_pytorch", "kmeans"):
            execute(module)

    around_import(_LDIFFREC, load)


def _shim_anomaly_detection() -> None:
    """Leave torch's anomaly detection as it is when RecBole's sequential models are imported.

    Symptom: from the import of SINE on, which comes with that of any sequential model, every
    backward pass of the process takes several times as long, of all models.
    Remedy: the setting is what it was before.
    """

    def load(module: ModuleType, execute: Execute) -> None:
        enabled = torch.is_anomaly_enabled()
        execute(module)
        torch.autograd.set_detect_anomaly(enabled)

    around_import(_SINE, load)


def _shim_time_based_split() -> None:
    """Split by time where a dataset class can, as RecBole 1.2.1 does.

    Symptom: RecBole 1.2.0, "The splitting_method [TS] has not been implemented".
    Remedy: call the dataset's own ``time_based_split``.
    """
    if hasattr(Dataset, "time_based_split"):
        return

    def make(original: Callable) -> Callable:
        return lambda self: _build_by_time(self) if _splits_by_time(self) else original(self)

    _replace(Dataset, "build", make)


def _splits_by_time(dataset: Dataset) -> bool:
    return (hasattr(dataset, "time_based_split") and dataset.benchmark_filename_list is None
            and "TS" in (dataset.config["eval_args"]["split"] or ()))


def _build_by_time(dataset: Dataset) -> list[Dataset]:
    dataset._change_feat_format()
    protocol = dataset.config["eval_args"]
    if protocol["order"] == "TO":
        dataset.sort(by=dataset.time_field)
    else:
        dataset.shuffle()
    return dataset.time_based_split(protocol["split"]["TS"], dataset.uid_field)


def _shim_interaction_indexing() -> None:
    """Index the fields of an Interaction by tensor instead of by list.

    Symptom: half of the time of a data loader goes into ``index.tolist()`` (2 ms a batch of 2048).
    Remedy: hand one-dimensional integer or boolean indices to torch as they are.
    """

    def make(original: Callable) -> Callable:
        def __getitem__(self: Interaction, index: Any) -> Any:
            rows = _row_index(index)
            fields = self.interaction
            if rows is None or not all(isinstance(v, torch.Tensor) for v in fields.values()):
                return original(self, index)
            return Interaction({k: v[rows.to(v.device)] for k, v in fields.items()})

        return __getitem__

    _replace(Interaction, "__getitem__", make)


def _row_index(index: Any) -> torch.Tensor | None:
    """Return `index` as an int64 or boolean tensor, or None where stock code must decide."""
    if not isinstance(index, (np.ndarray, torch.Tensor)) or index.ndim != 1 or len(index) == 0:
        return None
    if isinstance(index, np.ndarray):
        if index.dtype.kind not in "biu":
            return None
        wanted = np.bool_ if index.dtype.kind == "b" else np.int64
        # A copy: torch refuses negative strides and warns about read-only memory.
        return torch.from_numpy(np.array(index, dtype=wanted))
    if index.dtype.is_floating_point or index.dtype.is_complex:
        return None
    return index if index.dtype == torch.bool else index.long()


def _shim_large_data() -> None:
    """Prepare training and full ranking without Python objects for each interaction.

    Symptom: ten million interactions take minutes and gigabytes to split into loaders.
    Remedy: sorted arrays in place of sets and lists, with the same draws, batches and masks.
    """
    _replace(Sampler, "get_used_ids", lambda _: large.get_used_ids)
    _replace(AbstractSampler, "sample_by_key_ids", large.sample_by_key_ids)
    _replace(AbstractDataLoader, "__init__", large.init_loader)
    _replace(FullSortEvalDataLoader, "__init__", large.init_full_sort)
    _replace(FullSortEvalDataLoader, "collate_fn", large.collate_full_sort)


def _shim_popularity_of_negatives() -> None:
    """Draw negatives of training by how popular items are in training.

    Symptom: with `train_neg_sample_args: {distribution: popularity}` an item that many users of the
    test part have, and none of training, is drawn as often as a popular one of training.
    Remedy: count the interactions of the train part alone. Sampled evaluation counts all, as ever.
    """
    _replace(recbole.data.utils, "create_samplers", _create_samplers)


def _create_samplers(original: Callable) -> Callable:
    def create_samplers(config: Config, dataset: Dataset, built_datasets: list) -> tuple:
        train, valid, test = original(config, dataset, built_datasets)
        if train is not None and train.distribution == "popularity":
            # A copy of its own (set_phase makes one): the samplers of evaluation count as before.
            if isinstance(train, Sampler):
                train.datasets = built_datasets[:1]
            else:  # RepeatableSampler
                train.dataset = built_datasets[0]
            train._build_alias_table()
            used = train.used_ids
            if isinstance(used, UsedItems) and used.count().max() >= len(train.prob):
                raise UserError(
                    f"a user has all {len(train.prob):,} items that training has, which leaves no "
                    "negative to draw by popularity. Set the distribution of "
                    "train_neg_sample_args to uniform.")
        return train, valid, test

    return create_samplers


def _shim_pop() -> None:
    """Let RecBole's model of popularity, Pop, count the interactions of training.

    Symptom: an item counts once a batch, however many of its users are in it, and as a negative as
    well, so that ranks depend on the batch size (ml-100k: Recall@20 .155 in place of .176).
    Remedy: count every interaction whose label is positive.
    """

    def load(module: ModuleType, execute: Execute) -> None:
        execute(module)
        _replace(module.Pop, "__init__", _init_pop)
        _replace(module.Pop, "calculate_loss", lambda _: _count_items)

    if _POP in sys.modules:
        load(sys.modules[_POP], lambda _: None)
    else:
        around_import(_POP, load)


def _init_pop(original: Callable) -> Callable:
    def init(self: AbstractRecommender, config: Config, dataset: Dataset) -> None:
        original(self, config, dataset)
        self.LABEL = config["LABEL_FIELD"]

    return init


def _count_items(self: AbstractRecommender, interaction: Interaction) -> torch.Tensor:
    items = interaction[self.ITEM_ID]
    if self.LABEL in interaction:
        items = items[interaction[self.LABEL] > 0]
    self.item_cnt += items.bincount(minlength=self.n_items)[:, None]
    self.max_cnt = self.item_cnt.max(dim=0).values
    return torch.nn.Parameter(torch.zeros(1)).to(self.device)  # with a gradient, of nothing


def _shim_data_struct() -> None:
    """Let the collector hand over resources that are no tensors.

    Symptom: RecBole 1.2.1, "'int' object has no attribute 'cpu'" (or 'Counter') from ItemCoverage,
    GiniIndex, AveragePopularity and TailPercentage.
    Remedy: move tensors only.
    """
    _replace(Collector, "get_data_struct", lambda _: _get_data_struct)


def _get_data_struct(self: Collector) -> DataStruct:
    return take_data_struct(self.data_struct, COLLECTED)
