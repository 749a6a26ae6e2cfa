"""One model's search: what to try next, and what came of it.

A search is an Optuna study used by ask and tell, so that any engine can run its trials. All it
knows lies in the study's storage: whoever opens it, on whatever machine and after whatever
interruption, goes on where it stands.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
import warnings
from collections.abc import Sequence
from functools import cached_property

from recbole_ssr.errors import UserError
from recbole_ssr.tune.encoding import Encoding
from recbole_ssr.tune.heartbeat import Worker, is_alive
from recbole_ssr.tune.space import Space, key_of
from recbole_ssr.tune.storage import require_optuna
from recbole_ssr.tune.trials import (
    DEFAULT,
    FEATURES,
    REASON,
    SETTINGS,
    SPLIT,
    WORKER,
    Asked,
    Method,
    Trial,
    counts,
    plain_trial,
    was_withdrawn,
)

logger = logging.getLogger("recbole_ssr")

_LISTED = 100_000  # points of the largest grid that is listed
_DUPLICATES = 10  # settings again that a sampler may propose before an untried point is drawn
_PROPOSALS = 100  # settings again after which a space that cannot be listed counts as exhausted
_NAMELESS = 20.0  # seconds that a trial may be without its worker's name, which is written at once

# Settings that change the fingerprint of the features; the others that do belong to the protocol.
_OF_FEATURES = ("modalities", "feature_path", "feature_fill", "feature_scaling")


class Search:
    """The search over one space in one study. Several may share the study, here or elsewhere.

    Args:
        study: from `open_study`.
        space: what to try.
        method: how.
        worker: this process, None where it only looks at trials.

    Raises UserError for a method that cannot search this space.
    """

    def __init__(self, study, space: Space, method: Method, worker: Worker | None):
        method.check()
        if method.sampler == "grid" and (space.size is None or space.size > _LISTED):
            size = "continuous ranges" if space.size is None else f"{space.size:,} points"
            raise UserError(f"sampler=grid cannot list the {size} of {space.model}. Give ranges a "
                            "step, narrow them, or use sampler=tpe.")
        self.study, self.space, self.method, self.worker = study, space, method, worker
        self._optuna = require_optuna()
        self._encoding = Encoding(space)
        self._running: dict[int, object] = {}
        self._reported: dict[int, int] = {}
        self._failed: set[int] = set()  # of this process alone: others may have had their reasons
        self._order = self._shuffled()
        study.pruner = self._pruner()
        if worker is not None:
            worker.join(study)

    @cached_property
    def budget(self) -> int:
        """How many trials there will be: fewer than asked for where the space has no more."""
        if self._order is None:
            return self.method.trials
        points = {key_of(point) for point in map(self.space.point, self._order)}
        return min(self.method.trials, len(points | {key_of(self.space.default)}))

    @property
    def coming(self) -> int:
        """How many trials of the budget have not begun."""
        return max(self.budget - sum(map(counts, self._all())), 0)

    def ask(self) -> Asked | None:
        """Begin a further trial; None where there is none, or none until others have ended."""
        self._requeue_of_the_dead()
        for attempt in range(_PROPOSALS):
            used = [trial for trial in self._all() if counts(trial)]
            full = len(used) >= self.method.trials or len(self._failed) >= self.method.trials
            if full or not self._propose(len(used), attempt):
                return None
            asked = self._begin()
            if asked is not None:
                return asked
        return None

    def report(self, number: int, valid: list[float]) -> bool:
        """Hear of a running trial's evaluations so far; False where it should stop.

        What counts at an evaluation is the best so far, which is what a run keeps: so whatever is
        pruned lies behind a trial that may be selected.
        """
        trial = self._running[number]
        try:
            for step in range(self._reported[number], len(valid)):
                trial.report(self._best_of(valid[:step + 1]), step)
                self._reported[number] = step + 1
                if trial.should_prune():  # by what it had there, whenever that is heard of
                    return False
            return True
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return False  # this process was taken for dead, and another goes on with the trial

    def _best_of(self, values: Sequence[float]) -> float:
        return max(values) if self.study.direction.name == "MAXIMIZE" else min(values)

    def complete(self, number: int, value: float, split: str | None = None,
                 features: str | None = None) -> None:
        """End a trial with its best value on validation; fingerprints of its split and features."""
        if math.isfinite(value):
            self._tell(number, {SPLIT: split, FEATURES: features}, value=value)
        else:
            self.fail(number, f"validation gave {value}")

    def prune(self, number: int) -> None:
        """End a trial that was stopped because `report` said so."""
        self._tell(number, {}, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """End a trial that broke off; the search goes on."""
        self._failed.add(number)
        self._tell(number, {REASON: " ".join(reason.split()) or "unknown"},
                   state=self._optuna.trial.TrialState.FAIL)

    def release(self, number: int) -> None:
        """Put a trial that was interrupted back into the queue."""
        trial = self._all()[number]
        self._withdraw(number)
        if trial.user_attrs.get(DEFAULT):
            self._enqueue(self.space.default)
        elif trial.params.keys() == self.space.dimensions.keys():
            self._enqueue(self._encoding.settings(trial.params))

    def others_running(self) -> bool:
        """Tell whether another process is at work on a trial."""
        return any(trial.state.name == "RUNNING" and trial.number not in self._running
                   for trial in self._all())

    def trials(self) -> list[Trial]:
        """Return all trials that were begun, by number."""
        return [plain_trial(trial) for trial in self._all()
                if trial.state.name != "WAITING" and not was_withdrawn(trial)]

    def best(self) -> Trial | None:
        """Return the complete trial that is best on validation, the first of equals, or None.

        Raises UserError where trials saw different splits or features, whose values do not compare.
        """
        done = [trial for trial in self.trials() if trial.state == "complete"]
        self._check_same("splits", {trial.split for trial in done})
        by_settings: dict[str, set] = {}  # features may be what is searched
        for trial in done:
            chosen = {key: trial.settings[key] for key in _OF_FEATURES if key in trial.settings}
            by_settings.setdefault(key_of(chosen), set()).add(trial.features)
        for features in by_settings.values():
            self._check_same("features", features)
        sign = 1 if self.study.direction.name == "MAXIMIZE" else -1
        return max(done, key=lambda trial: (sign * trial.value, -trial.number), default=None)

    def _check_same(self, what: str, fingerprints: set[str | None]) -> None:
        known = sorted(name[:12] for name in fingerprints if name)
        if len(known) > 1:
            raise UserError(f"Trials of {self.study.study_name} saw different {what} "
                            f"({', '.join(known)}): the data changed in between. Move its journal "
                            "and its runs away.")

    def default(self) -> Trial | None:
        """Return the trial of the model's default settings, complete or pruned, or None."""
        wanted = key_of(self.space.default)
        return next((trial for trial in self.trials() if trial.state in ("complete", "pruned")
                     and key_of(trial.settings) == wanted), None)

    def failures(self) -> list[str]:
        """Return why trials of this process failed, each reason once."""
        return list(dict.fromkeys(trial.reason for trial in self.trials()
                                  if trial.number in self._failed))

    def _all(self) -> list:
        return self.study.get_trials(deepcopy=False)

    def _tried(self, below: float = math.inf) -> set[str]:
        """Return the settings that are not to be tried again, of trials numbered below a number."""
        return {key_of(plain_trial(trial).settings) for trial in self._all()
                if trial.number < below and (counts(trial) or trial.number in self._failed)}

    def _propose(self, n_used: int, attempt: int) -> bool:
        """Queue the next settings or leave it to a sampler; False where none is left."""
        self.study.sampler = self._sampler(n_used, attempt)
        if any(trial.state.name == "WAITING" for trial in self._all()):
            return True
        tried = self._tried()
        if key_of(self.space.default) not in tried:
            self._enqueue(self.space.default)
            return True
        if self._order is None:
            return True
        untried = next((point for point in map(self.space.point, self._order)
                        if key_of(point) not in tried), None)
        by_list = self.method.sampler == "grid" or self.space.listed
        if untried is not None and (by_list or attempt >= _DUPLICATES):
            self._enqueue(untried)
        return untried is not None

    def _begin(self) -> Asked | None:
        """Ask Optuna; None where others took the same settings or the last place of the budget."""
        trial = self.study.ask()
        default = bool(trial.user_attrs.get(DEFAULT))
        keys = self._encoding.params(self.space.default) if default else self.space.dimensions
        params = self._encoding.suggest(trial, keys)
        settings = dict(self.space.default) if default else self._encoding.settings(params)
        trial.set_user_attr(SETTINGS, json.dumps(settings, default=str))
        trial.set_user_attr(WORKER, self.worker.id)
        if self._is_too_many(trial.number, key_of(settings)):
            self._withdraw(trial.number)
            return None
        self._running[trial.number], self._reported[trial.number] = trial, 0
        return Asked(trial.number, settings)

    def _is_too_many(self, number: int, settings: str) -> bool:
        """Tell whether trials before this one have its settings, or use up the budget.

        Trials are numbered one after the other, so that of two processes with the same idea, or
        with the last place of the budget, exactly one finds the other before itself.
        """
        before = self._all()[:number]
        deadline = time.monotonic() + _NAMELESS
        while any(map(_is_nameless, before)) and time.monotonic() < deadline:
            time.sleep(0.01)  # the other is about to write its settings down
            before = self._all()[:number]
        used = sum(counts(trial) or trial.state.name == "WAITING" for trial in before)
        return used >= self.method.trials or settings in self._tried(number)

    def _requeue_of_the_dead(self) -> None:
        attributes, now = self.study.user_attrs, time.time()
        for trial in self._all():
            if trial.state.name != "RUNNING" or trial.number in self._running:
                continue
            worker = trial.user_attrs.get(WORKER)
            if not _is_nameless(trial) and not is_alive(worker, attributes, now):
                logger.info("Trial %d of %s was left by a process that is gone; it goes on.",
                            trial.number, self.study.study_name)
                self.release(trial.number)

    def _enqueue(self, settings: dict) -> None:
        default = key_of(settings) == key_of(self.space.default)
        self.study.enqueue_trial(self._encoding.params(settings),
                                 user_attrs={DEFAULT: True} if default else None)

    def _withdraw(self, number: int) -> None:
        self._tell(number, {}, state=self._optuna.trial.TrialState.FAIL)

    def _tell(self, number: int, attributes: dict, value: float | None = None, state=None) -> None:
        trial = self._running.pop(number, None)
        try:
            for name, content in attributes.items():
                trial.set_user_attr(name, content)
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return  # another process took the trial over
        self.study.tell(number, value, state=state, skip_if_finished=True)

    def _shuffled(self) -> list[int] | None:
        """Return the indices of all points in the order of this seed; None of too many."""
        size = self.space.size
        if size is None or size > _LISTED:
            return None
        order = list(range(size))
        random.Random(self.method.seed).shuffle(order)
        return order

    def _sampler(self, n_used: int, attempt: int):
        """Return a sampler seeded by how far the search is, so that a restart changes nothing."""
        seed = random.Random(f"{self.method.seed} {n_used} {attempt}").getrandbits(32)
        if self.method.sampler != "tpe":
            return self._optuna.samplers.RandomSampler(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            # In groups, since the default settings may lie outside of the space in some keys.
            return self._optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True,
                                                    constant_liar=True)

    def _pruner(self):
        if self.method.pruner == "none":
            return self._optuna.pruners.NopPruner()
        if self.method.pruner == "halving":
            from recbole_ssr.tune.halving import Halving  # it needs Optuna

            return Halving(max(1, self.method.n_warmup_steps))
        return self._optuna.pruners.MedianPruner(self.method.n_startup_trials,
                                                 self.method.n_warmup_steps)


def _is_nameless(trial) -> bool:
    """Tell whether an Optuna trial has just begun and does not say yet by whom."""
    if trial.state.name != "RUNNING" or WORKER in trial.user_attrs or not trial.datetime_start:
        return False
    return time.time() - trial.datetime_start.timestamp() < _NAMELESS
