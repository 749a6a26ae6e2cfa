"""Searches: their sequences, budgets, restarts and sharing."""

import itertools
import math
import os
import random
import statistics
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_trials import drive, search, space, write_shop

from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.tune import heartbeat, storage
from recbole_ssr.tune.heartbeat import Worker, is_alive
from recbole_ssr.tune.space import Range, key_of, space_of
from recbole_ssr.tune.storage import open_storage, open_study, require_optuna, study_name
from recbole_ssr.tune.trials import Method

pytest.importorskip("optuna")

GRID = {"n_bands": [2, 3, 4], "mask_rate": [0.0, 0.2], "gate_gains": [[1], [2, 1]]}
DEFAULT = {"n_bands": 3, "mask_rate": 0.2, "gate_gains": [1]}


def grid_value(settings):
    return settings["n_bands"] - settings["mask_rate"] + len(settings["gate_gains"])


def keys(settings):
    return [key_of(entry) for entry in settings]


# What is tried


def test_a_grid_visits_every_point_once_and_stops(tmp_path):
    of = search(tmp_path, space(DEFAULT, **GRID), sampler="grid")
    tried = drive(of, grid_value)
    points = [dict(zip(GRID, values)) for values in itertools.product(*GRID.values())]
    assert tried[0] == DEFAULT
    assert sorted(keys(tried)) == sorted(keys(points))
    assert of.ask() is None
    best = of.best()
    assert best.settings == {"n_bands": 4, "mask_rate": 0.0, "gate_gains": [2, 1]}
    assert best.value == 6.0 and of.default().value == grid_value(DEFAULT)


def test_the_budget_is_no_larger_than_the_space(tmp_path):
    inside, outside = {"n_layers": 2}, {"n_layers": 9}
    for default, trials, budget in ((inside, 8, 3), (outside, 8, 4), (outside, 2, 2)):
        of = search(tmp_path, space(default, n_layers=[1, 2, 3]), name=f"{default} {trials}",
                    trials=trials)
        assert of.budget == of.coming == budget
        assert len(drive(of, lambda _: 0.1, limit=1)) == 1 and of.coming == budget - 1
        assert len(drive(of, lambda _: 0.1)) == budget - 1 and of.coming == 0
    ranges = space({"n_layers": 2}, n_layers=Range(0.1, 0.9))
    assert search(tmp_path, ranges, name="ranges", trials=8).budget == 8


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_listed_settings_are_all_that_is_tried_after_the_default(tmp_path, sampler):
    points = ({"n_bands": 2, "mask_rate": 0.0}, {"n_bands": 4, "mask_rate": 0.2})
    default = {"n_bands": 3, "mask_rate": 0.2}
    of = replace(space(default, n_bands=[2, 3, 4], mask_rate=[0.0, 0.2]), listed=points)
    tried = drive(search(tmp_path, of, sampler=sampler), lambda settings: settings["n_bands"])
    assert tried[0] == default and sorted(keys(tried)) == sorted(keys([default, *points]))


def test_a_grid_larger_than_the_budget_is_sampled_all_over(tmp_path):
    of = space({"n_layers": 0, "knn_k": 0}, n_layers=list(range(10)), knn_k=list(range(10)))
    tried = drive(search(tmp_path, of, sampler="grid", trials=30), lambda s: s["n_layers"])
    assert len(set(keys(tried))) == 30
    # In the order of the yaml the first key would not have got beyond its third value.
    assert len({settings["n_layers"] for settings in tried}) > 6


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_default_comes_first_wherever_it_lies(tmp_path, sampler):
    outside = {**DEFAULT, "mask_rate": 0.7}
    of = search(tmp_path, space(outside, **GRID), sampler=sampler)
    tried = drive(of, grid_value)
    assert tried[0] == outside and len(set(keys(tried))) == len(tried) == 12 + 1
    assert all(settings["mask_rate"] != 0.7 for settings in tried[1:])


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_finite_space_is_never_tried_twice_and_ends(tmp_path, sampler):
    tried = drive(search(tmp_path, space(DEFAULT, **GRID), sampler=sampler), grid_value)
    assert len(tried) == len(set(keys(tried))) == 12


