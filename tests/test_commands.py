"""The commands: their help, what they list, and words that are none of them."""

import os
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_comparison import made_result
from recbole.utils import get_model
from tiny import SETTINGS, write_tiny

from recbole_ssr import registry, runs
from recbole_ssr.cli import main
from recbole_ssr.commands import experiments
from recbole_ssr.commands.datasets import counted, widths
from recbole_ssr.commands.help import help_of
from recbole_ssr.commands.models import as_yaml, takes
from recbole_ssr.commands.runs import age_of
from recbole_ssr.commands.table import COMMANDS
from recbole_ssr.compare import comparison_options
from recbole_ssr.config import build_config
from recbole_ssr.data.features import write_features
from recbole_ssr.dataset_prep.options import Options, recipe_names
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare
from recbole_ssr.result import RunResult
from recbole_ssr.settings import settings_of

_LINES, _COLUMNS = 48, 100  # of a screen


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(capsys, *words):
    """Return what a command that succeeds prints, as lines."""
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def complaint(capsys, *words):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and len(err.splitlines()) == 1
    return err


def row_of(lines, name):
    """Return the cells of the row that starts with a name."""
    (line,) = (line for line in lines if line.split()[:1] == [name])
    return line.split()


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"],
                                   *([name, "--help"] for name in COMMANDS),
                                   ["help", "train"], ["train", "--model=BPR", "--help"]], ids=str)
def test_help_is_one_screen(words, capsys):
    lines = printed(capsys, *words)
    assert 5 < len(lines) <= _LINES and max(map(len, lines)) <= _COLUMNS


def test_help_lists_every_command_and_every_option(capsys):
    overview = printed(capsys, "--help")
    for name, known in COMMANDS.items():
        assert f"  {name:<10} {known.summary}" in overview
        assert all(f"\n  --{key}" in help_of(name) for key in known.options)
    assert set(COMMANDS["compare"].flags) == set(comparison_options.NAMES)
    assert set(COMMANDS["tune"].flags) - {"model", "trials", "seed"} < set(comparison_options.NAMES)
    for option in fields(Options):
        flag = {"source": "from"}.get(option.name, option.name)
        assert f"\n  --{flag}" in help_of("prepare") or flag == "path"
    settings = {setting.name for setting in settings_of("SSR")}
    beside = {"config_files", "model", "dataset", "no_download"}
    assert set(COMMANDS["train"].flags) <= settings | beside


@pytest.mark.parametrize("words, told", [
    (["trian"], ["'trian'", "Did you mean 'train'?", *COMMANDS]),
    (["lightgcn"], ["recbole-ssr train --model=LightGCN", *COMMANDS]),
    (["model=SSR"], ["'model=SSR' is no flag. Did you forget '--'"]),
    (["help", "xyzzy"], ["'xyzzy'", *COMMANDS]),
    (["train", "--models=SSR,BPR"], ["recbole-ssr compare"]),
    (["train", "SSR"], ["'SSR' is no flag"]),
    (["compare", "--model=SSR"], ["compare needs models"]),
    (["compare", "--models=SSR,SRS"], ["'SRS'", "'SSR'"]),
    (["models", "SRS"], ["'SRS'", "'SSR'", "recbole-ssr models"]),
    (["models", "SSR", "--profile=tictoc"], ["'tictoc'", "'tiktok'"]),
    (["models", "--profile=tiktok"], ["recbole-ssr models NAME --profile=tiktok"]),
    (["models", "--al"], ["--al", "--all"]),
    (["datasets", "--data_path"], ["--data_path needs a value"]),
    (["runs", "nowhere"], ["no folder nowhere"]),
    (["recommend", "--all"], ["run folder", "recbole-ssr runs"]),
    (["train", "--model=FREEDON"], ["'FREEDOM'", "recbole-ssr models"]),
])
def test_a_mistaken_word_is_one_line_that_helps(words, told, capsys):
    line = complaint(capsys, *words)
    for part in told:
        assert part in line
    assert line.count("'") <= 8  # no wall of names


def test_the_version_names_what_a_result_depends_on(capsys):
    (line,) = printed(capsys, "--version")
    found = runs.versions()
    assert line.startswith(f"recbole-ssr {found.pop('recbole_ssr')} (")
    assert all(f"{name} {version}" in line for name, version in found.items())


def test_train_is_the_line_without_a_command(capsys, tmp_path):
    settings = SETTINGS | write_tiny(tmp_path / "data") | {"epochs": 1, "dataset": "tiny"}
    flags = [f"--{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
             for key, value in settings.items()]
    for k, words in enumerate((["--model=BPR"], ["train", "--model=BPR"])):
        assert main([*words, *flags, f"--run_dir=runs{k}"]) == 0
    first, second = (RunResult.read(next(Path(f"runs{k}").iterdir())) for k in range(2))
    assert first.config_hash == second.config_hash and first.test == second.test
    assert "BPR" in capsys.readouterr().out


