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
    each_note_once,
    figure,
    first_up,
    metric_name,
    p_figure,
    spread_figure,
)

KINDS = {"users": "users by training interactions", "cold": "items that training lacks",
         "popularity": "items by popularity"}
_TITLES = {**KINDS, "beyond": "beyond accuracy"}
_BRIEF = ("main", "failures", "protocol", "settings", "published")
NOT_TESTED = "Nothing is marked: these differences are not tested."


def sheets(comparison: Comparison) -> list[Sheet]:
    """Return every table for which there is something to say, published figures last."""
    all_sheets = [main_sheet(comparison), failure_sheet(comparison), protocol_sheet(comparison),
                  setting_sheet(comparison), hash_sheet(comparison),
                  *difference_sheets(comparison), *group_sheets(comparison),
                  *curve_sheets(comparison), published_sheet(comparison)]
    return [sheet for sheet in all_sheets if sheet.rows]


def brief_sheets(comparison: Comparison) -> list[Sheet]:
    """Return the tables for the terminal: without hashes, pairs, groups and curves."""
    return each_note_once(sheet for sheet in sheets(comparison) if sheet.name in _BRIEF)


def main_sheet(comparison: Comparison) -> Sheet:
    """One row per line, those without results included: metrics on test, and what they cost."""
    marked = {metric: comparison.marks(metric) for metric in comparison.metrics}
    rows = []
    for line in comparison.lines:
        metrics = [_marked(comparison, line.label, metric, marked[metric])
                   for metric in comparison.metrics]
        rows.append((line.label, _seeds(line, comparison), *metrics,
                     *_costs(comparison, line.label)))
    columns = ("model", "seeds",
               *(Column(metric_name(metric), group="accuracy") for metric in comparison.metrics),
               *(Column(name, group="cost") for name in
                 ("best epoch", "s per epoch", "peak MiB", "parameters")))
    several = any(len(line.results) > 1 for line in comparison.lines)
    title = (f"{comparison.dataset}, test: {protocol_title(comparison.protocol)}; "
             f"{'mean±standard deviation over seeds' if several else 'one seed'}")
    costs = "Best epochs count from 0; they, seconds, memory and parameters are means over seeds."
    notes = (*legend(comparison), costs, *comparison.notes)
    return Sheet(title, columns, rows, notes, "main")


def failure_sheet(comparison: Comparison) -> Sheet:
    """One row per run that did not finish."""
    rows = [(line.label, str(failure.seed), failure.reason, failure.folder)
            for line in comparison.lines for failure in line.failures]
    columns = ("model", "seed", Column("reason", PROSE), Column("folder with the log", PROSE))
    return Sheet("Runs that did not finish and count nowhere", columns, rows, name="failures")


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
    columns = ("better", Column("worse", TEXT),
               *(Column(name, group="size") for name in
                 ("users", "mean", "95 % interval", "effect d_z")),
               *(Column(f"p {name}", group="p") for name in
                 ("random.", "t", "Wilcoxon", "Holm")))
    notes = ("Mean over users of better minus worse, each user's value being the mean over seeds; "
             "interval: bootstrap over users; effect: mean by standard deviation of the users' "
             "differences; p: two-sided randomisation, t and Wilcoxon tests, and that of the "
             "randomisation test after Holm's correction over the table.",)
    for metric in comparison.metrics:
        rows = [_difference(d) for d in comparison.differences if d.metric == metric]
        title = f"{metric_name(metric)} on test, pairs of lines"
        yield Sheet(title, columns, rows, notes, f"differences-{_slug(metric)}", keys=2)


def group_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """One sheet per kind of group and metric, beyond accuracy all measures in one."""
    labels = [line.label for line in comparison.lines if line.results]
    for kind, members in groupby(sorted(comparison.groups, key=_place), lambda g: g.kind):
        groups = list(members)
        title = _TITLES.get(kind, kind)
        if kind == "beyond":
            pairs = [(group, metric) for group in groups for metric in group.values]
            yield _group_sheet(kind, first_up(title), labels, pairs)
            continue
        for metric in dict.fromkeys(metric for group in groups for metric in group.values):
            pairs = [(group, metric) for group in groups if metric in group.values]
            yield _group_sheet(f"{kind}-{_slug(metric)}", f"{metric_name(metric)} on test, {title}",
                               labels, pairs)


