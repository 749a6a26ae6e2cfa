"""Tables of what a search selected. Validation only: there is nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping

from recbole_ssr.report.sheet import PROSE, Column, Sheet
from recbole_ssr.tune.tuning import Selected


def trials_table(selected: Selected, rows: int = 10) -> Sheet:
    """Return the best trials of a line, the selected one first; pruned and failed below."""
    sign = 1 if selected.larger_is_better else -1
    ranks = {"complete": 0, "pruned": 1, "running": 2, "failed": 3}
    order = sorted(selected.trials, key=lambda trial: (
        ranks[trial.state], -sign * (trial.value if trial.value is not None else 0), trial.number))
    shown = [(str(trial.number), "" if trial.value is None else f"{trial.value:.4f}",
              *(text(trial.settings.get(key)) for key in selected.settings),
              trial.state if trial.reason is None else f"{trial.state}: {trial.reason}")
             for trial in order[:rows]]
    return Sheet(f"{selected.label} on {selected.dataset}: trials by validation",
                 (Column("trial"), selected.metric, *selected.settings, Column("state", PROSE)),
                 shown, (f"{len(order) - rows} more trials",) if len(order) > rows else ())


def selected_table(selected: Mapping[str, Selected]) -> Sheet:
    """Return a row per line: what was selected, what it reached, and after how many trials."""
    metrics = list(dict.fromkeys(line.metric for line in selected.values()))
    ours = {line.begun for line in selected.values()} != {"default settings"}
    begun = "first" if ours else "default"
    rows = [(label, ", ".join(f"{key} {text(value)}" for key, value in line.settings.items())
             or "as they are", f"{line.value:.4f}",
             "" if line.default is None else f"{line.default:.4f}",
             str(line.complete + line.pruned), str(line.pruned), str(line.failed))
            for label, line in selected.items()]
    return Sheet(f"Selected on validation ({', '.join(metrics)})",
                 ("model", Column("settings", PROSE), "selected", begun, "trials", "pruned",
                  "failed"), rows)


def text(value: object) -> str:
    """Return a setting as a table shows it.

    >>> text(0.00012345), text([1, 2])
    ('0.0001234', '[1, 2]')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
