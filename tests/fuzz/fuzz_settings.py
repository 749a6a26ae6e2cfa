"""Settings of every bundled model, and those of the host that a run honours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import yaml
from fuzz_outcome import Wrong
from fuzz_values import ODD, mostly, values_of
from fuzz_world import World, check_run, chosen
from hypothesis import strategies as st

import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.cli import main
from recbole_ssr.errors import UserError
from recbole_ssr.settings import settings_of

# How settings reach a run: from Python, from a yaml file, or from the command line.
ROUTES = ("dict", "file", "flags")
# Progress bars, processes of their own and the network are no part of a case.
_LEFT_OUT = ("show_progress", "worker", "log_wandb", "wandb_project")


def _cases(model: str, values: Mapping[str, st.SearchStrategy], most: int) -> st.SearchStrategy:
    keys = st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=most, unique=True)
    return st.fixed_dictionaries({
        "model": st.just(model), "route": st.sampled_from(ROUTES),
        "settings": keys.flatmap(lambda some: st.fixed_dictionaries({k: values[k] for k in some})),
    })


def _of_model(model: str) -> st.SearchStrategy:
    """Draw settings that a model has of its own, of SSR those of a profile."""
    profiles = ("paper", "reference") if model == "SSR" else ("paper",)
    return st.sampled_from(profiles).flatmap(lambda profile: _cases(model, {
        setting.name: values_of(setting) for setting in settings_of(model, profile)
        if setting.file.startswith("model/")}, 4).map(lambda case: case | {
            "settings": {"profile": profile, **case["settings"]}}))


MODEL_CASES = st.sampled_from(sorted(registry.MODELS)).flatmap(_of_model)

_FIELDS = st.sampled_from(["user_id", "item_id", "part", "rating", "timestamp", "user", ""])
_SPLITS = st.one_of(
    st.sampled_from([{"RS": [0.8, 0.1, 0.1]}, {"RS": [8, 1, 1]}, {"LS": "valid_and_test"},
                     {"LS": "valid_only"}, {"LS": "test_only"}, {"RS": [1, 0, 0]}]),
    st.dictionaries(st.sampled_from(["RS", "LS", "rs", "XX"]), ODD, max_size=2),
    st.lists(st.sampled_from([0, 0.0, 0.1, 0.5, 0.8, 1, -1, 3, float("nan")]), max_size=4).map(
        lambda ratios: {"RS": ratios}),
)
_METRICS = ("Recall", "NDCG", "MRR", "Hit", "MAP", "Precision", "ItemCoverage", "GiniIndex",
            "ShannonEntropy", "AveragePopularity", "TailPercentage", "GAUC", "AUC", "LogLoss",
            "RMSE", "MAE", "recall", "Recal")
# Of these the type alone says little.
_STRUCTURED = {
    "eval_args": st.fixed_dictionaries({}, optional={
        "split": mostly(_SPLITS), "group_by": mostly(st.sampled_from(["user", "none", None])),
        "order": mostly(st.sampled_from(["RO", "TO"])),
        "mode": mostly(st.sampled_from(["full", "uni5", "pop5", "uni20", "uni100", "uni0", "uni",
                                        "labeled", {"valid": "uni5", "test": "full"}])),
    }),
    "metrics": mostly(st.one_of(st.lists(st.sampled_from(_METRICS), max_size=4),
                                st.sampled_from(_METRICS))),
    "valid_metric": mostly(st.builds("{}{}".format, st.sampled_from(_METRICS),
                                     st.sampled_from(["", "@2", "@5", "@10", "@", "@x", "@0"]))),
    "load_col": mostly(st.one_of(st.none(), st.dictionaries(
        st.sampled_from(["inter", "item", "user", "net"]), st.lists(_FIELDS, max_size=4),
        max_size=2))),
    "unload_col": mostly(st.sampled_from([None, {"inter": ["part"]}])),
    "unused_col": mostly(st.sampled_from([None, {"inter": ["part"]}])),
    "split_column": mostly(st.one_of(st.none(), _FIELDS)),
    "val_interval": mostly(st.sampled_from(
        [None, {}, {"part": "[0,2]"}, {"part": "[0,inf)"}, {"rating": "[3,inf)"},
         {"part": ">=1"}, {"user_id": "[u1,u2]"}, {"part": 1}, {"part": None}, "[0,1]"])),
    "threshold": mostly(st.sampled_from([None, {"part": 1}, {"rating": 3}, {"part": "x"}, {}])),
    "device": mostly(st.sampled_from(["auto", "cpu", "cuda", "cuda:0", "cuda:9", "mps", "gpu"])),
    "data_path": st.sampled_from(["nowhere", "", None, 3, ["a"], "/", ".", "~", "a\x00b"]),
    "dataset": st.sampled_from(["tiny", "Tiny", "", "a/b", "..", None, 3, ["tiny"], "x" * 300]),
    "feature_path": mostly(st.sampled_from(["features", ".", "nowhere", "/", "", "..", "~"])),
    "cache_dir": mostly(st.sampled_from([None, "cache", "a/b", "", "/dev/null", "/proc/x", "~x"])),
    "run_dir": mostly(st.sampled_from(["runs", "a/b", "", "/dev/null", "/proc/x", ".", "é"])),
    "checkpoint_dir": mostly(st.sampled_from(["saved", "", "/dev/null", "/proc/x"])),
    "field_separator": mostly(st.sampled_from(["\t", ",", " ", "", "\\t", "||", ".", "\n"])),
    "additional_feat_suffix": mostly(st.sampled_from([None, [], ["net"], "net", ["item"], [1]])),
    "discretization": mostly(st.sampled_from(
        [None, {}, {"part": {"method": "LD"}}, {"part": {"method": "ED", "bucket": 3}},
         {"rating": {"method": "EF", "bucket": 2}}, {"part": 3}])),
    "preload_weight": mostly(st.sampled_from([None, {}, {"item_id": "part"}])),
    "benchmark_filename": mostly(st.sampled_from([None, ["train", "valid", "test"], [], "part"])),
    "encoding": mostly(st.sampled_from([None, "utf-8", "latin-1", "utf-16", "utf-8-sig", "utf9"])),
    "resume": st.sampled_from([None, True, "", ".", "nowhere", "/dev/null", 3]),
    "prepare": st.sampled_from([None, {}, "nope", {"k_core": 5}, {"nope": 1}]),
    "modalities": mostly(st.sampled_from([None, "text", ["text"], ["image", "text"], ["txt"]])),
}
_HOST_MODELS = ("SSR", "VBPR", "BM3", "FREEDOM", "GFCF", "FastLightGCN", "BPR", "LightGCN", "Pop",
                "ItemKNN", "EASE", "NeuMF", "MultiVAE", "DMF", "SASRec", "FM")


def _of_host(model: str) -> st.SearchStrategy:
    """Draw settings of the data, training and evaluation; for RecBole's models their own too."""
    values = {setting.name: values_of(setting) for setting in settings_of(model)
              if not setting.file.startswith("model/") or model not in registry.MODELS}
    values |= _STRUCTURED
    return _cases(model, {k: v for k, v in values.items() if k not in _LEFT_OUT}, 3)


