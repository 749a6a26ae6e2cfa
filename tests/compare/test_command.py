"""The command from flags to files: what it runs, what it leaves, what it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import ITEMS, SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.commands import experiments
from recbole_ssr.compare.engine import Outcome
from recbole_ssr.compare.store import failure_of, is_complete, progress_of, write_task
from recbole_ssr.compare.worker import perform
from recbole_ssr.config import build_config
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import asked_protocol
from recbole_ssr.result import RunResult
from recbole_ssr.tune.presets import read_presets

OUT = Path("comparisons/tiny")
REPORTED = {}  # the newest comparison of every folder


class InProcess:
    """An engine that runs one task after the other in this process; `ran` lists them."""

    def __init__(self):
        self.ran = []

    def run(self, source, _jobs, _watch):
        while (task := source.take()) is not None:
            if not is_complete(task):
                self.ran.append((task.label, task.seed, task.stage))
                write_task(task)
                perform(task.folder)
            heard = progress_of(task).valid
            stopped = not all(source.progressed(task, heard[:k + 1]) for k in range(len(heard)))
            failure = failure_of(task)
            source.finished(task, Outcome(failure.reason if failure else None, stopped))


def reported(folder):
    return REPORTED[Path(folder)]


@pytest.fixture(autouse=True)
def keep_what_is_reported(monkeypatch):
    whole = experiments.report
    monkeypatch.setattr(experiments, "report", lambda comparison, out: (
        REPORTED.update({Path(out): comparison}), whole(comparison, out))[1])


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The words that begin every command here, with `engine` doing its runs."""
    settings = SETTINGS | write_tiny(tmp_path / "data") | {"dataset": "tiny"}
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("tiny.yaml").write_text(yaml.safe_dump(settings))
    return ["--config_files", "tiny.yaml"]


@pytest.fixture
def engine(monkeypatch):
    engine = InProcess()
    monkeypatch.setattr(experiments, "_engine", lambda _: engine)
    return engine


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("words", [
    ["--eval_args={mode: uni5}"],
    ["--eval_args={mode: uni5}", "--metrics=[LogLoss, AUC]", "--valid_metric=LogLoss"],
    ["--metrics=[GAUC]", "--valid_metric=GAUC"],
])
def test_without_rankings_of_all_items_means_are_compared_and_the_rest_is_said(
        tiny, capsys, words):
    command_line = [*tiny, "--models=FastLightGCN,BPR", "--seeds=1", "--reference=BPR", *words]
    assert main(command_line) == 0, capsys.readouterr()
    found = reported(OUT)
    assert not found.differences and not found.groups
    note, = [note for note in found.notes if "not tested" in note]
    metric, mode = found.metrics[0], "full" if "GAUC" in words[0] else "uni5"
    assert mode in note and metric in note
    results = [line.results[0] for line in found.lines]
    assert all(metric in result.test for result in results)
    best = min if metric == "logloss" else max
    assert found.ranked(metric)[0].results[0].test[metric] \
        == best(result.test[metric] for result in results)


def test_a_comparison_leaves_its_files_and_does_only_what_is_missing(tiny, engine, capsys):
    assert main([*tiny, "--models=FastLightGCN,BPR", "--seeds=2"]) == 0
    shown = capsys.readouterr().out
    assert "FastLightGCN" in shown and "Recall@5" in shown and "comparison.html" in shown
    tables = shown[shown.index("tiny, test:"):shown.index("Files:")]
    assert max(map(len, tables.splitlines())) <= 100
    assert re.search(r"given to all lines\W+embedding_size 8,", tables)
    assert "data_path" not in tables and "show_progress" not in tables
    names = {path.name for path in OUT.iterdir()}
    assert {"comparison.json", "comparison.csv", "comparison.md", "comparison.tex",
            "comparison.html", "metrics.png", "learning.png", "runs", "splits"} <= names
    assert engine.ran == [("FastLightGCN", 2020, "test"), ("BPR", 2020, "test"),
                          ("FastLightGCN", 2021, "test"), ("BPR", 2021, "test")]

    more = [*tiny, "--models=FastLightGCN,BPR,FeatureItemKNN", "--seeds=3"]
    assert main([*more, "--no_run"]) == 0 and len(engine.ran) == 4
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "same command: 1 of 3 runs each of FastLightGCN, BPR." in shown
    assert "same command: 3 of 3 runs of FeatureItemKNN." in shown
    assert main(more) == 0
    assert engine.ran[4:] == [("FeatureItemKNN", 2020, "test"), ("FeatureItemKNN", 2021, "test"),
                              ("FastLightGCN", 2022, "test"), ("BPR", 2022, "test"),
                              ("FeatureItemKNN", 2022, "test")]
    comparison = reported(OUT)
    assert [line.label for line in comparison.lines] == ["FastLightGCN", "BPR", "FeatureItemKNN"]
    assert [len(line.results) for line in comparison.lines] == [3, 3, 3]
    assert {group.kind for group in comparison.groups} >= {"users", "popularity", "beyond"}


