"""Files of a comparison: they hold what was measured, in forms that others read back."""

import json
import math
import os
import re
import shutil
import subprocess
from dataclasses import asdict, replace

import pandas as pd
import pytest
from made_comparison import METRICS, made_comparison

from recbole_ssr.commands.experiments import report
from recbole_ssr.comparison import COSTS
from recbole_ssr.errors import UserError
from recbole_ssr.report.comparison import files as comparison_files
from recbole_ssr.report.comparison.files import (
    frame,
    to_json,
    to_latex,
    to_markdown,
    write_files,
)
from recbole_ssr.report.comparison.rows import main_sheet, sheets
from recbole_ssr.report.latex import latex_text

AWKWARD = r"50% & a_b|c #1 {x} ~^ $2 \d [e] *f* <g> `h` --i"


def labelled(*labels):
    """A comparison with other labels and nothing that names the old ones."""
    comparison = made_comparison(len(labels), 2, failures=False, groups=False, curves=False)
    lines = tuple(replace(line, label=label) for line, label in zip(comparison.lines, labels))
    return replace(comparison, lines=lines, differences=())


def markdown_tables(text):
    """Read the tables back: unescape, split at bars, drop marks. Rows of cells by heading."""
    found, title = {}, None
    for line in text.splitlines():
        line = line.removeprefix("> ")
        if line.startswith("## "):
            title = re.sub(r"\\(.)", r"\1", line[3:])
            found[title] = []
        elif line.startswith("|") and not ("--" in line and set(line) <= set("|-: ")):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            cells = [re.sub(r"^(\*\*|<u>)(.*?)(\*\*|</u>)$", r"\2", cell.strip()) for cell in cells]
            found[title].append([re.sub(r"\\(.)", r"\1", cell) for cell in cells])
    return found


def test_json_holds_everything_and_nan_is_null():
    comparison = made_comparison(3, 1)
    first = comparison.lines[0].results[0]
    history = [first.history[0] | {"loss": {"bpr": math.nan}}, *first.history[1:]]
    result = replace(first, test=first.test | {"recall@10": math.nan}, history=history,
                     peak_mib=None)
    line = replace(comparison.lines[0], results=(result,))
    comparison = replace(comparison, lines=(line, *comparison.lines[1:]))

    def refuse(word):
        raise AssertionError(f"{word} is no json")

    read = json.loads(to_json(comparison), parse_constant=refuse)
    plain = json.loads(json.dumps({"format": 1, **asdict(comparison)}).replace("NaN", "null"))
    assert read == plain
    of_run = read["lines"][0]["results"][0]
    assert of_run["test"]["recall@10"] is of_run["peak_mib"] is None
    assert read["groups"][0]["values"]["recall@20"]["SSR"][1:] == [None, 1]  # one seed: no std