def curve_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """One sheet per curve, one column per level."""
    for k, curve in enumerate(comparison.curves):
        rows = [(label, *map(spread_figure, spreads)) for label, spreads in curve.values.items()]
        columns = ("model", *(f"{level:g}" for level in curve.levels))
        title = f"{metric_name(curve.metric)} on test by {curve.name} ({curve.where})"
        yield Sheet(title, columns, rows, (NOT_TESTED,), f"curve-{k + 1}-{_slug(curve.name)}")


def published_sheet(comparison: Comparison) -> Sheet:
    """One row per published figure, with its source: never beside what was measured."""
    reported = list(dict.fromkeys(m for entry in comparison.published for m in entry.values))
    metrics = [m for m in comparison.metrics if m in reported]
    metrics += [m for m in reported if m not in metrics]
    rows = [(entry.model, *(figure(entry.values.get(m)) for m in metrics), entry.source,
             entry.note or NONE) for entry in comparison.published]
    columns = ("model", *map(metric_name, metrics), Column("source", PROSE), Column("note", PROSE))
    return Sheet(f"Published, not measured here: {comparison.dataset}", columns, rows,
                 ("As others report them, each under its own protocol: no part of any mark or test "
                  "above.",), "published", apart=True)


def _marked(comparison: Comparison, label: str, metric: str,
            marks: tuple[str | None, str | None]) -> Cell:
    mark = dict(zip(reversed(marks), (SECOND, BEST))).get(label, "")
    return Cell(spread_figure(comparison.spread(label, metric)), mark)


def _seeds(line: Line, comparison: Comparison) -> str:
    """Return "3", or "2 of 3" where other lines or failed runs have more."""
    asked = {result.seed for other in comparison.lines for result in other.results}
    asked |= {failure.seed for other in comparison.lines for failure in other.failures}
    done = len(line.results)
    return str(done) if done == len(asked) else f"{done} of {len(asked)}"


def _costs(comparison: Comparison, label: str) -> tuple[str, ...]:
    means = {name: comparison.spread(label, name, "cost").mean
             for name in ("seconds_per_epoch", "peak_mib", "parameters")}
    return (spread_figure(comparison.spread(label, "best_epoch", "cost"), 0),
            figure(means["seconds_per_epoch"], 2), figure(means["peak_mib"], 0),
            figure(means["parameters"], 0))


def _why_unmarked(comparison: Comparison, metrics: list[str]) -> str:
    if sum(bool(line.results) for line in comparison.lines) < 2:
        return "fewer than two lines have results"
    if not any(d.metric in metrics for d in comparison.differences):
        return "no line was tested against another"
    return ("neither the best nor the second best differs from every line below it at "
            "p < .05 (paired randomisation test over users, Holm-corrected over the table)")


def _difference(d: Difference) -> tuple[str, ...]:
    interval = f"[{figure(d.low, 4, True)}, {figure(d.high, 4, True)}]"
    return (d.better, d.worse, f"{d.n_users:,}", figure(d.mean, 4, True), interval,
            figure(d.effect, 3, True),
            *(p_figure(d.p.get(name)) for name in ("randomisation", "t", "wilcoxon")),
            p_figure(d.p_holm))


def _group_sheet(name: str, title: str, labels: Iterable[str],
                 pairs: list[tuple[Group, str]]) -> Sheet:
    columns = [metric_name(metric) if group.kind == "beyond"
               else f"{group.name}: {counted(group.size, 'user')}" for group, metric in pairs]
    rows = [(label, *(spread_figure(group.values[metric].get(label)) for group, metric in pairs))
            for label in labels]
    return Sheet(title, ("model", *columns), rows, (NOT_TESTED,), f"groups-{name}")


def _place(group: Group) -> int:
    kinds = list(_TITLES)
    return kinds.index(group.kind) if group.kind in kinds else len(kinds)


def _slug(text: str) -> str:
    """Return a name that files and LaTeX take as it is."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-")