@pytest.mark.parametrize("words", [["compare"], ["compare", "--tune=2"], ["tune", "--trials=2"]])
def test_another_protocol_of_a_line_is_told_before_anything_runs(tiny, engine, capsys, words):
    assert main([*words, *tiny, "--models={BPR: {}, own: {model: BPR, topk: [5]}}"]) == 2
    assert "cannot stand in one table: topk: [2, 5] (BPR seed 2020), [5] (own seed 2020)" \
        in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert not engine.ran and not OUT.exists()


def test_lines_may_ask_for_one_split_in_several_words(tiny, engine):
    words = [*tiny, "--split_column=null", "--models={BPR: {eval_args: {split: {RS: "
             "[0.4, 0.3, 0.3]}}}, own: {model: BPR, embedding_size: 4, eval_args: {split: {RS: "
             "[0.4, 0.3, 0.3]}, mode: full}}}"]
    assert main(words) == 0 and main(words) == 0  # the second time runs are checked against data
    assert len(engine.ran) == 2


@pytest.mark.usefixtures("tiny")
def test_what_settings_tell_of_a_protocol_is_what_its_runs_tell():
    config = build_config("BPR", config_files=["tiny.yaml"])
    result = recbole_ssr.run("BPR", config_files=["tiny.yaml"])
    asked = asked_protocol(config)
    assert result.protocol.keys() - asked.keys() == {"split_fingerprint", "users", "items"}
    assert {key: result.protocol[key] for key in asked} == asked


@pytest.mark.usefixtures("engine")
def test_a_line_is_what_single_runs_of_its_settings_measure(tiny):
    main([*tiny, "--models={narrow: {model: FastLightGCN, embedding_size: 4}}", "--seeds=2"])
    line = reported(OUT).line("narrow")
    for result in line.results:
        alone = recbole_ssr.run("FastLightGCN", config_files=["tiny.yaml"],
                                config_dict={"embedding_size": 4, "seed": result.seed})
        assert (result.test, result.valid) == (alone.test, alone.valid)
        assert result.config_hash == alone.config_hash


@pytest.mark.usefixtures("engine")
def test_what_differs_is_said_by_the_names_of_lines(tiny):
    main([*tiny, "--seeds=1", "--models={short: {model: BPR, stopping_step: 3}, "
          "long: {model: BPR, stopping_step: 7}}"])
    note, = [note for note in reported(OUT).notes if "budgets" in note]
    assert "3 (short seed 2020), 7 (long seed 2020)" in note


def test_a_run_that_fails_leaves_a_complete_table_for_the_others(tiny, engine, capsys):
    words = [*tiny, "--models={BPR: {}, broken: {model: FastLightGCN, learning_rate: 1.0e+30}}"]
    assert main(words) == 1
    comparison = reported(OUT)
    assert len(comparison.line("BPR").results) == 1
    failure, = comparison.line("broken").failures
    assert "learning_rate" in failure.reason
    shown = capsys.readouterr().out
    assert re.sub(r"\s+", " ", failure.reason)[:40] in re.sub(r"\s+", " ", shown)
    # The same command tries it again, and nothing else.
    assert main(words) == 1 and [label for label, *_ in engine.ran] == ["BPR", "broken", "broken"]


def test_nothing_to_show_is_said_with_the_reason(tiny, engine, capsys):
    assert main([*tiny, "--models=FastLightGCN", "--learning_rate=1e30"]) == 2
    assert "no run has finished" in capsys.readouterr().err
    assert main([*tiny, "--models=BPR", "--no_run"]) == 2 and len(engine.ran) == 1


