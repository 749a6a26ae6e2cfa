"""Successive halving that knows the runs that may be selected, alone."""

from __future__ import annotations

from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_REDUCTION = 3  # one of so many goes on
_COMPETE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class Halving(BasePruner):
    """Stop all but the best third of the trials that came as far as this one.

    That is asked at the rungs: n, 3 n, 9 n, ... evaluations after the first (asynchronous
    successive halving, Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys
    2020). Of fewer than three the best goes on. Optuna's own pruner also measures by trials that
    broke off, which nobody can select, and by those that were put back and run again.

    Args:
        n: evaluations from the first to the first rung, at least 1.
    """

    def __init__(self, n: int):
        self.n = n

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial, whose last value is the best that it had, is to stop."""
        step = trial.last_step
        if step is None or not self._is_rung(step):
            return False
        values = sorted(
            (other.intermediate_values[step]
             for other in study.get_trials(deepcopy=False, states=_COMPETE)
             if step in other.intermediate_values),
            reverse=study.direction == StudyDirection.MAXIMIZE)
        worst = values[max(len(values) // _REDUCTION, 1) - 1]
        value = trial.intermediate_values[step]
        return value < worst if study.direction == StudyDirection.MAXIMIZE else value > worst

    def _is_rung(self, step: int) -> bool:
        rung = self.n
        while rung < step:
            rung *= _REDUCTION
        return rung == step
