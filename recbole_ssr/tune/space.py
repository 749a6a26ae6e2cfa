"""What a search may try: lists and ranges of a model's settings, checked before anything starts.

A model's own space is `properties/grid/<Model>.yaml`. A user's yaml overrides it key by key::

    n_bands: [2, 3, 4]                                   # any of a list; null leaves a key out
    learning_rate: {low: 0.0001, high: 0.01, log: true}  # anything between
    svd_modes: {low: 64, high: 512, step: 64}            # whole numbers where the setting is one
    FREEDOM:                                             # keys for one model alone
      edge_dropout: [0.8, 0.9]
    BM3: [{n_layers: 1}, {n_layers: 2, dropout: 0.3}]    # these settings and no others
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recbole.utils import ModelType

from recbole_ssr import registry
from recbole_ssr.config import PluginConfig, build_config, config_hash, merged_settings
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file
from recbole_ssr.registry import KEYS_WITHOUT_YAML

logger = logging.getLogger("recbole_ssr")

# What is searched for RecBole's own models: usual values for graph models and, second, models in
# closed form. They have no grid of the plugin, and search those keys that their own yaml has.
RECBOLE_GRID = {"learning_rate": [0.0005, 0.001, 0.002], "n_layers": [1, 2, 3, 4],
                "reg_weight": [0.00001, 0.0001, 0.001, 0.01]}
RECBOLE_CLOSED_FORM_GRID = {"k": [10, 50, 100, 200, 250, 300, 400, 500, 1000],
                            "shrink": [0.0, 0.1, 0.5, 1.0, 2.0],
                            "reg_weight": [1.0, 10.0, 100.0, 250.0, 500.0, 1000.0]}
# What all models of a comparison share. Values selected under other ones would not compare.
PROTOCOL = frozenset((
    "model", "dataset", "data_path", "seed", "split_seed", "split_column", "split_name",
    "benchmark_filename", "load_col", "val_interval", "user_inter_num_interval",
    "item_inter_num_interval", "eval_args", "repeatable", "metrics", "topk", "valid_metric",
    "metric_decimal_place", "epochs", "stopping_step", "eval_step", "stopping_rule",
    "test_masking", "train_share", "feature_noise", "feature_missing", "drop_modality",
    "corruption_seed", "corruption_at",
))
_RANGE = ("low", "high", "log", "step")


class Choice(NamedTuple):
    """A setting that takes one of some values, of any kind that yaml knows."""

    values: tuple

    @property
    def n_values(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, index: int) -> object:
        """Return the value of an index."""
        return self.values[index]

    def plain(self) -> list:
        """Return it as a yaml would write it."""
        return list(self.values)


class Range(NamedTuple):
    """A setting between two numbers, both included; by powers where `log`; `whole` numbers."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def n_values(self) -> int | None:
        """How many values there are, None where they are without number."""
        if self.step is None and not self.whole:
            return None
        return _steps(self.low, self.high, self.step or 1) + 1

    def at(self, index: int) -> float:
        """Return the value of an index; 12 decimals, so that steps of 0.1 give 0.3."""
        value = self.low + index * (self.step or 1)
        return value if self.whole else round(value, 12)

    def plain(self) -> dict:
        """Return it as a yaml would write it."""
        return {key: value for key, value in zip(_RANGE, (self.low, self.high, self.log, self.step))
                if value not in (None, False)}


@dataclass(frozen=True)
class Space:
    """The settings of a model that a search may try.

    Attributes:
        model: the class.
        dimensions: by key, in the order in which a grid counts them.
        default: by key, what the search begins from, the model's defaults or a preset; it may lie
            outside.
        listed: the only settings to try, by key; empty where all combinations are.
    """

    model: str
    dimensions: dict[str, Choice | Range]
    default: dict[str, object]
    listed: tuple[dict[str, object], ...] = ()

    @property
    def size(self) -> int | None:
        """How many settings there are, None where a range is continuous."""
        if self.listed:
            return len(self.listed)
        sizes = [dimension.n_values for dimension in self.dimensions.values()]
        return None if None in sizes else math.prod(sizes)

    def point(self, index: int) -> dict[str, object]:
        """Return the settings of an index below `size`; the last key changes first."""
        if self.listed:
            return self.listed[index]
        point = {}
        for key, dimension in reversed(self.dimensions.items()):
            index, here = divmod(index, dimension.n_values)
            point[key] = dimension.at(here)
        return {key: point[key] for key in self.dimensions}

    def plain(self) -> dict:
        """Return the space as a yaml would write it, the settings listed below the key ""."""
        listed = {"": list(self.listed)} if self.listed else {}
        return listed | {key: dimension.plain() for key, dimension in self.dimensions.items()}


