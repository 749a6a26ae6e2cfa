"""The progress table: what it shows, that it fits, and what it expects of the time left."""

import io
import json

import pytest
from rich.console import Console

from recbole_ssr.compare.engine import FixedSource, Outcome, Progress
from recbole_ssr.compare.live import Board, Row, choose, duration, seconds_left
from recbole_ssr.compare.store import Task, write_progress


def task(tmp_path, model="SSR", seed=1, label=None):
    folder = tmp_path / f"{label or model}-seed{seed}"
    return Task(label or model, model, seed, {}, folder)


def leave(task, epochs, seconds, best, most=100):
    """Leave what a finished run leaves of its progress."""
    task.folder.mkdir(parents=True)
    write_progress(task.folder, Progress("testing", epochs, most, [best] * epochs,
                                         [seconds] * epochs))
    (task.folder / "metrics.json").write_text("{}")


def console_of(width=100, height=20, terminal=True):
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=terminal,
                   color_system=None)


def shown(board):
    """The lines that a board puts on its console."""
    with board.console.capture() as capture:
        board.console.print(board.render())
    return capture.get().splitlines()


def test_states_epochs_best_values_and_times_are_shown(tmp_path):
    now = [100.0]
    tasks = [task(tmp_path, "SSR", seed) for seed in (1, 2, 3)] + [task(tmp_path, "LightGCN")]
    leave(tasks[0], 40, 0.5, 0.2468)
    board = Board(console_of(), tasks, jobs=2, clock=lambda: now[0])
    source = board.follow(FixedSource(tasks[1:]))
    second, third = source.take(), source.take()
    assert [second, third] == tasks[1:3]
    now[0] = 107
    board.watch([(second, Progress("training", 3, 100, [0.1, 0.3, 0.2], [1.0, 2.0, 3.0]))])
    source.finished(third, Outcome("the training loss became nan"))
    lines = [line.split() for line in shown(board)]
    assert lines[0] == ["Run", "Seed", "State", "Epoch", "Best", "valid", "s/epoch", "Time"]
    assert lines[1] == ["SSR", "1", "done", "40/100", "0.2468", "0.5"]
    assert lines[2] == ["SSR", "2", "training", "3/100", "0.3000", "2", "7", "s"]
    assert lines[3] == ["SSR", "3", "failed", "7", "s"]
    assert lines[4] == ["LightGCN", "1", "waiting"]
    assert " ".join(lines[5]) == "SSR, seed 3: the training loss became nan"
    assert " ".join(lines[6]).startswith("2 of 4 runs ended, 1 failed, about ")
    assert " ".join(lines[6]).endswith("7 s so far")


@pytest.mark.parametrize("metric, best", [("Recall@20", "0.3000"), ("LogLoss", "0.1000"),
                                          ("rmse", "0.1000")])
def test_the_best_value_is_that_of_the_metric(tmp_path, metric, best):
    one = task(tmp_path)._replace(settings={"valid_metric": metric})
    board = Board(console_of(terminal=False), [one])
    source = board.follow(FixedSource([one]))
    source.take()
    values = [0.2, 0.1, 0.3]
    board.watch([(one, Progress("training", 3, 100, values, [1.0] * 3))])
    assert shown(board)[1].split()[4] == best
    one.folder.mkdir()
    write_progress(one.folder, Progress("testing", 3, 100, values, [1.0] * 3))
    source.finished(one, Outcome())
    assert f"done, best {best} on validation" in board.console.file.getvalue()


@pytest.mark.parametrize("height", [8, 14, 24])
def test_many_runs_fit_the_terminal(tmp_path, height):
    labels = [f"SSR with a label {'x' * 40} [objective=bpr] {n}" for n in range(12)]
    tasks = [task(tmp_path, "SSR", seed, label) for label in labels for seed in range(5)]
    board = Board(console_of(height=height), tasks, jobs=4)
    for n, one in enumerate(tasks[:40]):
        board.began(one)
        if n < 36:
            board.finished(one, Outcome("because " * 40 if n % 6 == 0 else None))
    board.watch([(one, Progress("training", 1, 10, [0.1], [1.0])) for one in tasks[36:40]])
    lines = shown(board)
    assert max(map(len, lines)) <= 100
    assert len(lines) == height - 1
    # Everything is either a row or counted.
    rows = [line for line in lines if line.startswith("SSR with") and "because" not in line]
    assert sum("training" in line for line in rows) == min(4, len(rows))
    (hidden,) = [line for line in lines if line.startswith("not shown: ")]
    counts = [int(part.split()[0]) for part in hidden.removeprefix("not shown: ").split(", ")]
    assert len(rows) + sum(counts) == 60


