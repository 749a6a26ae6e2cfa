"""Which keys mattered in a search."""

from __future__ import annotations

import math

from recbole_ssr.tune.storage import require_optuna
from recbole_ssr.tune.study import Search


def importance(search: Search) -> dict[str, float]:
    """Return the share of the variance of complete trials that each key explains, largest first.

    Functional ANOVA on a random forest (Hutter, Hoos & Leyton-Brown, ICML 2014). Empty where too
    few trials differ to tell.
    """
    optuna = require_optuna()
    keys = list(search.space.dimensions)
    full = [trial for trial in search.study.get_trials(deepcopy=False)
            if trial.state.name == "COMPLETE" and trial.params.keys() == set(keys)]
    varied = [key for key in keys if len({str(trial.params[key]) for trial in full}) > 1]
    if not varied or len({trial.value for trial in full}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.method.seed)
    shares = optuna.importance.get_param_importances(search.study, evaluator=evaluator, params=keys)
    return {key: share for key, share in shares.items() if math.isfinite(share)}