@pytest.mark.usefixtures("engine")
def test_runs_on_other_data_are_refused(tiny, capsys):
    assert main([*tiny, "--models=BPR"]) == 0
    settings = yaml.safe_load(Path("tiny.yaml").read_text())
    file = Path(settings["data_path"], "tiny", "tiny.inter")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-3], lines[-1]]) + "\n")
    assert main([*tiny, "--models=BPR"]) == 2
    said = capsys.readouterr().err
    assert "another split" in said and "--out" in said
    assert main([*tiny, "--models=BPR", "--out=comparisons/new"]) == 0


@pytest.mark.usefixtures("engine")
def test_a_comparison_notes_held_out_pairs_that_lie_in_training(tiny):
    file = Path(yaml.safe_load(Path("tiny.yaml").read_text())["data_path"], "tiny", "tiny.inter")
    pair = next(line.rsplit("\t", 1)[0] for line in file.read_text().splitlines()
                if line.endswith("\t2"))
    with file.open("a") as end:
        end.write(f"{pair}\t0\n")
    assert main([*tiny, "--models=BPR"]) == 0
    note, = (note for note in reported(OUT).notes if "heart" in note)
    assert note.startswith("Test shares 1 of its 40 pairs") and note.endswith("data tiny.")


def test_a_search_on_other_data_is_refused(tiny, engine, capsys):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("n_layers: [1, 2]\n")
    words = ["tune", *tiny, "--model=FastLightGCN", "--trials=2", "--space=space.yaml"]
    assert main(words) == 0
    file = Path(yaml.safe_load(Path("tiny.yaml").read_text())["data_path"], "tiny", "tiny.inter")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-3], lines[-1]]) + "\n")
    ran = len(engine.ran)
    assert main(words) == 2 and len(engine.ran) == ran
    assert "the search over FastLightGCN was on another split" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
def test_runs_with_other_features_are_refused(tiny, capsys):
    words = [*tiny, "--models={GFCF: , one: {model: FeatureItemKNN, modalities: [text]}, both: "
                    "{model: FeatureItemKNN}}"]
    assert main(words) == 0 and main(words) == 0
    folder = Path(yaml.safe_load(Path("tiny.yaml").read_text())["data_path"], "tiny", "features")
    rng = np.random.default_rng(9)
    write_features(folder, "image", rng.normal(size=(ITEMS, 7)).astype(np.float32),
                   [f"i{item}" for item in range(ITEMS)])
    assert main(words) == 2
    assert "was run with other features of tiny" in capsys.readouterr().err
    # Of these, no line has seen that file.
    assert main([*tiny, "--models={GFCF: , one: {model: FeatureItemKNN, modalities: [text]}}"]) == 0


@pytest.mark.usefixtures("engine", "tiny")
def test_a_split_that_every_line_gives_itself_is_theirs():
    own = "{split_column: null, split_seed: 7}"
    Path("own.yaml").write_text(f"models:\n  BPR: {own}\n  GFCF: {own}\n")
    words = ["--config_files=tiny.yaml own.yaml"]
    assert main(words) == 0 and main(words) == 0


@pytest.mark.usefixtures("engine")
def test_a_damaged_split_is_written_again_by_what_the_error_says(tiny, capsys):
    assert main([*tiny, "--models=BPR,GFCF"]) == 0
    (split,) = OUT.glob("splits/*.npz")
    split.write_bytes(split.read_bytes()[:-7])
    assert main([*tiny, "--models=BPR,GFCF"]) == 2
    assert "Delete it and the folder of one run" in capsys.readouterr().err
    split.unlink()
    shutil.rmtree(next(OUT.glob("runs/GFCF*")))
    assert main([*tiny, "--models=BPR,GFCF"]) == 0


