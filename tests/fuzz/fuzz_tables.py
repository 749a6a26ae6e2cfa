"""Interaction, item and user files: odd ids, cells, times, separators and encodings."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from fuzz_bytes import DAMAGE, damage
from fuzz_outcome import Wrong
from fuzz_world import World, check_run, chosen
from hypothesis import strategies as st

import recbole_ssr
from recbole_ssr.data.features import write_features

_MODELS = ("BPR", "VBPR", "SSR", "GFCF", "FastLightGCN", "LightGCN", "SASRec", "Pop", "FREEDOM")
_USERS, _ITEMS, _EACH = 20, 12, 6
_HEAD = "user_id:token\titem_id:token\ttimestamp:float\trating:float"
IDS = st.one_of(
    st.sampled_from(["NA", "N/A", "null", "NULL", "nan", "NaN", "None", "none", "", "[PAD]", "-",
                     "0", "-0", "1", "01", "1.0", "1e5", "inf", "True", "u1", "i1", "I1", " i1",
                     "i1 ", "\"", "\"a", "a\"b", "'", "''", "#1", "a,b", "a;b", "a|b", "a:b", "é",
                     "e\u0301", "日本", "\U0001f600", "\u200b", "\ufeff", "\x1a", "\x00", "a\x00b",
                     "\x0b", "\x85", "\u2028", "a\rb", "\\N", "\\t", "<NA>", "-nan", "#N/A",
                     "9007199254740993", "1" * 40, "x" * 5000, "x" * 140_000]),
    st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=6),
)
_TIMES = st.sampled_from(["", "nan", "inf", "-inf", "-1", "0", "1e400", "1e300", "1.5", "16e8",
                          "1600000000", "1600000000.5", "1600000000123", "1600000000123456789",
                          "2020-01-01", "x", " 5", "1_000", "0x10", "1,5", "NA"])
_CELL = st.one_of(
    st.fixed_dictionaries({"do": st.just("set"), "row": st.integers(0, 119),
                           "column": st.integers(0, 1), "text": IDS}),
    st.fixed_dictionaries({"do": st.just("set all"), "row": st.integers(0, 119),
                           "column": st.integers(0, 1), "text": IDS}),
    st.fixed_dictionaries({"do": st.just("set"), "row": st.integers(0, 119),
                           "column": st.integers(2, 3), "text": _TIMES}),
)
_ROW = st.fixed_dictionaries({"do": st.sampled_from(["delete", "repeat", "keep to"]),
                              "row": st.integers(0, 119)})
_RAGGED = st.fixed_dictionaries({"do": st.sampled_from(["short", "long", "blank", "header again"]),
                                 "row": st.integers(0, 119)})
_HEADER = st.fixed_dictionaries({"do": st.just("header"), "as": st.sampled_from([
    "user_id\titem_id\ttimestamp\trating", "user_id:token\titem_id:token",
    "user_id:token\titem_id:token\ttimestamp:float\trating:float\tmore:token",
    "user_id:token\tuser_id:token\ttimestamp:float\trating:float",
    "user_id:float\titem_id:token\ttimestamp:float\trating:float",
    "user_id:token\titem_id:token_seq\ttimestamp:float\trating:float",
    "user_id:token\titem_id:token\ttimestamp:token\trating:float_seq",
    "user_id:token\titem_id:token\ttimestamp:time\trating:float",
    "USER_ID:token\tITEM_ID:token\ttimestamp:float\trating:float",
    "user_id:token,item_id:token,timestamp:float,rating:float",
    " user_id:token\titem_id:token \ttimestamp:float\trating:float",
    "item_id:token\tuser_id:token\ttimestamp:float\trating:float", "",
])})
_FILE = st.one_of(
    st.fixed_dictionaries({"do": st.just("encode"), "as": st.sampled_from(
        ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])}),
    st.fixed_dictionaries({"do": st.just("ends"), "as": st.sampled_from(
        ["\r\n", "\r", "\n\n", " \n", "\t\n"])}),
    st.fixed_dictionaries({"do": st.just("separate"), "by": st.sampled_from(
        [",", " ", ";", "\t\t", "|"])}),
    st.just({"do": "no last line end"}),
    DAMAGE,
)
_EVAL = st.sampled_from([
    {"order": "TO", "split": {"LS": "valid_and_test"}},
    {"order": "TO", "split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"},
    {"order": "RO", "split": {"RS": [0.8, 0.1, 0.1]}},
])


def _seldom(usual: st.SearchStrategy, other: st.SearchStrategy) -> st.SearchStrategy:
    return st.integers(0, 2).flatmap(lambda k: other if k == 2 else usual)


_CHANGES = st.lists(st.one_of(_CELL, _ROW, _RAGGED, _HEADER, _FILE), max_size=3)
TABLE_CASES = st.fixed_dictionaries({
    "model": st.sampled_from(_MODELS),
    # Seconds between events: float32 has steps of 128 s at the times of today.
    "start": st.sampled_from(["0", "1600000000", "1600000000000", "-5"]),
    "step": st.sampled_from(["1", "5", "0.1", "86400", "0"]),
    "inter": _seldom(st.lists(_CELL, min_size=1, max_size=3), _CHANGES),
    "item": _seldom(st.none(), _CHANGES), "user": _seldom(st.none(), _CHANGES),
    "settings": _seldom(st.just({}), st.sampled_from([
        {"field_separator": ","}, {"field_separator": " "}, {"encoding": "utf-8-sig"},
        {"encoding": "latin-1"}, {"encoding": "utf-16"}, {"rm_dup_inter": "first"},
        {"train_share": 0.5}])),
    "eval_args": _EVAL,
})


def check_tables(case: dict, world: World, folder: Path) -> None:
    """Train on the files of a case: with all of their interactions, or an error."""
    data = folder / "odd"
    data.mkdir()
    features = np.eye(_ITEMS, dtype=np.float32)
    write_features(data / "features", "text", features, [f"i{k}" for k in range(_ITEMS)])
    rows = _interactions(case["start"], case["step"])
    known = _write(data / "odd.inter", _HEAD, rows, case["inter"])
    load = {"inter": ["user_id", "item_id", "timestamp", "rating"]}
    for kind, count in (("item", _ITEMS), ("user", _USERS)):
        if case[kind] is not None:
            head = f"{kind}_id:token\tname:token_seq\tweight:float\tage:float"
            own = [[f"{kind[0]}{k}", f"word{k} of", "0.5", str(k)] for k in range(count)]
            _write(data / f"odd.{kind}", head, own, case[kind])
            load[kind] = [f"{kind}_id", "name", "weight"]
    settings = chosen(case["model"], {"data_path": str(folder), "split_column": None,
                                      "load_col": load, "eval_args": case["eval_args"],
                                      **case["settings"]}, world.settings)
    seen = []

    def keep(state, experiment, _history):
        if state == "training" and not seen:
            seen.append(experiment)

    result = recbole_ssr.run(case["model"], "odd", config_dict=settings, callback=keep)
    check_run(Path(result.run))
    # RecBole keeps only the interactions of those items and users that have a row of their own.
    whole = case["item"] is None and case["user"] is None and "rm_dup_inter" not in settings
    whole &= case["settings"].get("encoding", "utf-8") == "utf-8"  # else ids are other characters
    if known is not None and whole and case["model"] != "SASRec":
        _check_complete(seen[0], known)
        if "LS" in case["eval_args"]["split"]:
            _check_last(seen[0], known)


def _interactions(start: str, step: str) -> list[list[str]]:
    """Return rows of text; a user's times ascend in an order that is not that of the rows."""
    rng, rows = np.random.default_rng(3), []
    for user in range(_USERS):
        items = rng.permutation(_ITEMS)[:_EACH]
        for item, place in zip(items, rng.permutation(_EACH)):
            time = Decimal(start) + int(place) * Decimal(step)
            rows.append([f"u{user}", f"i{item}", str(time), str(int(place))])
    return rows


