"""Item features: headers and contents of .npy files, and the tokens beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fuzz_bytes import DAMAGE, damage
from fuzz_outcome import Wrong
from fuzz_tables import IDS
from fuzz_world import World, check_run, chosen
from hypothesis import strategies as st

import recbole_ssr

_MODELS = ("VBPR", "SSR", "FREEDOM", "LATTICE", "FeatureEASE", "FeatureItemKNN", "MGCN",
           "FeatureLightGCN")
_SIZES = ("24", "5", "0", "1", "-1", "-24", "True", "False", "2**62", "10**30", "24.0", "'24'",
          "None", "23", "25")
_ROWS = st.one_of(st.none(), st.integers(0, 23))  # None is all of them
_VALUES = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e-45, 1e18, 1e30, 3e38, -3e38, 1e39, 1e300,
                           float("nan"), float("inf"), float("-inf")])
_HEADER = st.fixed_dictionaries({"do": st.just("header")}, optional={
    "shape": st.one_of(
        st.builds("({}, {})".format, st.sampled_from(_SIZES), st.sampled_from(_SIZES)),
        st.sampled_from(["()", "(120,)", "(24, 5, 1)", "24", "[24, 5]", "(24, 5", "None"])),
    "descr": st.sampled_from(["'<f4'", "'<f8'", "'>f4'", "'<f2'", "'<f16'", "'|O'", "'<i4'",
                              "'<c8'", "'<U5'", "'|V4'", "'|b1'", "'<M8[s]'", "[('a', '<f4')]",
                              "'nope'", "4", "None"]),
    "fortran_order": st.sampled_from(["True", "False", "0", "None", "'x'"]),
    "more": st.sampled_from(["'x': 1, ", "}", "{", "\n", "#", "\x00", "é", "(" * 200]),
    "without": st.sampled_from(["shape", "descr", "fortran_order"]),
    "version": st.sampled_from([[1, 0], [2, 0], [3, 0], [0, 0], [9, 9]]),
    "length": st.sampled_from([0, 1, 60, 118, 60000, 2**32 - 1]),
})
_CONTENT = st.fixed_dictionaries({
    "do": st.just("values"), "row": _ROWS, "column": _ROWS, "value": _VALUES,
    "type": st.sampled_from(["<f4", "<f8", ">f4", "<f2", "<i4", "<c8", "O", "?", "<U3"]),
})
_MATRIX = st.one_of(_HEADER, _CONTENT, DAMAGE)
_TOKENS = st.one_of(
    st.fixed_dictionaries({"do": st.just("line"), "row": st.integers(0, 24), "text": IDS,
                           "how": st.sampled_from(["replace", "insert", "delete", "repeat"])}),
    st.fixed_dictionaries({"do": st.just("encode"), "as": st.sampled_from(
        ["utf-8-sig", "utf-16", "latin-1", "utf-32"])}),
    st.fixed_dictionaries({"do": st.just("ends"), "as": st.sampled_from(
        ["\r\n", "\r", "\n\n", " \n", "\t", "\x00", "\u2028"])}),
    st.fixed_dictionaries({"do": st.just("last"),
                           "as": st.sampled_from(["", "\n\n", "\r\n", " "])}),
    DAMAGE,
)
_NAMES = st.sampled_from(["text.NPY", "Text.npy", "id.npy", "te xt.npy", ".text.npy",
                          "text.npy.npy", "text", "audio.npy", "é.npy"])


def _on(file: str, changes: st.SearchStrategy) -> st.SearchStrategy:
    return changes.map(lambda change: change | {"file": file})


FEATURE_CASES = st.fixed_dictionaries({
    "model": st.sampled_from(_MODELS),
    "changes": st.lists(st.one_of(
        _on("text.npy", _MATRIX), _on("image.npy", _MATRIX), _on("text.tokens", _TOKENS),
        _NAMES.map(lambda name: {"file": "text.npy", "do": "rename", "as": name}),
    ), min_size=1, max_size=2),
    "settings": st.fixed_dictionaries({}, optional={
        "feature_fill": st.sampled_from(["zero", "mean", "error"]),
        "feature_scaling": st.sampled_from(["none", "l2", "standardise"]),
        "modalities": st.sampled_from([["text"], ["image"], ["text", "image"]]),
    }),
})


def check_features(case: dict, world: World, folder: Path) -> None:
    """Train on features that a case changed: with all of them, or an error."""
    shutil.copytree(world.root / "data" / "tiny", folder / "tiny")
    features = folder / "tiny" / "features"
    for change in case["changes"]:
        file = features / change["file"]
        if file.is_file():
            _change(file, change)
    seen = []

    def keep(_state, experiment, _history):
        seen.append(experiment.dataset.item_features.modalities)

    settings = chosen(case["model"], {"data_path": str(folder), **case["settings"]}, world.settings)
    result = recbole_ssr.run(case["model"], "tiny", config_dict=settings, callback=keep)
    check_run(Path(result.run))
    there = {path.name.removesuffix(".tokens") for path in features.glob("*.tokens")}
    if "modalities" not in case["settings"] and set(seen[0]) != there:
        raise Wrong(f"trained on {', '.join(seen[0])}, but {', '.join(sorted(there))} lie there")


def _change(file: Path, change: Mapping[str, object]) -> None:
    kind = change["do"]
    if kind == "header":
        _write_header(file, change)
    elif kind == "values":
        _set_values(file, change)
    elif kind == "rename":
        file.rename(file.with_name(change["as"]))
    elif kind in ("line", "encode", "ends", "last"):
        file.write_bytes(_tokens(file.read_bytes(), change))
    else:
        damage(file, change)


def _write_header(file: Path, change: Mapping[str, object]) -> None:
    """Write the file's numbers below a header that numpy itself would never write."""
    matrix = _matrix_of(file)
    if matrix is None:
        return
    matrix = np.ascontiguousarray(matrix)
    fields = {"descr": "'<f4'", "fortran_order": "False", "shape": str(matrix.shape)}
    fields |= {name: change[name] for name in fields if name in change}
    fields.pop(change.get("without"), None)
    text = "{" + "".join(f"'{name}': {value}, " for name, value in fields.items())
    text = (text + change.get("more", "") + "}").ljust(117) + "\n"
    major, minor = change.get("version", [1, 0])
    content = text.encode("latin-1" if major < 3 else "utf-8")
    length = change.get("length", len(content)).to_bytes(4, "little")
    start = b"\x93NUMPY" + bytes([major, minor]) + (length[:2] if major == 1 else length)
    file.write_bytes(start + content + matrix.tobytes())


