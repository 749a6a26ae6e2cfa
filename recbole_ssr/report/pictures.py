"""What all pictures share: where a legend stands, and how a file is written."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from recbole_ssr.files import in_one_step

# Legends above the axes never cover a curve.
ABOVE = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "frameon": False, "fontsize": "small"}


def save(figure: Figure, path: Path, dpi: int,
         remedy: str = "Name another folder with --out=FOLDER") -> Path:
    """Write a figure as PNG in one step and return its path. UserError if it cannot be written."""
    with in_one_step(path, remedy) as draft:
        figure.savefig(draft, dpi=dpi)
    return path
