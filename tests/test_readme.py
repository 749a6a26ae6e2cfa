"""What the README shows, run."""

import re
import shlex
from pathlib import Path

import pytest

from recbole_ssr.cli import main
from recbole_ssr.config import build_config
from recbole_ssr.flags import parse_flags

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_two_commands_stand_first_and_are_what_ci_runs():
    first, second = (block.strip() for block in blocks("bash")[:2])
    assert first == "pip install -e . && python run_recbole_ssr.py"
    assert second == 'pip install -e ".[test]" && pytest'
    script = (ROOT / ".ci" / "run").read_text()
    for command in re.split(r" && ", f"{first} && {second}"):
        assert command in script, command


def test_every_command_line_is_accepted(tmp_path, monkeypatch):
    (tmp_path / "my.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("bash") for line in block.splitlines()
             if line.startswith("recbole-ssr ")]
    assert len(lines) >= 4
    checked = 0
    for line in lines:
        if line.startswith("recbole-ssr diagnose "):  # run in test_diagnose.py
            continue
        flags = parse_flags(shlex.split(line)[1:])
        if flags.get("resume") or flags.get("dataset") == "shop" or "help" in flags:
            continue
        files = flags.pop("config_files", [])
        build_config(config_files=files, flags=flags)
        checked += 1
    assert checked == 6


def test_help_names_the_models_and_the_settings(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "SSR" in text and "--resume" in text and "learning_rate" in text


@pytest.mark.slow
def test_the_python_examples_and_the_shop_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["result"].test["recall@20"] > 0
    assert names["user"].shape[0] == 944 and names["config"]["n_bands"] == 3
    pairs = [f"u{u}\titem{(7 * u + 3 * k) % 100}" for u in range(60) for k in range(10)]
    header = "user_id:token\titem_id:token"
    (tmp_path / "dataset/shop/shop.inter").write_text("\n".join([header, *pairs]) + "\n")
    (line,) = (line for block in blocks("bash") for line in block.splitlines() if "shop" in line)
    assert main([*shlex.split(line)[1:], "--epochs=1"]) == 0
    assert "SSR" in capsys.readouterr().out


def test_the_tree_of_a_run_is_what_the_readme_lists():
    from recbole_ssr import result, runs  # noqa: F401
    from recbole_ssr.train.trainer import BEST, LAST

    for name in ("config.yaml", result.FILE, "curve.png", "run.log", BEST, LAST):
        assert name in README


def test_every_path_that_the_readme_names_exists():
    paths = set(re.findall(r"(?:recbole_ssr|properties|benchmarks|tests)/[\w/.-]+\.\w+", README))
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert paths and not missing
