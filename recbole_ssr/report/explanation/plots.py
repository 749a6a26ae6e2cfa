"""A picture of why a user gets an item, every number where it belongs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from recbole_ssr.report.explanation.record import Explanation, label
from recbole_ssr.report.pictures import save

_SHOWN = 10  # items of the user's with a bar of their own
_UP, _DOWN, _TOTAL = "#3b6ea5", "#b5533c", "#444444"
_DPI, _LINE = 120, 46  # characters of a label


def draw(explanation: Explanation, path: Path) -> None:
    """Draw the items that brought an item up, and its bands and modalities; write a PNG."""
    figure = Figure(figsize=(11 if explanation.slots else 7.5, 5.2), layout="constrained")
    axes = figure.subplots(1, 2 if explanation.slots else 1, squeeze=False,
                           width_ratios=[1.25, 1] if explanation.slots else None)[0]
    title = (f"Why {label(explanation.item, explanation.title)} for user {explanation.user}: rank "
             f"{explanation.rank} of {explanation.ranked:,}, score {explanation.score:.3f}")
    figure.suptitle(textwrap.fill(title, 100), parse_math=False)
    _sources(axes[0], explanation)
    if explanation.slots:
        _slots(axes[1], explanation)
    save(figure, path, _DPI)


def _sources(axis, explanation: Explanation) -> None:
    shown = sorted(explanation.sources, key=lambda source: -abs(source.score))[:_SHOWN]
    shown.sort(key=lambda source: -source.score)
    rest = sum(source.score for source in explanation.sources) - sum(s.score for s in shown)
    rows = [(label(source.item, source.title), source.score) for source in shown]
    if len(explanation.sources) > len(shown):
        rows.append((f"{len(explanation.sources) - len(shown)} other items", rest))
    rows.append(("the user's own embedding", explanation.own))
    if explanation.bias:
        rows.append(("the item's bias, its popularity", explanation.bias))
    rows.append(("all of it: the score", explanation.score))
    names, values = zip(*rows)
    colours = [*(_UP if value >= 0 else _DOWN for value in values[:-1]), _TOTAL]
    bars = axis.barh(range(len(rows)), values, color=colours)
    axis.bar_label(bars, [f"{value:+.3f}" for value in values], padding=3, fontsize="small")
    axis.set_yticks(range(len(rows)), [textwrap.shorten(name, _LINE, placeholder="…")
                                       for name in names], parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.18)
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_title("What each item of the user's adds", fontsize="medium")
    axis.spines[["top", "right"]].set_visible(False)


def _slots(axis, explanation: Explanation) -> None:
    matrix = np.array(explanation.slots.item).T
    whole = np.block([[matrix, matrix.sum(1, keepdims=True)],
                      [matrix.sum(0, keepdims=True), matrix.sum(keepdims=True)]])
    reach = max(np.abs(whole).max(), 1e-12)
    axis.imshow(whole, cmap="RdBu", vmin=-1.6 * reach, vmax=1.6 * reach, aspect="auto")
    axis.set_xticks(range(whole.shape[1]), [*(f"{b} band" for b in explanation.slots.bands), "sum"])
    axis.set_yticks(range(whole.shape[0]), [*explanation.slots.modalities, "sum"])
    for (row, column), value in np.ndenumerate(whole):
        last = row == len(whole) - 1 or column == whole.shape[1] - 1
        axis.text(column, row, f"{value:+.3f}", ha="center", va="center",
                  fontweight="bold" if last else None)
    axis.axhline(len(whole) - 1.5, color="white", linewidth=4)
    axis.axvline(whole.shape[1] - 1.5, color="white", linewidth=4)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    aside = "\n(its bias aside)" if explanation.bias else ""
    axis.set_title(f"Through which band and modality of the item{aside}", fontsize="medium")
