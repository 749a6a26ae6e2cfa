"""Configuration files: that of a run, damaged and odd, and what people write by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fuzz_bytes import DAMAGE, damage
from fuzz_settings import check_flags
from fuzz_world import World, check_result, check_run
from hypothesis import strategies as st

import recbole_ssr
from recbole_ssr.quick_start import load_run

_LINE = st.integers(0, 199)
_VALUES = st.sampled_from([
    "", "~", "null", "None", "nan", ".nan", ".inf", "-.inf", "1e400", "1e-3", "1_000", "0x10",
    "0o17", "010", "1:30", "2020-01-01", "yes", "no", "on", "'1'", '"a\\nb"', "[1, 2", "{a: 1}",
    "[a, [b]]", "&x 1", "*x", "!!python/object/apply:os.getcwd []", "!!float '1'", "!!binary aGk=",
    "!!set {a, b}", "!!int x", "|", ">-", "- 1", "@a", "`a`", "%a", "a: b", "#", "é", "\u2028",
    "9" * 5000, "x" * 5000, "[" * 500, "{" * 200, "-1", "0", "1", "true", "text", "[text]",
])
_KEYS = st.sampled_from([
    "1", "1.5", "true", "null", "[a, b]", "{a: b}", "? a", "é", "<<", "a.b", "epoch", "Epochs",
    "__class__", "parameters", "model_class", "final_config_dict", "sources", "nested: key",
    "MODEL_TYPE", "device", "single_spec", "seed", "''", "'a b'",
])
_CHANGE = st.one_of(
    st.fixed_dictionaries({"do": st.just("value"), "line": _LINE, "text": _VALUES}),
    st.fixed_dictionaries({"do": st.just("key"), "line": _LINE, "text": _KEYS}),
    st.fixed_dictionaries({"do": st.just("add"), "text": st.builds("{}: {}".format, _KEYS,
                                                                   _VALUES)}),
    st.fixed_dictionaries({"do": st.sampled_from(["delete", "repeat", "indent", "tab", "comment",
                                                  "list", "join"]), "line": _LINE}),
    st.fixed_dictionaries({"do": st.just("encode"), "as": st.sampled_from(
        ["utf-8-sig", "utf-16", "latin-1", "utf-32"])}),
    st.fixed_dictionaries({"do": st.just("whole"), "text": st.sampled_from([
        "", "# nothing\n", "- a\n- b\n", "text\n", "a: 1\n---\nb: 2\n", "\t", "---\n...\n", "{}",
        "null", "&a [*a]\n", "a: &a [*a]\n", "x: &a {b: *a}\n", "<<: 1\n", "<<: [1]\n",
        "epochs: 1\nepochs: 2\n", "{" * 3000, "\x00", "%YAML 9.9\n---\na: 1\n",
        "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n"])}),
    DAMAGE,
)
CONFIG_CASES = st.fixed_dictionaries({
    "changes": st.lists(_CHANGE, min_size=1, max_size=2),
    "then": st.sampled_from(["run", "run", "load", "resume", "flags"]),
})


def check_config(case: dict, world: World, folder: Path) -> None:
    """Use the configuration file of a run with the changes of a case."""
    run = world.copy_of_run("SSR", folder)
    file = run / "config.yaml"
    for change in case["changes"]:
        if file.is_file():
            _change(file, change)
    # What the file may have lost would be 300 epochs on another dataset.
    small = {"epochs": 1, "dataset": "tiny", "data_path": world.data["data_path"]}
    if case["then"] == "run":
        result = recbole_ssr.run(config_files=[file], config_dict=small, folder=folder / "again")
        check_run(Path(result.run))
    elif case["then"] == "load":
        load_run(run)
    elif case["then"] == "resume":
        check_result(recbole_ssr.run(flags={"resume": str(run)}))
    else:
        check_flags(["--config_files", str(file), f"--run_dir={folder / 'runs'}",
                     *(f"--{key}={value}" for key, value in small.items())], folder)


def _change(file: Path, change: Mapping[str, object]) -> None:
    kind = change["do"]
    if kind == "whole":
        file.write_text(change["text"])
    elif kind == "encode":
        text = file.read_bytes().decode("utf-8", "replace")
        file.write_bytes(text.replace("SSR", "SSR  # é").encode(change["as"], "replace"))
    elif kind in ("value", "key", "delete", "repeat", "indent", "tab", "comment", "list", "join"):
        lines = file.read_bytes().decode("utf-8", "replace").splitlines()
        if lines:
            at = change["line"] % len(lines)
            lines[at:at + 1] = _line(lines[at], change)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif kind == "add" and "text" in change:
        with open(file, "a", encoding="utf-8") as end:
            end.write(f"{change['text']}\n")
    else:
        damage(file, change)


def _line(line: str, change: Mapping[str, object]) -> list[str]:
    key, _, value = line.partition(":")
    return {"value": [f"{key}: {change.get('text')}"], "key": [f"{change.get('text')}:{value}"],
            "delete": [], "repeat": [line, line], "indent": [f"  {line}"], "tab": [f"\t{line}"],
            "comment": [f"#{line}"], "list": [f"- {line}"],
            "join": [f"{line} {line}"]}[change["do"]]