def test_curves_of_sparsity_and_of_disturbed_features(tiny, engine):
    words = [*tiny, "--models=FeatureLightGCN,BPR", "--interactions=0.5",
             "--valid_metric=Recall@2"]
    assert main([*words, "--noise=image:0.5,2.0", "--corrupt_at=inference"]) == 0
    # Two lines, plain and with half of the interactions; noise at inference trains nothing.
    lines = ["FeatureLightGCN", "BPR"]
    assert engine.ran[:4] == [(label, 2020, "test") for label in lines + lines]
    assert engine.ran[4:] == [(f"{label}, noise on image {level}", 2020, "measure")
                              for level in ("0.5", "2") for label in lines]
    curves = {curve.name: curve for curve in reported(OUT).curves}
    noise, sparsity = curves["noise on image"], curves["interactions used in training"]
    assert (noise.levels, noise.where) == ((0.0, 0.5, 2.0), "inference")
    assert (sparsity.levels, sparsity.where) == ((0.5, 1.0), "training")
    comparison = reported(OUT)
    for curve, plain in ((noise, 0), (sparsity, -1)):
        for label in ("FeatureLightGCN", "BPR"):
            assert curve.values[label][plain] == comparison.spread(label, curve.metric)
    assert len({spread.mean for spread in noise.values["BPR"]}) == 1  # it sees no features
    assert len({spread.mean for spread in noise.values["FeatureLightGCN"]}) > 1
    assert len(list(OUT.glob("runs/*/measured/*.json"))) == 4

    assert main([*words, "--drop-modality=image"]) == 0
    assert [label for label, *_ in engine.ran[8:]] == lines
    dropped = {curve.name: curve for curve in reported(OUT).curves}
    assert dropped["without image"].where == "training and inference"


def test_noise_leaves_a_line_without_the_modality_where_it_is(tiny, engine):
    Path("models.yaml").write_text(yaml.safe_dump({"models": {
        "both": {"model": "VBPR"}, "text alone": {"model": "VBPR", "modalities": ["text"]}}}))
    assert main([*tiny, "models.yaml", "--noise=image:0.5",
                 "--corrupt_at=inference"]) == 0
    assert [label for label, *_ in engine.ran] == ["both", "text alone",
                                                   "both, noise on image 0.5"]
    (curve,) = reported(OUT).curves
    plain, noisy = curve.values["text alone"]
    assert plain == noisy and noisy.n == 1
    assert not any(line.failures for line in reported(OUT).lines)


def test_a_measurement_that_fails_is_told_and_tried_again(tiny, engine, monkeypatch, capsys):
    words = [*tiny, "--models=FeatureLightGCN", "--seeds=2", "--noise=image:0.5",
             "--corrupt_at=inference"]

    def fail(folder, *_, **__):
        raise UserError(f"{folder} does not like it")

    with monkeypatch.context() as patch:
        patch.setattr("recbole_ssr.compare.worker.evaluate", fail)
        assert main(words) == 1
    said = capsys.readouterr().err
    failures = reported(OUT).line("FeatureLightGCN").failures
    assert [failure.seed for failure in failures] == [2020, 2021]
    assert all(failure.reason.startswith("noise on image 0.5: ") for failure in failures)
    assert "FeatureLightGCN, noise on image 0.5, seed 2021: not measured: " in said
    assert "does not like it" in said
    (curve,) = reported(OUT).curves
    assert [spread.n for spread in curve.values["FeatureLightGCN"]] == [2, 0]
    before = len(engine.ran)
    assert main(words) == 0 and len(engine.ran) == before + 2
    assert main(words) == 0 and len(engine.ran) == before + 2
    (curve,) = reported(OUT).curves
    assert [spread.n for spread in curve.values["FeatureLightGCN"]] == [2, 2]


@pytest.mark.usefixtures("engine")
def test_a_folder_that_was_moved_is_reported_on_where_it_lies(tiny):
    assert main([*tiny, "--models=BPR"]) == 0
    OUT.rename("moved")
    assert main([*tiny, "--models=BPR", "--out=moved", "--no_run"]) == 0
    (result,) = reported("moved").line("BPR").results
    assert result.run.startswith("moved/") and result.protocol["metric_decimal_place"] == 6


