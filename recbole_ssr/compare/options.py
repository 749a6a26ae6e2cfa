"""What a comparison is asked to do: the flags and file entries that are no settings of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from recbole_ssr import registry
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file

ENGINES = ("local", "ray")
SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "none")
WHERE = ("both", "training", "inference")
OUT = "comparisons"  # below it a folder for every dataset


class Options(NamedTuple):
    """A comparison as asked for, with every default filled in.

    Attributes:
        models: label -> model and its own settings, in the order of the table.
        seeds: seeds of the runs.
        settings: settings of all models: from files, then flags.
        out: folder of runs and reports.
        engine, address, jobs, threads, cpus, gpus: where runs happen and how many at a time; jobs
            None is one on this machine, and what fits on a cluster.
        tune, sampler, pruner, storage, space: settings tried per model before the comparison.
        preset: files or folders of tuned settings.
        noise, missing: modality -> levels; dropped: modalities; corrupt_at: see WHERE.
        interactions: shares of the training interactions.
        user_groups, head_share: how users and items are grouped.
        reference: label that every other line is tested against, too.
        published: whether published figures are shown.
        no_run: report on what is there, run nothing.
    """

    models: dict[str, tuple[str, dict]]
    seeds: tuple[int, ...]
    settings: dict
    out: Path
    engine: str = "local"
    address: str | None = None
    jobs: int | None = None
    threads: int | None = None
    cpus: float | None = None
    gpus: float = 0.0
    tune: int = 0
    sampler: str = "tpe"
    pruner: str = "median"
    storage: str | None = None
    space: tuple[str | dict, ...] = ()
    preset: tuple[str, ...] = ()
    noise: dict[str, tuple[float, ...]] = {}
    missing: dict[str, tuple[float, ...]] = {}
    dropped: tuple[str, ...] = ()
    corrupt_at: str = "both"
    interactions: tuple[float, ...] = ()
    user_groups: tuple[int, ...] = (5, 10, 20)
    head_share: float = 0.8
    reference: str | None = None
    published: bool = False
    no_run: bool = False


# As a user writes them; what is left of flags and files are settings of the runs.
NAMES = ("models", "seeds", "out", "engine", "address", "jobs", "threads", "cpus", "gpus", "tune",
         "sampler", "pruner", "storage", "space", "preset", "noise", "missing", "drop_modality",
         "corrupt_at", "interactions", "user_groups", "head_share", "reference", "published",
         "no_run")
_OF_TUNE = ("trials",)  # the command's own name for `tune`
_ALIKE = 0.75  # of two spellings, by difflib
_DEFAULTS = Options._field_defaults
_DEFAULT_SEED = 2020  # as in overall.yaml, the first of several
# More are a slip of the finger, and would fill the memory before anything is said.
_MOST_SEEDS, _MOST_JOBS, _MOST_TRIALS = 1000, 10_000, 1_000_000


def is_comparison(files: Sequence[str], flags: Mapping) -> bool:
    """Tell whether flags or files name several models."""
    return "models" in flags or any("models" in read_config_file(file) for file in files)


def options_of(files: Sequence[str], flags: Mapping) -> Options:
    """Read a comparison from files and flags, which win.

    Raises UserError for an option of a wrong kind; settings are checked where runs are made.
    """
    given: dict = {}
    for file in files:
        given |= read_config_file(file)
    given |= flags
    asked = {name: given.pop(name) for name in NAMES if name in given}
    _check_spelling(given)
    for name, instead in (("model", "models"), ("resume", "the same command again")):
        if name in given:
            raise UserError(f"{name}={given[name]!r} belongs to a single run; a comparison takes "
                            f"{instead}.")
    dataset = str(given.setdefault("dataset", registry.DEMO_DATASET))
    options = Options(
        models=_models(asked.get("models")),
        seeds=_seeds(asked.get("seeds", 1), given.pop("seed", _DEFAULT_SEED)),
        settings=given,
        out=Path(_text("out", asked) or Path(OUT) / dataset),
        engine=_one_of("engine", asked, ENGINES),
        address=_text("address", asked),
        jobs=_whole("jobs", asked, 1, _MOST_JOBS),
        threads=_whole("threads", asked, 1, _MOST_JOBS),
        cpus=_number("cpus", asked, 0),
        gpus=_number("gpus", asked, 0),
        tune=_whole("tune", asked, 0, _MOST_TRIALS),
        sampler=_one_of("sampler", asked, SAMPLERS),
        pruner=_one_of("pruner", asked, PRUNERS),
        storage=_text("storage", asked),
        space=_space(asked.get("space", ())),
        preset=_texts("preset", asked),
        noise=_levels("noise", asked, None),
        missing=_levels("missing", asked, 1),
        dropped=_texts("drop_modality", asked),
        corrupt_at=_one_of("corrupt_at", asked, WHERE),
        interactions=_shares(asked.get("interactions", ())),
        user_groups=_borders(asked.get("user_groups", _DEFAULTS["user_groups"])),
        head_share=_number("head_share", asked, 0, 1),
        reference=_text("reference", asked),
        published=_flag("published", asked),
        no_run=_flag("no_run", asked),
    )
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


def _models(given: object) -> dict[str, tuple[str, dict]]:
    """Read "A,B", [A, B] or {label: settings}, where settings may name their `model`.

    `vary` in settings adds lines: {key: [value, ...]} one for each value of that key, {name:
    settings} one with these settings changed.
    """
    if isinstance(given, Mapping):
        entries = {str(label): settings for label, settings in given.items()}
    else:
        names = _list("models", given)
        if len(set(names)) < len(names):
            raise UserError(f"models={given!r} names a model twice. To compare settings of one "
                            "model, give labels: models: {short: {model: SSR, n_layers: 2}, "
                            "long: {model: SSR, n_layers: 4}}.")
        entries = {str(name): None for name in names}
    if not entries:
        raise UserError("models names no model. Write --models=SSR,LightGCN.")
    found = {}
    for label, settings in entries.items():
        if settings is not None and not isinstance(settings, Mapping):
            raise UserError(f"models: {label}: {settings!r} must be settings, as in "
                            f"{{{label}: {{n_layers: 2}}}}.")
        bare = settings is None
        settings = {str(key): value for key, value in (settings or {}).items()}
        vary = settings.pop("vary", {})
        model = registry.canonical(str(settings.pop("model", label)))
        label = model if bare and label.lower() == model.lower() else label
        found[label] = (model, settings)
        for name, changes in _variations(label, vary):
            found[f"{label}, {name}"] = (model, {**settings, **changes})
    for label, (_, settings) in found.items():
        for key in ("seed", "dataset"):
            if key in settings:
                raise UserError(f"models: {label}: {key} is the same for all lines of a "
                                "comparison; give it beside models.")
    return found


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


def _seeds(given: object, first: object) -> tuple[int, ...]:
    """Read a number of seeds, counted from `first`, or a list of seeds."""
    if type(first) is not int:
        raise UserError(f"seed={first!r} must be a whole number.")
    if type(given) is int and 1 <= given <= _MOST_SEEDS:
        return tuple(range(first, first + given))
    if isinstance(given, str):
        given = [int(part) if part.strip().isdigit() else part for part in given.split(",")]
    if isinstance(given, (list, tuple)) and given and all(type(seed) is int for seed in given):
        return tuple(dict.fromkeys(given))
    raise UserError(f"seeds={given!r} must be how many, at most {_MOST_SEEDS}, as in --seeds=5, "
                    'or a list of whole numbers, as in --seeds="[1, 2, 3]".')


def _list(name: str, given: object) -> list:
    """Read a list, or text with commas."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, (list, tuple)):
        return list(given)
    if given is None or isinstance(given, bool):
        raise UserError(f"--{name} needs a value: --{name}=...")
    return [given]


