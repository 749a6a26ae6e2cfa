"""A picture of what a dataset is like."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from recbole_ssr.report.dataset.record import DatasetReport, Degrees
from recbole_ssr.report.pictures import ABOVE, save
from recbole_ssr.report.sheet import number

FILE = "dataset.png"
_DPI = 110
_SEEN, _UNSEEN = "C0", "C1"
_WIDTHS = (2.6, 1.4)  # of the degrees of users and of items
_LEFT = 0.8  # where the degrees begin
_FEW_TICKS = 300  # a span below it leaves room for ticks between the powers of ten
_LONGEST_NAME = 14  # letters of a modality; longer names would squeeze the axes


def draw(report: DatasetReport, folder: str | Path) -> Path:
    """Write `dataset.png` into a folder; return its path. UserError if it cannot be written."""
    rows = 1 + bool(report.modalities)
    figure = Figure(figsize=(10, 3.9 + (1.5 + 0.4 * len(report.modalities)) * (rows - 1)),
                    layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
    heights = [3.2, 1.2 + 0.4 * len(report.modalities)][:rows]
    axes = figure.subplots(rows, 2, squeeze=False, height_ratios=heights)
    _draw_degrees(axes[0, 0], report)
    _draw_parts(axes[0, 1], report)
    if report.modalities:
        _draw_coverage(axes[1, 0], report)
        _draw_norms(axes[1, 1], report)
    figure.suptitle(f"{report.dataset}: {report.users:,} users, {report.items:,} items, "
                    f"{report.interactions:,} interactions ({report.density:.3%} of all pairs)\n"
                    f"split {shorten(report.split, 80, placeholder='…')}; {_checks(report)}",
                    fontsize="medium")
    return save(figure, Path(folder) / FILE, _DPI)


def _draw_degrees(axis, report: DatasetReport) -> None:
    """The share of users and of items with at least so many interactions, both axes in powers."""
    least = 0.5
    for k, (side, degrees) in enumerate((("users", report.user_degrees),
                                         ("items", report.item_degrees))):
        x, share = _at_least(degrees)
        least = min(least, share[share > 0].min(initial=1))
        # The line of items is thinner, and leaves that of users to be seen where they meet.
        axis.step(x, share, where="pre", color=f"C{k}", linewidth=_WIDTHS[k],
                  label=f"{side} (median {degrees.median:g}, Gini {number(degrees.gini, '.2f')})")
    axis.set(xscale="log", yscale="log", xlabel="interactions, all parts together",
             ylabel="share with at least as many", ylim=(0.7 * least, 1.4))
    most = max(report.user_degrees.maximum, report.item_degrees.maximum)
    axis.xaxis.set_major_locator(LogLocator(subs=_ticks(most)))
    axis.yaxis.set_major_locator(LogLocator(subs=_ticks(1 / least)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(**ABOVE, ncols=2)


def _at_least(degrees: Degrees) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of the share of all nodes with at least x interactions, for x above 0.

    They begin left of 1 and end at 0, so that there is a line where all degrees are the same.
    """
    values, nodes = np.array(degrees.values), np.array(degrees.nodes)
    share = nodes[::-1].cumsum()[::-1] / nodes.sum()
    values, share = values[values > 0], share[values > 0]
    return (np.concatenate([[_LEFT], values, values[-1:]]),
            np.concatenate([share[:1], share, [0.0]]))


def _ticks(times: float) -> tuple[int, ...]:
    """Return where ticks lie between powers of ten on an axis that spans so many times."""
    return (1, 2, 5) if times < _FEW_TICKS else (1,)


def _draw_parts(axis, report: DatasetReport) -> None:
    """Stacked bars of the interactions of every part, split by what training has seen."""
    names = [part.name for part in report.parts]
    sizes = np.array([part.interactions for part in report.parts])
    of_cold = np.array([part.of_either for part in report.parts])
    axis.barh(names, sizes - of_cold, color=_SEEN, label="user and item in training")
    if of_cold.any():
        axis.barh(names, of_cold, left=sizes - of_cold, color=_UNSEEN,
                  label="user or item not in training")
    for k, part in enumerate(report.parts):
        text = f"{part.interactions:,} ({part.interactions / max(report.interactions, 1):.1%})"
        text += f"\n{part.users:,} users, {part.items:,} items"
        inside = part.interactions > 0.4 * sizes.max()  # else it may leave the axes
        axis.text(part.interactions if not inside else 0.02 * sizes.max(), k,
                  text if inside else f" {text}".replace("\n", "\n "), va="center",
                  fontsize="small", color="white" if inside else "black")
    axis.set(xlabel="interactions", xlim=(0, 1.05 * max(sizes.max(), 1)))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.locator_params(axis="x", nbins=5)
    axis.invert_yaxis()
    axis.legend(**ABOVE, ncols=2)


def _checks(report: DatasetReport) -> str:
    problems = [check.name for check in report.checks if check.status == "problem"]
    notes = sum(check.status == "note" for check in report.checks)
    problem = f"problem: {', '.join(problems)}" if problems else "no problem"
    return f"checks: {problem}, {notes} notes"


def _draw_coverage(axis, report: DatasetReport) -> None:
    """Bars of the share of items, and of interactions, that have features."""
    at, height = np.arange(len(report.modalities)), 0.38
    for k, (key, label) in enumerate((("coverage", "items"),
                                      ("coverage_by_interactions", "interactions"))):
        shares = [getattr(m, key) for m in report.modalities]
        bars = axis.barh(at + (k - 0.5) * height, shares, 0.92 * height, color=("C2", "0.6")[k],
                         label=f"share of {label}")
        axis.bar_label(bars, [f"{share:.1%}" for share in shares], padding=2, fontsize="small")
    axis.set_yticks(at, [f"{_short(m.name)} ({m.dim:,})" for m in report.modalities])
    axis.set(xlim=(0, 1.16), xticks=np.arange(0, 1.1, 0.25), xlabel="covered by features")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
    axis.invert_yaxis()
    axis.legend(**ABOVE, ncols=2)


def _draw_norms(axis, report: DatasetReport) -> None:
    """Ranges of the norms of the stored rows, with median and mean."""
    at = np.arange(len(report.modalities))
    norms = {key: np.array([m.norms[key] for m in report.modalities])
             for key in ("minimum", "median", "mean", "maximum")}
    axis.hlines(at, norms["minimum"], norms["maximum"], color="0.6", linewidth=4,
                label="smallest to largest")
    axis.plot(norms["median"], at, "|", color="black", markersize=14, markeredgewidth=2,
              label="median")
    axis.plot(norms["mean"], at, "o", color="C3", markersize=5, label="mean")
    axis.set_yticks(at, [_short(m.name) for m in report.modalities])
    axis.set(xlabel="Euclidean norm of a row, as stored", ylim=(-0.6, len(at) - 0.4))
    above = [m.norms["minimum"] for m in report.modalities if m.norms["minimum"] > 0]
    if len(above) == len(at) and norms["maximum"].max() > 20 * min(above):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axis.set_xlim(0, 1.05 * max(norms["maximum"].max(), 1e-9))
    axis.invert_yaxis()
    axis.legend(**ABOVE, ncols=3)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
