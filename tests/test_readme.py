"""What the README and the guide show, run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.commands.experiments import presets_of
from recbole_ssr.compare import comparison_options
from recbole_ssr.compare.data import check_modalities, load_data
from recbole_ssr.compare.plan import lines_of, plan_of
from recbole_ssr.config import build_config
from recbole_ssr.dataset_prep.command import options_from
from recbole_ssr.dataset_prep.options import recipe_of
from recbole_ssr.dataset_prep.splits import split_names
from recbole_ssr.flags import parse_flags
from recbole_ssr.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").glob("[sg]*/*.md"))  # start and guide
TEXT = "\n".join([README, *(page.read_text() for page in PAGES)])
OF_A_RUN = ("evaluate", "recommend", "export", "explain", "browse")


def blocks(language, text=TEXT):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_two_commands_stand_first_and_are_what_ci_runs():
    first, second = (block.strip() for block in blocks("bash", README)[:2])
    assert first == "pip install -e . && python run_recbole_ssr.py"
    assert second == 'pip install -e ".[test]" && pytest'
    script = (ROOT / ".ci" / "run").read_text()
    for command in re.split(r" && ", f"{first} && {second}"):
        assert command in script, command


def test_every_model_is_named():
    for model in MODELS:
        assert f"`{model}`" in TEXT or f"--model={model}" in TEXT, model


def command_lines():
    """The words after `recbole-ssr` of every line that starts with it, each once."""
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    commands = dict.fromkeys(line for line in lines if line.startswith("recbole-ssr "))
    return [shlex.split(line)[1:] for line in commands]


def test_every_command_line_is_accepted(tmp_path, monkeypatch):
    for block in blocks("yaml"):
        name = re.match(r"# (\w+\.yaml)\b", block)[1]
        (tmp_path / name).write_text(block)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "dataset/tiktok").mkdir(parents=True)
    (tmp_path / "dataset/tiktok/tiktok.inter").touch()
    presets = tmp_path / "comparisons/ml-100k/presets"
    presets.mkdir(parents=True)
    (presets / "FREEDOM.yaml").write_text("model: FREEDOM\nfeature_weight: 0.001\n")
    monkeypatch.chdir(tmp_path)
    checked = dict.fromkeys(("run", "prepare", "on demand", "comparison"), 0)
    for words in command_lines():
        if words[0] in ("diagnose", "data", *OF_A_RUN):  # run in test_diagnose.py and below
            continue
        if words[0] in ("models", "datasets", "runs"):
            assert main(words) == 0
            continue
        if words[0] in ("train", "compare"):
            words = words[1:]
        if words[0] == "tune" or is_comparison(words):
            check_comparison(words)
            checked["comparison"] += 1
            continue
        if words[0] == "prepare":
            prepared = options_from(words[1:])
            assert prepared.name in ("amazon-Office_Products", "tiktok", "shop")
            checked["prepare"] += 1
            continue
        flags = parse_flags(words)
        if flags.get("resume") or flags.get("dataset") == "shop" or "help" in flags:
            continue
        if recipe_of(str(flags.get("dataset"))):
            checked["on demand"] += 1
            continue
        files = flags.pop("config_files", [])
        build_config(config_files=files, flags=flags)
        checked["run"] += 1
    assert min(checked.values()) > 1


def is_comparison(words):
    flags = parse_flags(words) if words[0].startswith("--") else {}
    return comparison_options.is_comparison(flags.pop("config_files", []), flags)


def check_comparison(words):
    """All that a comparison does before anything runs."""
    tune = words[0] == "tune"
    flags = parse_flags(words[tune:])
    if tune:
        flags |= {"models": flags.pop("model"), "tune": flags.pop("trials")}
    asked = comparison_options.options_of(flags.pop("config_files", []), flags)
    lines = lines_of(asked, presets_of(asked))
    plan = plan_of(asked, lines)
    assert plan.tasks and (len(lines) > 1 or asked.tune)
    if asked.settings.get("dataset") != "tiktok":  # which the project must not hand on
        check_modalities(asked, load_data(asked.settings))


def test_the_guide_to_your_own_data_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECBOLE_SSR_CACHE", str(tmp_path / "cache"))
    (block,) = (block for block in blocks("python") if "orders.csv" in block)
    exec(compile(block, "own-data.md", "exec"), {})
    guide = [words for words in command_lines() if any("shop" in word for word in words)]
    assert [words[0] for words in guide] == ["prepare", "data", "--dataset=shop"]
    for words in guide:
        assert main([*words, "--show_progress=False"]) == 0
    out = capsys.readouterr().out
    assert "SSR" in out and "photo" in out and "text" in out
    assert (tmp_path / "dataset/shop/dataset.png").is_file()


@pytest.mark.slow
def test_what_a_trained_model_is_good_for_runs(tmp_path, monkeypatch, capsys):
    """On a run of the first command, cut short."""
    monkeypatch.chdir(tmp_path)
    lines = [words for words in command_lines() if words[0] in OF_A_RUN]
    assert {words[0] for words in lines} == set(OF_A_RUN)
    (run,) = {words[1] for words in lines}
    recbole_ssr.run(flags={"epochs": 1, "embedding_size": 8, "show_progress": False}, folder=run)
    (line,) = re.findall(r'`(\{"user".*\})`', TEXT)
    (tmp_path / "visitors.jsonl").write_text(line)
    for words in lines:
        if words[0] != "browse":  # which waits for a browser: test_browse.py
            assert main(words) == 0, words
    out = capsys.readouterr().out
    assert "visitor" in out and "the user's own embedding" in out
    assert (tmp_path / run / "explanation-196-15.png").is_file()
    rows = pd.read_csv("recommendations.csv")
    assert len(rows) == 943 * 20 and list(rows) == ["user", "item", "rank", "score"]
    user, item = np.load("embeddings/users.npy"), np.load("embeddings/items.npy")
    assert user.shape == (943, 9) and item.shape == (1682, 9)  # the bias is a channel


def test_the_table_of_splits_names_each_one():
    named = {name for row in re.findall(r"^\| (`.*) \|", TEXT, flags=re.MULTILINE)
             for name in re.findall(r"`([\w-]+)`", row.split("|")[0])}
    assert set(split_names()) <= named


@pytest.mark.slow
def test_the_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        if "register_model" in block:  # run in test_plugins.py
            continue
        exec(compile(block, "a page", "exec"), names)
    assert names["result"].test["recall@20"] > 0
    assert names["user"].shape[0] == 944 and names["config"]["n_bands"] == 3


def test_the_tree_of_a_run_is_what_the_readme_lists():
    from recbole_ssr import result, runs  # noqa: F401
    from recbole_ssr.train.trainer import BEST, LAST

    for name in ("config.yaml", result.FILE, "curve.png", "run.log", BEST, LAST):
        assert name in TEXT


def test_every_path_that_the_readme_names_exists():
    paths = set(re.findall(r"(?:recbole_ssr|properties|benchmarks|tests)/[\w/.-]+\.\w+", TEXT))
    missing = [path for path in paths
               if not any((root / path).exists() for root in (ROOT, ROOT / "docs"))]
    assert paths and not missing
