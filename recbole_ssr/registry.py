"""Makes the plugin's models known to stock RecBole, and knows every model's name and keys.

RecBole looks a model up in `sys.modules`, its trainer and dataset by name in `recbole.trainer` and
`recbole.data.dataset`, all of which take new entries. For its defaults see config_hook.py.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from importlib import resources
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import recbole
from recbole.config import Config
from recbole.utils import get_model

from recbole_ssr import own_code
from recbole_ssr.contributions import BANKS, RECIPES, yaml_of
from recbole_ssr.errors import MissingDataset, UserError, nearest
from recbole_ssr.flags import read_config_file

DEFAULT_TRAINER = "recbole_ssr.train.trainer:RunTrainer"
DEFAULT_DATASET = "recbole_ssr.data.dataset:MultimodalDataset"
PLAIN_DATASET = "recbole_ssr.data.dataset:FixedSplitDataset"  # of models without features
DEMO_DATASET = "ml-100k"
RECBOLE_PROPERTIES = Path(recbole.__file__).resolve().parent / "properties"
_NO_YAML = ("Random",)  # the one RecBole model without a yaml of its own
_CLASS_OF_YAML = {"lightgbm": "LightGBM", "xgboost": "XGBoost"}  # elsewhere the two names agree
_NO_SETTINGS = ("split", "grid", "published")  # folders of yamls with keys of their own
KEYS_WITHOUT_YAML = ("model", "dataset", "config_files")  # they say which yamls are read
# Read by one of RecBole's models although only other models' yamls name them, or none.
KEYS_MISSING_IN_YAML = {
    "AutoInt": ("has_residual",), "DiffRec": ("norm",), "LDiffRec": ("norm",),
    "FEARec": ("tau", "contrast", "sim", "use_filter"), "HRM": ("reg_weight",),
    "KD_DAGFM": ("cin", "feature_num"), "LightGBM": ("token_num_threshold",),
    "XGBoost": ("token_num_threshold", "xgb_early_stopping_rounds"),
}
_FEW = 10  # names that a message lists
_registered: set[str] = set()
_folders: dict[str, Path] = {}  # of the yamls of models from elsewhere


def _bundled() -> dict[str, str]:
    """Return the module of every bundled model: there is one per yaml in properties/model.

    The file is named as the class in small letters, with underscores anywhere.
    """
    modules = {file.stem.replace("_", ""): f"recbole_ssr.model.{file.stem}"
               for file in Path(__file__).parent.glob("model/*.py")}
    names = sorted(file.stem for file in properties_folder().glob("model/*.yaml")
                   if "." not in file.stem)
    return {name: modules[name.lower()] for name in sorted(names, key=lambda name: name != "SSR")}


def properties_folder() -> Path:
    """Return the folder of the plugin's default yamls."""
    return Path(str(resources.files("recbole_ssr.properties")))


MODELS = _bundled()


def register_all() -> None:
    """Register every model of MODELS."""
    for name, module in MODELS.items():
        register(name, importlib.import_module(module))


def register(name: str, module: ModuleType, model_class: type | None = None) -> None:
    """Make the class `name` of `module` a model that RecBole finds by name. Idempotent.

    Its class attributes `trainer_class` and `dataset_class`, each a class or "module:Class", name
    the companions; without them the plugin's defaults serve, those of a model that `needs_features`
    or not. `profile_classes` names the classes of profiles that are models of their own. Raises
    UserError if RecBole already uses the name or the module lacks the class.
    """
    trainers = importlib.import_module("recbole.trainer")
    datasets = importlib.import_module("recbole.data.dataset")
    trainer, dataset = f"{name}Trainer", f"{name}Dataset"
    recboles = {known.lower() for known in recbole_model_names()}
    if name not in _registered and (name.lower() in recboles or hasattr(trainers, trainer)
                                    or hasattr(datasets, dataset)):
        raise UserError(f"RecBole already uses the model name {name!r}. Choose another.")
    there = sys.modules.get(_alias(name))
    if there is not None and there.__name__ != module.__name__:
        raise UserError(f"There is a model {name!r} already, small letters being as capital ones, "
                        f"in {there.__name__}. Choose another name for that of {module.__name__}.")
    model_class = model_class or getattr(module, name, None)
    if model_class is None:
        raise UserError(f"The module {module.__name__} defines no class {name!r}. Name the model "
                        "as its class.")
    _let_recbole_find(name, module, model_class)
    for target in getattr(model_class, "profile_classes", {}).values():
        profile_class = _load(target)
        _let_recbole_find(profile_class.__name__, sys.modules[profile_class.__module__],
                          profile_class)
    _registered.add(name)
    if name not in MODELS:
        own_code.note(name, module)
    if name not in MODELS and getattr(module, "__file__", None):
        _folders[name] = Path(module.__file__).parent
        keys_of_any_model.cache_clear()


