"""Terminal tables of a comparison: what they say, what they mark, and that nothing is cut."""

import io
import math
from dataclasses import replace

import pytest
from made_comparison import METRICS, made_comparison, made_result
from rich.cells import cell_len
from rich.console import Console

from recbole_ssr.comparison import Comparison, Failure, Line, Spread
from recbole_ssr.report.comparison.rows import brief_sheets, legend, main_sheet, sheets
from recbole_ssr.report.sheet import (
    each_note_once,
    figure,
    metric_name,
    p_figure,
    spread_figure,
)
from recbole_ssr.report.terminal import print_sheets


def printed(comparison, console=None, brief=False):
    console = console or Console(width=100, file=io.StringIO(), force_terminal=False)
    print_sheets(console, brief_sheets(comparison) if brief else each_note_once(sheets(comparison)))
    return console.file.getvalue()


def sheet(comparison, name):
    return next(found for found in sheets(comparison) if found.name == name)


def texts(found):
    return {row[0].text: dict(zip((c.name for c in found.columns), (cell.text for cell in row)))
            for row in found.rows}


def marks(comparison):
    found = main_sheet(comparison)
    return {(row[0].text, column.name): cell.mark for row in found.rows
            for column, cell in zip(found.columns, row) if cell.mark}


@pytest.mark.parametrize("value, text", [
    (0.11494, ".1149"), (0.1, ".1000"), (0, ".0000"), (-0.00214, "-.0021"), (-0.00001, ".0000"),
    (0.99996, "1.0000"), (1.0, "1.000"), (9.87, "9.870"), (153.24, "153.2"), (1234.5, "1,234"),
    (math.nan, "-"), (None, "-"), (math.inf, "inf"), (-math.inf, "-inf"),
])
def test_figures(value, text):
    assert figure(value) == text


def test_signs_and_decimals():
    assert figure(0.0046, 4, True) == "+.0046"
    assert figure(-0.0046, 4, True) == "-.0046"
    assert figure(0.00001, 4, True) == ".0000"
    assert figure(1_000_000, 0) == "1,000,000"
    assert figure(0.4, 0) == "0"
    assert figure(2.5, 2) == "2.50"


@pytest.mark.parametrize("values, text", [
    ([0.1122, 0.1176, 0.1149], ".1149±.0027"), ([0.1149], ".1149"), ([], "-"),
    ([0.5, 0.5], ".5000±.0000"), ([150.0, 156.4], "153.2±4.5"), ([math.nan], "-"),
])
def test_spreads(values, text):
    assert spread_figure(Spread.of(values)) == text


def test_spreads_with_nan():
    assert spread_figure(Spread(math.nan, math.nan, 3)) == "-"
    assert spread_figure(Spread(0.1149, math.nan, 3)) == ".1149"
    assert spread_figure(None) == "-"


def test_p_values():
    assert [p_figure(p) for p in (0.0002, 0.001, 0.0361, 1.0, math.nan, None)] == \
        ["<.001", ".001", ".036", "1.000", "-", "-"]


def test_names_of_metrics():
    names = ("recall@20", "ndcg@10", "gini@20", "average popularity@20", "Custom@5")
    assert list(map(metric_name, names)) == \
        ["Recall@20", "NDCG@10", "Gini@20", "average popularity@20", "Custom@5"]


def test_means_of_the_main_table_are_those_of_the_runs():
    comparison = made_comparison(4, 3)
    found = texts(main_sheet(comparison))
    for line in comparison.lines[:3]:
        values = [result.test["recall@20"] for result in line.results]
        mean = sum(values) / 3
        std = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
        row = found[line.label]
        assert row["Recall@20"] == f"{mean:.4f}±{std:.4f}".replace("0.", ".")
        assert row["seeds"] == "3"
        assert row["parameters"] == f"{line.results[0].parameters:,}"
        assert row["s per epoch"] == f"{line.results[0].seconds_per_epoch:.2f}"
        assert row["peak MiB"] == f"{line.results[0].peak_mib:.0f}"


def test_one_seed_has_no_deviation():
    comparison = made_comparison(3, 1, failures=False)
    assert "±" not in printed(comparison)
    assert main_sheet(comparison).title.endswith("one seed")


def test_only_significant_leads_are_marked():
    significant = marks(made_comparison(4, 3))
    assert significant == {(label, metric_name(metric)): mark for metric in METRICS
                           for label, mark in (("SSR", "best"), ("FREEDOM", "second"))}
    assert marks(made_comparison(4, 3, significant=False)) == {}