def spaces_of(models: Mapping[str, tuple[str, Mapping]],
              entries: Iterable[str | Path | Mapping] = (),
              start: Mapping[str, Mapping] | None = None) -> dict[str, Space]:
    """Return the space of every line of a comparison, all keys and values checked.

    Args:
        models: label -> model and its settings. What they set is fixed, and not searched.
        entries: what a user wants searched, as yamls or their content; later ones win. What is
            below a label is for its line alone, what is below a model for its other lines.
        start: label -> settings over the model's defaults to begin from.

    Raises UserError, naming key and value, for what a model would not take.
    """
    shared, by_name = read_spaces(entries, models)
    names = {*models, *(registry.canonical(model) for model, _ in models.values())}
    below = [key for key, entry in shared.items() if _looks_like_a_line(key, entry)]
    for name in (*by_name, *below):
        if name not in names:
            raise UserError(f"The search space names {name}, which is not among the models."
                            f"{nearest(name, names)}")
    spaces, used = {}, set()
    for label, (model, settings) in models.items():
        begin = (start or {}).get(label, {})
        model, base = registry.canonical(model), _config(model, merged_settings(begin, settings))
        for_all = {key: entry for key, entry in shared.items()
                   if len(models) == 1 or key in {*base.final_config_dict, *KEYS_WITHOUT_YAML}}
        entry = by_name.get(label, by_name.get(model, {}))
        if isinstance(entry, list):
            spaces[label] = listed_space(model, settings, entry, begin)
            continue
        spaces[label] = space_of(model, settings, {**for_all, **entry}, begin)
        used |= for_all.keys()
    for key in shared.keys() - used:  # no model has it: the message of any will do
        _check_key(model, base, key)
    return spaces


def space_of(model: str, settings: Mapping, user: Mapping | None = None,
             start: Mapping | None = None) -> Space:
    """Return a model's space: its grid, a `user`'s entries above it, without what `settings` fix.

    `start` are settings over the model's defaults to begin from.

    Raises UserError for a key that the model does not have or that belongs to the protocol, a
    value that it refuses. A model with nothing to tune has a space of one point, its default.
    """
    user, given = user or {}, merged_settings(start or {}, settings)
    base = _config(model, given)
    grid = _grid_of(model, base)
    # A user's own entries come first, so that a mistake there is found before the rest is checked.
    entries = {**user, **{key: entry for key, entry in grid.items() if key not in user}}
    dimensions, default = {}, {}
    for key, entry in entries.items():
        if entry is None:
            continue
        if key in settings and key not in PROTOCOL:
            level = logging.WARNING if key in user else logging.INFO
            logger.log(level, "%s=%r is given, so the search over %s leaves it alone.", key,
                       settings[key], model)
            continue
        _check_key(model, base, key)
        default[key] = base[key]
        if isinstance(entry, Mapping):
            dimensions[key] = _range(model, given, key, entry, default[key])
        else:
            dimensions[key] = _choice(model, given, key, entry)
    if not dimensions:
        logger.warning("There is nothing to tune for %s: it has no grid, or all keys of it are "
                       "given. Name keys and values in a yaml: --space=space.yaml.", model)
    return Space(model, dimensions, default)


def listed_space(model: str, settings: Mapping, listed: Sequence[Mapping],
                 start: Mapping | None = None) -> Space:
    """Return the space of some settings of a model. Raises UserError for what it would not take."""
    given = merged_settings(start or {}, settings)
    base = _config(model, given)
    keys = dict.fromkeys(key for entry in listed for key in entry)
    for key in keys:
        _check_key(model, base, key)
        if key in settings:
            raise UserError(f"The search space of {model} names {key}, which its line sets to "
                            f"{settings[key]!r}. Leave it out of one of them.")
    configs = [_config(model, given, **entry) for entry in listed]
    if len(set(map(config_hash, configs))) < len(configs):
        raise UserError(f"The search space of {model} lists settings twice: {list(listed)!r}.")
    points = tuple({key: config[key] for key in keys} for config in configs)
    default = {key: base[key] for key in keys}
    values = {key: {key_of({key: point[key]}): point[key] for point in (*points, default)}
              for key in keys}
    return Space(model, {key: Choice(tuple(choices.values())) for key, choices in values.items()},
                 default, points)


def read_spaces(entries: Iterable[str | Path | Mapping],
                labels: Collection[str] = ()) -> tuple[dict, dict[str, dict | list]]:
    """Return a user's entries for all lines, and those by label or model; later ones win."""
    shared: dict = {}
    by_name: dict[str, dict | list] = {}
    names = {name.lower(): name for name in registry.model_names()}
    for layer in entries:
        layer = layer if isinstance(layer, Mapping) else read_config_file(layer)
        for key, entry in layer.items():
            name = key if key in labels else names.get(str(key).lower())
            if name is None:
                shared[str(key)] = entry
            elif isinstance(entry, Mapping):
                before = by_name.get(name)
                by_name[name] = {**(before if isinstance(before, dict) else {}), **entry}
            elif isinstance(entry, list) and entry and all(isinstance(x, Mapping) for x in entry):
                by_name[name] = entry
            else:
                raise UserError(f"The search space of {key} is {entry!r}. Write its keys below it: "
                                f"{key}: {{learning_rate: [0.001, 0.01]}}, or list settings: "
                                f"{key}: [{{learning_rate: 0.001}}, {{learning_rate: 0.01}}].")
    return shared, by_name