def test_compare_is_the_line_without_a_command_that_names_models(monkeypatch, capsys):
    asked = []

    def compare(options, console):  # noqa: ARG001
        asked.append(options)
        raise UserError("enough")

    monkeypatch.setattr(experiments, "compare", compare)
    Path("models.yaml").write_text("models: {A: {model: SSR}, B: {model: BPR}}\n")
    for words in (["--models=SSR,BPR", "--seeds=2"], ["--config_files", "models.yaml"]):
        assert "enough" in complaint(capsys, *words)
        assert "enough" in complaint(capsys, "compare", *words)
        assert asked[-1] == asked[-2]
    assert list(asked[0].models) == ["SSR", "BPR"] and list(asked[-1].models) == ["A", "B"]


# models


def test_the_list_of_models_has_each_with_paper_and_profiles(capsys):
    lines = printed(capsys, "models")
    assert max(map(len, lines)) <= _COLUMNS and len(lines) <= 3 * len(registry.MODELS)
    for model in registry.MODELS:
        assert row_of(lines, model)
    assert "NeurIPS 2025" in " ".join(row_of(lines, "SSR"))
    assert row_of(lines, "SSR")[-3:] == ["needed", "reference,", "tiktok"]
    assert row_of(lines, "GFCF")[-1] == "-"
    assert str(len(registry.recbole_model_names())) in lines[-3]
    text = " ".join(printed(capsys, "models", "--all"))
    assert all(name in text for name in registry.recbole_model_names() if name != "Random")


@pytest.mark.parametrize("model", registry.MODELS)
def test_a_model_needs_features_exactly_if_it_says_so(model, tmp_path):
    settings = SETTINGS | write_tiny(tmp_path, features=False)
    if "embedding_size" not in {setting.name for setting in settings_of(model)}:
        del settings["embedding_size"]
    config = build_config(model, "tiny", config_dict=settings)
    if not get_model(model).needs_features:
        assert prepare(config).model is not None
        return
    with pytest.raises(UserError, match="feature folder"):
        prepare(config)


def test_the_settings_of_a_model_have_type_range_default_and_meaning(capsys):
    lines = printed(capsys, "models", "ssr")
    assert max(map(len, lines)) <= _COLUMNS
    text = "\n".join(lines)
    head = " ".join(" ".join(lines[:3]).split())
    assert "Yang et al., NeurIPS 2025" in head and "paper (shown), reference, tiktok." in head
    assert "Setting Default Takes Meaning" in " ".join(text.split())
    assert row_of(lines, "n_bands") == ["n_bands", "3", "int", "[1,", "256]", "Spectral", "bands",
                                        "M."]
    assert row_of(lines, "mask_rate")[:5] == ["mask_rate", "0.2", "float", "[0,", "1)"]
    assert "linear | mlp" in text and "epochs" not in {line.split(" ")[0] for line in lines}
    own = [s.name for s in settings_of("SSR") if s.file.startswith("model/")]
    assert all(row_of(lines, name) for name in own)
    tiktok = printed(capsys, "models", "SSR", "--profile=tiktok")
    assert row_of(tiktok, "sampling_power")[1] == "0.5"
    assert "tiktok (shown)" in " ".join(tiktok[:2])


@pytest.mark.parametrize("model", ["SSR", "LightGCN", "GFCF", "CKE"])
def test_all_settings_of_a_model_are_those_that_a_run_takes(model, capsys):
    lines = printed(capsys, "models", model, "--all")
    assert max(map(len, lines)) <= _COLUMNS
    for setting in settings_of(model):
        if not setting.status:
            assert setting.name in {line.split(" ")[0] for line in lines}, setting.name
    assert row_of(lines, "epochs")[1] == str(
        next(s.default for s in settings_of(model) if s.name == "epochs"))


@pytest.mark.parametrize("name, values, default", [
    ("n_layers", "int [0, 64]", "2"), ("projection", "linear | mlp", "linear"),
    ("knn_weights", "dict of float or null [0, inf)", "~"), ("gate_gains", None, "[1]"),
    ("train_features", "bool", "False"), ("eval_args", "dict",
     "{split: {RS: [0.8, 0.1, 0.1]}, group_by: user, order: RO, mode: full}")])
def test_a_setting_is_shown_as_it_is_given(name, values, default):
    setting = next(setting for setting in settings_of("SSR") if setting.name == name)
    assert values in (None, takes(setting)) and as_yaml(setting.default) == default
    setting.check(yaml.safe_load(as_yaml(setting.default)), name)


# datasets


