"""All pictures of a comparison, and their files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from recbole_ssr.comparison import Comparison
from recbole_ssr.report.comparison.bars import draw_beyond, draw_groups, draw_metrics
from recbole_ssr.report.comparison.lines import (
    disturbance,
    draw_curve,
    draw_learning,
    draw_seconds,
)
from recbole_ssr.report.comparison.rows import KINDS
from recbole_ssr.report.comparison.styles import main_metric, title_of
from recbole_ssr.report.pictures import save

_DPI = 144


class Picture(NamedTuple):
    """A figure, the name of its file without an ending, and what it shows in a sentence."""

    name: str
    caption: str
    figure: Figure


def pictures(comparison: Comparison) -> list[Picture]:
    """Return every picture that the comparison has values for; none where no run finished."""
    if not any(line.results for line in comparison.lines):
        return []
    metric = title_of(main_metric(comparison))
    drawn = [Picture("metrics", "Metrics on test: mean over seeds, whiskers of one standard "
                     "deviation.", draw_metrics(comparison)),
             Picture("learning", "Validation by epoch: mean over seeds as long as all of them "
                     "train, band of one standard deviation, selected epochs marked.",
                     draw_learning(comparison))]
    if any(comparison.spread(line.label, "seconds", "cost").mean > 0 for line in comparison.lines):
        drawn.append(Picture("seconds", f"{metric} on test against the seconds of a whole "
                             "training.", draw_seconds(comparison)))
    kinds = {group.kind for group in comparison.groups}
    if kinds & set(KINDS):
        drawn.append(Picture("groups", f"{metric} on test for groups of users and items.",
                             draw_groups(comparison)))
    if "beyond" in kinds:
        drawn.append(Picture("beyond", "What the recommendations are like beyond accuracy.",
                             draw_beyond(comparison)))
    for k, curve in enumerate(comparison.curves, 1):
        slug = re.sub(r"\W+", "-", f"{curve.name} {curve.where}").strip("-").lower()
        drawn.append(Picture(f"curve-{k}-{slug}", f"{title_of(curve.metric)} on test by "
                             f"{disturbance(curve)}.", draw_curve(comparison, curve)))
    return drawn


def write_plots(drawn: Sequence[Picture], folder: str | Path) -> list[Path]:
    """Write every picture as PNG into a folder; return the paths.

    What is found out for it about the places of things stays, for other formats.

    Raises UserError if a file cannot be written.
    """
    paths = []
    for picture in drawn:
        paths.append(save(picture.figure, Path(folder) / f"{picture.name}.png", _DPI,
                          "Free space there, or name another folder with --out=FOLDER"))
        picture.figure.set_layout_engine("none")
    return paths
