"""The configuration of a run: RecBole's Config, stricter and without side effects.

Weakest first: RecBole's overall.yaml, the plugin's, RecBole's yamls for the model, the dataset and
the model's type, the plugin's for the model and the dataset, the yaml beside a prepared dataset,
config files, config_dict, flags. Unlike RecBole's, this Config never reads `sys.argv`, never
evaluates text, sets no environment variable, and refuses what it does not know.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from enum import Enum
from pathlib import Path, PurePath

import numpy as np
import recbole.data.dataset
import torch
from recbole.config import Config
from recbole.data.dataset import KnowledgeBasedDataset
from recbole.utils import ModelType

from recbole_ssr import registry
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.eval_settings import check_evaluation, check_given_split
from recbole_ssr.files import expanded
from recbole_ssr.flags import ConfigLoader, read_config_file
from recbole_ssr.settings import NO_EFFECT, REFUSED, Setting, settings_of

logger = logging.getLogger("recbole_ssr")

# Derived from other keys, or settled by this single-process Config.
_DERIVED = frozenset((
    "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "gpu_id", "use_gpu", "config_files",
    "single_spec", "local_rank", "checkpoint_dir",
))
# Where a run happens and what it shows or stores, but not what comes out.
WITHOUT_EFFECT_ON_RESULTS = frozenset((
    "device", "nproc", "run_dir", "resume", "show_progress", "cache_dir", "data_path", "state",
    "checkpoint_dir", "eval_batch_size", "eval_users_per_step", "verbose", "log_wandb",
    "wandb_project", "save_dataset", "save_dataloaders", "loss_decimal_place", "prepare",
    "split_name",
))
# Newer than runs that people keep: as these they change nothing, and stay out of the hash, so that
# the same settings still meet the same run.
_AS_BEFORE = {"feature_noise": None, "feature_missing": None, "drop_modality": None,
              "corruption_seed": 0, "corruption_at": "both", "train_share": 1.0,
              "test_masking": "train and valid", "stopping_rule": "recbole",
              "popularity_discount": 0}
# Of these the layers merge entry by entry.
_NESTED = ("eval_args", "train_neg_sample_args")
# RecBole splits or labels the data of these types in its own way.
_OWN_PROTOCOL = (ModelType.SEQUENTIAL, ModelType.CONTEXT, ModelType.DECISIONTREE)


def build_config(
    model: str | None = None,
    dataset: str | None = None,
    config_files: Sequence[str | Path] = (),
    config_dict: Mapping[str, object] | None = None,
    flags: Mapping[str, object] | None = None,
) -> PluginConfig:
    """Build the configuration of one run from all its layers.

    `model` and `dataset` override the layers, and default to SSR and ml-100k. `flags` comes from
    `parse_flags`. Raises UserError for anything that the run could not honour.
    """
    flags, config_dict = dict(flags or {}), dict(config_dict or {})
    files = [[source] if isinstance(source, (str, Path)) else list(source)
             for source in (config_files, config_dict.pop("config_files", None) or (),
                           flags.pop("config_files", None) or ())]
    try:
        return PluginConfig(model, dataset, sum(files, []), config_dict, flags)
    except (ValueError, NotImplementedError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"RecBole refuses these settings: {error}") from error


class PluginConfig(Config):
    """RecBole's Config, built by :func:`build_config`.

    `sources` tells for every key that the user set where its value came from.
    """

    def __init__(self, model, dataset, config_files, config_dict, flags):
        self.sources: dict[str, str] = {}
        self._flags = flags
        self._files: dict[str, str] = {}  # of every key the last yaml that has it
        super().__init__(model, dataset, config_files, config_dict)

    def compatibility_settings(self):
        """Do nothing: `recbole_ssr.compat` has put numpy's aliases in place."""

    def _build_yaml_loader(self):
        return ConfigLoader

    def _convert_config_dict(self, config_dict):
        return config_dict

    def _load_config_files(self, file_list):
        merged = {}
        for file in file_list:
            content = read_config_file(file)
            if "config_files" in content:
                raise UserError(f"{file} names config_files; give all files on the command line: "
                                "--config_files a.yaml b.yaml.")
            merged = self._layer(merged, content, f"config file {file}")
        return merged

    def _load_variable_config_dict(self, config_dict):
        return self._layer({}, config_dict or {}, "config_dict")

    def _load_cmd_line(self):
        return self._layer({}, self._flags, "command line")

    def _merge_external_config_dict(self):
        merged = {}
        for layer in (self.file_config_dict, self.variable_config_dict, self.cmd_config_dict):
            merged = merged_settings(merged, layer)
        self.external_config_dict = merged

    def _layer(self, weaker: dict, layer: Mapping, source: str) -> dict:
        """Merge a private copy of `layer` over `weaker` and note where its keys came from."""
        layer = {str(key): _native(deepcopy(value)) for key, value in layer.items()}
        self.sources.update(dict.fromkeys(layer, source))
        return merged_settings(weaker, layer)

    def _get_model_and_dataset(self, model, dataset):
        for key, value, default in (("model", model, "SSR"),
                                    ("dataset", dataset, registry.DEMO_DATASET)):
            if value is not None:
                self.external_config_dict[key], self.sources[key] = value, "argument"
            elif self.external_config_dict.get(key) is None:
                self.external_config_dict[key] = default
            chosen = self.external_config_dict[key]
            if isinstance(chosen, bool) or not isinstance(chosen, (str, int)):
                raise UserError(f"{self._given(key, chosen)} must be a name, as in "
                                f"--{key}={default}.")
        model = registry.canonical(self.external_config_dict["model"])
        self.external_config_dict["model"] = model
        profile = self.external_config_dict.get("profile")
        plugin_profile = profile if registry.is_plugin_model(model) else None
        self._settings = {setting.name: setting for setting in settings_of(
            model, plugin_profile, self.external_config_dict.get("band_filter"))}
        if "data_path" in self.sources:  # read before all others are checked
            folder = self._checked("data_path", self.external_config_dict["data_path"])
            if str(folder).startswith("~"):
                self.external_config_dict["data_path"] = str(expanded(folder))
        try:
            chosen = registry.model_class(model, plugin_profile)
            return model, chosen, str(self.external_config_dict["dataset"])
        except ImportError as error:
            raise UserError(f"The model {model} cannot be imported: {error}. Install the package "
                            "it needs.") from error

    def _update_internal_config_dict(self, file):
        loaded = super()._update_internal_config_dict(file)
        self._files.update(dict.fromkeys(loaded or (), file))
        if Path(file).resolve() == registry.RECBOLE_PROPERTIES / "overall.yaml":
            # Directly above RecBole's, so that its settings for some model types still win.
            self._update_internal_config_dict(registry.properties_folder() / "overall.yaml")
        return loaded

    def _load_internal_config_dict(self, model, model_class, dataset):
        super()._load_internal_config_dict(model, model_class, dataset)
        if registry.is_plugin_model(model):
            return  # the hook of the registry has added the plugin's yamls
        before = dict(self.internal_config_dict)
        files = registry.plugin_files(None, dataset)[1:]
        for file in files + registry.prepared_settings(self, dataset):
            self._update_internal_config_dict(file)
        after = self.internal_config_dict
        # A knowledge-aware model needs its .kg and .link columns on every dataset.
        if isinstance(after["load_col"], dict):
            after["load_col"] = {**(before["load_col"] or {}), **after["load_col"]}
        if model_class.type in _OWN_PROTOCOL:
            after.update({key: before[key] for key in ("eval_args", "repeatable")})

    def _get_final_config_dict(self):
        self._check_keys()
        final = merged_settings(self.internal_config_dict, self.external_config_dict)
        final = {key: self._checked(key, value) for key, value in final.items()}
        if final["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            self._split_by_sequence(final)
        check_evaluation(final, self._given)
        check_given_split(final, self._asked(), self._given)
        return final

    def _asked(self) -> dict[str, object]:
        """Return what the user set to other values than the default's; of eval_args the split.

        A config file of a whole run has every default, the command line only what is meant.
        """
        before, typed = self.internal_config_dict, self.cmd_config_dict.get("eval_args", {})
        asked = {key: value for key, value in self.external_config_dict.items()
                 if value != before.get(key)}
        default = before["eval_args"]
        asked["eval_args"] = {key: value for key, value in asked.get("eval_args", {}).items()
                              if key != "mode" and (key in typed or value != default.get(key))}
        return asked

    def _split_by_sequence(self, final: dict) -> None:
        column, final["split_column"] = final.get("split_column"), None
        if column is not None and "split_column" in self.sources:
            logger.warning("%s has no effect on %s, which leaves out the last items of each user.",
                           self._given("split_column", column), self.model)
        load = final.get("load_col")
        if isinstance(load, dict) and load.get("inter") and "load_col" not in self.sources:
            # The labels of a split that is not used would be a feature.
            final["load_col"] = {**load, "inter": [c for c in load["inter"] if c != column]}
        if final.get("loss_type") == "CE" and "train_neg_sample_args" not in self.sources:
            final["train_neg_sample_args"] = None  # RecBole refuses its own default here

    def _check_keys(self) -> None:
        """Raise UserError for keys that are unknown or refused; drop, with a warning, others
        that have no effect here."""
        lists = (key for keys in self.parameters.values() for key in keys)
        known = {*self.internal_config_dict, *lists, *registry.KEYS_WITHOUT_YAML,
                 *registry.KEYS_MISSING_IN_YAML.get(self.model, ())} - {"config_file"}
        known.update(key for key, setting in self._settings.items() if setting.status != REFUSED)
        for key, value in list(self.external_config_dict.items()):
            setting = self._settings.get(key)
            if setting is not None:
                self._check_effect(setting, value)
            elif key not in known:
                if key not in registry.keys_of_any_model():
                    raise UserError(
                        f"Unknown key {key!r} ({self.sources[key]}).{nearest(key, known)} The "
                        "yamls in properties/ and RecBole's own list the keys of "
                        f"{self.model}."
                    )
                self._drop(key, f"has no effect on {self.model}.")
        for key in sorted(getattr(self.model_class, "unread_settings", ())):
            if self.external_config_dict.get(key, default := self.internal_config_dict[key]) \
                    != default:
                self._drop(key, f"has no effect on profile {self.external_config_dict['profile']}.")

    def _check_effect(self, setting: Setting, value: object) -> None:
        """Refuse or drop a setting that nothing reads, unless its value is the default's."""
        key, shown = setting.name, self._given(setting.name, value)
        if setting.status == REFUSED:
            if value not in (None, setting.default):
                raise UserError(f"{shown} cannot be honoured. {setting.doc}")
            del self.external_config_dict[key], self.sources[key]
        elif value != setting.default and setting.status == NO_EFFECT:
            self._drop(key, f"has no effect. {setting.doc}")
        elif value not in (None, setting.default) and setting.families \
                and not self._families & set(setting.families):
            self._drop(key, f"has no effect on {self.model}.")

    def _drop(self, key: str, reason: str) -> None:
        logger.warning("%s (%s) %s", key, self.sources[key], reason)
        del self.external_config_dict[key], self.sources[key]

    @property
    def _families(self) -> set[str]:
        """Names of what the model is, see Setting.families."""
        families = set() if registry.is_plugin_model(self.model) else {"recbole"}
        data = getattr(recbole.data.dataset, f"{self.model}Dataset", None)
        if data and issubclass(data, KnowledgeBasedDataset):
            families.add("knowledge")  # sequential models that read a knowledge graph
        return {self.model_class.type.name.lower(), *families}

    def _given(self, key: str, value: object) -> str:
        """Return how a message names a setting: key, value and source."""
        default = self._files[key] if self._is_beside_the_data(key) else "default"
        return f"{key}={value!r} ({self.sources.get(key, default)})"

    def _is_beside_the_data(self, key: str) -> bool:
        """Tell whether a setting is from the yaml in the folder of the dataset."""
        file = self._files.get(key)
        return file is not None \
            and Path(file).parent.name == self.external_config_dict.get("dataset")

    def _checked(self, key: str, value: object) -> object:
        """Return `value` as runs take it; raise UserError for one that the setting cannot take."""
        setting = self._settings.get(key)
        if setting is None:
            return value
        checked = setting.check(value, self._given(key, value))
        # Defaults stay as their yaml writes them, and with them the hashes of earlier runs.
        return checked if key in self.sources or self._is_beside_the_data(key) else value

    def _set_default_parameters(self):
        super()._set_default_parameters()
        if not registry.is_plugin_model(self.model):
            registry.use_dataset_folder(self)
        if self.dataset != registry.DEMO_DATASET or "data_path" in self.sources:
            registry.check_dataset(Path(self.final_config_dict["data_path"]), self.dataset,
                                   bool(self.final_config_dict.get("benchmark_filename")))

    def _init_device(self):
        final = self.final_config_dict
        text = final["device"]
        if text == "auto":
            text = _device_of_recbole_keys(final, self.sources)
        device = resolve_device(text)
        cuda = device.type == "cuda"
        final.update(device=device, use_gpu=cuda, gpu_id=str(device.index) if cuda else "",
                     single_spec=True, local_rank=0)


def _native(value: object) -> object:
    """Return a setting with paths as text and numpy's numbers and arrays as Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _native(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_native, value)) if type(value) in (list, tuple) else value
    return str(value) if isinstance(value, PurePath) else value


def merged_settings(weaker: Mapping, stronger: Mapping) -> dict:
    """Return the settings of two layers of one run, of which the stronger wins key by key.

    In eval_args and train_neg_sample_args it wins entry by entry.

    >>> merged_settings({"eval_args": {"order": "TO"}}, {"eval_args": {"mode": "full"}, "topk": 5})
    {'eval_args': {'order': 'TO', 'mode': 'full'}, 'topk': 5}
    """
    merged = {**weaker, **stronger}
    for key in _NESTED:
        if isinstance(weaker.get(key), dict) and isinstance(stronger.get(key), dict):
            merged[key] = {**weaker[key], **stronger[key]}
    return merged


def resolve_device(text: str) -> torch.device:
    """Turn auto, cpu, cuda or cuda:N into a device; auto is the first GPU where there is one.

    Raises UserError for other text and for a GPU that this machine lacks.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, colon, number = str(text).partition(":")
    if text == "cpu" or (text == "auto" and not count):
        return torch.device("cpu")
    if text == "auto" or (kind == "cuda" and (not colon or number.isdigit())):
        index = int(number or 0)
        if index < count:
            return torch.device("cuda", index)
        here = ", ".join(["cpu", *(f"cuda:{n}" for n in range(count))])
        raise UserError(f"device={text!r} is not available. This machine has {here}.")
    raise UserError(f"device={text!r} is unknown. Use auto, cpu, cuda or cuda:N.")


def _device_of_recbole_keys(final: dict, sources: dict) -> str:
    """Read RecBole's use_gpu and gpu_id, of several the first, where the user set them."""
    gpu = str("" if final["gpu_id"] is None else final["gpu_id"]).strip("[]() ").split(",")[0]
    if ("use_gpu" in sources and not final["use_gpu"]) or ("gpu_id" in sources and not gpu):
        return "cpu"
    return f"cuda:{gpu}" if "gpu_id" in sources and torch.cuda.is_available() else "auto"


def resolved(config: Config) -> dict[str, object]:
    """Return every setting that a user may set, in plain types: a config file of the same run."""
    settable = {*config.internal_config_dict, *config.external_config_dict} - _DERIVED
    plain = {key: plain_value(config.final_config_dict[key]) for key in sorted(settable)}
    del plain["data_path"]  # it is the dataset's own folder by now
    if "data_path" in config.external_config_dict:
        plain["data_path"] = config.external_config_dict["data_path"]
    sampling = plain.get("train_neg_sample_args")
    if isinstance(sampling, dict) and sampling["distribution"] == "none":
        plain["train_neg_sample_args"] = None  # RecBole writes "none" but reads only null
    return plain


def plain_value(value: object) -> object:
    """Return a setting as a file has it: lists for tuples and sets, names for enums."""
    if isinstance(value, Mapping):
        return {key: plain_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain_value(entry) for entry in value]
    value = value.name if isinstance(value, Enum) else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def config_hash(config: Config) -> str:
    """Return 8 hex digits that differ when any setting differs that can change results."""
    content = {k: v for k, v in resolved(config).items() if k not in WITHOUT_EFFECT_ON_RESULTS
               and (k not in _AS_BEFORE or v != _AS_BEFORE[k])}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