def _texts(name: str, asked: Mapping) -> tuple[str, ...]:
    return tuple(map(str, _list(name, asked[name]))) if name in asked else ()


def _space(given: object) -> tuple[str | dict, ...]:
    """Read files of search spaces, or a space as such."""
    return (dict(given),) if isinstance(given, Mapping) else _texts("space", {"space": given})


def _text(name: str, asked: Mapping) -> str | None:
    value = asked.get(name)
    if value is True:
        raise UserError(f"--{name} needs a value: --{name}=...")
    return None if value is None else os.path.expanduser(str(value))


def _one_of(name: str, asked: Mapping, known: Sequence[str]) -> str:
    value = str(asked.get(name, _DEFAULTS[name]))
    if value not in known:
        raise UserError(f"{name}={value!r} is unknown.{nearest(value, known)} Use "
                        f"{', '.join(known)}.")
    return value


def _flag(name: str, asked: Mapping) -> bool:
    value = asked.get(name, _DEFAULTS[name])
    if type(value) is not bool:
        raise UserError(f"{name}={value!r} must be True or False.")
    return value


def _whole(name: str, asked: Mapping, least: int, most: int) -> int | None:
    value = asked.get(name, _DEFAULTS[name])
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise UserError(f"{name}={value!r} must be a whole number of at least {least} and at most "
                        f"{most}.")
    return value