def test_csv_reads_back_exactly(tmp_path):
    comparison = made_comparison(5, 3)
    write_files(comparison, tmp_path)
    back = pd.read_csv(tmp_path / "comparison.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(back, frame(comparison), check_exact=True)
    runs = [(line.label, result) for line in comparison.lines for result in line.results]
    assert len(back) == len(runs) * (2 * len(METRICS) + len(COSTS))
    values = back.set_index(["line", "part", "metric", "seed"])["value"]
    for label, result in runs:
        for metric in METRICS:
            assert values[label, "test", metric, result.seed] == result.test[metric]
            assert values[label, "valid", metric, result.seed] == result.valid[metric]
        assert values[label, "cost", "parameters", result.seed] == result.parameters


def test_means_of_the_csv_are_those_of_pandas():
    table = frame(made_comparison(5, 3))
    by_line = table.groupby(["line", "part", "metric"])["value"]
    assert (by_line.transform("mean") - table["mean"]).abs().max() < 1e-9
    assert (by_line.transform("std") - table["std"]).abs().max() < 1e-9
    assert (by_line.transform("size") == table["seeds"]).all()


def test_marks_of_the_csv_are_of_test_and_significant():
    table = frame(made_comparison(4, 2))
    assert set(table.loc[table.best, "line"]) == {"SSR"}
    assert set(table.loc[table.second, "line"]) == {"FREEDOM"}
    assert set(table.loc[table.best | table.second, "part"]) == {"test"}
    assert set(table.loc[table.best, "metric"]) == set(METRICS)
    table = frame(made_comparison(4, 2, significant=False))
    assert not table.best.any() and not table.second.any()


def test_one_seed_and_unknown_memory_in_the_csv():
    comparison = made_comparison(2, 1, failures=False)
    result = replace(comparison.lines[0].results[0], peak_mib=None)
    line = replace(comparison.lines[0], results=(result,))
    table = frame(replace(comparison, lines=(line, comparison.lines[1])))
    assert table["std"].isna().all() and (table.loc[table.metric != "peak_mib", "seeds"] == 1).all()
    memory = table[(table.line == line.label) & (table.metric == "peak_mib")]
    assert memory["value"].isna().all() and memory["seeds"].eq(0).all()


def test_published_figures_are_not_in_the_csv():
    with_them, without = made_comparison(3, 2), made_comparison(3, 2, published=False)
    pd.testing.assert_frame_equal(frame(with_them), frame(without))


def test_parquet_where_pyarrow_works(tmp_path, monkeypatch):
    def written(self, path, engine, index):
        assert engine == "pyarrow" and not index
        path.write(f"{len(self)} rows".encode())

    monkeypatch.setattr(pd.DataFrame, "to_parquet", written)
    comparison = made_comparison(2, 2)
    assert write_files(comparison, tmp_path)[-1] == tmp_path / "comparison.parquet"
    assert (tmp_path / "comparison.parquet").read_text() == f"{len(frame(comparison))} rows"

    def missing(*_, **__):
        raise ImportError("pyarrow requires NumPy 2.0")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    names = [path.name for path in write_files(comparison, tmp_path / "other")]
    assert names == [f"comparison.{ending}" for ending in ("json", "csv", "md", "tex")]


def test_parquet_reads_back(tmp_path):
    pytest.importorskip("pyarrow", exc_type=ImportError)
    comparison = made_comparison(2, 2)
    write_files(comparison, tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "comparison.parquet"),
                                  frame(comparison))


@pytest.mark.parametrize("shape", [(1, 1), (6, 3), (22, 5)])
def test_markdown_says_what_the_sheets_say(shape):
    comparison = made_comparison(*shape)
    tables = markdown_tables(to_markdown(comparison))
    for sheet in sheets(comparison):
        head, *rows = tables[sheet.title]
        assert head == [column.name for column in sheet.columns]
        assert rows == [[cell.text for cell in row] for row in sheet.rows]


def test_numbers_of_the_markdown_are_those_of_the_runs():
    comparison = made_comparison(5, 3)
    head, *rows = markdown_tables(to_markdown(comparison))[main_sheet(comparison).title]
    for row in rows[:-1]:
        line = comparison.line(row[0])
        for metric, column in zip(METRICS, ("Recall@10", "Recall@20", "NDCG@10", "NDCG@20")):
            mean, std = map(float, row[head.index(column)].split("±"))
            values = pd.Series([result.test[metric] for result in line.results])
            assert abs(mean - values.mean()) <= 0.00005 + 1e-12
            assert abs(std - values.std()) <= 0.00005 + 1e-12


def test_markdown_marks_only_what_is_significant():
    text = to_markdown(made_comparison(4, 3))
    assert text.count("| **.") == text.count("| <u>.") == len(METRICS)
    text = to_markdown(made_comparison(4, 3, significant=False))
    assert "**" not in text and "<u>" not in text


def test_markdown_sets_published_figures_apart():
    last = to_markdown(made_comparison(3, 2)).split("\n## ")[-1]
    assert last.startswith("Published, not measured here")
    assert all(line.startswith("> ") for line in last.splitlines()[1:] if line)


def test_labels_survive_markdown():
    tables = markdown_tables(to_markdown(labelled(AWKWARD, "plain")))
    assert next(iter(tables.values()))[1][0] == AWKWARD


@pytest.mark.parametrize("text, escaped", [
    ("50% & a_b #1", r"50\% \& a\_b \#1"), ("{x} $2", r"\{x\} \$2"),
    ("\\d", r"\textbackslash{}d"), ("~^", r"\textasciitilde{}\textasciicircum{}"),
    ("a<b>c|d", "a$<$b$>$c$|$d"), (".1±.2", r".1$\pm$.2"), ("-.0021", "$-$.0021"),
    ("[-.0021, +.3]", "{[}$-$.0021, +.3{]}"), ("lr=1e-3", "lr=1e-3"), ("BM3-x 6-10", "BM3-x 6-10"),
    ("---", "-{}-{}-"), ("*f*", "{*}f{*}"), ("<.001", "$<$.001"), ("two\nlines", "two lines"),
    ("-", "-"),
])
def test_latex_escapes(text, escaped):
    assert latex_text(text) == escaped


