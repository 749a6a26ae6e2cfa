"""Tuning with an engine: several models, one budget, validation only."""

import io
import json
import logging
import shutil
import sys
from pathlib import Path

import pytest
from made_trials import METRIC, FakeEngine, leave_result, write_shop
from rich.console import Console

from recbole_ssr.compare.store import result_of, state_of, task_of
from recbole_ssr.errors import UserError
from recbole_ssr.report.terminal import print_sheets
from recbole_ssr.result import FILE, VALID_FILE
from recbole_ssr.tune.table import selected_table, trials_table
from recbole_ssr.tune.trials import Method
from recbole_ssr.tune.tuning import tune

pytest.importorskip("optuna")

SPACE = {"MGCN": {"contrast_weight": [0.001, 0.01, 0.03, 0.1], "n_layers": [1, 2]},
         "VBPR": {"l2_weight": [0, 0.01, 0.1, 1, 2]}}
KEYS = ("contrast_weight", "n_layers", "l2_weight")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data"))


def value(settings):
    """Best at contrast_weight 0.03, more layers, l2_weight 0.1."""
    if "l2_weight" in settings:
        return 0.5 - abs(settings["l2_weight"] - 0.1)
    return 0.4 - abs(settings["contrast_weight"] - 0.03) + settings["n_layers"] / 100


def values(settings):
    best = value(settings)
    return [best / 3, best, best / 2]


def tuned(out, engine, shop, models=("MGCN", "VBPR"), space=SPACE, jobs=1, **method):
    lines = {name: (name, shop) for name in models}
    given = {name: space[name] for name in models}
    return tune(lines, engine, out, Method(**{"trials": 4, "sampler": "grid", **method}),
                space=[given], jobs=jobs, poll=0.01)


def engine_of(function=values):
    return FakeEngine(function, KEYS)


def test_every_model_has_the_same_budget_and_they_take_turns(tmp_path, shop):
    engine = engine_of()
    found = tuned(tmp_path, engine, shop, jobs=2)
    labels = [label for label, _ in engine.trained]
    assert labels == ["MGCN", "VBPR"] * 4 and engine.most == 2
    assert {label: line.complete for label, line in found.items()} == {"MGCN": 4, "VBPR": 4}
    for label, line in found.items():
        tried = [settings for name, settings in engine.trained if name == label]
        best = max(tried, key=value)
        assert line.settings == {key: best[key] for key in SPACE[label]}
        assert line.value == value(best) and line.metric == METRIC
        assert line.default == value(tried[0])
    assert found["MGCN"].size == 8 and found["VBPR"].size == 5


def test_trials_are_validated_and_never_tested(tmp_path, shop):
    engine = engine_of()
    found = tuned(tmp_path, engine, shop)
    assert set(engine.stages) == {"valid"}
    assert not list(tmp_path.rglob(FILE)) and len(list(tmp_path.rglob(VALID_FILE))) == 8
    # What a selected setting reaches on test is no part of what tuning hands on.
    assert "test" not in repr(found)


def test_a_run_that_is_there_is_not_trained_again(tmp_path, shop):
    task = task_of("MGCN", "MGCN", {**shop, "contrast_weight": 0.03, "n_layers": 2}, 2020,
                   tmp_path / "runs", "valid")
    leave_result(task, 0.99)
    first = engine_of()
    found = tuned(tmp_path, first, shop, ["MGCN"], trials=8)
    assert len(first.trained) == 7
    assert found["MGCN"].value == 0.99 and found["MGCN"].complete == 8
    second = engine_of()
    assert tuned(tmp_path, second, shop, ["MGCN"], trials=8) == found and not second.trained
    # Without the journal the run folders remain: all of it is free.
    (tmp_path / "tune" / "MGCN.journal").unlink()
    again = tuned(tmp_path, second, shop, ["MGCN"], trials=8)
    assert not second.trained and again["MGCN"].settings == found["MGCN"].settings


def test_trials_on_features_that_changed_are_refused(tmp_path, shop):
    for k, (contrast_weight, n_layers) in enumerate([(0.03, 2), (0.03, 1)]):
        task = task_of("MGCN", "MGCN", {**shop, "contrast_weight": contrast_weight,
                                        "n_layers": n_layers}, 2020, tmp_path / "runs", "valid")
        leave_result(task, 0.5, features=f"{k}" * 64)
    with pytest.raises(UserError, match="different features .000000000000, 111111111111."):
        tuned(tmp_path, engine_of(), shop, ["MGCN"], trials=8)


