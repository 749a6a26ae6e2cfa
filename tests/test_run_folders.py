"""Folders of runs: what is newest, what is unfinished, and whose turn it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr import runs
from recbole_ssr.errors import UserError
from recbole_ssr.run_folders import (
    FINISHED,
    RUNNING,
    UNFINISHED,
    VALIDATED,
    held,
    named_in,
    newest_unfinished,
    runs_in,
)


def make(root, name, age, *files):
    folder = root / name
    folder.mkdir(parents=True)
    for file in ("config.yaml", *files):
        (folder / file).write_text("")
        os.utime(folder / file, (1e9 - age,) * 2)
    return folder


def test_runs_are_listed_by_their_last_write_with_their_state(tmp_path):
    make(tmp_path, "a", 30, "metrics.json")
    make(tmp_path, "b", 20, "valid.json")
    make(tmp_path, "c", 10)
    resumed = make(tmp_path, "d", 40, "run.log")
    os.utime(resumed / "run.log", (1e9,) * 2)
    (tmp_path / "no-run").mkdir()
    found = runs_in(tmp_path)
    assert [(run.path.name, run.state) for run in found] == [
        ("d", UNFINISHED), ("c", UNFINISHED), ("b", VALIDATED), ("a", FINISHED)]
    assert found[0].changed == 1e9 and runs_in(tmp_path / "nowhere") == []
    assert newest_unfinished(tmp_path) == resumed


def test_a_run_that_is_running_is_neither_resumed_nor_run_twice(tmp_path):
    older, newer = make(tmp_path, "older", 20), make(tmp_path, "newer", 10)
    pytest.importorskip("fcntl")
    # What held() does in another process, without the seconds of its imports.
    code = ("import fcntl, os, sys; folder = os.open(sys.argv[1], os.O_RDONLY)\n"
            "fcntl.flock(folder, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", code, newer], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        assert [run.state for run in runs_in(tmp_path)] == [RUNNING, UNFINISHED]
        assert newest_unfinished(tmp_path) == older
        with pytest.raises(UserError, match="newer is being run by another process"), held(newer):
            raise AssertionError("two processes in one run folder")
    finally:
        other.kill()
        other.wait()
    assert newest_unfinished(tmp_path) == newer  # the system let go of it
    with held(newer):
        assert runs_in(tmp_path)[0].state == RUNNING


def test_a_run_holds_its_folder_while_it_lasts(tmp_path):
    pytest.importorskip("fcntl")
    seen = []

    def look(state, experiment, history):  # noqa: ARG001
        (run,) = runs_in(tmp_path / "runs")
        seen.append(run.state)
        with pytest.raises(UserError, match="is being run by another process"):
            recbole_ssr.run(flags={"resume": str(run.path)})

    settings = SETTINGS | write_tiny(tmp_path) | {"epochs": 1, "run_dir": str(tmp_path / "runs")}
    recbole_ssr.run("BPR", "tiny", config_dict=settings,
                    callback=lambda *told: look(*told) if not seen else None)
    assert seen == [RUNNING] and runs_in(tmp_path / "runs")[0].state == FINISHED


@pytest.mark.parametrize("states, told", [
    ((), "there is none"), (("metrics.json",), "all 1 there are finished or running")])
def test_without_an_unfinished_run_there_is_none_to_resume(tmp_path, states, told):
    for k, file in enumerate(states):
        make(tmp_path, f"run{k}", k, file)
    with pytest.raises(UserError, match=f"no run in .* is unfinished: {told}"):
        newest_unfinished(tmp_path)


def test_messages_name_the_likest_runs_and_then_the_newest(tmp_path):
    for k in range(9):
        make(tmp_path, f"ml-100k-SSR-2026112{k}-101500", k)
    make(tmp_path, "tiktok-BPR-20250101-000000", 1000)
    text = named_in(tmp_path, "tiktok-BRP-20250101-000000")
    names = text.partition("there: ")[2].partition(" and ")[0].split(", ")
    assert names[0] == "tiktok-BPR-20250101-000000" and len(names) == 5
    assert [name[-8] for name in names[1:]] == list("0123")
    assert text.endswith(" and 5 more.")
    assert named_in(tmp_path / "nowhere", "x") == ""
    with pytest.raises(UserError, match="Runs there: tiktok-BPR-20250101-000000, ml-100k-SSR"):
        runs.existing(tmp_path / "tiktok-BPR-20250101-00000")


def test_a_folder_of_runs_has_those_in_it_named_not_those_beside_it(tmp_path):
    make(tmp_path, "copied", 0)
    make(tmp_path, "runs/inside", 0)
    with pytest.raises(UserError, match="Runs there: inside[.]$"):
        runs.existing(tmp_path / "runs")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/null/x"])
def test_names_that_there_cannot_be_are_no_runs(name):
    with pytest.raises(UserError, match="not a run folder"):
        runs.existing(Path(name))