def _write(file: Path, head: str, rows: list[list[str]], changes: list) -> list[list[str]] | None:
    """Write a table with its changes; return its rows where these are still beyond doubt."""
    rows, certain = [list(row) for row in rows], True
    marks: dict[int, str] = {}
    for change in changes:
        kind = change["do"]
        row = change.get("row", 0) % max(len(rows), 1)
        if kind == "set" and rows:
            rows[row][change["column"]] = change["text"]
        elif kind == "set all" and rows:
            old = rows[row][change["column"]]
            for one in rows:
                if one[change["column"]] == old:
                    one[change["column"]] = change["text"]
        elif kind in ("delete", "repeat", "keep to") and rows:
            rows = {"delete": rows[:row] + rows[row + 1:], "repeat": rows[:row + 1] + rows[row:],
                    "keep to": rows[:row]}[kind]
        elif kind in ("short", "long", "blank", "header again"):
            marks[row], certain = kind, False
        elif kind == "header":
            head, certain = change["as"], False
    lines = [head, *(_line(row, marks.get(k), head) for k, row in enumerate(rows))]
    file.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
    for change in changes:
        if not file.is_file():
            certain = False
        elif change["do"] in ("encode", "ends", "separate", "no last line end"):
            file.write_bytes(_rewritten(file.read_bytes(), change))
            certain &= change["do"] == "no last line end"
        elif "row" not in change and change["do"] != "header":
            certain = False
            damage(file, change)
    return rows if certain else None