def test_a_second_that_ties_with_the_third_is_not_marked():
    comparison = made_comparison(4, 3)
    tied = tuple(replace(d, p_holm=0.05) if d.better == "FREEDOM" else d
                 for d in comparison.differences)
    assert set(marks(replace(comparison, differences=tied)).values()) == {"best"}


def test_a_best_that_ties_with_any_line_below_is_not_marked():
    """The third may be harder to tell from the best than the second, whose users agree more."""
    comparison = made_comparison(4, 3)
    third = comparison.ranked(METRICS[0])[2].label
    tied = tuple(replace(d, p_holm=0.9) if (d.better, d.worse) == ("SSR", third) else d
                 for d in comparison.differences)
    assert set(marks(replace(comparison, differences=tied)).values()) == {"second"}


def test_marks_are_bold_and_underlined_on_a_terminal():
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    text = printed(made_comparison(3, 3), console=console, brief=True)
    best, second = (row for row in text.splitlines() if row.startswith(("SSR", "FREEDOM")) and
                    "±" in row and ".0" in row and "\x1b" in row)
    assert best.count("\x1b[1m") == 4 and "\x1b[4m" not in best
    assert second.count("\x1b[4m") == 4 and "\x1b[1m" not in second


@pytest.mark.parametrize("comparison, words", [
    (made_comparison(4, 3), ("Bold: best", "Holm-corrected", "randomisation")),
    (made_comparison(4, 3, significant=False), ("Nothing is marked", "differs", "p < .05")),
    (made_comparison(1, 3), ("Nothing is marked", "fewer than two lines")),
    (replace(made_comparison(4, 3), differences=()), ("Nothing is marked", "no line was tested")),
])
def test_the_legend_says_what_marks_mean_or_why_there_are_none(comparison, words):
    told = " ".join(legend(comparison))
    assert all(word in told for word in words)
    assert (" ".join(printed(comparison).split())).count(told) == 1


def test_the_legend_names_metrics_without_marks():
    comparison = made_comparison(4, 3)
    some = tuple(d for d in comparison.differences if d.metric != "ndcg@10")
    told = " ".join(legend(replace(comparison, differences=some)))
    assert "No mark on NDCG@10: no line was tested against another." in told


def test_failed_runs_are_listed_and_counted():
    comparison = made_comparison(4, 3)
    found = texts(main_sheet(comparison))
    assert found["LightGCN"]["seeds"] == "2 of 3"
    assert found["Broken_1"]["seeds"] == "0 of 3"
    assert found["Broken_1"]["Recall@20"] == found["Broken_1"]["peak MiB"] == "-"
    rows = [[cell.text for cell in row] for row in sheet(comparison, "failures").rows]
    assert rows[0] == ["LightGCN", "2022", "out of memory: 12.3 GiB asked, 8.0 free",
                       "comparisons/tiktok/runs/LightGCN-seed2022-ff00ff00"]
    assert len(rows) == 4
    assert not any(found.name == "failures" for found in sheets(made_comparison(3, 2,
                                                                                failures=False)))


def test_a_comparison_whose_every_run_failed_is_still_a_table():
    lines = tuple(Line(label, label, {}, (), (Failure(1, "out of memory", "runs/x"),))
                  for label in "ab")
    text = printed(Comparison("tiny", made_result().protocol, lines))
    assert text.count("0 of 1") == 2 and text.count("out of memory") == 2


def test_the_protocol_is_in_the_open():
    comparison = made_comparison(4, 3)
    found = {row[0].text: row[1].text for row in sheet(comparison, "protocol").rows}
    assert found["split"] == "split by x_label" and found["split hash"] == "0123456789ab"
    assert found["masked at test"] == "training and validation items"
    assert found["selected on (valid)"] == "Recall@20"
    assert found["epochs at most"] == "300" and found["patience"] == "20"
    assert found["objective"] == "bpr" and found["learning rate"] == "0.001"
    assert found["negatives"] == "distribution uniform, sample_num 1"
    assert found["seeds"] == "2020, 2021, 2022" and found["device"] == "cpu"
    assert "torch 2.6.0" in found["versions"]
    assert "PARITY" not in " ".join(found) and "split seed" not in found


def test_tuning_budgets_are_told():
    def told(*trials):
        comparison = made_comparison(3, 2, failures=False)
        lines = tuple(replace(line, trials=n) for line, n in zip(comparison.lines, trials))
        return {row[0].text: row[1].text for row in
                sheet(replace(comparison, lines=lines), "protocol").rows}["tuning"]

    assert told(None, None, None).startswith("none here")
    assert told(20, 20, 20) == "20 settings per line, selected on validation"
    assert told(20, None, 20) == ("not the same for every line: 20 settings tried for SSR, SMORE; "
                                  "no settings tried for FREEDOM")


