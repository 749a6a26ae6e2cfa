"""The two tables of the baselines: quality, and cost with the chosen settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from ablation_table import WIDTH, save, short
from baselines_settings import Group, Plan
from records import Record

_TEST = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
_QUALITY = {"model": 15, "loss": 6, "n": 1, "valid R@20": 10, "R@10": 8, "R@20": 8, "N@10": 8,
            "N@20": 8, "published†": 12}
_COST = {"model": 15, "loss": 6, "s/ep": 5, "ep": 3, "MiB": 5, "parameters": 10,
         "chosen setting": 38}
# Keys of settings in the table, where the key itself is long.
_SHORT = {"learning_rate": "lr", "l2_weight": "l2", "reg_weight": "reg"}
_NOTE = (
    "`.1149±27` is a mean of .1149 and a standard deviation of .0027 over n seeds. The setting is "
    "the best of its line by Recall@20 on validation, seed 1; valid R@20 and the test columns are "
    "of that setting alone, and empty until all of a line's settings have run."
)


def rows_of(source) -> list[dict]:
    """Return a dict of figures for every group with a finished run, in the groups' order.

    Test figures are those of the chosen setting only.
    """
    found = {(r.variant, r.seed): r for r in source.records}
    rows = []
    for group in source.groups:
        row = _row(group, source.winners.get(group.title), found)
        if row:
            rows.append(row)
    return rows


def _row(group: Group, name: str | None, found: dict[tuple[str, int], Record]) -> dict | None:
    first = {n: found.get((n, 1)) for n in group.names}
    if not any(first.values()):
        return None
    done = sum(record is not None for record in first.values())
    row = {"model": group.model, "loss": group.objective, "n": 0,
           "failed": _failures(group, found),
           "open": f"{done} of {len(first)} settings" if done < len(first) else ""}
    if name is None:
        return row
    runs = [found[name, seed] for seed in range(1, group.seeds + 1) if (name, seed) in found]
    runs = [record for record in runs if not record.error]
    row |= {"n": len(runs), "setting": group.settings[group.names.index(name)]}
    for column, part, metric in (("valid", "valid", "recall@20"),
                                 *((metric, "test", metric) for metric in _TEST)):
        values = [getattr(record, part)[metric] for record in runs]
        row[column] = float(np.mean(values))
        row[f"{column}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    for key in ("seconds_per_epoch", "best_epoch", "peak_mib", "parameters"):
        values = [getattr(record, key) for record in runs]
        row[key] = None if None in values else float(np.median(values))
    return row


def _failures(group: Group, found: dict[tuple[str, int], Record]) -> list[str]:
    names = zip(group.names, group.settings)
    return [f"{group.model} {group.objective} ({setting_text(settings)}), seed {seed}: "
            f"{found[name, seed].error}"
            for name, settings in names for seed in range(1, group.seeds + 1)
            if (name, seed) in found and found[name, seed].error]


def setting_text(settings: dict) -> str:
    """Write a setting in few characters: `lr .001, knn_k 10`."""
    parts = []
    for key, value in settings.items():
        if isinstance(value, float):
            value = f"{value:g}".removeprefix("0") if value else "0"
        parts.append(f"{_SHORT.get(key, key)} {value}")
    return ", ".join(parts) or "defaults"


def quality_lines(rows: Sequence[dict], plan: Plan) -> list[str]:
    """Format the table of quality, and what failed below it."""
    cells, seen = [], set()
    for row in rows:
        # Published numbers stand once, beside the model's own loss.
        published = "" if row["model"] in seen else plan.published.get(row["model"], "")
        seen.add(row["model"])
        values = [_value(row, column) for column in ("valid", *_TEST)]
        if "setting" not in row:
            values = [row["open"] or "failed", *[""] * len(_TEST)]
        cells.append([row["model"], row["loss"], str(row["n"]), *values, published])
    failed = [text[: 2 * WIDTH] for row in rows for text in row["failed"]]
    notes = [line for note in (_NOTE, plan.published_note) for line in ("", *wrap(note, WIDTH))]
    return [*_table(_QUALITY, cells), *notes,
            *(["", "Failed:", *(f"- {text}" for text in failed)] if failed else [])]


def cost_lines(rows: Sequence[dict]) -> list[str]:
    """Format the table of costs and chosen settings."""
    cells = []
    for row in rows:
        if "setting" in row:
            seconds, peak, size = (row[k] for k in ("seconds_per_epoch", "peak_mib", "parameters"))
            cells.append([row["model"], row["loss"],
                          f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}",
                          f"{row['best_epoch']:.0f}", "" if peak is None else f"{peak:.0f}",
                          "" if size is None else f"{size:,.0f}", setting_text(row["setting"])])
    return _table(_COST, cells)


def _value(row: dict, column: str) -> str:
    if column not in row:
        return ""
    sd = row[f"{column}_sd"]
    return short(row[column]) + ("" if sd is None else f"±{sd * 1e4:.0f}")


def _table(columns: dict[str, int], cells: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as markdown; a last cell may be longer than its column."""
    widths = list(columns.values())
    table = [list(columns), ["-" * width for width in widths], *cells]
    return [" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in table]


def render(source, plan: Plan, out: Path) -> list[str]:
    """Return both tables as lines of text; write results.md and results.csv."""
    rows = rows_of(source)
    lines = [*quality_lines(rows, plan), "", *cost_lines(rows)]
    if source.left:
        lines += ["", f"{source.left} runs are missing."]
    save(lines, [{k: v for k, v in row.items() if k not in ("failed", "open")} for row in rows],
         out)
    return lines
