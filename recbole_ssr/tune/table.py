"""What a search found, for the terminal and for files. Validation only: there is nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from rich.table import Table

from recbole_ssr.tune.trials import Trial
from recbole_ssr.tune.tuning import Selected


def history(trials: Iterable[Trial]) -> list[dict]:
    """Return a row per trial: number, state, value on validation, seconds, reason, settings."""
    return [{"trial": trial.number, "state": trial.state, "value": trial.value,
             "seconds": trial.seconds, "reason": trial.reason, **trial.settings}
            for trial in trials]


def trials_table(selected: Selected, rows: int = 10) -> Table:
    """Return the best trials of a line, the selected one first; pruned and failed below."""
    sign = 1 if selected.larger_is_better else -1
    ranks = {"complete": 0, "pruned": 1, "running": 2, "failed": 3}
    order = sorted(selected.trials, key=lambda trial: (
        ranks[trial.state], -sign * (trial.value if trial.value is not None else 0), trial.number))
    table = Table(title=f"{selected.label} on {selected.dataset}: trials by validation")
    for name in ("trial", selected.metric, *selected.settings, "state"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for trial in order[:rows]:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        state = trial.state if trial.reason is None else f"{trial.state}: {trial.reason}"
        table.add_row(str(trial.number), value,
                      *(text(trial.settings.get(key)) for key in selected.settings), state)
    if len(order) > rows:
        table.caption = f"{len(order) - rows} more trials"
    return table


def selected_table(selected: Mapping[str, Selected]) -> Table:
    """Return a row per line: what was selected, what it reached, and after how many trials."""
    metrics = list(dict.fromkeys(line.metric for line in selected.values()))
    table = Table(title=f"Selected on validation ({', '.join(metrics)})")
    for name in ("model", "settings", "selected", "default", "trials", "pruned", "failed"):
        table.add_column(name, justify="left" if name in ("model", "settings") else "right")
    for label, line in selected.items():
        settings = ", ".join(f"{key} {text(value)}" for key, value in line.settings.items())
        default = "" if line.default is None else f"{line.default:.4f}"
        table.add_row(label, settings or "as they are", f"{line.value:.4f}", default,
                      str(line.complete + line.pruned), str(line.pruned), str(line.failed))
    return table


def text(value: object) -> str:
    """Return a setting as a table shows it.

    >>> text(0.00012345), text([1, 2])
    ('0.0001234', '[1, 2]')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