def latex_tables(text):
    return re.findall(r"\\begin{table\*}.*?\\end{table\*}", text, re.S)


@pytest.mark.parametrize("shape", [(1, 1), (6, 3)])
def test_latex_is_well_formed(shape):
    comparison = made_comparison(*shape)
    made = labelled(AWKWARD, "plain") if shape == (1, 1) else comparison
    for table, sheet in zip(latex_tables(to_latex(made)), sheets(made), strict=True):
        bare = re.sub(r"\\\\|\\[{}&%$#_]", "", table)
        depth = 0
        for letter in bare:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            assert depth >= 0
        assert depth == 0 and bare.count("$") % 2 == 0 and "%" not in bare and "#" not in bare
        letters = re.search(r"\\begin{tabular}{((?:[lr]|p{[^}]*})+)}", table).group(1)
        width = len(re.sub(r"p{[^}]*}", "p", letters))
        assert width == len(sheet.columns)
        rows = [row for row in table.splitlines() if row.endswith(r"\\")]
        head = any(column.name for column in sheet.columns)
        assert len(rows) == len(sheet.rows) + head
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {width - 1}
        assert not any(row.startswith(("[", "*")) for row in rows)
        for rule in ("toprule", "bottomrule"):
            assert table.count(f"\\{rule}") == 1
    assert len(set(re.findall(r"\\label{(.*?)}", to_latex(made)))) == len(sheets(made))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
@pytest.mark.parametrize("shape", [(1, 1), (6, 3), (40, 2)])
def test_latex_compiles_and_fits_on_its_pages(tmp_path, shape):
    made = labelled(AWKWARD, "plain") if shape == (1, 1) else made_comparison(*shape)
    (tmp_path / "tables.tex").write_text(to_latex(made))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\usepackage{graphicx}"
        "\\begin{document}\\input{tables.tex}\\end{document}")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
                          cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "too large for page" not in done.stdout and "Overfull \\hbox" not in done.stdout


def test_latex_captions_state_protocol_and_marks():
    main, *others, published = latex_tables(to_latex(made_comparison(5, 3)))
    caption = re.search(r"\\caption{(.*)}\n?", main).group(1)
    for words in ("split by x\\_label", "selected on Recall@20 (valid)", "Bold: best",
                  "underlined: second best", "Holm-corrected", "p $<$ .05"):
        assert words in caption
    assert all("split by x\\_label, selected on Recall@20" in table for table in others)
    assert "not measured here" in published and "selected on Recall@20" not in published


def test_latex_marks_only_what_is_significant():
    text = to_latex(made_comparison(4, 3))
    assert text.count(r"\textbf{.") == text.count(r"\underline{.") == len(METRICS)
    text = to_latex(made_comparison(4, 3, significant=False))
    assert r"\textbf" not in text and r"\underline" not in text


def test_the_same_comparison_gives_the_same_files(tmp_path):
    for name in ("a", "b"):
        write_files(made_comparison(5, 3), tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_older_files_are_replaced_and_nothing_else_is_left(tmp_path):
    write_files(made_comparison(2, 1), tmp_path)
    paths = write_files(made_comparison(5, 3), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert (tmp_path / "comparison.json").read_text() == to_json(made_comparison(5, 3))


def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path, monkeypatch):
    plain = made_comparison(2, 1, groups=False, curves=False)
    for name in ("groups.png", "curve-1-mine-training.png", "curve-2-mine.png"):
        (tmp_path / name).touch()
    report(plain, tmp_path)
    assert len(list(tmp_path.glob("groups.png"))) + len(list(tmp_path.glob("curve-*.png"))) == 3
    report(made_comparison(2, 1), tmp_path)
    monkeypatch.setattr(comparison_files, "_parquet", lambda _table: None)
    written = report(plain, tmp_path).files
    assert set(tmp_path.iterdir()) == {*written, tmp_path / "curve-2-mine.png"}


def test_a_full_disk_is_a_user_error_and_keeps_the_older_file(tmp_path, monkeypatch):
    write_files(made_comparison(2, 1), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path, _content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="cannot write .*comparison.json: No space left on device"):
        write_files(made_comparison(5, 3), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot write .*comparison.json"):
        write_files(made_comparison(2, 1), tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_user_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        write_files(made_comparison(2, 1), tmp_path)