def test_ranges_keep_their_bounds_steps_and_kinds(tmp_path):
    of = space({"n_layers": 2}, n_layers=Range(1, 9, step=2, whole=True),
               knn_k=Range(1, 100, log=True, whole=True), learning_rate=Range(1e-4, 1e-1, log=True),
               mask_rate=Range(0.0, 0.5, step=0.1))
    tried = drive(search(tmp_path, of, sampler="random", trials=40), lambda _: 1.0)[1:]
    assert {s["n_layers"] for s in tried} == {1, 3, 5, 7, 9}
    assert all(type(s["knn_k"]) is int and 1 <= s["knn_k"] <= 100 for s in tried)
    assert {round(s["mask_rate"] * 10, 6) for s in tried} == {0, 1, 2, 3, 4, 5}
    # By powers: the median of a log-uniform draw is the geometric mean of its ends.
    median = statistics.median(s["learning_rate"] for s in tried)
    assert 0.3 < math.log10(median / 1e-4) / 3 < 0.7


def smooth(settings):
    return -(math.log10(settings["learning_rate"]) + 3) ** 2 - (settings["dropout"] - 0.2) ** 2 * 9


def test_tpe_concentrates_where_validation_is_good(tmp_path):
    of = space(learning_rate=Range(1e-6, 1.0, log=True), dropout=Range(0.0, 1.0))
    mean = {}
    for sampler in ("tpe", "random"):
        one = search(tmp_path, of, sampler=sampler, seed=1, trials=30, name=sampler)
        tried = drive(one, smooth)
        # Optuna's TPE draws ten trials at random first.
        mean[sampler] = statistics.mean(map(smooth, tried[15:]))
        assert one.best().value == max(map(smooth, tried))
    assert mean["tpe"] > 0.75 * mean["random"]  # the optimum is zero; five seeds give 0.5 to 0.65


def test_smaller_may_be_better(tmp_path):
    of = search(tmp_path, space(n_layers=[3, 1, 2]), sampler="grid", bigger=False)
    drive(of, lambda settings: float(settings["n_layers"]))
    assert of.best().settings == {"n_layers": 1}


def test_the_first_of_equals_is_selected(tmp_path):
    of = search(tmp_path, space(n_layers=[1, 2, 3]), sampler="grid")
    drive(of, lambda _: 0.5)
    assert of.best().number == 0


# Pruning and failures


def test_pruning_stops_a_bad_trial_and_the_budget_counts_it(tmp_path):
    of = search(tmp_path, space(n_layers=list(range(8))), sampler="grid", trials=6,
                n_startup_trials=2, n_warmup_steps=2)
    for _ in range(3):
        asked = of.ask()
        assert all(of.report(asked.number, [0.5] * k) for k in range(1, 6))
        of.complete(asked.number, 0.5)
    bad = of.ask()
    kept = [of.report(bad.number, [0.1, 0.2, 0.3, 0.35][:k]) for k in range(1, 5)]
    assert kept == [True, True, False, False]  # after two evaluations of warm-up
    of.prune(bad.number)
    pruned = of.trials()[-1]
    assert (pruned.state, pruned.value) == ("pruned", 0.35)
    assert pruned.valid == (0.1, 0.2, 0.3, 0.35)
    good = of.ask()
    assert all(of.report(good.number, [0.6] * k) for k in range(1, 6))
    of.complete(good.number, 0.6)
    assert len(drive(of, lambda _: 0.1)) == 1  # six in all, the pruned one included
    assert of.best().number == good.number


def test_halving_lets_the_best_third_go_on_from_each_rung(tmp_path):
    of = search(tmp_path, space(n_layers=list(range(8))), sampler="grid", pruner="halving",
                n_warmup_steps=2)
    seen = []
    for value in (0.9, 0.1, 0.2, 0.3, 0.4, 0.85):
        asked = of.ask()
        seen.append(next((k for k in range(1, 12)
                          if not of.report(asked.number, [value] * k)), None))
        if seen[-1] is None:
            of.complete(asked.number, value)
        else:
            of.prune(asked.number)
    # Rungs after 2 and 6 evaluations: the second of six goes on from the first, of two stops there.
    assert seen == [None, 3, 3, 3, 3, 7]