def test_tuning_before_a_comparison(tiny, engine):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("learning_rate: [0.01, 0.1]\n")
    words = [*tiny, "--models=FastLightGCN,BPR", "--seeds=2", "--space=space.yaml"]
    settings = yaml.safe_load(Path("space.yaml").read_text())
    files = yaml.safe_load(Path("tiny.yaml").read_text())
    files.pop("learning_rate")
    Path("tiny.yaml").write_text(yaml.safe_dump(files))
    assert main([*words, "--tune=2", "--sampler=grid"]) == 0
    trials = [entry for entry in engine.ran if entry[2] == "valid"]
    assert len(trials) == 4 and all(seed == 2020 for _, seed, _ in trials)
    comparison = reported(OUT)
    assert [line.trials for line in comparison.lines] == [2, 2]
    for line in comparison.lines:
        assert line.settings["learning_rate"] in settings["learning_rate"]
        # The selected trial went on to its test; the other one was never tested.
        preset = yaml.safe_load(Path(OUT, "presets", f"{line.label}.yaml").read_text())
        assert preset["learning_rate"] == line.settings["learning_rate"]
    tested = {Path(path).parent.name for path in OUT.glob("runs/*/metrics.json")}
    validated = {Path(path).parent.name for path in OUT.glob("runs/*/valid.json")}
    assert len(tested) == 4 and len(tested | validated) > 4 or len(trials) == len(validated)

    # The preset alone gives the same lines, and runs nothing.
    count = len(engine.ran)
    assert main([*words[:-1], f"--preset={OUT}/presets"]) == 0 and len(engine.ran) == count
    again = reported(OUT)
    assert [line.settings for line in again.lines] == [line.settings for line in comparison.lines]


def test_the_command_tune_searches_and_leaves_a_preset(tiny, engine, capsys):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("n_layers: [1, 2, 3]\n")
    assert main(["tune", *tiny, "--model=FastLightGCN", "--trials=2", "--sampler=random",
                 "--space=space.yaml", "--l2_weight=0.01"]) == 0
    shown, warned = capsys.readouterr()
    assert "has no effect" not in warned
    assert "Selected on validation" in shown and "presets/FastLightGCN.yaml" in shown
    assert [stage for *_, stage in engine.ran] == ["valid", "valid"]
    assert not list(OUT.glob("runs/*/metrics.json"))
    preset = OUT / "presets" / "FastLightGCN.yaml"
    config = build_config(config_files=["tiny.yaml", preset])
    assert config["model"] == "FastLightGCN" and config["n_layers"] in (1, 2, 3)


@pytest.mark.usefixtures("engine")
def test_a_search_over_model_and_models_at_once_is_refused(tiny, capsys):
    assert main(["tune", *tiny, "--model=FastLightGCN", "--models=BPR", "--trials=1"]) == 2
    assert "both say what to tune" in capsys.readouterr().err


@pytest.mark.usefixtures("engine", "tiny")
def test_a_search_takes_its_options_from_files():
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("n_layers: [1, 2, 3]\n")
    Path("search.yaml").write_text("model: FastLightGCN\ntrials: 2\nspace: space.yaml\n")
    words = ["tune", "--config_files=tiny.yaml search.yaml"]
    assert main(words) == 0
    assert len(list(OUT.glob("runs/FastLightGCN*"))) == 2
    assert main([*words, "--trials=3", "--model=null"]) == 0
    assert len(list(OUT.glob("runs/*"))) == 3


def untuned(*keys):
    """Take keys out of the common file, for searches to try them."""
    files = yaml.safe_load(Path("tiny.yaml").read_text())
    Path("tiny.yaml").write_text(yaml.safe_dump(
        {key: value for key, value in files.items() if key not in keys}))


def test_a_report_alone_is_on_what_tuning_selected(tiny, engine, capsys):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("learning_rate: [0.01, 0.1]\n")
    untuned("learning_rate")
    words = [*tiny, "--models=FastLightGCN,BPR", "--space=space.yaml", "--tune=2",
             "--sampler=grid"]
    assert main([*words, "--no_run"]) == 2
    assert "No search over FastLightGCN" in capsys.readouterr().err and not OUT.exists()
    assert main(words) == 0
    before, count = reported(OUT), len(engine.ran)
    REPORTED.clear()
    for budget in ([], ["--tune=3"]):
        assert main([*words[:-2], *(budget or ["--tune=2"]), *words[-1:], "--no_run"]) == 0
        assert len(engine.ran) == count
        after = reported(OUT)
        assert [(line.settings, line.trials, line.results) for line in after.lines] == [
            (line.settings, line.trials, line.results) for line in before.lines]
        assert all("learning_rate" in line.settings for line in after.lines)


