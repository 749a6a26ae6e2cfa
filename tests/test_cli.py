"""The command line as a user meets it: exit statuses, one-line errors, the table."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.model.ssr import SSR

ROOT = Path(recbole_ssr.__file__).resolve().parents[1]
CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Flags that start a short run on `tiny`, in an empty working folder."""
    settings = SETTINGS | write_tiny(tmp_path / "data") | {"epochs": 1, "dataset": "tiny"}
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("COLUMNS", raising=False)
    return [f"--{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
            for key, value in settings.items()]


def changed(flags, *others):
    """Return `flags` with others added or in place of those of the same key."""
    given = {word.partition("=")[0] for word in others}
    return [*(flag for flag in flags if flag.partition("=")[0] not in given), *others]


def complaint(capsys, *arguments):
    """Run a command that must fail by its user's mistake; return its one line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and out == "" and "Traceback" not in err
    return lines[0]


def test_a_run_ends_with_its_table(flags, capsys):
    assert main(flags) == 0
    out, err = capsys.readouterr()
    words = ("SSR", "valid", "test", "Recall", "NDCG", "@2", "@5", "s per", "MiB", "Run folder")
    for word in words:
        assert word in out
    assert "40 users, 24 items" in err and "features text: 24 of 24 items" in err
    (folder,) = Path("runs").iterdir()
    assert folder.name in out
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the last line names the run folder


def test_the_table_shows_other_models_under_the_same_protocol_only(flags, capsys):
    assert main([*flags, "--model=BPR"]) == 0
    assert main(changed(flags, "--model=LightGCN", "--topk=[5]")) == 0
    assert main([*flags, "--model=ItemKNN"]) == 0
    assert main([*flags, "--model=BPR", "--seed=7"]) == 0
    capsys.readouterr()
    assert main(flags) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\w+) +│ valid", out, flags=re.MULTILINE)
    assert rows == ["SSR", "BPR", "ItemKNN"]
    assert max(map(len, out.splitlines())) <= 100


def test_four_ways_of_naming_a_model(flags, tmp_path, capsys):
    Path("mine.yaml").write_text("model: SSR\nn_bands: 2\n")
    assert main([*flags, "--model=SSR", "--n_bands=2"]) == 0
    assert main([*flags, "--config_files", "mine.yaml"]) == 0
    capsys.readouterr()
    settings = SETTINGS | write_tiny(tmp_path / "data") | {"epochs": 1, "n_bands": 2}
    recbole_ssr.run(model="SSR", dataset="tiny", config_dict=settings)
    results = [recbole_ssr.RunResult.read(folder) for folder in Path("runs").iterdir()]
    assert len(results) == 3
    assert len({result.config_hash for result in results}) == 1
    assert len({str(result.test) for result in results}) == 1
    # The fourth, stock run_recbole, is in test_compat.py.


@pytest.mark.slow
def test_progress_is_drawn_on_a_terminal_and_only_there(flags):
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    words = changed(flags, "--show_progress=True", "--epochs=3")
    script = f"import sys; from recbole_ssr.cli import main; sys.exit(main({words!r}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=slave, stdout=slave,
                               env=environment)
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    assert b"SSR: 100%" in shown and b"valid recall@5" in shown and b"3/3" in shown
    assert b"Recall" in shown and "…".encode() not in shown
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                           env=environment)
    assert piped.returncode == 0 and "%|" not in piped.stderr
    lines = re.findall(r"^SSR: (\d)/3 epochs  loss [\d.]+  valid recall@5 ([\d.]+) \(best "
                       r"([\d.]+)\)  [\d.]+ s$", piped.stderr, flags=re.MULTILINE)
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert lines[-1][2] == max(line[1] for line in lines)


def test_titles_say_the_protocol_and_warnings_of_recbole_reach_the_terminal(flags, capsys):
    sampled = "--eval_args={mode: uni5}"
    assert main([*flags, "--model=BPR", "--rm_dup_inter=first", sampled]) == 0
    out, err = capsys.readouterr()
    assert " ".join(out.split()).startswith(
        "tiny: ranking among 5 sampled negatives, split by part, selected on Recall@5 (valid) ")
    assert err.count("warning: Timestamp field has not been loaded or specified") == 1


@pytest.mark.parametrize("arguments, parts", [
    (["--model=SRS"], ["'SRS'", "SSR"]),
    (["--dataset=amazon-sport"], ["'amazon-sport'", "data_path", "ml-100k"]),
    (["--learing_rate=0.1"], ["'learing_rate'", "learning_rate", "command line"]),
    (["--metrics=[Recal]"], ["'Recal'", "Recall"]),
    (["--valid_metric=Recall@7"], ["Recall@7", "topk"]),
    (["--config_files", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
    (["--epochs=ten"], ["epochs", "'ten'", "int"]),
    (["--topk=[5"], ["--topk=[5", "YAML"]),
    (["model=SSR"], ["'model=SSR'", "--"]),
    (["--device=tpu"], ["'tpu'", "auto, cpu, cuda"]),
    (["--modalities=[txt]"], ["txt", "text"]),
    (["--feature_fill=median"], ["median", "mean"]),
    (["--resume=runs/nothing"], ["runs/nothing", "not a run folder"]),
    (["--resume"], ["no run in runs is unfinished", "--resume=runs/<your run>"]),
    (["--resume", "--run_dir"], ["run_dir=True", "--run_dir=runs"]),
    (["--modalities=2"], ["modalities=2", "list of str"]),
    (["--n_layers=100000000000000000000"], ["n_layers", "at most 64"]),
    (["--learner=adma"], ["'adma'", "adam"]),
])  # fmt: skip
def test_a_mistake_is_one_line_that_helps(flags, capsys, arguments, parts):
    whole = arguments if "--resume" in arguments[0] else changed(flags, *arguments)
    line = complaint(capsys, *whole)
    for part in parts:
        assert part in line
    assert not list(Path().glob("runs/*"))


def test_broken_features_are_named_by_file_and_row(flags, tmp_path, capsys):
    file = tmp_path / "data/tiny/features/text.npy"
    matrix = np.load(file)
    matrix[3, 1] = np.nan
    np.save(file, matrix)
    line = complaint(capsys, *flags)
    assert str(file) in line and "row 3" in line
    file.unlink()
    assert "text" in complaint(capsys, *flags, "--modalities=[text]")


def test_an_interrupt_is_status_130_and_says_how_to_go_on(flags, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SSR, "calculate_loss", interrupted)
        assert main(flags) == 130
    (folder,) = Path("runs").iterdir()
    assert f"--resume={folder}" in capsys.readouterr().err
    assert main([f"--resume={folder}"]) == 0


def test_resume_alone_goes_on_with_the_newest_unfinished_run(flags, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SSR, "calculate_loss", interrupted)
        for seed in (1, 2):
            assert main([*flags, f"--seed={seed}"]) == 130
    assert main([*flags, "--seed=3"]) == 0
    for seed in (2, 1):
        capsys.readouterr()
        assert main(["--resume"]) == 0
        out, err = capsys.readouterr()
        said, = re.findall(r"^runs/(\S+) is the newest unfinished run in runs$", err, re.MULTILINE)
        assert said in out and recbole_ssr.RunResult.read(Path("runs") / said).seed == seed
    assert "unfinished" in complaint(capsys, "--resume")


def test_the_script_of_the_checkout_is_the_same_command():
    done = subprocess.run([sys.executable, CHECKOUT / "run_recbole_ssr.py", "--modle=SSR"],
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "'modle'" in done.stderr and "model" in done.stderr and done.stdout == ""