def _line(row: list[str], mark: str | None, head: str) -> str:
    return {"short": row[0], "long": "\t".join([*row, "more"]), "blank": "",
            "header again": head, None: "\t".join(row)}[mark]


def _rewritten(content: bytes, change: Mapping[str, str]) -> bytes:
    text = content.decode("utf-8", "replace")
    if change["do"] == "encode":
        return text.replace("i7", "ié").encode(change["as"], "replace")
    if change["do"] == "ends":
        return text.replace("\n", change["as"]).encode()
    if change["do"] == "separate":
        return text.replace("\t", change["by"]).encode()
    return text.removesuffix("\n").encode()


def _check_complete(experiment, rows: list[list[str]]) -> None:
    """Raise Wrong unless every interaction, user and item of the file is there."""
    dataset = experiment.dataset
    for what, found, there in (("interactions", dataset.inter_num, len(rows)),
                               ("users", dataset.user_num - 1, len({row[0] for row in rows})),
                               ("items", dataset.item_num - 1, len({row[1] for row in rows}))):
        if found != there:
            raise Wrong(f"{found} of {there} {what} were read")


def _check_last(experiment, rows: list[list[str]]) -> None:
    """Raise Wrong unless each user's latest item, by the text of its time, is the test item."""
    last: dict[str, tuple[Decimal, str]] = {}
    for user, item, text, _ in rows:
        try:
            time = Decimal(text)
        except InvalidOperation:
            raise Wrong(f"ordered by the time {text!r}") from None
        if not time.is_finite():
            raise Wrong(f"ordered by the time {text!r}")
        if user not in last or time >= last[user][0]:
            last[user] = time, item
    dataset = experiment.test._dataset
    tokens = dataset.field2id_token
    held = {str(tokens["user_id"][u]): str(tokens["item_id"][i]) for u, i in
            zip(dataset.inter_feat["user_id"].tolist(), dataset.inter_feat["item_id"].tolist())}
    wrong = [user for user, item in held.items() if last[user][1] != item]
    if wrong:
        raise Wrong(f"another item than the latest is held out of {len(wrong)} users: {wrong[:3]}")