@pytest.mark.usefixtures("engine")
def test_the_seed_is_that_of_the_search(tiny):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("learning_rate: {low: 0.001, high: 0.1, log: true}\n")
    untuned("learning_rate")
    words = ["tune", *tiny, "--model=FastLightGCN", "--trials=2", "--sampler=random",
             "--space=space.yaml", "--pruner=none"]
    notes, searched = [], []
    for seed in ([], ["--seed=2020"], ["--seed=7"]):
        assert main([*words, *seed]) == 0
        notes.append(read_presets(OUT / "presets")["FastLightGCN"].notes)
        searched.append({json.loads(path.read_text())["settings"]["learning_rate"]
                         for path in OUT.glob("runs/*/task.json") if path not in searched})
    assert [note["sampler"] for note in notes] == [
        f"random, seed {seed}, no pruner" for seed in (2020, 2020, 7)]
    # Another seed is another study, whose draws are its own.
    assert notes[0]["study"] == notes[1]["study"] != notes[2]["study"]
    assert searched[0] == searched[1] and len(searched[2]) == 3


@pytest.mark.usefixtures("engine")
def test_a_preset_keeps_what_it_was_selected_under(tiny):
    pytest.importorskip("optuna")
    Path("space.yaml").write_text("n_layers: [1, 2]\n")
    untuned("embedding_size")
    assert main(["tune", *tiny, "--model=FastLightGCN", "--trials=2", "--space=space.yaml",
                 "--embedding_size=4"]) == 0
    preset = yaml.safe_load((OUT / "presets" / "FastLightGCN.yaml").read_text())
    assert preset["embedding_size"] == 4 and preset["learning_rate"] == 0.01  # flag and file
    assert not {"epochs", "topk", "dataset", "data_path"} & preset.keys()


def test_a_preset_is_where_a_search_begins_and_flags_hold(tiny, engine):
    pytest.importorskip("optuna")
    Path("preset.yaml").write_text("# trials: 9 (9 complete, 0 pruned), 0 failed, budget 9\n"
                                   "model: FastLightGCN\nn_layers: 2\nlearning_rate: 0.02\n")
    Path("space.yaml").write_text("n_layers: [1, 2]\nlearning_rate: [0.01, 0.05]\n"
                                  "l2_weight: null\n")
    words = [*tiny, "--preset=preset.yaml", "--space=space.yaml", "--sampler=grid"]

    def tried():
        tasks = [json.loads(path.read_text())["settings"] for path in sorted(
            OUT.glob("runs/*/task.json"), key=lambda path: path.stat().st_mtime_ns)]
        return [(task["n_layers"], task["learning_rate"]) for task in tasks]

    assert main(["tune", *words, "--model=FastLightGCN", "--trials=3"]) == 0
    first = tried()
    assert first[0] == (2, 0.02) and len({n for n, _ in first}) == 2 and len(first) == 3
    assert main(["tune", *words, "--model=FastLightGCN", "--trials=9", "--learning_rate=0.03"]) == 0
    assert tried()[3:] == [(2, 0.03), (1, 0.03)]
    # Without a search: the flag wins, and nothing is told of as tuned.
    assert main([*words[:-2], "--models=FastLightGCN", "--learning_rate=0.04"]) == 0
    (line,) = reported(OUT).lines
    assert (line.settings, line.trials) == ({"n_layers": 2}, None)
    assert tried()[-1] == (2, 0.04) and engine.ran[-1][2] == "test"
    assert main([*words[:-2], "--models=FastLightGCN"]) == 0
    (line,) = reported(OUT).lines
    assert (line.settings, line.trials) == ({"n_layers": 2, "learning_rate": 0.02}, 9)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("flag", [None, "uniform"])
