"""Curves and points of a comparison: learning, seconds, levels of a disturbance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from recbole_ssr.comparison import Comparison, Curve, Line
from recbole_ssr.report.comparison.labels import place_labels
from recbole_ssr.report.comparison.styles import (
    FAINT,
    FEW,
    Style,
    figure_of,
    legend_below,
    main_metric,
    panel_height,
    panels,
    plain,
    ranked,
    styles,
    tidy,
    title_of,
)

_BAND = 0.2  # opacity of the band of a deviation
_OTHERS = {"color": FAINT, "alpha": 0.3, "linewidth": 0.8}
_WIDE = 12  # times that the longest run has more epochs than the shortest: a scale by powers


class Learned(NamedTuple):
    """Validation by epoch: mean and deviation where all seeds still train, then each seed's own.

    `chosen` holds epoch and value of the selected epoch of every seed; `without`, the values of
    models that are fitted without epochs.
    """

    epochs: list[int]
    mean: list[float]
    std: list[float]
    tails: list[tuple[list[int], list[float]]]
    chosen: list[tuple[int, float]]
    without: list[float]


def learned(line: Line) -> Learned:
    """Return how the metric that selects went on validation, over the seeds of a line."""
    metric = str(line.results[0].protocol["valid_metric"]).lower()
    series = [{r["epoch"]: r["valid"][metric] for r in result.history if "valid" in r}
              for result in line.results]
    shared = sorted(set.intersection(*map(set, series)))
    values = [[one[epoch] for one in series] for epoch in shared]
    last = shared[-1] if shared else -1
    tails = []
    for one in series:
        tail = sorted(epoch for epoch in one if epoch >= last)
        if len(tail) > 1 and len(series) > 1:
            tails.append((tail, [one[epoch] for epoch in tail]))
    return Learned(shared, [statistics.fmean(v) for v in values],
                   [statistics.stdev(v) if len(v) > 1 else math.nan for v in values], tails,
                   [(r.best_epoch, one[r.best_epoch]) for r, one in zip(line.results, series)
                    if r.best_epoch in one],
                   [r.valid[metric] for r, one in zip(line.results, series) if not one])


def draw_learning(comparison: Comparison) -> Figure:
    """Validation by epoch: mean over seeds, band of one deviation, selected epochs marked.

    Where the first seed has stopped, every other goes on as a thin line of its own: a mean over
    fewer seeds would jump. A model without epochs is a dotted line across. More than a few lines
    get panels of their own.
    """
    lines = ranked(comparison)
    metric = title_of(str(lines[0].results[0].protocol["valid_metric"]).lower())
    by_label = {line.label: learned(line) for line in lines}

    def draw(axis: Axes, label: str, style: Style) -> None:
        _draw_learned(axis, by_label[label], style)

    def pale(axis: Axes, label: str) -> None:
        axis.plot(by_label[label].epochs, by_label[label].mean, **_OTHERS)

    figure = figure_of(_height(lines), f"{metric} on validation by epoch; marks: selected epochs",
                       comparison)
    axes = _side_by_side(figure, comparison, [line.label for line in lines], draw, pale)
    # Closed forms are fitted at once: no reason to squeeze what the others learn.
    epochs = [result.epochs for line in lines for result in line.results]
    _scale_epochs(axes, [n for n in epochs if n > 1] or [1])
    _name_axes(figure, axes, "epoch", f"{metric}, validation")
    return figure


def _scale_epochs(axes: Sequence[Axes], epochs: Sequence[int]) -> None:
    """Show whole epochs; by powers where the longest run would leave no room to the shortest."""
    for axis in axes:
        if max(epochs) > _WIDE * min(epochs):
            axis.set_xscale("symlog", linthresh=1)
            axis.set_xlim(-0.2, 1.3 * max(epochs))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            continue
        if max(epochs) == 1:
            axis.set_xlim(-1, 1)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_learned(axis: Axes, curve: Learned, style: Style) -> None:
    axis.plot(curve.epochs, curve.mean, color=style.color, linestyle=style.dash, linewidth=1.6)
    if np.isfinite(curve.std).any():
        mean, std = np.array(curve.mean), np.array(curve.std)
        axis.fill_between(curve.epochs, mean - std, mean + std, color=style.color, alpha=_BAND,
                          linewidth=0)
    for epochs, values in curve.tails:
        axis.plot(epochs, values, color=style.color, linewidth=0.7, alpha=0.6)
    for value in curve.without:
        axis.axhline(value, color=style.color, linestyle=":", linewidth=1.2)
    if curve.chosen:
        axis.plot(*zip(*curve.chosen), linestyle="none", marker=style.marker, markersize=6,
                  color=style.color, markeredgecolor="white", markeredgewidth=0.7)


def disturbance(curve: Curve) -> str:
    """Say what the levels are of, and where they hold."""
    place = f"in {curve.where}"
    return curve.name if curve.name.endswith(place) else f"{curve.name}, {place}"


def draw_curve(comparison: Comparison, curve: Curve) -> Figure:
    """A metric over levels of a disturbance or of training data, with deviations over seeds."""
    labels = [line.label for line in ranked(comparison) if line.label in curve.values]

    def draw(axis: Axes, label: str, style: Style) -> None:
        spreads = curve.values[label]
        std = [s.std for s in spreads]
        axis.errorbar(curve.levels, [s.mean for s in spreads],
                      std if any(map(math.isfinite, std)) else None, color=style.color,
                      linestyle=style.dash, marker=style.marker, markersize=5, linewidth=1.6,
                      capsize=2.5)

    def pale(axis: Axes, label: str) -> None:
        axis.plot(curve.levels, [s.mean for s in curve.values[label]], **_OTHERS)

    title = f"{title_of(curve.metric)} on test by {plain(disturbance(curve), 80)}"
    figure = figure_of(_height(labels), title, comparison)
    axes = _side_by_side(figure, comparison, labels, draw, pale)
    for axis in axes:
        axis.set_xticks(curve.levels, [f"{level:g}" for level in curve.levels])
        axis.margins(y=0.08)
    _name_axes(figure, axes, plain(disturbance(curve), 80),
               f"{title_of(curve.metric)}, test")
    return figure


def _height(lines: Sequence) -> float:
    return 4.6 if len(lines) <= FEW else panel_height(len(lines))


def _side_by_side(figure: Figure, comparison: Comparison, labels: Sequence[str],
                  draw: Callable[[Axes, str, Style], None],
                  pale: Callable[[Axes, str], None]) -> list[Axes]:
    """Draw a few lines into one pair of axes; of more, each in front of the pale others."""
    looks = styles(comparison)
    if len(labels) <= FEW:
        axis = figure.subplots()
        for label in labels:
            draw(axis, label, looks[label])
        tidy(axis)
        legend_below(figure, [Line2D([], [], color=looks[b].color, linestyle=looks[b].dash,
                                     marker=looks[b].marker, markersize=6) for b in labels],
                     [plain(label) for label in labels])
        return [axis]
    axes = panels(figure, len(labels))
    for axis, label in zip(axes, labels):
        for other in labels:
            if other != label:
                pale(axis, other)
        draw(axis, label, looks[label])
        axis.set_title(plain(label), fontsize=9, weight="bold")
        tidy(axis)
    return axes


def _name_axes(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> None:
    """Name both axes, once for all panels."""
    if len(axes) == 1:
        axes[0].set_xlabel(x, fontsize=10)
        axes[0].set_ylabel(y, fontsize=10)
    else:
        figure.supxlabel(x, fontsize=10)
        figure.supylabel(y, fontsize=10)


def draw_seconds(comparison: Comparison) -> Figure:
    """The main metric on test against the seconds of a whole training, on a scale by powers."""
    seconds = {line.label: comparison.spread(line.label, "seconds", "cost").mean
               for line in ranked(comparison)}
    labels = [label for label, value in seconds.items() if value > 0]
    metric, looks = main_metric(comparison), styles(comparison)
    figure = figure_of(4.2 if len(labels) <= FEW else 5.6,
                       f"{title_of(metric)} on test against seconds of training", comparison)
    axis = figure.subplots()
    points, reaches = [], []
    for label in labels:
        value, style = comparison.spread(label, metric), looks[label]
        points.append((seconds[label], value.mean))
        reaches.append(value.std if math.isfinite(value.std) else 0.0)
        axis.errorbar(*points[-1], reaches[-1] or None,
                      color=style.color, marker=style.marker, markersize=7, capsize=2.5,
                      linestyle="none")
    axis.set(xscale="log", ylabel=f"{title_of(metric)}, test",
             xlabel="seconds of training until it stopped, mean over seeds")
    _widen(axis, [x for x, _ in points])
    axis.margins(y=0.12)
    tidy(axis, "both")
    place_labels(axis, points, list(map(plain, labels)), reaches)
    return figure


def _widen(axis: Axes, seconds: Sequence[float]) -> None:
    """Give a scale by powers room for labels, and ticks that read as numbers."""
    low, high = min(seconds), max(seconds)
    room = max((high / low) ** 0.15, 1.4)
    axis.set_xlim(low / room, high * room)
    powers = math.log10(high * room / (low / room))
    if powers < 1:
        axis.xaxis.set_major_locator(MaxNLocator(6))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if powers > 3 else (1, 2, 5)))
    # Ten digits: 1.2 stays apart from 1, and no rounding error of a tick is printed.
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