def test_halving_measures_by_trials_that_may_be_selected(tmp_path):
    of = search(tmp_path, space(n_layers=list(range(8))), sampler="grid", pruner="halving",
                n_warmup_steps=2)
    for end in (lambda number: of.fail(number, "loss became nan"), of.release):
        broken = of.ask()
        assert of.report(broken.number, [0.6] * 8)
        end(broken.number)
    for value in (0.5, 0.55):
        asked = of.ask()
        assert of.report(asked.number, [value] * 8)
        of.complete(asked.number, value)
    assert not of.report(of.ask().number, [0.54] * 3)


def test_default_settings_that_were_pruned_did_not_fail(tmp_path):
    of = search(tmp_path, space(n_layers=[1, 2]), sampler="grid")
    number = of.ask().number
    assert of.report(number, [0.2, 0.1])
    of.prune(number)
    assert (of.default().state, of.default().value) == ("pruned", 0.2)


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_evaluations_heard_of_at_once_are_judged_one_by_one(tmp_path, pruner):
    of = search(tmp_path, space(n_layers=list(range(8))), sampler="grid", pruner=pruner,
                n_startup_trials=1, n_warmup_steps=2)
    good = of.ask()
    assert of.report(good.number, [0.5] * 5)
    of.complete(good.number, 0.5)
    late = of.ask()
    assert not of.report(late.number, [0.1, 0.1, 0.1, 0.9, 0.9])  # it lay behind after three