def _alias(name: str) -> str:
    return f"recbole.model.general_recommender.{name.lower()}"


def _let_recbole_find(name: str, module: ModuleType, model_class: type) -> None:
    alias = _alias(name)
    if module.__spec__ is None:  # RecBole's look-up refuses modules without a spec
        module.__spec__ = ModuleSpec(alias, loader=None)
    sys.modules[alias] = module
    trainer = getattr(model_class, "trainer_class", DEFAULT_TRAINER)
    plain = not getattr(model_class, "needs_features", True)
    dataset = getattr(model_class, "dataset_class", PLAIN_DATASET if plain else DEFAULT_DATASET)
    setattr(sys.modules["recbole.trainer"], f"{name}Trainer", _load(trainer))
    setattr(sys.modules["recbole.data.dataset"], f"{name}Dataset", _load(dataset))


def model_class(model: str, profile: str | None = None) -> type:
    """Return the class of a model's profile, by any name that RecBole's `get_model` knows."""
    chosen = get_model(model)
    return _load(getattr(chosen, "profile_classes", {}).get(profile, chosen))


def _load(target: type | str) -> type:
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def plugin_models() -> tuple[str, ...]:
    """Return the names of the bundled models, then of those from elsewhere."""
    return (*MODELS, *sorted(_registered.difference(MODELS)))


def is_plugin_model(name: str) -> bool:
    """Tell whether `name` was registered here."""
    return name in _registered


def recbole_model_names() -> tuple[str, ...]:
    """Return the class names of RecBole's own models, without importing them."""
    stems = {path.stem for path in (RECBOLE_PROPERTIES / "model").glob("*.yaml")}
    return tuple(sorted(_CLASS_OF_YAML.get(stem, stem) for stem in stems.union(_NO_YAML)))


def model_names() -> tuple[str, ...]:
    """Return the names of the plugin's models, then of RecBole's."""
    return (*sorted(plugin_models()), *recbole_model_names())


def canonical(name: str) -> str:
    """Return the model's name as its class spells it: "lightgcn" gives "LightGCN".

    Raises UserError with the nearest names if there is no such model.

    >>> canonical("lightgcn")
    'LightGCN'
    """
    by_lower = {known.lower(): known for known in model_names()}
    chosen = by_lower.get(str(name).lower())
    if chosen is None:
        raise UserError(f"There is no model named {name!r}.{nearest(name, by_lower.values(), 3)} "
                        "recbole-ssr models lists them.")
    return chosen


def model_yaml(model: str) -> Path:
    """Return the yaml of a plugin model: in properties/model, or beside a module from elsewhere."""
    return _folders.get(model, properties_folder() / "model") / f"{model}.yaml"


def plugin_files(model: str | None, dataset: str | None, profile: str | None = None,
                 bank: str | None = None) -> list[Path]:
    """Return the plugin's yamls for a run, weakest first: overall, model, its profile, dataset.

    That of a filter bank from elsewhere follows on its model's. Raises UserError for a profile that
    the model does not have.
    """
    folder = properties_folder()
    files = [folder / "overall.yaml"]
    if model is not None:
        files.append(model_yaml(model))
        if profile is not None:
            files.append(_profile_file(files[-1], model, str(profile)))
        files += yaml_of(BANKS, bank)
    if dataset is not None:
        files += [folder / "dataset" / f"{dataset}.yaml", *yaml_of(RECIPES, dataset)]
    # Unlike Path.is_file, False where the name is longer than a file system takes.
    return [file for file in files if os.path.isfile(file)]


