"""Tuning of the models of a comparison, all with the same budget, selected on validation only."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from recbole_ssr import registry
from recbole_ssr.compare.engine import Engine, Source, Watch
from recbole_ssr.compare.plan import RUNS
from recbole_ssr.compare.store import Task, task_of
from recbole_ssr.config import PluginConfig, build_config, merged_settings
from recbole_ssr.errors import UserError
from recbole_ssr.tune.heartbeat import Worker
from recbole_ssr.tune.source import TuneSource
from recbole_ssr.tune.space import Space, spaces_of
from recbole_ssr.tune.storage import existing_study, open_storage, open_study, study_name
from recbole_ssr.tune.study import Search
from recbole_ssr.tune.trials import Method, Trial

logger = logging.getLogger("recbole_ssr")


class Selected(NamedTuple):
    """What tuning selected for a line.

    Attributes:
        label, model, dataset: of the line.
        settings: of the best trial, by key of the space; the rest is as the line gives it.
        metric: valid_metric, for instance "recall@20".
        value: of the best trial on validation; default: of the settings that the search begins
            from, the best until it was pruned where default_pruned, None where that trial failed.
        complete, pruned, failed: trials, over all machines.
        trials: all of them, by number.
        size: settings that the space has, None of continuous ranges.
        method: how the search went about it.
        study: name of the study in its storage.
        split: fingerprint of the split, None where runs do not tell.
        larger_is_better: the direction of the metric.
        begun: what the search begins from, in words.
    """

    label: str
    model: str
    dataset: str
    settings: dict
    metric: str
    value: float
    default: float | None
    complete: int
    pruned: int
    failed: int
    trials: tuple[Trial, ...]
    size: int | None
    method: Method
    study: str
    split: str | None
    larger_is_better: bool = True
    begun: str = "default settings"
    default_pruned: bool = False


def tune(
    models: Mapping[str, tuple[str, Mapping]],
    engine: Engine,
    out: str | Path,
    method: Method,
    storage: str | None = None,
    space: Iterable[str | Path | Mapping] = (),
    seed: int = 2020,
    jobs: int = 1,
    watch: Watch | None = None,
    follow: Callable[[Source, int], Source] | None = None,
    poll: float = 5.0,
    start: Mapping[str, Mapping] | None = None,
    run: bool = True,
) -> dict[str, Selected]:
    """Search the settings of every line and return what is best on validation.

    Args:
        models: label -> model and its settings over the defaults, dataset and data_path among
            them. What they set is not searched.
        engine: runs the trials, `jobs` at a time.
        out: output folder of the comparison.
        method: sampler, pruner and the budget, which is every line's.
        storage: of the studies, see `open_storage`.
        space: yamls or their content, what to search above the models' own grids, see `spaces_of`.
        seed: of the runs of all trials.
        watch: called with what runs.
        follow: from the source of trials and how many are to come to what the engine is given
            instead, for a live table.
        poll: seconds between looks at trials that other machines still run.
        start: label -> settings over the model's defaults that the first trial has; what of them is
            not searched, all trials have.
        run: False looks at trials that are there and begins none.

    Raises UserError for mistakes in settings, spaces, method or storage, before anything is
    trained, and for a line none of whose trials finished. An interruption leaves everything so
    that the same call goes on.
    """
    method.check()
    spaces, start = spaces_of(models, space, start), start or {}
    begin = {label: merged_settings(start.get(label, {}), settings)
             for label, (_, settings) in models.items()}
    configs = {label: build_config(model, config_dict={**begin[label], "seed": seed})
               for label, (model, _) in models.items()}
    models = {label: (model, {key: value for key, value in begin[label].items()
                              if key in settings or key not in spaces[label].dimensions})
              for label, (model, settings) in models.items()}
    if not run:
        return {label: _selected(label, _found(label, spaces[label], configs[label], storage, out,
                                               method), configs[label], label in start)
                for label in models}
    with Worker() as worker:
        searches = {label: _search(spaces[label], configs[label], storage, out, method, worker)
                    for label in models}

        def make(label: str, settings: dict) -> Task:
            model, fixed = models[label]
            return task_of(label, model, {**settings, **fixed}, seed, Path(out) / RUNS, "valid")

        metrics = {label: _metric(config) for label, config in configs.items()}
        source = TuneSource(searches, make, metrics)
        try:
            _run(source, engine, jobs, watch or _unwatched, follow or _itself, poll)
        except BaseException:
            source.release()
            raise
        return {label: _selected(label, search, configs[label], label in start)
                for label, search in searches.items()}


def _search(space: Space, config: PluginConfig, storage: str | None, out: str | Path,
            method: Method, worker: Worker) -> Search:
    opened = open_storage(storage, out, config["model"])
    study = open_study(opened, study_name(space, config), config["valid_metric_bigger"])
    search = Search(study, space, method, worker)
    if not space.listed and search.budget < method.trials:
        logger.info("%s has %d settings to try, fewer than %d trials.", space.model, search.budget,
                    method.trials)
    return search


def _found(label: str, space: Space, config: PluginConfig, storage: str | None, out: str | Path,
           method: Method) -> Search:
    """Return a search that is there, to look at."""
    opened = open_storage(storage, out, config["model"], make=False)
    study = None if opened is None else existing_study(opened, study_name(space, config))
    if study is None:
        raise UserError(f"No search over {label} with these settings has begun, so that nothing is "
                        "selected. Give the command without --no_run, or without --tune.")
    return Search(study, space, method, None)


def _run(source: TuneSource, engine: Engine, jobs: int, watch: Watch,
         follow: Callable[[Source, int], Source], poll: float) -> None:
    """Run until the budget of all lines is used up, also by what others still run."""
    told = False
    while True:
        others = _others(source)
        engine.run(follow(source, source.coming), jobs, watch)
        if _others(source):
            if not told:
                logger.info("Other processes still run trials of this search; waiting for them.")
                told = True
            time.sleep(poll)
        elif not others:  # else they may have left trials that are to be run here
            return


def _others(source: TuneSource) -> bool:
    return any(search.others_running() for search in source.searches.values())


def _unwatched(_running: list) -> None:
    """Do nothing with what runs."""


def _itself(source: Source, _coming: int) -> Source:
    return source


def _metric(config: PluginConfig) -> str:
    return str(config["valid_metric"]).lower()


def _selected(label: str, search: Search, config: PluginConfig, from_preset: bool) -> Selected:
    best, trials = search.best(), tuple(search.trials())
    if best is None:
        reasons = "; ".join(search.failures()) or "none of its trials finished"
        raise UserError(f"No trial of {label} finished, so that nothing can be selected: {reasons}")
    count = {state: sum(trial.state == state for trial in trials)
             for state in ("complete", "pruned", "failed")}
    default = search.default()
    return Selected(
        label, registry.canonical(config["model"]), str(config["dataset"]), best.settings,
        _metric(config), best.value, default.value if default else None, **count, trials=trials,
        size=search.space.size, method=search.method, study=search.study.study_name,
        split=best.split, larger_is_better=config["valid_metric_bigger"],
        default_pruned=default is not None and default.state == "pruned",
        **({"begun": "its preset"} if from_preset else {}),
    )