def test_a_search_has_every_part_of_a_nested_setting(tiny, flag):
    pytest.importorskip("optuna")
    Path("more.yaml").write_text("train_neg_sample_args: {sample_num: 2, distribution: uniform}\n"
                                 "eval_args: {mode: uni5}\n")
    Path("preset.yaml").write_text("model: BPR\ntrain_neg_sample_args: {sample_num: 3}\n")
    Path("space.yaml").write_text("learning_rate: [0.01, 0.05]\nembedding_size: null\n")
    untuned("learning_rate")
    words = [*tiny, "more.yaml", "--preset=preset.yaml", "--space=space.yaml", "--tune=2",
             "--eval_args={group_by: user}", "--models={line: {model: BPR, train_neg_sample_args: "
             "{alpha: 0.5}}}"]
    flags = [f"--train_neg_sample_args={{distribution: {flag}}}"] if flag else []
    assert main([*words, *flags]) == 0
    tasks = [json.loads(path.read_text()) for path in OUT.glob("runs/*/task.json")]
    assert {task["stage"] for task in tasks} == {"valid", "test"}
    for task in tasks:
        assert task["settings"]["train_neg_sample_args"] == {
            "sample_num": 3, "distribution": "uniform", "alpha": 0.5}
        assert task["settings"]["eval_args"] == {"mode": "uni5", "group_by": "user"}
    preset = read_presets(OUT / "presets")["line"]
    assert preset.settings["train_neg_sample_args"] == tasks[0]["settings"]["train_neg_sample_args"]


@pytest.mark.parametrize("words", [["--models=FastLightGCN"], ["tune", "--model=FastLightGCN"]])
def test_a_folder_that_cannot_be_made_is_told_before_data_are_read(
        tiny, engine, words, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "load_data", None)
    Path("taken").write_text("")
    for out in ("taken", "taken/below"):
        assert main([*words[:1], *tiny, *words[1:], f"--out={out}"]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith(f"error: cannot make the folder {out}/runs: ") and "--out=" in said
    assert not engine.ran


@pytest.mark.parametrize("word, says", [
    ("--seeds=3", "tune takes --seed=N"), ("--tune=3", "tune takes --trials=N"),
    ("--no_run", "compare"), ("--noise=image:0.3", "compare"), ("--interactions=0.5", "compare"),
    ("--published", "compare"), ("--user_groups=[5]", "compare"), ("--reference=SSR", "compare"),
    ("--drop-modality=image", "compare"),
])
def test_a_search_refuses_what_only_a_comparison_heeds(tiny, engine, word, says, capsys):
    assert main(["tune", *tiny, "--model=FastLightGCN", word]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    name = word.removeprefix("--").partition("=")[0].replace("-", "_")
    assert said.startswith(f"error: --{name}=") and says in said and not engine.ran


@pytest.mark.usefixtures("engine")
def test_published_figures_that_do_not_apply_are_said_and_not_shown(tiny):
    assert main([*tiny, "--models=BPR", "--published"]) == 0
    comparison = reported(OUT)
    assert comparison.published == () and any("published" in note for note in comparison.notes)


@pytest.mark.parametrize("words, says", [
    (["--models=FastLightGCN,BPRR"], "BPR"),
    (["--models=FastLightGCN", "--n_layer=2"], "n_layers"),
    (["--models=FastLightGCN", "--reference=BPR"], "not among the models"),
    (["--models=FastLightGCN", "--noise=sound:0.3"], "sound"),
    (["--models=FastLightGCN", "--preset=nowhere.yaml"], "nowhere.yaml"),
    (["--models=FastLightGCN", "--address=auto"], "--engine=ray"),
    (["--models=BPR,GRU4Rec"], "GRU4Rec recommends by sequences"),
    (["tune", "--model=FastLightGCN", "--trials=0"], "0"),
    (["tune", "--model=FastLightGCN", "--sampler=greedy"], "random"),
])
def test_mistakes_are_one_line_before_anything_runs(tiny, words, says, capsys):
    words = [*words[:1], *tiny, *words[1:]]
    assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and says in said
    assert not list(OUT.glob("runs/*"))


@pytest.mark.slow
def test_processes_of_their_own_measure_the_same(tiny, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "_engine", lambda _: InProcess())
        main([*tiny, "--models=FastLightGCN,BPR", "--out=one"])
    assert main([*tiny, "--models=FastLightGCN,BPR", "--out=two", "--jobs=2"]) == 0
    results = [{line.label: line.results[0].test for line in reported(out).lines}
               for out in ("one", "two")]
    assert results[0] == results[1]
    folders = [sorted(path.name for path in Path(out, "runs").iterdir()) for out in ("one", "two")]
    assert folders[0] == folders[1]
    assert RunResult.read(Path("two/runs", folders[1][0])).test
    assert json.loads(Path("two/comparison.json").read_text())["dataset"] == "tiny"
