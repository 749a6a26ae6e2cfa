"""What runs leave behind and read again: checkpoints, results and caches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from fuzz_bytes import DAMAGE, damage
from fuzz_outcome import Wrong
from fuzz_values import ODD
from fuzz_world import World, check_result, check_run, chosen
from hypothesis import strategies as st

import recbole_ssr
from recbole_ssr.diagnose import diagnose
from recbole_ssr.measurement import evaluate
from recbole_ssr.quick_start import load_run
from recbole_ssr.result import RunResult
from recbole_ssr.train import checkpoint

# A parameter that is trained, one that is fitted, and one of RecBole's.
STORED_MODELS = ("SSR", "VBPR", "GFCF", "BPR")
_KEYS = ("state_dict", "optimizer", "other_parameter", "epoch", "cur_step", "best_valid_score",
         "best_valid_result", "history", "stopped", "random_state", "config")
_STATE = st.one_of(
    st.fixed_dictionaries({"do": st.sampled_from(["drop", "none"]), "key": st.sampled_from(_KEYS)}),
    st.fixed_dictionaries({"do": st.just("set"), "key": st.sampled_from(_KEYS), "value": ODD}),
    st.fixed_dictionaries({"do": st.sampled_from(
        ["drop parameter", "rename parameter", "wider", "nan", "inf", "empty", "double", "whole",
         "complex", "text"]), "at": st.integers(0, 30)}),
    st.fixed_dictionaries({"do": st.just("of"), "model": st.sampled_from(STORED_MODELS)}),
    st.fixed_dictionaries({"do": st.sampled_from(["empty state", "no dict"])}),
)
CHECKPOINT_CASES = st.fixed_dictionaries({
    "model": st.sampled_from(STORED_MODELS),
    "file": st.sampled_from(["best.pth", "last.pth"]),
    "change": st.one_of(DAMAGE, _STATE),
    "then": st.sampled_from(["load", "resume", "measure", "diagnose"]),
})


def check_checkpoint(case: dict, world: World, folder: Path) -> None:
    """Use a run whose checkpoint changed: with the numbers that it was written with, or not."""
    run = world.copy_of_run(case["model"], folder)
    file, change = run / case["file"], case["change"]
    clean = checkpoint.load(run / "best.pth")["state_dict"]
    result = RunResult.read(run)
    if change["do"] in ("flip", "flip at the start", "cut", "add", "fill", "become"):
        damage(file, change)
        meant = False
    elif change["do"] == "of":
        shutil.copy(world.run_of(change["model"]) / case["file"], file)
        meant = False
    else:
        # Saved as the package saves, so that only what the state says can be wrong.
        checkpoint.save(_changed(checkpoint.load(file), change), file)
        meant = True
    if case["then"] == "load":
        model = load_run(run).model
        for name, value in model.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise Wrong(f"{name} of a loaded model is not finite")
            if not meant and not torch.equal(value, clean[name]):
                raise Wrong(f"{name} of a loaded model is not what was saved")
    elif case["then"] == "resume":
        again = recbole_ssr.run(flags={"resume": str(run)})
        check_run(run)
        if not meant and (again.valid, again.test) != (result.valid, result.test):
            raise Wrong(f"resumed to {again.test}, which were {result.test}")
    elif case["then"] == "measure":
        found = evaluate(run, {})
        if not meant and found.test != result.test:
            raise Wrong(f"measured {found.test}, which were {result.test}")
    else:
        diagnose(run, folder / "diagnosis")


def _changed(state: dict, change: Mapping[str, object]) -> dict:
    """Return a checkpoint with one thing in it that no run writes."""
    kind = change["do"]
    if kind in ("drop", "none", "set"):
        state = {**state, change["key"]: change.get("value")}
        if kind == "drop":
            del state[change["key"]]
        return state
    if kind in ("empty state", "no dict"):
        return {} if kind == "empty state" else {**state, "state_dict": [1, 2]}
    parameters = dict(state["state_dict"])
    if not parameters:
        return state
    name = sorted(parameters)[change["at"] % len(parameters)]
    value = parameters.pop(name)
    if kind == "rename parameter":
        parameters[f"{name}x"] = value
    elif kind != "drop parameter":
        parameters[name] = _odd_tensor(value, kind)
    return {**state, "state_dict": parameters}


def _odd_tensor(value: torch.Tensor, kind: str) -> object:
    if kind in ("nan", "inf") and value.is_floating_point() and value.numel():
        value = value.clone()
        value.view(-1)[0] = float(kind)
        return value
    return {"wider": lambda: torch.cat([value, value]) if value.dim() else value[None],
            "empty": lambda: value.new_zeros(0), "double": value.double, "whole": value.int,
            "complex": lambda: value.to(torch.complex64), "text": lambda: "text",
            "nan": lambda: value, "inf": lambda: value}[kind]()


RESULT_CASES = st.fixed_dictionaries({
    "file": st.sampled_from(["metrics.json", "config.yaml", "ranking.npz"]),
    "change": st.one_of(DAMAGE, st.fixed_dictionaries({
        "do": st.just("field"), "key": st.sampled_from([*RunResult.__dataclass_fields__]),
        "value": ODD})),
    "then": st.sampled_from(["diagnose", "run again", "load"]),
})

CACHE_CASES = st.fixed_dictionaries({
    "model": st.sampled_from(["SSR", "FREEDOM"]),
    "changes": st.lists(st.fixed_dictionaries({
        "at": st.integers(0, 5),
        "change": st.one_of(DAMAGE, st.fixed_dictionaries({"do": st.sampled_from(
            ["shuffled", "other type", "negative", "not finite"])})),
    }), min_size=1, max_size=2),
})
# So that directions, bands and item graphs are all stored.
_CACHING = {"SSR": {"feature_components": 3, "item_graph_weight": 0.5, "band_filter": "exact"},
            "FREEDOM": {}}


def check_cache(case: dict, world: World, folder: Path) -> None:
    """Train beside a cache that changed: what comes out is what came out without it."""
    name = f"cached {case['model']}"
    settings = chosen(case["model"], _CACHING[case["model"]], world.settings)
    store = world.root / name
    if not store.is_dir():
        first = recbole_ssr.run(case["model"], "tiny", config_dict=settings | {
            "cache_dir": str(store), "run_dir": str(store / "runs")})
        (store / "expected.json").write_text(json.dumps([first.valid, first.test]))
    cache = Path(shutil.copytree(store, folder / "cache"))
    files = sorted(path for path in cache.glob("*/*.np*"))
    if not files:
        raise Wrong("nothing was stored")
    for change in case["changes"]:
        file = files[change["at"] % len(files)]
        if file.is_file():
            _change_array(file, change["change"])
    result = recbole_ssr.run(case["model"], "tiny", config_dict=settings | {
        "cache_dir": str(cache), "run_dir": str(folder / "runs")})
    check_run(Path(result.run))
    if [result.valid, result.test] != json.loads((store / "expected.json").read_text()):
        raise Wrong(f"the cache changed the result to {result.test}")


def _change_array(file: Path, change: Mapping[str, object]) -> None:
    if change["do"] not in ("shuffled", "other type", "negative", "not finite"):
        damage(file, change)
        return
    try:
        array = np.load(file)
    except (ValueError, OSError, EOFError):
        return
    if not isinstance(array, np.ndarray):  # an earlier change has left an archive
        return
    if change["do"] == "shuffled":
        array = np.random.default_rng(0).permutation(array.reshape(-1)).reshape(array.shape)
    elif change["do"] == "other type":
        array = array.astype(np.int16 if array.dtype.kind == "f" else np.float32)
    elif change["do"] == "negative":
        array = -array
    elif array.size:
        array = array.astype(np.float32)
        array.flat[0] = np.nan
    np.save(file, array)


def check_left_behind(case: dict, world: World, folder: Path) -> None:
    """Use a finished run of which a file other than a checkpoint changed."""
    run = world.copy_of_run("SSR", folder)
    file, change = run / case["file"], case["change"]
    if change["do"] != "field":
        damage(file, change)
    elif file.suffix == ".json":
        content = json.loads(file.read_text()) | {change["key"]: change["value"]}
        file.write_text(json.dumps(content))
    if case["then"] == "diagnose":
        diagnose(run, folder / "diagnosis")
    elif case["then"] == "load":
        load_run(run)
    else:
        settings = chosen("SSR", {}, world.settings)
        check_result(recbole_ssr.run("SSR", "tiny", config_dict=settings, folder=run))