def test_a_search_begins_from_a_preset_and_goes_on_from_there(tmp_path, shop):
    preset = {"contrast_weight": 0.1, "n_layers": 2, "temperature": 0.5}
    engine = FakeEngine(values, (*KEYS, "temperature"))

    def found(lines, space=SPACE["MGCN"], **more):
        return tune({"MGCN": ("MGCN", {**shop, **lines})}, engine, tmp_path, Method(4, "grid"),
                    space=[{"MGCN": space}], start={"MGCN": preset}, poll=0.01, **more)["MGCN"]

    line, tried = found({}), [settings for _, settings in engine.trained]
    assert tried[0] == preset and len({settings["n_layers"] for settings in tried}) == 2
    assert {settings["temperature"] for settings in tried} == {0.5}  # what is not searched stays
    assert line.default == value(preset) and line.begun == "its preset"
    assert selected_table({"MGCN": line}).columns[3].name == "first"
    engine.trained.clear()
    found({"n_layers": 1})  # what the line sets is neither searched nor the preset's
    assert [settings["n_layers"] for _, settings in engine.trained] == [1] * len(engine.trained)
    engine.trained.clear()
    found({}, [{"contrast_weight": 0.01}, {"contrast_weight": 0.02}])
    listed = [settings for _, settings in engine.trained]
    assert {**preset, "contrast_weight": 0.02} in listed and len(listed) <= 3


def test_what_was_selected_is_looked_up_without_a_trial(tmp_path, shop):
    engine = engine_of()
    with pytest.raises(UserError, match="No search over MGCN.*--no_run"):
        looked_up(tmp_path, engine, shop)
    assert not list(tmp_path.rglob("*"))
    found = tuned(tmp_path, engine, shop)
    journals = {path: path.read_bytes() for path in tmp_path.glob("tune/*.journal")}
    engine.trained.clear()
    assert looked_up(tmp_path, engine, shop) == found and not engine.trained
    # A larger budget is not used up, and another space is another search.
    assert looked_up(tmp_path, engine, shop, trials=9)["MGCN"].settings == found["MGCN"].settings
    with pytest.raises(UserError, match="No search over MGCN"):
        looked_up(tmp_path, engine, shop, space=[{"MGCN": {"n_layers": [1, 2, 3]}}])
    assert not engine.trained
    assert {path: path.read_bytes() for path in journals} == journals


def looked_up(out, engine, shop, trials=4, space=(SPACE,)):
    lines = {name: (name, shop) for name in ("MGCN", "VBPR")}
    return tune(lines, engine, out, Method(trials, "grid"), space=space, run=False)


def test_an_interrupted_search_equals_an_unbroken_one(tmp_path, shop):
    unbroken = tuned(tmp_path / "a", engine_of(), shop, sampler="tpe", trials=5)
    done, settings = [], []
    for stop_at in (3, 2, None):
        engine = engine_of()

        def interrupted(chosen, engine=engine, stop_at=stop_at):
            return KeyboardInterrupt() if len(engine.trained) == stop_at else values(chosen)

        engine.values = interrupted
        try:
            found = tuned(tmp_path / "b", engine, shop, sampler="tpe", trials=5)
        except KeyboardInterrupt:
            done.append(len(engine.trained))
        settings += [chosen for _, chosen in engine.trained]
    assert done == [3, 2]
    # The two that were interrupted were begun twice, and nothing else.
    assert len(settings) == 10 + 2
    for label in found:
        assert found[label].settings == unbroken[label].settings
        complete = [[t.settings for t in line[label].trials if t.state == "complete"]
                    for line in (found, unbroken)]
        assert sorted(map(repr, complete[0])) == sorted(map(repr, complete[1]))


def test_pruned_and_failed_trials_are_counted_and_not_selected(tmp_path, shop, caplog):
    def some(settings):
        if settings["contrast_weight"] == 0.1:
            return "out of memory"
        return [value(settings)] * 12

    engine = engine_of(some)
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        line = tuned(tmp_path, engine, shop, ["MGCN"], trials=8, n_startup_trials=2,
                     n_warmup_steps=1)["MGCN"]
    assert line.failed == 2 and "A trial of MGCN failed: out of memory" in caplog.text
    assert line.pruned >= 1 and line.complete + line.pruned == 6
    assert {t.reason for t in line.trials if t.state == "failed"} == {"out of memory"}
    worst = max(t.value for t in line.trials if t.state == "pruned")
    assert all(len(t.valid) < 12 for t in line.trials if t.state == "pruned")
    assert worst < line.value and line.settings == {"contrast_weight": 0.03, "n_layers": 2}


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_runs_that_are_there_already_are_what_others_are_measured_against(tmp_path, shop, pruner):
    def search():
        line = tuned(tmp_path, engine_of(lambda settings: [value(settings)] * 12), shop, ["MGCN"],
                     trials=8, pruner=pruner, n_startup_trials=2, n_warmup_steps=1)["MGCN"]
        return [(trial.state, trial.settings) for trial in line.trials]

    fresh = search()
    assert {"complete", "pruned"} == {state for state, _ in fresh}
    shutil.rmtree(tmp_path / "tune")  # another search of the same settings, say with more trials
    assert search() == fresh