def _profile_file(default: Path, model: str, profile: str) -> Path:
    """Return <model>.<profile>.yaml, or the model's own yaml for the profile that it describes."""
    default_profile = read_config_file(default).get("profile")
    if profile == default_profile:
        return default
    file = default.with_name(f"{model}.{profile}.yaml")
    if profile not in (known := profiles_of(model)):
        raise UserError(
            f"{model} has no profile {profile!r}.{nearest(profile, known)} "
            + (f"It has {', '.join(known)}." if known else "It has none: leave profile out.")
        )
    return file


def profiles_of(model: str) -> list[str]:
    """Return the profiles of a plugin model, that of its own yaml first; empty without any.

    >>> profiles_of("SSR")
    ['paper', 'reference', 'tiktok']
    """
    default = model_yaml(model)
    default_profile = read_config_file(default).get("profile") if default.is_file() else None
    files = sorted(file.name.split(".")[1] for file in default.parent.glob(f"{model}.*.yaml"))
    return [name for name in (default_profile, *files) if name]


@functools.lru_cache(maxsize=1)
def keys_of_any_model() -> frozenset[str]:
    """Return the keys of all yamls of RecBole and the plugin, whatever their model or dataset."""
    files = [*RECBOLE_PROPERTIES.glob("**/*.yaml"), *properties_folder().glob("**/*.yaml")]
    files += [file for model in _folders for file in (model_yaml(model),) if file.is_file()]
    files += [file for doors in (BANKS, RECIPES) for name in doors for file in yaml_of(doors, name)]
    # The url lists map data sets to addresses; these folders hold no settings of a run.
    settings = [file for file in files
                if "url" not in file.stem and file.parent.name not in _NO_SETTINGS]
    return frozenset(key for file in settings for key in read_config_file(file))


def use_dataset_folder(config: Config) -> None:
    """Point `data_path` of an ml-100k run at the user's folder, else at the plugin's copy.

    RecBole sends every ml-100k run to its own copy, which has no item features.
    """
    if config.dataset != DEMO_DATASET:
        return
    data_path = config.external_config_dict.get("data_path")
    if data_path is None:
        from recbole_ssr.data.demo import ensure_ml_100k

        folder = ensure_ml_100k(config.final_config_dict.get("cache_dir"))
    else:
        folder = Path(data_path) / DEMO_DATASET
    config.final_config_dict["data_path"] = str(folder)


def check_dataset(folder: Path, dataset: str, benchmark: bool) -> None:
    """Raise UserError unless `folder` holds the dataset's .inter file (or presplit files)."""
    # os.path says False where Path raises: of a name that is too long, or without permission.
    if os.path.isdir(folder) and (benchmark or os.path.isfile(folder / f"{dataset}.inter")):
        return
    root = folder.parent
    readable = os.path.isdir(root) and os.access(root, os.R_OK)
    here = sorted(name for name in (os.listdir(root) if readable else ())
                  if os.path.isfile(root / name / f"{name}.inter"))
    known = [file.stem for file in (properties_folder() / "dataset").glob("*.yaml")
             if file.stem != dataset]
    path = " Give the name of its folder, not a path to it." if os.sep in dataset else ""
    more = f" and {len(here) - _FEW} more" if len(here) > _FEW else ""
    raise MissingDataset(
        f"There is no dataset {dataset!r}: {folder / dataset}.inter does not exist.{path}"
        f"{nearest(dataset, [*here, *known])} Under data_path {str(root)!r} lie: "
        f"{', '.join(here[:_FEW]) or 'none'}{more}. Set data_path to the folder that holds "
        f"{dataset}/, make the dataset with recbole-ssr prepare, or use {DEMO_DATASET} without "
        "data_path.",
        dataset, str(folder),
    )


def prepared_settings(config: Config, dataset: str) -> list[Path]:
    """Return the yaml that preparation left beside a dataset, in a list; empty without one.

    Raises UserError for a key that no yaml knows.
    """
    data_path = config.external_config_dict.get("data_path")
    if data_path is None and dataset == DEMO_DATASET:
        return []  # the embedded data set, wherever it lies
    root = Path(data_path or config.internal_config_dict.get("data_path") or ".")
    file = root / dataset / f"{dataset}.yaml"
    if not os.path.isfile(file):
        return []
    known = keys_of_any_model()
    for key in read_config_file(file):
        if key not in known:
            raise UserError(f"Unknown key {key!r} in {file}.{nearest(key, known)} It lies beside "
                            "the dataset and holds settings of every run on it.")
    return [file]