def test_the_list_of_datasets_has_sizes_and_modalities(capsys, tmp_path):
    write_tiny(tmp_path / "dataset")
    (tmp_path / "dataset/no-dataset").mkdir()
    lines = printed(capsys, "datasets")
    assert max(map(len, lines)) <= _COLUMNS
    assert row_of(lines, "ml-100k") == ["ml-100k", "943", "1,682", "100,000", "kg,", "text",
                                        "embedded"]
    assert row_of(lines, "tiny") == ["tiny", "40", "24", "360", "image", "7,", "text", "5", "own",
                                     "files"]
    assert all(row_of(lines, name)[-3:] == ["made", "on", "demand"] for name in recipe_names())
    assert row_of(lines, "amazon-sports")[1:4] == ["35,598", "18,357", "296,337"]
    assert not any("no-dataset" in line for line in lines)
    elsewhere = printed(capsys, "datasets", "--data_path=nowhere")
    assert not any(line.startswith("tiny") for line in elsewhere)


@pytest.mark.parametrize("text, sizes", [
    ("user_id:token\titem_id:token\nNA\t1\n\"a\t1\nNA\t2\n", (2, 2, 3)),
    ("time:float\titem_id:token\tuser_id:token\n1\ti\tu\n2\ti\tv\n", (2, 1, 2)),
    ("iid:token\tplayer:token\ni\tu\ni\tv\n", (2, 1, 2)),
    ("a:token\tb:token\ni\tu\ni\tv\n", (1, 2, 2)),
    ("b:token\tplayer:token\tuserID:token\ni\ta\tu\ni\tb\tv\n", (2, 1, 2)),
    ("user_id:token\n", (None,) * 3), ("", (None,) * 3), ("\xff\xfe", (None,) * 3)])
def test_sizes_are_those_of_the_file(text, sizes, tmp_path):
    (tmp_path / "a.inter").write_bytes(text.encode("latin-1"))
    assert counted(tmp_path / "a.inter") == sizes


def test_features_that_cannot_be_read_are_named(tmp_path):
    write_features(tmp_path, "text", np.ones((2, 3), dtype=np.float32), ["a", "b"])
    (tmp_path / "image.npy").write_bytes(b"nothing")
    assert widths(tmp_path) == "image (damaged), text 3" and widths(tmp_path / "x") == "-"


# runs


@pytest.fixture
def some_runs(tmp_path):
    """Two finished runs, one validated, one unfinished, and one that is damaged."""
    now = time.time()
    for k, (name, file) in enumerate((("tiktok-SSR-1", "metrics.json"), ("tiktok-BPR-2", None),
                                      ("tiktok-BPR-3", "valid.json"), ("broken", "metrics.json"),
                                      ("tiktok-FREEDOM-20261124-101500", "metrics.json"))):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        model = name.split("-")[1] if "-" in name else "SSR"
        (folder / "config.yaml").write_text(f"model: {model}\ndataset: tiktok\n"
                                            "valid_metric: Recall@20\n")
        if file:
            made_result(model, run=str(folder), valid={"recall@20": 0.25},
                        test={} if file == "valid.json" else {"recall@20": 0.5}).write(file)
        if name == "broken":
            (folder / file).write_text("{")
        for path in folder.iterdir():
            os.utime(path, (now - 3600 * 10 ** k,) * 2)
    return tmp_path / "runs"


@pytest.mark.usefixtures("some_runs")
def test_the_list_of_runs_has_metric_state_and_age_newest_first(capsys):
    lines = printed(capsys, "runs")
    assert max(map(len, lines)) <= _COLUMNS
    assert [line.split()[0] for line in lines[1:6]] == [
        "tiktok-SSR-1", "tiktok-BPR-2", "tiktok-BPR-3", "broken", "tiktok-FREEDOM-20261124-101500"]
    assert row_of(lines, "tiktok-SSR-1")[1:] == ["SSR", "tiktok", "Recall@20", "0.2500", "0.5000",
                                                 "finished", "1", "h"]
    assert row_of(lines, "tiktok-BPR-2")[1:] == ["BPR", "tiktok", "Recall@20", "-", "-",
                                                 "unfinished", "10", "h"]
    assert row_of(lines, "tiktok-BPR-3")[4:] == ["0.2500", "-", "validated", "4", "days"]
    assert row_of(lines, "broken")[1:7] == ["-"] * 5 + ["damaged"]
    assert "--resume=runs/tiktok-BPR-2" in lines[-1]


def test_old_runs_are_counted_and_listed_on_demand(capsys, tmp_path):
    for k in range(23):
        (tmp_path / f"some/run{k}").mkdir(parents=True)
        (tmp_path / f"some/run{k}/config.yaml").write_text("model: SSR\ndataset: d\n")
    lines = printed(capsys, "runs", "some")
    assert len([line for line in lines if line.startswith("run")]) == 20
    assert "and 3 older ones: --all" in lines
    assert len([line for line in printed(capsys, "runs", "some", "--all")
                if line.startswith("run")]) == 23
    assert "no runs in runs" in printed(capsys, "runs")[0]


@pytest.mark.parametrize("seconds, told", [
    (-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400, "1 day"), (3e5, "3 days")])
def test_an_age_is_in_its_largest_unit(seconds, told):
    assert age_of(seconds) == told