def _matrix_of(file: Path) -> np.ndarray | None:
    """Return what a file holds, or None where an earlier change has left no matrix."""
    try:
        return np.load(file, allow_pickle=True)
    except Exception:  # numpy parses a header as Python, which fails in its own ways
        return None


def _set_values(file: Path, change: Mapping[str, object]) -> None:
    matrix = _matrix_of(file)
    if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f":
        return
    matrix = matrix.astype(np.float64)
    row, column = (slice(None) if at is None else at % max(size, 1)
                   for at, size in zip((change["row"], change["column"]), matrix.shape))
    if matrix.size:
        matrix[row, column] = change["value"]
    with np.errstate(all="ignore"):
        np.save(file, matrix.astype(change["type"]), allow_pickle=True)


def _tokens(content: bytes, change: Mapping[str, object]) -> bytes:
    text = content.decode("utf-8", "replace")
    if change["do"] == "encode":
        return text.replace("i7\n", "ié\n").encode(change["as"], "replace")
    if change["do"] == "ends":
        return text.replace("\n", change["as"]).encode()
    if change["do"] == "last":
        return (text.removesuffix("\n") + change["as"]).encode()
    lines = text.split("\n")
    row = min(change["row"], len(lines) - 1)
    lines[row:row + 1] = {"replace": [change["text"]], "insert": [change["text"], lines[row]],
                          "delete": [], "repeat": [lines[row]] * 2}[change["how"]]
    return "\n".join(lines).encode("utf-8", "surrogatepass")
