"""Bars of a comparison: its metrics, its groups of users and items, and beyond accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recbole_ssr.comparison import Comparison, Group, Published, Spread
from recbole_ssr.report.comparison.rows import KINDS
from recbole_ssr.report.comparison.styles import (
    FAINT,
    FEW,
    INK,
    Style,
    figure_of,
    legend_below,
    main_metric,
    panels,
    plain,
    ranked,
    rows_of,
    styles,
    tidy,
    title_of,
)
from recbole_ssr.report.sheet import counted
from recbole_ssr.report.sheet import figure as number

PUBLISHED = "as published, not measured here"
_SOURCES_WIDTH = 110  # letters below a figure
_HATCHED = {"facecolor": "none", "edgecolor": FAINT, "linewidth": 1}
_HATCHES = ("////", "....", "xxxx", "----", "oo")  # side by side, to tell published models apart
_WHISKER = {"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5}
_ROW = 0.21  # inches of a row of horizontal bars
_GROUPS = 5  # groups of bars side by side
_LETTERS = 80  # of all names of groups side by side
_APART = 50  # metrics whose means differ more than so many times get axes of their own


def draw_metrics(comparison: Comparison) -> Figure:
    """Bars of every metric on test with the deviation over seeds; published figures hatched."""
    published = [p for p in comparison.published if set(p.values) & set(comparison.metrics)]
    rows = len(ranked(comparison)) + len(published)
    means = [comparison.spread(line.label, m).mean
             for line in ranked(comparison) for m in comparison.metrics]
    alike = max(means) <= _APART * max(min(means), 1e-9)
    if rows <= FEW and alike and len(comparison.metrics) <= _GROUPS:
        return _grouped_metrics(comparison, published)
    return _metrics_by_rows(comparison, published)


def _grouped_metrics(comparison: Comparison, published: Sequence[Published]) -> Figure:
    figure = figure_of(4.2, f"Test metrics{_whiskers(comparison)}", comparison)
    axis = figure.subplots()
    metrics = comparison.metrics
    values = {line.label: [comparison.spread(line.label, m) for m in metrics]
              for line in ranked(comparison)}
    _grouped(axis, [title_of(m) for m in metrics], values, styles(comparison),
             [[p.values.get(m, math.nan) for m in metrics] for p in published])
    axis.set_ylabel("on test", fontsize=10)
    looks = styles(comparison)
    handles = [Patch(color=looks[label].color) for label in values]
    handles += [Patch(**_HATCHED, hatch=_hatch(k)) for k in range(len(published))]
    legend_below(figure, handles, [*map(plain, values),
                                   *(f"{plain(p.model)}, as published" for p in published)])
    if published:
        axis.set_xlabel(f"hatched: {PUBLISHED}", fontsize=9)
    return figure


def _hatch(k: int) -> str:
    return _HATCHES[k % len(_HATCHES)]


def _grouped(axis: Axes, names: Sequence[str], values: Mapping[str, Sequence[Spread]],
             looks: Mapping[str, Style], published: Sequence[Sequence[float]] = ()) -> None:
    """Draw groups of bars; a gap sets published figures apart from what was measured."""
    gap = 0.35 if published else 0.0
    width = 0.84 / (len(values) + len(published) + gap)
    at = np.arange(len(names)) - 0.42
    for k, (label, spreads) in enumerate(values.items()):
        axis.bar(at + (k + 0.5) * width, [s.mean for s in spreads], 0.92 * width,
                 color=looks[label].color, yerr=_deviations(spreads), error_kw=_WHISKER)
    for k, row in enumerate(published):
        axis.bar(at + (len(values) + gap + k + 0.5) * width, row, 0.92 * width, **_HATCHED,
                 hatch=_hatch(k))
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.55, len(names) - 0.45)
    axis.set_ylim(0, None)
    tidy(axis)


def _metrics_by_rows(comparison: Comparison, published: Sequence[Published]) -> Figure:
    """One panel per metric, one row per line, the best first; published figures below."""
    metrics, lines = comparison.metrics, ranked(comparison)
    rows = len(lines) + len(published)
    stacks = rows_of(len(metrics))
    figure = figure_of(1.3 + stacks * (0.4 + _ROW * (rows + bool(published))),
                       f"Test metrics{_whiskers(comparison)}", comparison)
    axes = panels(figure, len(metrics), sharex=False)
    for axis, metric in zip(axes, metrics):
        _rows(axis, {line.label: comparison.spread(line.label, metric) for line in lines},
              styles(comparison))
        _published_rows(axis, len(lines), [p.values.get(metric) for p in published])
        axis.set_title(title_of(metric), fontsize=10)
        axis.set_xlim(0, 1.42 * _furthest(axis))
    below = [len(lines) + 1 + k for k in range(len(published))]
    sources = list(dict.fromkeys(p.source for p in published))
    names = [line.label for line in lines]
    names += [f"{p.model} [{sources.index(p.source) + 1}]" for p in published]
    axes[0].set_yticks([*range(len(lines)), *below], [plain(name) for name in names])
    axes[0].set_ylim((below or [len(lines) - 1])[-1] + 0.6, -0.6)
    if published:
        listed = "; ".join(f"[{k}] {source}".replace(" ", "\N{NO-BREAK SPACE}")
                           for k, source in enumerate(sources, start=1)).replace("$", r"\$")
        figure.supxlabel(f"hatched rows: {PUBLISHED}\n{fill(listed, _SOURCES_WIDTH)}", fontsize=9)
    return figure


def _rows(axis: Axes, spreads: Mapping[str, Spread], looks: Mapping[str, Style],
          bars: bool = True) -> None:
    """Draw one row per label: bars from zero with the value beside, or points alone."""
    at, values = np.arange(len(spreads)), list(spreads.values())
    means, deviations = [s.mean for s in values], _deviations(values)
    colours = [looks[label].color for label in spreads]
    if bars:
        axis.barh(at, means, 0.72, color=colours, xerr=deviations, error_kw=_WHISKER)
        for row, spread in enumerate(values):
            _beside(axis, row, spread.mean, spread.std, number(spread.mean, 4))
    else:
        axis.errorbar(means, at, xerr=deviations, fmt="none", **_WHISKER)
        for row, (label, spread) in enumerate(spreads.items()):
            axis.plot(spread.mean, row, looks[label].marker, color=looks[label].color,
                      markersize=6)
    axis.set_yticks(at, [plain(label) for label in spreads])
    axis.set_ylim(len(spreads) - 0.4, -0.6)  # the best on top
    tidy(axis, "x")
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))


def _beside(axis: Axes, row: float, mean: float, std: float, text: str) -> None:
    if math.isfinite(mean):
        end = mean + (std if math.isfinite(std) else 0)
        axis.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center",
                      fontsize=8)


def _published_rows(axis: Axes, first: int, values: Sequence[float | None]) -> None:
    """Add hatched rows below a line that sets them apart."""
    if values:
        axis.axhline(first, color=FAINT, linewidth=1, linestyle=":")
    for row, value in enumerate(values, first + 1):
        if value is not None:
            axis.barh(row, value, 0.72, **_HATCHED, hatch=_hatch(0))
            _beside(axis, row, value, math.nan, number(value, 4))


def draw_groups(comparison: Comparison) -> Figure:
    """Bars of the main metric for groups of users and items, a panel per kind of group.

    With more than a few lines, a panel per group and a row per line.
    """
    groups = [g for g in comparison.groups if g.kind in KINDS]
    labels = [line.label for line in ranked(comparison)]
    title = f"{title_of(_metric_of(groups, comparison))} by group{_whiskers(comparison)}"
    if len(labels) > FEW:
        return _groups_by_rows(comparison, groups, labels, title)
    rows = _packed(groups)
    figure = figure_of(1.4 + 2.7 * len(rows), title, comparison)
    for part, row in zip(np.atleast_1d(figure.subfigures(len(rows), 1)), rows):
        sizes = [len(members) for members in row.values()]
        width = max(_LETTERS // sum(sizes), 8)
        axes = part.subplots(1, len(row), squeeze=False, width_ratios=sizes)[0]
        for axis, (kind, members) in zip(axes, row.items()):
            values = {label: [_value(g, label, comparison) for g in members] for label in labels}
            _grouped(axis, [_group_name(g, width) for g in members], values, styles(comparison))
            axis.set_title(fill(KINDS[kind], (width + 2) * len(members)), fontsize=10)
    looks = styles(comparison)
    legend_below(figure, [Patch(color=looks[label].color) for label in labels],
                 [plain(label) for label in labels])
    return figure


def _packed(groups: Sequence[Group]) -> list[dict[str, list[Group]]]:
    """Return the groups by kind in rows of at most five groups, a kind never broken."""
    rows: list[dict[str, list[Group]]] = [{}]
    for kind in dict.fromkeys(group.kind for group in groups):
        members = [group for group in groups if group.kind == kind]
        if rows[-1] and sum(map(len, rows[-1].values())) + len(members) > _GROUPS:
            rows.append({})
        rows[-1][kind] = members
    return rows


def _groups_by_rows(comparison, groups, labels, title) -> Figure:
    stacks = rows_of(len(groups))
    figure = figure_of(1.1 + stacks * (0.75 + _ROW * len(labels)), title, comparison)
    for axis, group in zip(panels(figure, len(groups), sharex=False), groups):
        _rows(axis, {label: _value(group, label, comparison) for label in labels},
              styles(comparison))
        axis.set_title(_group_name(group, 22), fontsize=9)
        axis.set_xlim(0, 1.42 * _furthest(axis))
    return figure


def draw_beyond(comparison: Comparison) -> Figure:
    """Points of coverage, popularity, novelty and diversity, a panel per measure."""
    measures = [(metric, spreads) for group in comparison.groups if group.kind == "beyond"
                for metric, spreads in group.values.items()]
    labels = [line.label for line in ranked(comparison)]
    stacks = rows_of(len(measures))
    figure = figure_of(1.1 + stacks * (0.7 + (_ROW + 0.02) * len(labels)),
                       f"Beyond accuracy, on test{_whiskers(comparison)}", comparison)
    for axis, (metric, spreads) in zip(panels(figure, len(measures), sharex=False), measures):
        _rows(axis, {label: spreads.get(label, Spread.of([])) for label in labels},
              styles(comparison), bars=False)
        axis.set_title(fill(title_of(metric), 22), fontsize=9)
        axis.margins(x=0.12)
    return figure


def _metric_of(groups: Sequence[Group], comparison: Comparison) -> str:
    metric = main_metric(comparison)
    return metric if all(metric in g.values for g in groups) else next(iter(groups[0].values))


def _value(group: Group, label: str, comparison: Comparison) -> Spread:
    metric = _metric_of([g for g in comparison.groups if g.kind in KINDS], comparison)
    return group.values.get(metric, {}).get(label, Spread.of([]))


def _group_name(group: Group, width: int) -> str:
    return f"{fill(plain(group.name, 60), width)}\n({counted(group.size, 'user')})"


def _whiskers(comparison: Comparison) -> str:
    """Say what the whiskers are, where there are any."""
    many = any(len(line.results) > 1 for line in comparison.lines)
    return "; whiskers: standard deviation over seeds" if many else ""


def _deviations(spreads: Sequence[Spread]) -> list[float] | None:
    """Return deviations for error bars, None where no line has one."""
    deviations = [s.std for s in spreads]
    return deviations if any(map(math.isfinite, deviations)) else None


def _furthest(axis: Axes) -> float:
    """Return the end of the longest bar with its whisker."""
    return axis.dataLim.x1 if axis.dataLim.x1 > 0 else 1.0
