"""The benchmark of killed comparisons: what it compares, and that it kills in a training."""

import copy
import os
import sys
import time

import pytest
from benchmark_scripts import scripts_of

scripts = scripts_of("compare_resume")


@pytest.fixture
def script(scripts):
    return scripts["compare_resume"]


def content(out):
    result = {"run": f"{out}/runs/BPR-seed1-0a", "seed": 1, "test": {"recall@20": 0.1 + 0.2},
              "seconds": 12.5, "seconds_per_epoch": 0.4, "peak_mib": 300.0, "parameters": 70,
              "history": [{"epoch": 0, "losses": [0.7], "seconds": 0.3, "eval_seconds": 0.1}]}
    return {"format": 1, "lines": [{"label": "BPR", "results": [result], "failures": []}],
            "differences": [{"p": {"t": 0.04}, "p_holm": None}], "notes": [f"see {out}/runs"]}


def compared(script, one, other):
    return list(script.differences(script.repeatable(one, "/a/unbroken"),
                                   script.repeatable(other, "/a/broken")))


def test_times_memory_and_the_folder_do_not_count(script):
    one, other = content("/a/unbroken"), content("/a/broken")
    result = other["lines"][0]["results"][0]
    result |= {"seconds": 99.0, "seconds_per_epoch": 9.0, "peak_mib": 1.0}
    result["history"][0] |= {"seconds": 9.0, "eval_seconds": 8.0}
    before = copy.deepcopy((one, other))
    assert compared(script, one, other) == []
    assert (one, other) == before


@pytest.mark.parametrize(("change", "line"), [
    ({"test": {"recall@20": 0.3}}, "test.recall@20: 0.30000000000000004 and 0.3"),
    ({"parameters": 70.0}, "parameters: 70 and 70.0"),
    ({"history": []}, "history: [{'epoch': 0, 'losses': [0.7]}] and []"),
    ({"more": 1}, "more: only in the second"),
    ({"run": "/a/other/BPR"}, "run: 'OUT/runs/BPR-seed1-0a' and '/a/other/BPR'"),
])  # fmt: skip
def test_everything_else_of_a_run_counts(script, change, line):
    other = content("/a/broken")
    other["lines"][0]["results"][0] |= change
    assert compared(script, content("/a/unbroken"), other) == [f".lines[0].results[0].{line}"]


def test_what_is_missing_or_follows_from_runs_counts_too(script):
    other = content("/a/broken")
    del other["lines"][0]["failures"]
    other["differences"][0]["p_holm"] = 0.5
    assert compared(script, content("/a/unbroken"), other) == [
        ".lines[0].failures: only in the first", ".differences[0].p_holm: None and 0.5"]


# A comparison that has finished one run and trains another one, told by its arguments.
STAND_IN = """
import json, os, pathlib, sys, time
out, epoch, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for name in ("BPR-seed1", "BPR-seed2"):
    (out / "runs" / name).mkdir(parents=True)
(out / "pid").write_text(str(os.getpid()))
progress = json.dumps({"state": "training", "epoch": epoch})
(out / "runs/BPR-seed2/progress.json").write_text(progress)
(out / "runs/BPR-seed1/metrics.json").write_text("{}")
time.sleep(seconds)
"""


def test_the_command_is_killed_in_a_training(script, tmp_path):
    start = time.monotonic()
    where = script.killed_in_training([sys.executable, "-c", STAND_IN, str(tmp_path), "5", "60"],
                                      tmp_path, 1)
    assert where == "1 runs finished; BPR-seed2 after epoch 5"
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(("epoch", "finished"), [(1, 1), (5, 2)])
def test_a_command_that_ends_before_it_can_be_killed_is_said(script, tmp_path, epoch, finished):
    command = [sys.executable, "-c", STAND_IN, str(tmp_path), str(epoch), "0.5"]
    with pytest.raises(SystemExit, match=f"status 0 before {finished} runs"):
        script.killed_in_training(command, tmp_path, finished)