HOST_CASES = st.sampled_from(_HOST_MODELS).flatmap(_of_host)


def check_settings(case: dict, world: World, folder: Path) -> None:
    """Train a model under the settings of a case, which reach it by its route."""
    settings = chosen(case["model"], case["settings"], world.settings)
    settings.setdefault("run_dir", str(folder / "runs"))
    settings.setdefault("dataset", "tiny")
    if case["route"] == "flags":
        check_flags([f"--model={case['model']}", *map(flag, settings.items())], folder)
        return
    if case["route"] == "file":
        Path("given.yaml").write_text(yaml.safe_dump(settings))
        result = recbole_ssr.run(case["model"], config_files=["given.yaml"])
    else:
        result = recbole_ssr.run(case["model"], config_dict=settings)
    check_run(Path(result.run))


def flag(setting: tuple[str, object]) -> str:
    """Write a setting as a word of the command line."""
    key, value = setting
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return f"--{key}={text.strip().removesuffix('...').strip()}"


def check_flags(argv: list[str], folder: Path) -> None:
    """Run a command line; raise UserError with what it says where it refuses."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(argv)
    if code:
        lines = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
        if code != 2 or len(lines) != 1:
            raise Wrong(f"exit status {code}, {said.getvalue()[-300:]!r}")
        if not said.getvalue().endswith(f"{lines[0]}\n"):
            raise Wrong(f"a message of several lines: {said.getvalue()[-300:]!r}")
        raise UserError(lines[0])
    for run in folder.glob("runs/*"):
        check_run(run)
