"""Terminal tables of what a dataset is like. They fit 100 columns."""

from __future__ import annotations

import math

from rich.markup import escape
from rich.table import Table

from recbole_ssr.report.dataset.record import DatasetReport

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def tables(report: DatasetReport) -> list[Table]:
    """Return every table for which there are figures, the checks last."""
    found = [size_table(report), part_table(report), degree_table(report), histogram_table(report)]
    if report.modalities:
        found += [coverage_table(report), norm_table(report)]
    return [*found, check_table(report)]


def size_table(report: DatasetReport) -> Table:
    """One row: users, items, interactions, density."""
    table = _table(f"{report.dataset}, split {report.split}", "users", "items", "interactions",
                   "density", "per user", "per item")
    table.columns[0].justify = "right"
    table.add_row(f"{report.users:,}", f"{report.items:,}", f"{report.interactions:,}",
                  f"{report.density:.4%}", f"{report.user_degrees.mean:.1f}",
                  f"{report.item_degrees.mean:.1f}")
    return table


def part_table(report: DatasetReport) -> Table:
    """One row per part of the split."""
    table = _table("Parts of the split, and what of them training has never seen", "",
                   "interactions", "share", "users", "items", "repeats", "users not\nin train",
                   "items not\nin train", "older\nthan\ntraining")
    for part in report.parts:
        held = part.name != "train"
        cold = (f"{part.cold_users:,}", f"{part.cold_items:,}") if held else ("", "")
        older = _number(part.older, ".1%") if held else ""
        table.add_row(part.name, f"{part.interactions:,}",
                      f"{part.interactions / report.interactions:.1%}", f"{part.users:,}",
                      f"{part.items:,}", f"{part.repeats:,}", *cold, older)
    return table


def degree_table(report: DatasetReport) -> Table:
    """One row per side: the distribution of degrees in eight figures."""
    table = _table("Interactions per user and item (Gini: 0 if all are equal)", "per", "fewest",
                   "25 %", "median", "mean", "75 %", "most", "Gini", "without\nany")
    for side, d in (("user", report.user_degrees), ("item", report.item_degrees)):
        table.add_row(side, *(f"{x:,.{0 if x == int(x) else 1}f}" for x in (
            d.minimum, d.lower_quartile, d.median, d.mean, d.upper_quartile, d.maximum)),
            _number(d.gini, ".3f"), f"{d.none:,}")
    return table


def histogram_table(report: DatasetReport) -> Table:
    """One row per interval of degrees, with the users and items in it."""
    table = _table("Users and items by interactions", "interactions", "users",
                   "share", "items", "share")
    sides = [{(low, high): n for low, high, n in degrees.histogram}
             for degrees in (report.user_degrees, report.item_degrees)]
    for low, high in sorted(set(sides[0]) | set(sides[1])):
        cells = []
        for side, total in zip(sides, (report.users, report.items)):
            n = side.get((low, high), 0)
            cells += [f"{n:,}", f"{n / total:.1%}"]
        table.add_row(f"{low:,}" if low == high else f"{low:,} to {high:,}", *cells)
    return table


def coverage_table(report: DatasetReport) -> Table:
    """One row per modality: its file, and what it covers."""
    table = _table("Item features", "modality", "width", "type", "rows", "rows of\nno item",
                   "items\ncovered", "", "interactions\ncovered")
    for m in report.modalities:
        table.add_row(escape(m.name), f"{m.dim:,}", m.dtype, f"{m.rows:,}", f"{m.unused_rows:,}",
                      f"{m.items:,}", f"{m.coverage:.1%}", f"{m.coverage_by_interactions:.1%}")
    return table


def norm_table(report: DatasetReport) -> Table:
    """One row per modality: the norms of its rows, and rows that say little."""
    table = _table("Euclidean norms of the rows as stored", "modality", "smallest", "median",
                   "mean", "largest", "zero\nrows", "equal to one\nbefore")
    for m in report.modalities:
        norms = (f"{m.norms[key]:.3g}" for key in ("minimum", "median", "mean", "maximum"))
        table.add_row(escape(m.name), *norms, f"{m.zero_rows:,}", f"{m.repeated_rows:,}")
    return table


def check_table(report: DatasetReport) -> Table:
    """One row per check: its status and what it means."""
    table = _table("Checks", "check", "status", "what it means")
    table.columns[0].width, table.columns[1].width = 22, 8
    for column in table.columns:
        column.justify, column.no_wrap = "left", False
    table.columns[2].ratio = 1
    table.expand = True
    for check in report.checks:
        table.add_row(check.name, f"[{_COLOURS[check.status]}]{check.status}[/]",
                      escape(check.sentence))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold", show_edge=False,
                  pad_edge=False)
    for k, name in enumerate(columns):
        # A long name of a modality goes on in the next line; figures are never cut.
        table.add_column(escape(name), justify="right" if k else "left",
                         overflow="ellipsis" if k else "fold", no_wrap=bool(k))
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{form}}"