def _number(name: str, asked: Mapping, least: float, most: float | None = None) -> float | None:
    value = asked.get(name, _DEFAULTS[name])
    if value is None:
        return None
    inside = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= least
    if not inside or (most is not None and value > most):
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name}={value!r} must be a number {bound}.")
    return float(value)


def _levels(name: str, asked: Mapping, most: float | None) -> dict[str, tuple[float, ...]]:
    """Read "image:0.3", "image:0.1,0.3" or {image: [0.1, 0.3]}."""
    given = asked.get(name, {})
    if isinstance(given, str):
        modality, colon, levels = given.rpartition(":")
        given = {modality: levels} if colon else {given: None}
    if not isinstance(given, Mapping):
        given = {str(given): None}
    found = {}
    for modality, levels in given.items():
        numbers = _numbers(levels)
        if not numbers or any(x <= 0 or (most is not None and x > most) for x in numbers):
            bound = "above 0" if most is None else f"above 0, at most {most}"
            raise UserError(f"{name}={asked[name]!r} must name a modality and levels {bound}, as "
                            f"in --{name}=image:0.3 or --{name}=\"{{image: [0.1, 0.3]}}\".")
        found[str(modality)] = tuple(sorted(set(numbers)))
    return found


def _shares(given: object) -> tuple[float, ...]:
    """Read shares of the training interactions, ascending, without the whole."""
    shares = _numbers(given) if given != () else []
    if shares is None or any(not 0 < share <= 1 for share in shares):
        raise UserError(f"interactions={given!r} must be shares of the training interactions, "
                        "above 0 and at most 1, as in --interactions=0.2,0.5.")
    return tuple(sorted(set(shares) - {1.0}))


def _numbers(given: object) -> list[float] | None:
    """Read a number, a list of numbers or text of numbers with commas; None for anything else."""
    parts = given.split(",") if isinstance(given, str) else given
    parts = parts if isinstance(parts, (list, tuple)) else [parts]
    try:
        return [float(part) for part in parts if not isinstance(part, bool)]
    except (TypeError, ValueError):
        return None


def _borders(given: object) -> tuple[int, ...]:
    borders = given if isinstance(given, (list, tuple)) else [given]
    if not borders or any(type(b) is not int or b < 0 for b in borders) \
            or list(borders) != sorted(set(borders)):
        raise UserError(f"user_groups={given!r} must be ascending whole numbers, the most training "
                        "interactions of each group, as in [5, 10, 20].")
    return tuple(borders)