def test_settings_whose_training_was_stopped_are_told():
    comparison = made_comparison(3, 2, failures=False)
    budgets = zip(comparison.lines, ((32, 24), (32, 0), (None, 0)))
    lines = tuple(replace(line, trials=n, pruned=early) for line, (n, early) in budgets)
    found = sheet(replace(comparison, lines=lines), "settings")
    column = [column.name for column in found.columns].index("tuned over")
    assert [row[column].text for row in found.rows] == ["32, 24 pruned", "32", "-"]
    assert "pruned" in found.notes[0]
    assert "pruned" not in sheet(comparison, "settings").notes[0]


def test_settings_of_their_own_are_told_by_line():
    comparison = made_comparison(3, 2, failures=False)
    other = comparison.lines[1]
    changed = tuple(replace(r, training=r.training | {"objective": "softmax", "batch_size": 512})
                    for r in other.results)
    lines = (comparison.lines[0], replace(other, results=changed), comparison.lines[2])
    comparison = replace(comparison, lines=lines)
    shared = {row[0].text for row in sheet(comparison, "protocol").rows}
    assert not {"objective", "batch size"} & shared and "learning rate" in shared
    found = texts(sheet(comparison, "settings"))
    assert found["SSR"]["objective"] == "bpr" and found["FREEDOM"]["objective"] == "softmax"
    assert found["FREEDOM"]["batch size"] == "512"
    assert found["FREEDOM"]["settings"] == "n_layers 2" and found["SSR"]["settings"] == "defaults"
    assert found["SSR"]["tuned over"] == "20" and found["FREEDOM"]["tuned over"] == "-"
    hashes = texts(sheet(comparison, "configurations"))["FREEDOM"]["hashes"]
    assert hashes == ", ".join(r.config_hash for r in other.results)


def test_settings_given_to_all_lines_are_no_defaults():
    comparison = made_comparison(3, 2, failures=False)
    given = {"profile": "amazon-baby", "n_layers": 3, "learning_rate": 0.001,
             "train_batch_size": 2048, "metrics": ["Recall", "NDCG"]}
    comparison = replace(comparison, settings=given)
    found = {row[0].text: row[1].text for row in sheet(comparison, "protocol").rows}
    # The others have rows of their own.
    assert found["given to all lines"] == "profile amazon-baby, n_layers 3"
    own = sheet(comparison, "settings")
    assert texts(own)["SSR"]["settings"] == "as all"
    assert texts(own)["FREEDOM"]["settings"] == "n_layers 2"
    assert own.notes[0].endswith("defaults and from what is given to all lines.")


@pytest.mark.parametrize("entry, said", [
    ({"masked": "training items"}, "masking"), ({"stopping_rule": "strict"}, "patience"),
    ({"metric_decimal_place": 4}, "rounding"),
])
def test_parity_modes_are_labelled(entry, said):
    comparison = made_comparison(3, 2)
    comparison = replace(comparison, protocol=comparison.protocol | entry)
    assert f"PARITY MODE: MMRec's {said} (" in main_sheet(comparison).title
    modes, = (row[1].text for row in sheet(comparison, "protocol").rows
              if row[0].text == "PARITY MODES")
    assert modes.startswith(f"MMRec's {said} (") and ", " not in modes.split(")")[1]


def test_entries_of_a_protocol_that_are_new_are_shown():
    comparison = made_comparison(2, 1)
    comparison = replace(comparison, protocol=comparison.protocol | {"new_rule": 0.25})
    assert ["new rule", "0.25"] in [[cell.text for cell in row]
                                    for row in sheet(comparison, "protocol").rows]


def test_pairs_are_told_with_interval_effect_and_p():
    comparison = made_comparison(4, 3)
    difference = replace(comparison.differences[0], mean=0.00461, low=-0.00004, high=0.0092,
                         effect=-0.0312, p={"randomisation": 0.0301, "t": 0.04}, p_holm=0.12)
    comparison = replace(comparison, differences=(difference,))
    row, = sheet(comparison, "differences-recall-10").rows
    assert [cell.text for cell in row] == [
        "SSR", "FREEDOM", "9,308", "+.0046", "[.0000, +.0092]", "-.031", ".030", ".040", "-",
        ".120"]
    assert not any(cell.mark for cell in row)


