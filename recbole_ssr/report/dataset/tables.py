"""Tables of what a dataset is like."""

from __future__ import annotations

from functools import partial

from recbole_ssr.report.dataset.record import DatasetReport
from recbole_ssr.report.sheet import BAD, GOOD, PROSE, TEXT, WARNING, Cell, Column, Sheet, number

_MARKS = {"ok": GOOD, "note": WARNING, "problem": BAD}
_sheet = partial(Sheet, small=True)


def tables(report: DatasetReport) -> list[Sheet]:
    """Return every table for which there are figures, the checks last."""
    shown = [size_table(report), part_table(report), degree_table(report), histogram_table(report)]
    if report.modalities:
        shown += [coverage_table(report), norm_table(report)]
    return [*shown, check_table(report)]


def size_table(report: DatasetReport) -> Sheet:
    """One row: users, items, interactions, density."""
    return _sheet(
        f"{report.dataset}, split {report.split}",
        (Column("users"), "items", "interactions", "density", "per user", "per item"),
        [(f"{report.users:,}", f"{report.items:,}", f"{report.interactions:,}",
          f"{report.density:.4%}", f"{report.user_degrees.mean:.1f}",
          f"{report.item_degrees.mean:.1f}")])


def part_table(report: DatasetReport) -> Sheet:
    """One row per part of the split."""
    rows = []
    for part in report.parts:
        held = part.name != "train"
        cold = (f"{part.cold_users:,}", f"{part.cold_items:,}") if held else ("", "")
        rows.append((part.name, f"{part.interactions:,}",
                     f"{part.interactions / report.interactions:.1%}", f"{part.users:,}",
                     f"{part.items:,}", f"{part.repeats:,}", *cold,
                     number(part.older, ".1%") if held else ""))
    return _sheet("Parts of the split, and what of them training has never seen",
                  ("", "interactions", "share", "users", "items", "repeats",
                   "users not\nin train", "items not\nin train", "older\nthan\ntraining"), rows)


def degree_table(report: DatasetReport) -> Sheet:
    """One row per side: the distribution of degrees in eight figures."""
    rows = [(side, *(f"{x:,.{0 if x == int(x) else 1}f}" for x in (
        d.minimum, d.lower_quartile, d.median, d.mean, d.upper_quartile, d.maximum)),
        number(d.gini, ".3f"), f"{d.none:,}")
        for side, d in (("user", report.user_degrees), ("item", report.item_degrees))]
    return _sheet("Interactions per user and item (Gini: 0 if all are equal)",
                  ("per", "fewest", "25 %", "median", "mean", "75 %", "most", "Gini",
                   "without\nany"), rows)


def histogram_table(report: DatasetReport) -> Sheet:
    """One row per interval of degrees, with the users and items in it."""
    sides = [{(low, high): n for low, high, n in degrees.histogram}
             for degrees in (report.user_degrees, report.item_degrees)]
    rows = []
    for low, high in sorted(set(sides[0]) | set(sides[1])):
        counts = [(side.get((low, high), 0), total)
                  for side, total in zip(sides, (report.users, report.items))]
        rows.append((f"{low:,}" if low == high else f"{low:,} to {high:,}",
                     *(text for n, total in counts for text in (f"{n:,}", f"{n / total:.1%}"))))
    return _sheet("Users and items by interactions",
                  ("interactions", "users", "share", "items", "share"), rows)


def coverage_table(report: DatasetReport) -> Sheet:
    """One row per modality: its file, and what it covers."""
    rows = [(m.name, f"{m.dim:,}", m.dtype, f"{m.rows:,}", f"{m.unused_rows:,}", f"{m.items:,}",
             f"{m.coverage:.1%}", f"{m.coverage_by_interactions:.1%}") for m in report.modalities]
    return _sheet("Item features",
                  ("modality", "width", "type", "rows", "rows of\nno item", "items\ncovered", "",
                   "interactions\ncovered"), rows)


def norm_table(report: DatasetReport) -> Sheet:
    """One row per modality: the norms of its rows, and rows that say little."""
    rows = [(m.name, *(f"{m.norms[key]:.3g}" for key in ("minimum", "median", "mean", "maximum")),
             f"{m.zero_rows:,}", f"{m.repeated_rows:,}") for m in report.modalities]
    return _sheet("Euclidean norms of the rows as stored",
                  ("modality", "smallest", "median", "mean", "largest", "zero\nrows",
                   "equal to one\nbefore"), rows)


def check_table(report: DatasetReport) -> Sheet:
    """One row per check: its status and what it means."""
    return _sheet("Checks", (Column("check", TEXT, width=22), Column("status", TEXT, width=8),
                             Column("what it means", PROSE)),
                  [(check.name, Cell(check.status, _MARKS[check.status]), check.sentence)
                   for check in report.checks])
