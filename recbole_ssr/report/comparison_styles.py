"""What all pictures of a comparison share: one look per line, figures, panels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recbole_ssr.comparison import Comparison, Line

WIDTH = 9.0  # inches; 9 pt stay legible where a page shows the picture 800 pixels wide
FEW = 6  # lines that one pair of axes shows side by side; more get rows or panels of their own
INK, FAINT = "black", "0.5"
# Okabe and Ito (2008), without black, that is the ink, and with a darker yellow.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#a5930a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")  # 10 and 7 meet late
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
_LONGEST = 26  # letters of a label; longer ones would squeeze the axes
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
    """Return a text that matplotlib prints as it is: one line, no formulas, not hidden."""
    text = " ".join(str(text).split())
    if len(text) > longest:
        text = f"{text[: longest - 1].rstrip()}…"
    if text.startswith("_"):  # matplotlib leaves such labels out of legends
        text = f"\u200b{text}"
    return text.replace("$", r"\$")


def title_of(metric: str) -> str:
    """recall@10 -> Recall@10, ndcg@10 -> NDCG@10."""
    name, at, k = metric.partition("@")
    return plain(f"{name.upper() if len(name) <= 4 else name.capitalize()}{at}{k}")


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


def panels(figure: Figure, n: int) -> Iterator[Axes]:
    """Yield `n` axes of one scale, row by row, ticks at the left and at the bottom only."""
    columns = min(n, _COLUMNS)
    rows = -(-n // columns)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for k, axis in enumerate(axes):
        if k >= n:
            axis.set_axis_off()
            continue
        axis.tick_params(labelsize=9, labelbottom=k + columns >= n)
        yield axis


def panel_height(n: int, each: float = 1.5) -> float:
    """Return the inches that `n` panels need."""
    return 1.1 + each * -(-n // _COLUMNS)


def tidy(axis: Axes, grid: str = "y") -> None:
    """Take away what is not data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color=FAINT, alpha=0.25, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def short_source(text: str) -> str:
    """Return a source that fits below a picture."""
    return plain(shorten(" ".join(str(text).split()), 60, placeholder="…"), 62)
