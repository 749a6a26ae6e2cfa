"""Trials and methods of a search, as plain values."""

from __future__ import annotations

import json
from typing import NamedTuple

from recbole_ssr.compare.comparison_options import PRUNERS, SAMPLERS
from recbole_ssr.errors import UserError
from recbole_ssr.option import one_of

# Attributes of an Optuna trial. One that failed without a reason was withdrawn: it counts nowhere.
SETTINGS, DEFAULT, WORKER, REASON = "settings", "default", "worker", "reason"
SPLIT, FEATURES = "split", "features"


class Method(NamedTuple):
    """How a search goes about it.

    Attributes:
        trials: finished and pruned trials, over all machines.
        sampler: tpe (a density estimate of all keys together), random or grid.
        pruner: median (stop a run whose best validation so far lies behind the median of the
            others' at the same evaluation), halving (stop all but the best third of those that
            came as far, at 1, 3, 9, ... times n_warmup_steps: Li et al. 2020, ASHA) or none.
        n_startup_trials: finished trials before any is pruned.
        n_warmup_steps: evaluations of a trial before it may be pruned.
        seed: of the sampler.
    """

    trials: int
    sampler: str = "tpe"
    pruner: str = "median"
    n_startup_trials: int = 5
    n_warmup_steps: int = 5
    seed: int = 2020

    def check(self) -> None:
        """Raise UserError for a value that no search takes."""
        for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
            one_of(known)(name, getattr(self, name))
        for name, least in (("trials", 1), ("n_startup_trials", 0), ("n_warmup_steps", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name}={value!r} must be a whole number of at least {least}.")


class Trial(NamedTuple):
    """A trial as it stands.

    Attributes:
        number: in the study, from 0.
        state: complete, pruned, failed or running.
        value: best of valid_metric on validation, also of a pruned trial; None of others.
        settings: by key of the space.
        reason: of a failure, in one line.
        valid: the best of valid_metric so far, after every evaluation.
        split: fingerprint of the split it was validated on, where it is known.
        features: that of the item features it was trained on, None without any.
    """

    number: int
    state: str
    value: float | None
    settings: dict
    reason: str | None = None
    valid: tuple[float, ...] = ()
    split: str | None = None
    features: str | None = None


class Asked(NamedTuple):
    """A trial to run: its number and settings."""

    number: int
    settings: dict


def plain_trial(trial) -> Trial:
    """Return an Optuna trial as plain values."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    valid = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    attributes = trial.user_attrs
    return Trial(trial.number, states.get(trial.state.name, "running"), trial.value,
                 json.loads(attributes.get(SETTINGS, "{}")), attributes.get(REASON), valid,
                 attributes.get(SPLIT), attributes.get(FEATURES))


def counts(trial) -> bool:
    """Tell whether an Optuna trial is used or will be: finished, pruned or running."""
    return trial.state.name in ("COMPLETE", "PRUNED", "RUNNING")


def was_withdrawn(trial) -> bool:
    """Tell whether an Optuna trial was put back, or was one too many."""
    return trial.state.name == "FAIL" and REASON not in trial.user_attrs