def test_if_all_fail_the_reasons_are_told(tmp_path, shop):
    with pytest.raises(UserError, match="No trial of MGCN finished.*no GPU here"):
        tuned(tmp_path, engine_of(lambda _: "no GPU here"), shop)
    # Once the cause is gone the same command succeeds.
    assert tuned(tmp_path, engine_of(), shop)["MGCN"].complete == 4


def test_settings_that_do_not_go_together_fail_their_trial_alone(tmp_path, shop, monkeypatch):
    from recbole_ssr.tune import tuning

    def picky(label, model, settings, *rest):
        if settings["n_layers"] == 2 and settings["contrast_weight"] > 0.05:
            raise UserError("n_layers=2 needs a smaller contrast_weight")
        return task_of(label, model, settings, *rest)

    monkeypatch.setattr(tuning, "task_of", picky)
    line = tuned(tmp_path, engine_of(), shop, ["MGCN"], trials=8)["MGCN"]
    assert (line.complete, line.failed) == (7, 1)


def test_lines_that_meet_in_one_run_do_not_train_it_at_the_same_time(tmp_path, shop):
    """Two lines of a model; some settings of the one are those of the other."""
    lines = {"free": ("MGCN", shop), "fixed": ("MGCN", {**shop, "n_layers": 1})}
    engine = engine_of()
    found = tune(lines, engine, tmp_path, Method(8, "grid"), space=[SPACE["MGCN"]], jobs=4,
                 poll=0.01)
    assert found["free"].complete == 8 and found["fixed"].complete == 4
    assert len(engine.trained) == 8  # the four of "fixed" are among the eight


def test_mistakes_end_before_anything_is_trained(tmp_path, shop):
    engine = engine_of()
    for space in ({"contrast_weight": [0.1, "much"]}, {"contrast_wait": [0.1]}):
        with pytest.raises(UserError, match="space of MGCN"):
            tuned(tmp_path, engine, shop, ["MGCN"], {"MGCN": space})
    with pytest.raises(UserError, match="sampler='grit'"):
        tuned(tmp_path, engine, shop, sampler="grit")
    with pytest.raises(UserError, match="no dataset"):
        tuned(tmp_path, engine, {**shop, "dataset": "nowhere"})
    assert not engine.trained and not (tmp_path / "runs").exists()


def test_without_optuna_one_line_says_so(tmp_path, shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="Tuning needs Optuna"):
        tuned(tmp_path, engine_of(), shop)


def test_what_a_search_found_as_rows_and_tables(tmp_path, shop):
    found = tuned(tmp_path, engine_of(), shop, trials=8)
    line = found["MGCN"]
    assert [trial.number for trial in line.trials] == list(range(8))
    assert all(trial.value == value(trial.settings) for trial in line.trials)
    console = Console(width=120, record=True, file=io.StringIO())
    print_sheets(console, [trials_table(line, rows=3), selected_table(found)])
    text = console.export_text()
    assert "5 more trials" in text and f"{line.value:.4f}" in text
    assert "contrast_weight 0.03, n_layers 2" in text
    first = next(row for row in text.splitlines() if "complete" in row)
    assert "0.03" in first and f"{line.value:.4f}" in first


@pytest.mark.slow
def test_a_search_over_real_runs_goes_on_and_tests_nothing(tmp_path):
    """The engine of this machine on a small dataset, interrupted once."""
    from tiny import SETTINGS, write_tiny

    from recbole_ssr.compare.local import LocalEngine

    settings = SETTINGS | write_tiny(tmp_path / "data") | {"dataset": "tiny", "device": "cpu"}
    del settings["embedding_size"]
    lines = {"MGCN": ("MGCN", settings), "BPR": ("BPR", settings)}
    space = {"MGCN": SPACE["MGCN"], "BPR": {"embedding_size": [2, 4, 8]}}

    def interrupt(running):
        if list(tmp_path.rglob(VALID_FILE)) and running:
            raise KeyboardInterrupt

    def search(watch):
        return tune(lines, LocalEngine(threads=1), tmp_path / "out", Method(2, "grid"),
                    space=[space], jobs=2, watch=watch, poll=0.1)

    with pytest.raises(KeyboardInterrupt):
        search(interrupt)
    found = search(lambda _running: None)
    assert all(line.complete == 2 and line.failed == 0 for line in found.values())
    assert not list(tmp_path.rglob(FILE))
    for label, line in found.items():
        model, given = lines[label]
        task = task_of(label, model, {**given, **line.settings}, 2020, tmp_path / "out" / "runs",
                       "valid")
        assert state_of(task) == "validated"
        result = result_of(task)
        assert result.valid[METRIC] == line.value and result.test == {}
        assert line.split == result.protocol["split_fingerprint"]
        assert "test" not in json.loads((Path(task.folder) / VALID_FILE).read_text())["history"][0]