def _looks_like_a_line(key: str, entry: object) -> bool:
    """Tell whether a misspelled label is likelier than a misspelled setting."""
    return (isinstance(entry, Mapping) and not entry.keys() & set(_RANGE)
            and key not in registry.keys_of_any_model())


def key_of(settings: Mapping) -> str:
    """Return settings as text that is equal for equal settings, whatever their order.

    >>> key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    True
    """
    return json.dumps(settings, sort_keys=True, default=str)


def _grid_of(model: str, base: PluginConfig) -> dict:
    """Return the grid of the plugin, or what RecBole proposes for a model of its own."""
    file = registry.properties_folder() / "grid" / f"{model}.yaml"
    if file.is_file():
        return read_config_file(file)
    yaml_of_model = registry.RECBOLE_PROPERTIES / "model" / f"{model}.yaml"
    keys = read_config_file(yaml_of_model) if yaml_of_model.is_file() else {}
    if base["MODEL_TYPE"] == ModelType.TRADITIONAL:
        return {key: values for key, values in RECBOLE_CLOSED_FORM_GRID.items() if key in keys}
    return {key: values for key, values in RECBOLE_GRID.items()
            if key == "learning_rate" or type(keys.get(key)) is type(values[0])}


def _config(model: str, settings: Mapping, **changes) -> PluginConfig:
    try:
        return build_config(model, config_dict=merged_settings(settings, changes))
    except UserError as error:
        if not changes:
            raise
        raise UserError(f"The search space of {model}: {error}") from None


def _check_key(model: str, base: PluginConfig, key: str) -> None:
    if key in PROTOCOL:
        raise UserError(f"The search space of {model} names {key}, which belongs to the protocol "
                        "that all models share. Give it as a setting of the whole comparison.")
    known = base.final_config_dict
    if key in known or key in KEYS_WITHOUT_YAML:
        return
    if key in registry.keys_of_any_model():
        raise UserError(f"The search space names {key}, which has no effect on {model}."
                        f"{nearest(key, known)}")
    raise UserError(f"The search space of {model} names an unknown key {key!r}."
                    f"{nearest(key, known)}")


def _checked(model: str, settings: Mapping, key: str, values: Iterable) -> list[tuple]:
    """Return the values as a run takes them, each with the hash of its run."""
    configs = [_config(model, settings, **{key: value}) for value in values]
    return [(config[key], config_hash(config)) for config in configs]


def _choice(model: str, settings: Mapping, key: str, entry: object) -> Choice:
    if not isinstance(entry, (list, tuple)) or not entry:
        raise UserError(f"The search space of {model}: {key}: {entry!r} must be a list of values, "
                        f"as in [{entry!r}], or a range, as in {{low: 1, high: 10}}.")
    values: dict[str, tuple] = {}
    for value, run in _checked(model, settings, key, entry):
        values.setdefault(key_of({key: value}), (value, run))
    runs = {run for _, run in values.values()}
    if len(runs) < len(values):
        raise _no_effect(model, key)
    return Choice(tuple(value for value, _ in values.values()))


def _range(model: str, settings: Mapping, key: str, entry: Mapping, default: object) -> Range:
    place = f"The search space of {model}: {key}: {dict(entry)!r}"
    for name in entry:
        if name not in _RANGE:
            raise UserError(f"{place} has an unknown entry {name!r}.{nearest(name, _RANGE)} A "
                            "range has low, high, log and step; other values go into a list.")
    low, high, step = (entry.get(name) for name in ("low", "high", "step"))
    log = entry.get("log", False)
    if any(type(x) not in (int, float) or not math.isfinite(x) for x in (low, high)) or low >= high:
        raise UserError(f"{place} must have two numbers, low below high.")
    if type(log) is not bool or (log and (low <= 0 or step is not None)):
        raise UserError(f"{place}: log is true or false; with it low lies above 0, without step.")
    if step is not None and (type(step) not in (int, float) or not 0 < step <= high - low):
        raise UserError(f"{place}: step must be a number above 0, at most high - low.")
    ends = (low, high, low + (step or 0))
    (low, first), (high, last), _ = _checked(model, settings, key, ends)
    if first == last:
        raise _no_effect(model, key)
    # RecBole's yamls write 1 for some floats: a whole default does not forbid halves there.
    whole = type(default) is int and all(type(x) is int for x in (low, high, step or 1))
    if step is not None:
        high = low + _steps(low, high, step) * step
    return Range(low, high, log, step, whole)


def _steps(low: float, high: float, step: float) -> int:
    """Return how often `step` fits, forgiving what floats lose."""
    return math.floor((high - low) / step + 1e-9)


def _no_effect(model: str, key: str) -> UserError:
    return UserError(f"The search space of {model} names {key}, which does not change what a run "
                     "computes. Leave it out.")