@pytest.mark.parametrize("pruner", ["median", "halving"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_trial_that_was_best_of_all_is_not_pruned_for_what_it_has_now(tmp_path, pruner, sign):
    of = search(tmp_path, space(n_layers=list(range(8))), bigger=sign > 0, sampler="grid",
                pruner=pruner, n_startup_trials=1, n_warmup_steps=2)
    steady = of.ask()
    assert of.report(steady.number, [sign * 0.5] * 9)
    of.complete(steady.number, sign * 0.5)
    peaked = of.ask()
    assert of.report(peaked.number, [sign * x for x in (0.6, 0.7, 0.6, 0.4, 0.4, 0.3, 0.3)])
    of.prune(peaked.number)
    assert of.trials()[-1].value == sign * 0.7


def test_nothing_is_pruned_before_enough_trials_or_without_a_pruner(tmp_path):
    for method in ({"n_startup_trials": 3, "n_warmup_steps": 0}, {"pruner": "none"}):
        of = search(tmp_path, space(n_layers=[1, 2, 3]), name=str(method), sampler="grid", **method)
        for value in (0.9, 0.8, 0.1):
            asked = of.ask()
            assert all(of.report(asked.number, [value] * k) for k in range(1, 9))
            of.complete(asked.number, value)


def test_failed_trials_are_told_and_the_search_goes_on(tmp_path):
    of = search(tmp_path, space(n_layers=[1, 2, 3, 4]), sampler="grid", trials=3)
    of.fail(of.ask().number, "out of\n  memory")
    assert len(drive(of, lambda settings: settings["n_layers"])) == 3  # a failure is no trial
    assert of.failures() == ["out of memory"]
    assert [trial.state for trial in of.trials()] == ["failed"] + ["complete"] * 3
    assert of.default() is None


def test_a_search_in_which_all_fail_ends(tmp_path):
    of = search(tmp_path, space(learning_rate=(0.0, 1.0)), trials=4)
    for k in range(4):
        of.fail(of.ask().number, f"reason {k % 2}")
    assert of.ask() is None and of.best() is None
    assert of.failures() == ["reason 0", "reason 1"]
    # Whatever was wrong may have been put right: a new process tries again.
    assert len(drive(search(tmp_path, space(learning_rate=(0.0, 1.0)), trials=4), lambda _: 1)) == 4


def test_a_value_that_is_no_number_is_a_failure(tmp_path):
    of = search(tmp_path, space(n_layers=[1, 2]), sampler="grid")
    of.complete(of.ask().number, math.nan)
    assert of.failures() == ["validation gave nan"]


# Restarts


def begun_and_killed(out, of, finish, leave, **method):
    """In a process that then dies: finish some trials and leave some running."""
    child = os.fork()
    if child == 0:
        try:
            one = search(out, of, **method)
            drive(one, grid_value, limit=finish)
            for _ in range(leave):
                one.ask()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, sampler):
    of = space(DEFAULT, **GRID)
    unbroken = drive(search(tmp_path / "a", of, sampler=sampler), grid_value)
    begun_and_killed(tmp_path / "b", of, 2, 1, sampler=sampler)
    begun_and_killed(tmp_path / "b", of, 3, 1, sampler=sampler)
    after = search(tmp_path / "b", of, sampler=sampler)
    drive(after, grid_value)
    trials = [trial for trial in after.trials() if trial.state == "complete"]
    assert keys(trial.settings for trial in trials) == keys(unbroken)
    assert after.best().settings == search(tmp_path / "a", of).best().settings


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_several_left_by_a_dead_process_are_taken_over_and_none_is_lost(tmp_path):
    of = space(DEFAULT, **GRID)
    begun_and_killed(tmp_path, of, 4, 3, sampler="grid")
    left = search(tmp_path, of, sampler="grid")
    running = [trial for trial in left.trials() if trial.state == "running"]
    assert len(running) == 3 and left.others_running()
    first = [left.ask().settings for _ in range(3)]
    assert keys(first) == keys(trial.settings for trial in running)
    assert not left.others_running()


def test_an_interrupted_default_goes_on_as_the_default(tmp_path):
    outside = {**DEFAULT, "mask_rate": 0.7}
    one = search(tmp_path, space(outside, **GRID), sampler="grid")
    one.release(one.ask().number)
    again = search(tmp_path, space(outside, **GRID), sampler="grid")
    assert again.ask().settings == outside


def test_a_larger_budget_goes_on(tmp_path):
    of = space(DEFAULT, **GRID)
    unbroken = drive(search(tmp_path / "a", of, sampler="grid", trials=9), grid_value)
    first = drive(search(tmp_path / "b", of, sampler="grid", trials=4), grid_value)
    second = drive(search(tmp_path / "b", of, sampler="grid", trials=9), grid_value)
    assert first + second == unbroken


def test_trials_of_other_splits_do_not_compare(tmp_path):
    of = search(tmp_path, space(n_layers=[1, 2]), sampler="grid")
    of.complete(of.ask().number, 0.1, "a" * 64)
    of.complete(of.ask().number, 0.2, "b" * 64)
    with pytest.raises(UserError, match="different splits .aaaaaaaaaaaa, bbbbbbbbbbbb."):
        of.best()


def test_trials_on_other_features_do_not_compare(tmp_path):
    def found(name, of, *features):
        one = search(tmp_path, of, sampler="grid", name=name)
        for fingerprint in features:
            one.complete(one.ask().number, 0.1, "a" * 64, fingerprint)
        return one.best()

    with pytest.raises(UserError, match="different features .bbbbbbbbbbbb, cccccccccccc."):
        found("changed", space(n_layers=[1, 2]), "b" * 64, "c" * 64)
    assert found("same", space(n_layers=[1, 2]), "b" * 64, "b" * 64).features == "b" * 64
    assert found("none", space(n_layers=[1, 2]), None, "b" * 64)  # of weight 0 they are not read
    # Where the search itself changes the features, each of its choices has its own.
    scaled = {"feature_scaling": ["l2", "none"], "n_layers": [1, 2]}
    assert found("scaled", replace(space(**scaled), listed=(
        {"feature_scaling": "l2", "n_layers": 1}, {"feature_scaling": "none", "n_layers": 1})),
        "b" * 64, "c" * 64)
    with pytest.raises(UserError, match="different features"):
        found("mixed", replace(space(**scaled), listed=(
            {"feature_scaling": "l2", "n_layers": 1}, {"feature_scaling": "l2", "n_layers": 2})),
            "b" * 64, "c" * 64)


# Several processes


def test_those_of_a_living_process_are_left_alone_and_counted(tmp_path):
    of = space(DEFAULT, **GRID)
    one, other = (search(tmp_path, of, sampler="grid", trials=3) for _ in range(2))
    held = [one.ask() for _ in range(2)]
    theirs = other.ask()
    assert key_of(theirs.settings) not in keys(asked.settings for asked in held)
    assert other.ask() is None and one.ask() is None
    assert other.others_running()
    one.fail(held[0].number, "broke")
    assert other.ask() is not None  # a failure frees its place


def test_a_database_that_another_process_makes_meanwhile_is_opened_once_more():
    answers = [RuntimeError("table studies already exists"), RuntimeError("denied"), "storage"]

    def opened():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(RuntimeError, match="denied"):
        storage._made_or_found(opened)
    assert storage._made_or_found(opened) == "storage"


@pytest.mark.parametrize("address", [None, "sqlite:///{}/tune.db"])
@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_sharing_a_study_never_exceeds_the_budget_nor_repeats(tmp_path, sampler, address):
    of = space(DEFAULT, **GRID)
    if address:
        pytest.importorskip("sqlalchemy")
        address = address.format(tmp_path)
        open_study(open_storage(address, tmp_path, "SSR"), "study", True)
    searches = [search(tmp_path, of, sampler=sampler, trials=7, storage=address)
                for _ in range(3)]
    tried, errors = [], []

    def work(one, seed):
        chance = random.Random(seed)
        try:
            while (asked := one.ask()) is not None:
                time.sleep(chance.random() / 100)
                tried.append(asked.settings)
                one.complete(asked.number, grid_value(asked.settings))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one, k)) for k, one in enumerate(searches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(tried) == len(set(keys(tried))) == 7
    assert all(len(one.trials()) == 7 for one in searches)


def test_who_is_alive():
    studies = SimpleNamespace(attributes={})
    studies.set_user_attr = studies.attributes.__setitem__
    now = time.time()
    with Worker(every=0.01) as worker:
        worker.join(studies)
        first = studies.attributes[f"worker {worker.id}"]["time"]
        assert is_alive(worker.id, studies.attributes, now)
        deadline = time.time() + 10
        while studies.attributes[f"worker {worker.id}"]["time"] == first:
            assert time.time() < deadline, "no heartbeat"
            time.sleep(0.01)
    assert not is_alive(worker.id, studies.attributes, now)  # closed
    assert not is_alive("unknown", studies.attributes, now)
    there = {"host": "elsewhere", "pid": 1, "time": now - heartbeat.SILENCE / 2}
    assert is_alive("x", {"worker x": there}, now)
    assert not is_alive("x", {"worker x": there}, now + heartbeat.SILENCE)
    here = {"host": worker.host, "pid": 2 ** 22 + 1, "time": now}  # beyond Linux's largest id
    assert not is_alive("x", {"worker x": here}, now)


def test_a_trial_taken_over_by_another_process_stops_here(tmp_path):
    of = space(DEFAULT, **GRID)
    slept = search(tmp_path, of, sampler="grid")
    asked = slept.ask()
    slept.worker.close()  # as if silent for long
    other = search(tmp_path, of, sampler="grid")
    assert other.ask().settings == asked.settings
    assert slept.report(asked.number, [0.5]) is False
    slept.complete(asked.number, 0.5)
    assert [trial.state for trial in other.trials()] == ["running"]


# Names and storages


def test_another_protocol_seed_or_space_is_another_study(tmp_path):
    shop = write_shop(tmp_path / "data")
    of = space_of("MGCN", shop)

    def name(**changes):
        return study_name(of, build_config("MGCN", config_dict={**shop, **changes}))

    names = [name(), name(topk=[5, 7]), name(seed=1), name(epochs=5), name(n_layers=1),
             name(eval_args={"split": {"RS": [0.6, 0.2, 0.2]}}),
             study_name(space_of("MGCN", shop, {"n_layers": [1, 2]}),
                        build_config("MGCN", config_dict=shop))]
    assert len(set(names)) == len(names)
    assert all(entry.startswith("MGCN-shop-") for entry in names)
    assert name(device="cpu", show_progress=False) == name()  # where a run happens is no protocol


def test_studies_share_a_journal_and_do_not_mix(tmp_path):
    of = space(DEFAULT, **GRID)
    drive(search(tmp_path, of, name="one", trials=3), grid_value)
    assert search(tmp_path, of, name="other").trials() == []
    assert len(search(tmp_path, of, name="one").trials()) == 3


def test_a_journal_whose_writer_died_in_a_line_is_read(tmp_path):
    of = space(DEFAULT, **GRID)
    drive(search(tmp_path, of, sampler="grid", trials=4), grid_value)
    journal = tmp_path / "tune" / "SSR.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 5, "wor')
    again = search(tmp_path, of, sampler="grid", trials=6)
    assert len(again.trials()) == 4 and len(drive(again, grid_value)) == 2
    assert len(search(tmp_path, of).trials()) == 6


def test_where_journals_lie(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    for place in (f"{tmp_path}/new/", str(folder), str(tmp_path / "own.journal")):
        open_study(open_storage(place, tmp_path, "SSR"), "x", True)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.journal")}
    assert made == {"new/SSR.journal", "shared/SSR.journal", "own.journal"}


@pytest.mark.parametrize("storage, message", [
    ("tune.db", r"looks like a database.*sqlite:///tune.db"),
    ("mysterious://host/x", r"storage='mysterious://host/x' (cannot be used|needs a package)"),
    ("sqlite:///:memory:", r"is gone when the process ends"),
    ("sqlite:////nowhere/at/all/tune.db", r"cannot be used: .*unable to open"),
    ("notes.txt", r"notes.txt is no journal of Optuna"),
    ("torn.txt", r"torn.txt is no journal of Optuna"),
    ("file.txt/x.journal", r"cannot be used"),
])
def test_storages_that_cannot_be_used_are_named(tmp_path, monkeypatch, storage, message):
    monkeypatch.chdir(tmp_path)
    for name, text in (("notes.txt", "hello\n"), ("torn.txt", '{"a": 1}\n{"b"'), ("file.txt", "")):
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        open_storage(storage, tmp_path, "SSR")
    assert (tmp_path / "notes.txt").read_text() == "hello\n"


def test_passwords_are_not_shown(tmp_path):
    with pytest.raises(UserError) as error:
        open_storage("mysterious://me:secret@host/x", tmp_path, "SSR")
    assert "secret" not in str(error.value) and "me@host" in str(error.value)


def test_without_optuna_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"Tuning needs Optuna.*recbole_ssr\[tune\]") as error:
        require_optuna()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change, message", [
    ({"sampler": "gird"}, "sampler='gird' is unknown. Did you mean 'grid'"),
    ({"pruner": "mean"}, "pruner='mean' is unknown. Did you mean 'median'"),
    ({"trials": 0}, "trials=0 must be a whole number of at least 1"),
    ({"n_warmup_steps": 1.5}, "n_warmup_steps=1.5 must be a whole number"),
])
def test_methods_are_checked(change, message):
    with pytest.raises(UserError, match=message):
        Method(**{"trials": 5, **change}).check()


def test_a_grid_needs_points_that_can_be_listed(tmp_path):
    with pytest.raises(UserError, match="cannot list the continuous ranges of SSR"):
        search(tmp_path, space(learning_rate=(0.1, 1.0)), sampler="grid")
    with pytest.raises(UserError, match="cannot list the 1,000,000 points"):
        search(tmp_path, space(knn_k=Range(1, 1000, whole=True),
                               svd_modes=Range(1, 1000, whole=True)), sampler="grid")
