"""What a comparison is asked to do: the flags and file entries that are no settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path

from recbole_ssr import registry
from recbole_ssr.config import merged_settings
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file
from recbole_ssr.option import items, number, one_of, option, switch, text, texts, values, whole

ENGINES = ("local", "ray")
SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "none")
WHERE = ("both", "training", "inference")
OUT = "comparisons"  # below it a folder for every dataset
_OF_TUNE = ("trials",)  # the command's name for `tune`
_ALIKE = 0.75  # of two spellings, by difflib
_DEFAULT_SEED = 2020  # as in overall.yaml, the first of several
# More are a slip of the finger, and would fill the memory before anything is said.
_MOST_SEEDS, _MOST_JOBS, _MOST_TRIALS = 1000, 10_000, 1_000_000


def _models(_name: str, value: object) -> dict[str, tuple[str, dict]]:
    """Read "A,B", [A, B] or {label: settings}, where settings may name their `model`.

    `vary` in settings adds lines: {key: [value, ...]} one for each value of that key, {name:
    settings} one with these settings changed.
    """
    if isinstance(value, Mapping):
        entries = {str(label): settings for label, settings in value.items()}
    else:
        names = items("models", value)
        if len(set(names)) < len(names):
            raise UserError(f"models={value!r} names a model twice. To compare settings of one "
                            "model, give labels: models: {short: {model: SSR, n_layers: 2}, "
                            "long: {model: SSR, n_layers: 4}}.")
        entries = {str(name): None for name in names}
    if not entries:
        raise UserError("models names no model. Write --models=SSR,LightGCN.")
    lines = {}
    for label, settings in entries.items():
        if settings is not None and not isinstance(settings, Mapping):
            raise UserError(f"models: {label}: {settings!r} must be settings, as in "
                            f"{{{label}: {{n_layers: 2}}}}.")
        bare = settings is None
        settings = {str(key): value for key, value in (settings or {}).items()}
        vary = settings.pop("vary", {})
        model = registry.canonical(str(settings.pop("model", label)))
        label = model if bare and label.lower() == model.lower() else label
        found = [(label, settings), *((f"{label}, {name}", merged_settings(settings, changes))
                                      for name, changes in _variations(label, vary))]
        for name, of_line in found:
            if name in lines:
                raise UserError(f"models: two lines are called {name!r}. Give one another label.")
            lines[name] = (model, of_line)
    for label, (_, settings) in lines.items():
        if "nproc" in settings:
            raise UserError(f"models: {label}: nproc belongs to a single run; a comparison takes "
                            "runs at a time, --jobs=N.")
        for key in ("seed", "dataset"):
            if key in settings:
                raise UserError(f"models: {label}: {key} is the same for all lines of a "
                                "comparison; give it beside models.")
    return lines


def _variations(label: str, vary: object) -> Iterator[tuple[str, dict]]:
    """Yield name and changed settings of every further line that `vary` asks for."""
    for name, entry in vary.items() if isinstance(vary, Mapping) else [(None, vary)]:
        if isinstance(entry, list) and name is not None:
            yield from ((f"{name} {value}", {str(name): value}) for value in entry)
        elif isinstance(entry, Mapping):
            yield str(name), dict(entry)
        else:
            raise UserError(f"models: {label}: vary: {vary!r} must hold lists of values by key, or "
                            "settings by name, as in {n_layers: [1, 3], no l2: {l2_weight: 0}}.")


def _seeds(_name: str, value: object) -> int | tuple[int, ...]:
    """Read a number of seeds, or a list of seeds."""
    if type(value) is int and 1 <= value <= _MOST_SEEDS:
        return value
    seeds = value
    if isinstance(value, str):
        seeds = [int(part) if part.strip().isdecimal() else part for part in value.split(",")]
    if isinstance(seeds, (list, tuple)) and seeds and all(type(seed) is int for seed in seeds):
        return tuple(dict.fromkeys(seeds))
    raise UserError(f"seeds={seeds!r} must be how many, at most {_MOST_SEEDS}, as in --seeds=5, "
                    'or a list of whole numbers, as in --seeds="[1, 2, 3]".')


def _space(name: str, value: object) -> tuple[str | dict, ...]:
    """Read files of search spaces, or a space as such."""
    return (dict(value),) if isinstance(value, Mapping) else texts(name, value)


def _levels(most: float | None) -> Callable[[str, object], dict[str, tuple[float, ...]]]:
    """Return what reads "image:0.3", "image:0.1,0.3" or {image: [0.1, 0.3]}."""
    def read(name: str, value: object) -> dict[str, tuple[float, ...]]:
        by_modality = value
        if isinstance(value, str):
            modality, colon, levels = value.rpartition(":")
            by_modality = {modality: levels} if colon else {value: None}
        if not isinstance(by_modality, Mapping):
            by_modality = {str(value): None}
        read_levels = {}
        for modality, levels in by_modality.items():
            numbers = _numbers(levels)
            if not numbers or any(x <= 0 or (most is not None and x > most) for x in numbers):
                bound = "above 0" if most is None else f"above 0, at most {most}"
                raise UserError(f"{name}={value!r} must name a modality and levels {bound}, as in "
                                f"--{name}=image:0.3 or --{name}=\"{{image: [0.1, 0.3]}}\".")
            read_levels[str(modality)] = tuple(sorted(set(numbers)))
        return read_levels

    return read


def _shares(name: str, value: object) -> tuple[float, ...]:
    """Read shares of the training interactions, ascending, without the whole."""
    shares = _numbers(value) if value != () else []
    if shares is None or any(not 0 < share <= 1 for share in shares):
        raise UserError(f"{name}={value!r} must be shares of the training interactions, above 0 "
                        "and at most 1, as in --interactions=0.2,0.5.")
    return tuple(sorted(set(shares) - {1.0}))


def _numbers(value: object) -> list[float] | None:
    """Read a number, a list of numbers or text of numbers with commas; None for anything else."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, (list, tuple)) else [parts]
    try:
        return [float(part) for part in parts if not isinstance(part, bool)]
    except (TypeError, ValueError):
        return None


