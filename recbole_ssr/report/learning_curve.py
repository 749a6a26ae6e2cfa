"""Pictures of runs."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recbole_ssr.report.pictures import ABOVE, save
from recbole_ssr.result import RunResult

MAX_CURVES = 8  # more cannot be told apart
_LEGEND, _HANDLE, _LETTER = 290, 40, 5  # widths in points: of all columns, around and in a name
# Shares of the figure: matplotlib's own layout would draw everything once more to find them.
_MARGINS = {"left": 0.095, "right": 0.985, "bottom": 0.13, "wspace": 0.22}
_TITLE, _LEGEND_ROW = 0.11, 0.055


def _shown(metrics: dict[str, float], chosen: str) -> list[str]:
    """Names of the curves to draw: the metric that selects, and the first of the others."""
    return [chosen, *[name for name in metrics if name != chosen][: MAX_CURVES - 1]]


def _legend(axis: Axes) -> int:
    """Draw the legend above the axes, in at most three columns; return how many rows it has."""
    names = axis.get_legend_handles_labels()[1]
    width = _HANDLE + _LETTER * max(map(len, names))
    columns = max(1, min(3, _LEGEND // width))
    axis.legend(**ABOVE, ncols=columns)
    return -(-len(names) // columns)


def learning_curve(result: RunResult, path: Path) -> None:
    """Draw loss parts and validation metric over epochs; mark the selected epoch. Writes a PNG."""
    figure = Figure(figsize=(9, 4))
    loss_axis, valid_axis = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in result.history]
    marker = "." if len(epochs) < 3 else None  # a line through one point cannot be seen
    for name in result.history[0]["loss"] if result.history else ():
        values = [record["loss"][name] for record in result.history]
        if any(value > 0 for value in values):
            loss_axis.plot(epochs, values, label=name, marker=marker)
    rows = 0
    if loss_axis.lines:
        loss_axis.set(xlabel="epoch", ylabel="training loss (mean per step)", yscale="log")
        rows = _legend(loss_axis)
    else:
        loss_axis.set_axis_off()
        loss_axis.text(0.5, 0.5, "fitted without a loss", ha="center", va="center")
    metric = result.protocol["valid_metric"]
    measured = [record for record in result.history if "valid" in record]
    for name in _shown(result.valid, metric.lower()):
        chosen = name == metric.lower()
        valid_axis.plot([r["epoch"] for r in measured], [r["valid"][name] for r in measured],
                        label=name, linewidth=2 if chosen else 1, alpha=1 if chosen else 0.5,
                        marker=marker)
    valid_axis.axvline(result.best_epoch, color="0.6", linestyle=":",
                       label=f"best epoch {result.best_epoch}")
    valid_axis.set(xlabel="epoch", ylabel="validation", ylim=(0, None))
    rows = max(rows, _legend(valid_axis))
    for axis in (loss_axis, valid_axis):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(epochs) == 1:
            axis.set_xlim(epochs[0] - 1, epochs[0] + 1)
    figure.subplots_adjust(top=1 - _TITLE - rows * _LEGEND_ROW, **_MARGINS)
    figure.suptitle(f"{result.model} on {result.dataset}, seed {result.seed}", y=0.975)
    save(figure, path, 110)