def test_groups_beyond_accuracy_and_curves():
    comparison = made_comparison(4, 3)
    found = texts(sheet(comparison, "groups-users-recall-20"))
    assert list(found["SSR"])[1] == "users with at most 5 interactions: 4,000 users"
    assert found["SSR"]["users with at most 5 interactions: 4,000 users"] == ".0805±.0024"
    assert texts(sheet(comparison, "groups-popularity-ndcg-20"))["SSR"][
        "tail items: 2,900 users"] == ".0150±.0004"
    beyond = texts(sheet(comparison, "groups-beyond"))["SSR"]
    assert beyond["Coverage@20"] == ".4100±.0123"
    assert beyond["average popularity@20"] == "153.2±4.6"
    curve = sheet(comparison, "curve-1-image-noise")
    assert [column.name for column in curve.columns] == ["model", "0", "0.1", "0.3", "0.5"]
    assert texts(curve)["SSR"]["0.5"] == ".0920±.0028"
    assert "(training and inference)" in curve.title
    assert not any(cell.mark for found in sheets(comparison) if found.name != "main"
                   for row in found.rows for cell in row)


def test_published_figures_stand_apart():
    comparison = made_comparison(4, 3)
    found = sheets(comparison)
    assert [s.name for s in found if s.apart] == ["published"] and found[-1].apart
    row = texts(found[-1])["MMSSL_x"]
    assert row == {"model": "MMSSL_x", "Recall@20": ".0921", "NDCG@20": ".0392",
                   "source": "Wei et al. 2023, Table 2", "note": "-"}
    without = made_comparison(4, 3, published=False)
    assert marks(comparison) == marks(without)
    assert printed(comparison).split("\nPublished")[0].strip() == printed(without).strip()


SHAPES = [(1, 1, False, METRICS), (1, 5, True, METRICS), (2, 1, True, METRICS[:1]),
          (2, 5, False, METRICS), (6, 1, True, METRICS), (6, 5, False, METRICS[:1]),
          (6, 5, True, METRICS), (22, 1, False, METRICS), (22, 5, False, METRICS),
          (22, 5, True, METRICS[:2])]


@pytest.mark.parametrize("lines, seeds, long, metrics", SHAPES)
def test_tables_fit_and_cut_nothing(lines, seeds, long, metrics):
    comparison = made_comparison(lines, seeds, long_labels=long, metrics=metrics)
    text = printed(comparison, Console(width=200, file=io.StringIO()))
    assert max(map(cell_len, text.splitlines())) <= 100
    assert "…" not in text
    for found in sheets(comparison):
        for row in found.rows:
            for column, cell in zip(found.columns, row):
                if column.kind == "number":
                    assert cell.text in text, f"{found.name} {column.name}"


@pytest.mark.parametrize("long", [False, True])
def test_columns_are_aligned(long):
    text = printed(made_comparison(6, 3, long_labels=long))
    block: list[str] = []
    blocks = 0
    for row in [*text.splitlines(), ""]:
        if any(mark in row for mark in "┃╇│"):
            block.append(row)
            continue
        places = {tuple(k for k, letter in enumerate(r) if letter in "┃╇│") for r in block}
        assert len(places) <= 1
        blocks += bool(block)
        block = []
    assert blocks > 15


def test_a_wide_table_splits_between_metrics_and_costs_and_repeats_labels():
    text = printed(made_comparison(6, 5))
    first, second = text.split("(1 of 2)")[1].split("(2 of 2)")[:2]
    assert "NDCG@20" in first and "parameters" not in first
    assert "parameters" in second.split("Bold")[0] and "SSR" in second.split("Bold")[0]


def test_labels_are_no_markup_and_keep_their_letters():
    comparison = made_comparison(2, 2, failures=False)
    lines = (replace(comparison.lines[0], label="[bold]SSR[/bold] [1]"),
             replace(comparison.lines[1], label="模型" * 12))
    text = printed(replace(comparison, lines=lines, differences=(), groups=(), curves=()))
    assert "[bold]SSR[/bold] [1]" in text
    assert max(map(cell_len, text.splitlines())) <= 100
    assert "模型模型模型模型" in text


def test_brief_leaves_the_details_to_the_files():
    text = printed(made_comparison(6, 3), brief=True)
    assert "Protocol of all runs" in text and "Published, not measured here" in text
    assert "did not finish" in text and "pairs of lines" not in text and "Coverage" not in text


def test_repeated_notes_are_printed_once():
    words = " ".join(printed(made_comparison(6, 3)).split())
    assert words.count("Mean over users of better minus worse") == 1