def _borders(name: str, value: object) -> tuple[int, ...]:
    borders = value if isinstance(value, (list, tuple)) else [value]
    if not borders or any(type(b) is not int or b < 1 for b in borders) \
            or list(borders) != sorted(set(borders)):
        raise UserError(f"{name}={value!r} must be ascending whole numbers from 1 on, the most "
                        "training interactions of each group, as in [5, 10, 20].")
    return tuple(borders)


def _head_share(name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise UserError(f"{name}={value!r} must be a share above 0 and at most 1.")
    return float(value)


@dataclass(frozen=True)
class ComparisonOptions:
    """A comparison as asked for, with every default filled in.

    `models`: label -> model and its settings, in the order of the table. `jobs` None is one on this
    machine, and what fits on a cluster. `noise` and `missing`: modality -> levels.
    """

    settings: dict  # of all models: from files, then flags
    models: dict[str, tuple[str, dict]] = option(
        "models=SSR,LightGCN", "what to compare; in a file also {label: {model: SSR, ...}}", {},
        _models)
    seeds: tuple[int, ...] = option(
        "seeds=5", "so many, counted from --seed, or a list; the split is the same for all", 1,
        _seeds)
    out: Path = option("out=FOLDER", "receives runs, presets, tables and report; default "
                       f"{OUT}/<dataset>", None, text)
    jobs: int | None = option("jobs=2", "runs at a time on this machine", None,
                              whole(1, _MOST_JOBS))
    threads: int | None = option("threads=1", "threads of each of them", None,
                                 whole(1, _MOST_JOBS))
    engine: str = option("engine=ray", "runs on a Ray cluster, default local processes", "local",
                         one_of(ENGINES))
    address: str | None = option(
        "address=ADDRESS", "of its head, HOST:PORT, or auto; without, one starts here", None, text)
    cpus: float | None = option("cpus=1", "cores of a run on the cluster", None, number(0))
    gpus: float = option("gpus=0.5", "GPUs of a run on the cluster, parts of one too", 0.0,
                         number(0))
    tune: int = option("tune=20", "settings tried per model before the comparison: recbole-ssr "
                       "tune --help", 0, whole(0, _MOST_TRIALS))
    sampler: str = option("sampler=tpe", "how they are chosen: tpe, random or grid", "tpe",
                          one_of(SAMPLERS))
    pruner: str = option("pruner=median", "which runs of the search end early: median, halving or "
                         "none", "median", one_of(PRUNERS))
    storage: str | None = option(
        "storage=FILE", "journal or database of the search, which several machines may share",
        None, text)
    space: tuple[str | dict, ...] = option(
        "space=FILE", "yaml of lists, ranges {low: 1, high: 9} and settings to search; default the "
        "grids of the models", (), _space)
    preset: tuple[str, ...] = option(
        "preset=FILES", "settings that an earlier search selected, to begin from", (), texts)
    reference: str | None = option(
        "reference=LightGCN", "a line that all others are tested against as well", None, text)
    published: bool = option(
        "published", "show figures that others report on the same split, set apart", False, switch)
    noise: dict[str, tuple[float, ...]] = option(
        "noise=image:0.3", "a curve of results by noise on features: {image: [0.1, 0.3]}", {},
        _levels(None))
    missing: dict[str, tuple[float, ...]] = option(
        "missing=text:0.5", "a curve by the share of items without features", {}, _levels(1))
    drop_modality: tuple[str, ...] = option(
        "drop-modality=image", "results without all features of a modality", (), texts)
    corrupt_at: str = option(
        "corrupt_at=both", "where features are made worse: both, training or inference", "both",
        one_of(WHERE))
    interactions: tuple[float, ...] = option(
        "interactions=0.2,0.5", "a curve by the share of training interactions", (), _shares)
    user_groups: tuple[int, ...] = option(
        'user_groups="[5, 10, 20]"', "borders of groups of users, in training interactions",
        (5, 10, 20), _borders)
    head_share: float = option(
        "head_share=0.8", "share of the training interactions that make an item a head item", 0.8,
        _head_share)
    no_run: bool = option("no_run", "report on what is there, run nothing", False, switch)
    typed: dict = field(default_factory=dict)  # the settings that are from flags


NAMES = tuple(entry.name for entry in fields(ComparisonOptions) if entry.metadata)


def is_comparison(files: Sequence[str], flags: Mapping) -> bool:
    """Tell whether flags or files name several models."""
    return "models" in flags or any("models" in read_config_file(file) for file in files)


def options_of(files: Sequence[str], flags: Mapping, renamed: Mapping[str, str] | None = None,
               otherwise: Mapping | None = None) -> ComparisonOptions:
    """Read a comparison from files and flags, which win.

    A command that has other names for options says so by `renamed`, null being as not given, and
    its own defaults by `otherwise`. Raises UserError for an option of a wrong kind; settings are
    checked where runs are made.
    """
    settings, renamed = dict(otherwise or {}), renamed or {}
    for layer in (*map(read_config_file, files), flags):
        layer = {renamed.get(name, name): value for name, value in layer.items()
                 if value is not None or name not in renamed}
        settings = merged_settings(settings, layer)
    asked = {name: settings.pop(name) for name in NAMES if name in settings}
    _check_spelling(settings)
    for name, instead in (("model", "models"), ("resume", "the same command again"),
                          ("nproc", "runs at a time, --jobs=N, and machines, --engine=ray")):
        if name in settings:
            raise UserError(f"{name}={settings[name]!r} belongs to a single run; a comparison "
                            f"takes {instead}.")
    dataset = str(settings.setdefault("dataset", registry.DEMO_DATASET))
    seeded, first = "seed" in settings, settings.pop("seed", _DEFAULT_SEED)
    options = ComparisonOptions(settings, **values(ComparisonOptions, {"models": None, **asked}),
                                typed={key: flags[key] for key in settings if key in flags})
    if type(first) is not int:
        raise UserError(f"seed={first!r} must be a whole number.")
    if type(options.seeds) is tuple and seeded and ("seed" in flags or "seeds" not in flags):
        raise UserError(f"seed={first} and the list seeds={list(options.seeds)} exclude each "
                        "other. Leave one out; --seeds=N counts N seeds from --seed.")
    if type(options.seeds) is int:
        options = replace(options, seeds=tuple(range(first, first + options.seeds)))
    options = replace(options, out=Path(options.out or Path(OUT) / dataset))
    if options.reference is not None and options.reference not in options.models:
        raise UserError(f"reference={options.reference!r} is not among the models."
                        f"{nearest(options.reference, options.models)} Compared are "
                        f"{', '.join(options.models)}.")
    return options


def _check_spelling(settings: Mapping) -> None:
    """Raise UserError for what is no setting and nearly one of NAMES; the runs check the rest."""
    for key in settings:
        known = key in registry.keys_of_any_model() or key in registry.KEYS_WITHOUT_YAML
        near = get_close_matches(key, (*NAMES, *_OF_TUNE), n=1, cutoff=_ALIKE)
        if near and not known:
            raise UserError(f"Unknown key {key!r}. Did you mean {near[0]!r}? recbole-ssr compare "
                            "--help lists what a comparison takes beside settings.")
