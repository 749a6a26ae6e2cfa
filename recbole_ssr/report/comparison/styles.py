"""What all pictures of a comparison share: one look per line, figures, panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recbole_ssr.comparison import Comparison, Line
from recbole_ssr.report.sheet import metric_name

WIDTH = 9.0  # inches; 9 pt stay legible where a page shows the picture 800 pixels wide
FEW = 6  # lines that one pair of axes shows side by side; more get rows or panels of their own
INK, FAINT = "black", "0.5"
# Okabe and Ito (2008), without black, that is the ink, and with a darker yellow.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#a5930a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")  # 10 and 7 meet late
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
_LONGEST = 28  # letters of a label; longer ones would squeeze the axes
_COLUMNS = 4  # panels side by side


class Style(NamedTuple):
    """How a line looks in every picture."""

    color: str
    marker: str
    dash: object


def styles(comparison: Comparison) -> dict[str, Style]:
    """Return the look of every label; neighbours differ in colour and marker."""
    return {line.label: Style(PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)],
                              DASHES[k // len(PALETTE) % len(DASHES)])
            for k, line in enumerate(comparison.lines)}


def main_metric(comparison: Comparison) -> str:
    """Return the metric that selected on validation where it was tested, else the first."""
    chosen = str(comparison.protocol.get("valid_metric", "")).lower()
    return chosen if chosen in comparison.metrics else comparison.metrics[0]


def ranked(comparison: Comparison) -> list[Line]:
    """Return the lines with results in the order of all pictures: best first."""
    return comparison.ranked(main_metric(comparison))


def plain(text: str, longest: int = _LONGEST) -> str:
    """Return a text that matplotlib prints as it is: one line, no formulas, not hidden.

    Of longer ones the middle goes: labels often differ at their end.
    """
    text = " ".join(str(text).split())
    if len(text) > longest:
        head = (longest - 1) // 2
        text = f"{text[: longest - 1 - head].rstrip()}…{text[-head:].lstrip()}"
    if text.startswith("_"):  # matplotlib leaves such labels out of legends
        text = f"\u200b{text}"
    return text.replace("$", r"\$")


def title_of(metric: str) -> str:
    """recall@10 -> Recall@10, as in tables."""
    return plain(metric_name(metric), 60)


def figure_of(height: float, title: str, comparison: Comparison) -> Figure:
    """Return an empty figure of the common width with a title that names the dataset."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(wspace=0.04, hspace=0.05)
    figure.suptitle(f"{title}\n{plain(comparison.dataset, 40)}, {_seeds(comparison)}",
                    fontsize=11)
    return figure


def _seeds(comparison: Comparison) -> str:
    counts = {len(line.results) for line in comparison.lines if line.results}
    if counts == {1}:
        return "one seed: no spread is known"
    least, most = min(counts), max(counts)
    return f"{least if least == most else f'{least} to {most}'} seeds"


def legend_below(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """Put a legend under all axes, where it covers nothing."""
    widest = max(map(len, labels), default=0)
    columns = max(1, min(len(labels), 5, int(110 / (widest + 8))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                  fontsize=9)


def rows_of(n: int) -> int:
    """Return the rows that `n` panels fill."""
    return -(-n // _COLUMNS)


def columns_of(n: int) -> int:
    """Return the panels side by side, so that the last row is as full as can be."""
    return -(-n // rows_of(n))


def panels(figure: Figure, n: int, sharex: bool = True) -> list[Axes]:
    """Return `n` axes row by row, of one scale: its ticks at the left, and at the bottom, only."""
    columns = columns_of(n)
    axes = list(figure.subplots(rows_of(n), columns, sharex=sharex, sharey=True,
                                squeeze=False).flat)
    for axis in axes[n:]:
        axis.set_axis_off()
    for k, axis in enumerate(axes[:n] if sharex else ()):
        axis.tick_params(labelsize=9, labelbottom=k + columns >= n)
    return axes[:n]


def panel_height(n: int, each: float = 1.5) -> float:
    """Return the inches that `n` panels need."""
    return 1.1 + each * rows_of(n)


def tidy(axis: Axes, grid: str = "y") -> None:
    """Take away what is not data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color=FAINT, alpha=0.25, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)