def test_running_runs_come_before_failures_waiting_and_done_ones(tmp_path):
    states = ["done"] * 5 + ["failed"] * 2 + ["training"] * 2 + ["waiting"] * 5
    rows = [Row(task(tmp_path, seed=n), state, ended=float(n)) for n, state in enumerate(states)]
    kept, hidden = choose(rows, 8)
    assert [(row.task.seed, row.state) for row in kept] == [
        (3, "done"), (4, "done"), (5, "failed"), (6, "failed"), (7, "training"), (8, "training"),
        (9, "waiting"), (10, "waiting")]
    assert len(hidden) == 6
    assert choose(rows, 2)[0] == rows[7:9]
    assert choose(rows, 14) == (rows, [])


def test_the_time_left_is_that_of_epochs_to_come(tmp_path):
    running = Row(task(tmp_path, seed=1), "training",
                  Progress("training", 4, 10, [0.1], [9.0, 2.0, 2.0, 2.0, 2.0, 2.0]), began=0.0)
    waiting = Row(task(tmp_path, seed=2))
    # Nothing has ended: all 10 epochs, each as long as the five last ones.
    assert seconds_left([running], 1, 20.0) == pytest.approx(6 * 2)
    assert seconds_left([running, waiting], 1, 20.0) == pytest.approx(6 * 2 + 10 * 2)
    # Two at a time: no less than the longer of the two.
    assert seconds_left([running, waiting], 2, 20.0) == pytest.approx(20)
    # One of the model has ended after 6 epochs and 15 s: so will the others.
    done = Row(task(tmp_path, seed=3), "done", Progress("testing", 6, 10, [0.1], [2.0] * 6),
               began=0.0, ended=15.0)
    assert seconds_left([running, waiting, done], 1, 20.0) == pytest.approx(2 * 2 + 15)
    # Another model takes the mean of what is known.
    other = Row(task(tmp_path, "LightGCN"))
    assert seconds_left([running, waiting, done, other], 1, 20.0) == pytest.approx(
        (4 + 15) * 3 / 2)
    assert seconds_left([other], 1, 20.0) is None
    assert seconds_left([done], 1, 20.0) is None


def test_without_a_terminal_every_run_that_ends_is_one_line(tmp_path):
    now = [0.0]
    tasks = [task(tmp_path, "SSR", seed) for seed in (1, 2, 3, 4)]
    leave(tasks[0], 5, 1.0, 0.5)
    console = console_of(terminal=False)
    with Board(console, tasks, clock=lambda: now[0]) as board:
        source = board.follow(FixedSource(tasks))
        source.finished(source.take(), Outcome())  # was there before: nothing to tell
        one = source.take()
        leave(one, 8, 2.0, 0.25)
        now[0] = 20.0
        source.finished(one, Outcome())
        source.finished(source.take(), Outcome("out [of] memory " + "x" * 200))
        source.finished(source.take(), Outcome(stopped=True))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("SSR, seed 2: done, best 0.2500 on validation, 8 epochs in 20 s "
                               "(2 of 4 runs ended, about ")
    assert lines[1].startswith("SSR, seed 3: failed, out [of] memory xxx")
    assert lines[2] == "SSR, seed 4: pruned (4 of 4 runs ended, 1 pruned, 1 failed)"


def test_a_search_knows_its_total_only(tmp_path):
    board = Board(console_of())
    board.follow(FixedSource([]), 10)
    assert board.summary() == "0 of 10 runs ended"
    one = task(tmp_path)
    board.began(one)
    leave(one, 2, 1.0, 0.1)
    board.finished(one, Outcome(stopped=True))
    assert board.summary().startswith("1 of 10 runs ended, 1 pruned")


def test_a_live_table_leaves_the_terminal_as_it_was(tmp_path):
    console = console_of()
    with Board(console, [task(tmp_path)]) as board:
        board.watch([(task(tmp_path), Progress("training", 1, 2, [0.5], [1.0]))])
    assert "training" in console.file.getvalue()
    assert json.dumps(console.file.getvalue()).count("\\u001b[?25h") == 1  # the cursor is back


def test_durations_are_read_at_a_glance():
    assert [duration(s) for s in (0.4, 59, 60, 3600, 7200)] == [
        "0 s", "59 s", "1 min", "60 min", "2.0 h"]
