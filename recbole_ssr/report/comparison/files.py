"""A comparison as files: json with everything, csv for spreadsheets, Markdown and LaTeX."""

from __future__ import annotations

import re
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pandas as pd

from recbole_ssr.comparison import Comparison
from recbole_ssr.files import in_one_step
from recbole_ssr.report.comparison.rows import sheets
from recbole_ssr.report.latex import latex
from recbole_ssr.report.markdown import markdown
from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.record import as_json

NAME = "comparison"
REPORT = f"{NAME}.html"
FORMAT = 1  # of comparison.json
# All that a report may write: tables, page and pictures (plots.py).
_OURS = re.compile(rf"{NAME}\.(json|csv|md|tex|parquet|html)|"
                   r"(metrics|learning|seconds|groups|beyond|curve-\d+-.+-(training|inference))\.png")


def earlier_files(folder: Path) -> set[Path]:
    """Return the files that an earlier report left in a folder; none without its json."""
    if not (folder / f"{NAME}.json").is_file():
        return set()
    return {path for path in folder.iterdir() if _OURS.fullmatch(path.name) and path.is_file()}


def write_files(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.json, .csv, .md and .tex, and .parquet where pyarrow is installed.

    Each replaces an older one in one step. Returns their paths. Raises UserError where one cannot
    be written; those before it are complete.
    """
    table = frame(comparison)
    contents = {"json": to_json(comparison).encode(),
                "csv": table.to_csv(index=False, lineterminator="\n").encode(),
                "md": to_markdown(comparison).encode(), "tex": to_latex(comparison).encode()}
    parquet = _parquet(table)
    if parquet is not None:
        contents["parquet"] = parquet
    return [_write(Path(folder) / f"{NAME}.{ending}", content)
            for ending, content in contents.items()]


def frame(comparison: Comparison) -> pd.DataFrame:
    """Return the frame of a comparison with mean and std over a line's seeds, and marks.

    Columns: dataset, line, model, part (valid, test or cost), metric, seed, value, mean, std (nan
    of one seed), seeds (how many mean and std are of), best and second (marks, of test only).
    """
    table = comparison.frame.copy()
    table.insert(0, "dataset", comparison.dataset)
    keys = list(zip(table["line"], table["metric"], table["part"]))
    spreads = pd.DataFrame([comparison.spread(*key) for key in keys], table.index,
                           ["mean", "std", "n"])
    table[["mean", "std", "seeds"]] = spreads
    for place, name in enumerate(("best", "second")):
        marked = {(comparison.marks(metric)[place], metric, "test")
                  for metric in comparison.metrics}
        table[name] = [key in marked for key in keys]
    return table


def to_json(comparison: Comparison) -> str:
    """Return everything as text; nan and infinite numbers as null. Equal for equal comparisons."""
    return as_json({"format": FORMAT, **asdict(comparison)})


def to_markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown, with a heading each and notes below."""
    return markdown(f"Comparison on {comparison.dataset}", sheets(comparison))


def to_latex(comparison: Comparison) -> str:
    """Return all tables for a paper; every caption states the protocol and what marks mean."""
    protocol = f"{comparison.dataset}, {protocol_title(comparison.protocol)}."
    return latex(sheets(comparison), protocol)


def _parquet(table: pd.DataFrame) -> bytes | None:
    """Return a table as parquet; None without pyarrow, or with one for another numpy."""
    buffer = BytesIO()
    try:
        table.to_parquet(buffer, engine="pyarrow", index=False)
    except ImportError:
        return None
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> Path:
    """Write a file in one step; an older one stays as it is where that fails."""
    with in_one_step(path, "Free space there, or name another folder with --out=FOLDER") as draft:
        draft.write_bytes(content)
    return path
