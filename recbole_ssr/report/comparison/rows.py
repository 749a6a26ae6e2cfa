"""What every table of a comparison says, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from recbole_ssr.comparison import Comparison, Difference, Group, Line
from recbole_ssr.report.comparison.protocol import hash_sheet, protocol_sheet, setting_sheet
from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.sheet import (
    BEST,
    NONE,
    PROSE,
    SECOND,
    TEXT,
    Cell,
    Column,
    Sheet,
    counted,
    figure,
    metric_name,
    p_figure,
    spread_figure,
)

_KINDS = {"users": "users by training interactions", "cold": "items that training lacks",
          "popularity": "items by popularity", "beyond": "beyond accuracy"}
NOT_TESTED = "Nothing is marked: these differences are not tested."


def sheets(comparison: Comparison) -> list[Sheet]:
    """Return every table for which there is something to say, published figures last."""
    found = [main_sheet(comparison), failure_sheet(comparison), protocol_sheet(comparison),
             setting_sheet(comparison), hash_sheet(comparison),
             *difference_sheets(comparison), *group_sheets(comparison), *curve_sheets(comparison),
             published_sheet(comparison)]
    return [sheet for sheet in found if sheet.rows]


def main_sheet(comparison: Comparison) -> Sheet:
    """One row per line, those without results included: metrics on test, and what they cost."""
    marked = {metric: comparison.marks(metric) for metric in comparison.metrics}
    rows = []
    for line in comparison.lines:
        metrics = [_marked(line, metric, marked[metric]) for metric in comparison.metrics]
        rows.append((Cell(line.label), Cell(_seeds(line, comparison)), *metrics, *_costs(line)))
    columns = (Column("model", TEXT), Column("seeds"),
               *(Column(metric_name(metric), group="accuracy") for metric in comparison.metrics),
               *(Column(name, group="cost") for name in
                 ("best epoch", "s per epoch", "peak MiB", "parameters")))
    several = any(len(line.results) > 1 for line in comparison.lines)
    title = (f"{comparison.dataset}, test: {protocol_title(comparison.protocol)}; "
             f"{'mean±standard deviation over seeds' if several else 'one seed'}")
    costs = "Best epochs count from 0; they, seconds, memory and parameters are means over seeds."
    notes = (*legend(comparison), costs, *comparison.notes)
    return Sheet("main", title, columns, tuple(rows), notes)


def failure_sheet(comparison: Comparison) -> Sheet:
    """One row per run that did not finish."""
    rows = [(Cell(line.label), Cell(str(failure.seed)), Cell(failure.reason), Cell(failure.folder))
            for line in comparison.lines for failure in line.failures]
    columns = (Column("model", TEXT), Column("seed"), Column("reason", PROSE),
               Column("folder with the log", PROSE))
    return Sheet("failures", "Runs that did not finish and count nowhere", columns, tuple(rows))


def legend(comparison: Comparison) -> tuple[str, ...]:
    """Say what the marks mean and where they are missing, and why."""
    without = [metric for metric in comparison.metrics if not any(comparison.marks(metric))]
    names = ", ".join(map(metric_name, without))
    told = []
    if len(without) < len(comparison.metrics):
        told.append("Bold: best; underlined: second best. A line is marked only where it differs "
                    "from every line below it: paired randomisation test over users, two-sided, "
                    "Holm-corrected over the table, p < .05.")
    if without and told:
        told.append(f"No mark on {names}: {_why_unmarked(comparison, without)}.")
    elif without:
        told.append(f"Nothing is marked: {_why_unmarked(comparison, without)}.")
    return tuple(told)


def difference_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """One sheet per metric, one row per pair of lines that was tested."""
    columns = (Column("better", TEXT), Column("worse", TEXT),
               *(Column(name, group="size") for name in
                 ("users", "mean", "95 % interval", "effect d_z")),
               *(Column(f"p {name}", group="p") for name in
                 ("random.", "t", "Wilcoxon", "Holm")))
    notes = ("Mean over users of better minus worse, each user's value being the mean over seeds; "
             "interval: bootstrap over users; effect: mean by standard deviation of the users' "
             "differences; p: two-sided randomisation, t and Wilcoxon tests, and that of the "
             "randomisation test after Holm's correction over the table.",)
    if comparison.differences and all(d.p_holm is None for d in comparison.differences):
        notes += (f"{_first_up(_NO_HOLM)}.",)
    for metric in comparison.metrics:
        rows = tuple(_difference(d) for d in comparison.differences if d.metric == metric)
        title = f"{metric_name(metric)} on test, pairs of lines"
        yield Sheet(f"differences-{_slug(metric)}", title, columns, rows, notes, keys=2)


def group_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """One sheet per kind of group and metric, beyond accuracy all measures in one."""
    labels = [line.label for line in comparison.lines if line.results]
    for kind, members in groupby(sorted(comparison.groups, key=_place), lambda g: g.kind):
        groups = list(members)
        title = _KINDS.get(kind, kind)
        if kind == "beyond":
            pairs = [(group, metric) for group in groups for metric in group.values]
            yield _group_sheet(kind, _first_up(title), labels, pairs)
            continue
        for metric in dict.fromkeys(metric for group in groups for metric in group.values):
            pairs = [(group, metric) for group in groups if metric in group.values]
            yield _group_sheet(f"{kind}-{_slug(metric)}", f"{metric_name(metric)} on test, {title}",
                               labels, pairs)


def curve_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """One sheet per curve, one column per level."""
    for k, curve in enumerate(comparison.curves):
        rows = tuple((Cell(label), *(Cell(spread_figure(spread)) for spread in spreads))
                     for label, spreads in curve.values.items())
        columns = (Column("model", TEXT), *(Column(f"{level:g}") for level in curve.levels))
        title = f"{metric_name(curve.metric)} on test by {curve.name} ({curve.where})"
        yield Sheet(f"curve-{k + 1}-{_slug(curve.name)}", title, columns, rows, (NOT_TESTED,))


def published_sheet(comparison: Comparison) -> Sheet:
    """One row per published figure, with its source: never beside what was measured."""
    reported = list(dict.fromkeys(m for entry in comparison.published for m in entry.values))
    metrics = [m for m in comparison.metrics if m in reported]
    metrics += [m for m in reported if m not in metrics]
    rows = tuple((Cell(entry.model), *(Cell(figure(entry.values.get(m))) for m in metrics),
                  Cell(entry.source), Cell(entry.note or NONE)) for entry in comparison.published)
    columns = (Column("model", TEXT), *(Column(metric_name(m)) for m in metrics),
               Column("source", PROSE), Column("note", PROSE))
    return Sheet("published", f"Published, not measured here: {comparison.dataset}", columns, rows,
                 ("As others report them, each under its own protocol: no part of any mark or test "
                  "above.",), apart=True)


def _marked(line: Line, metric: str, marks: tuple[str | None, str | None]) -> Cell:
    text = spread_figure(line.spread(metric))
    if line.label == marks[0]:
        return Cell(text, BEST)
    return Cell(text, SECOND if line.label == marks[1] else "")


def _seeds(line: Line, comparison: Comparison) -> str:
    """Return "3", or "2 of 3" where other lines or failed runs have more."""
    asked = {result.seed for other in comparison.lines for result in other.results}
    asked |= {failure.seed for other in comparison.lines for failure in other.failures}
    done = len(line.results)
    return str(done) if done == len(asked) else f"{done} of {len(asked)}"


def _costs(line: Line) -> tuple[Cell, ...]:
    seconds = line.cost("seconds_per_epoch")
    return (Cell(spread_figure(line.cost("best_epoch"), 0)), Cell(figure(seconds.mean, 2)),
            Cell(figure(line.cost("peak_mib").mean, 0)),
            Cell(figure(line.cost("parameters").mean, 0)))


_NO_HOLM = ("without statsmodels there is no Holm correction (pip install "
            "\"recbole_ssr[compare]\")")


def _why_unmarked(comparison: Comparison, metrics: list[str]) -> str:
    if sum(bool(line.results) for line in comparison.lines) < 2:
        return "fewer than two lines have results"
    tested = [d for d in comparison.differences if d.metric in metrics]
    if not tested:
        return "no line was tested against another"
    if all(d.p_holm is None for d in tested):
        return _NO_HOLM
    return ("neither the best nor the second best differs from every line below it at "
            "p < .05 (paired randomisation test over users, Holm-corrected over the table)")


def _difference(d: Difference) -> tuple[Cell, ...]:
    interval = f"[{figure(d.low, 4, True)}, {figure(d.high, 4, True)}]"
    texts = (d.better, d.worse, f"{d.n_users:,}", figure(d.mean, 4, True), interval,
             figure(d.effect, 3, True), *(p_figure(d.p.get(name)) for name in
                                 ("randomisation", "t", "wilcoxon")), p_figure(d.p_holm))
    return tuple(map(Cell, texts))


def _group_sheet(name: str, title: str, labels: Iterable[str],
                 pairs: list[tuple[Group, str]]) -> Sheet:
    columns = [Column("model", TEXT)]
    for group, metric in pairs:
        of_group = f"{group.name}: {counted(group.size, 'user')}"
        columns.append(Column(metric_name(metric) if group.kind == "beyond" else of_group))
    rows = tuple((Cell(label), *(Cell(spread_figure(group.values[metric].get(label)))
                                 for group, metric in pairs)) for label in labels)
    return Sheet(f"groups-{name}", title, tuple(columns), rows, (NOT_TESTED,))


def _place(group: Group) -> int:
    kinds = list(_KINDS)
    return kinds.index(group.kind) if group.kind in kinds else len(kinds)


def _slug(text: str) -> str:
    """Return a name that files and LaTeX take as it is."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-")


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
