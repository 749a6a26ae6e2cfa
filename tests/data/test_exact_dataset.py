"""Ids and times as they stand in the file, in every class of RecBole's datasets."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
from recbole.config import Config
from recbole.data.dataset import KnowledgeBasedDataset

from recbole_ssr.data.dataset import FixedSplitDataset
from recbole_ssr.data.fields import check_columns
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import _dataset_class

HEAD = "user_id:token\titem_id:token\ttimestamp:float"
START = 1_700_000_000
# What pandas reads as missing, and what looks like a number.
WORDS = ["NA", "null", "nan", "None", "NaN", "N/A", "n/a", "NULL", "<NA>", "#N/A", "007", "7",
         "1e3", '"', "'"]
# Time of the k-th event, as text: float32 tells none of them from its neighbours; float64 not the
# nanoseconds.
CLOCKS = {"5 s": lambda k: str(START + 5 * k), "0.1 s": lambda k: f"{START + k // 10}.{k % 10}",
          "1 ms in ms": lambda k: str(START * 1000 + k),
          "1 ns in ns": lambda k: str(START * 10**9 + k),
          "5 events at a time": lambda k: str(START + k // 5)}
SPLITS = {
    "leave one out": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"},
    "ratio per user": {"split": {"RS": [6, 1, 1]}, "group_by": "user", "order": "TO"},
    "ratio over all": {"split": {"RS": [6, 1, 1]}, "group_by": None, "order": "TO"},
    "instant": {"split": {"TS": [6, 1, 1]}, "group_by": "user", "order": "TO"},
    "instant, unordered": {"split": {"TS": [6, 1, 1]}, "group_by": "user", "order": "RO"},
}
N_USERS, PER_USER = 60, 8


def events(clock):
    """Rows (user, item, time) in an order of their own, and the rank of each in time."""
    rng = np.random.default_rng(0)
    place = rng.permutation(N_USERS * PER_USER)
    rows = [(f"u{i % N_USERS}", f"i{i // N_USERS}", CLOCKS[clock](int(k)))
            for i, k in enumerate(place)]
    order = sorted(range(len(rows)), key=lambda row: rank_of(rows[row][2]))  # stable, exact
    return rows, order


def rank_of(text):
    return tuple(map(int, f"{text}.0".split(".")[:2]))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that writes tiny.inter, and files beside it, and builds the dataset."""
    monkeypatch.setattr("sys.argv", ["x"])

    def make(rows, head=HEAD, model="BPR", files=(), written="utf-8", **options):
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        text = "\n".join([head, *("\t".join(map(str, row)) for row in rows)]) + "\n"
        (folder / "tiny.inter").write_text(text, encoding=written)
        for name, content in dict(files).items():
            (folder / name).write_text(content)
        options = {"data_path": str(tmp_path), "load_col": None, **options}
        if model in ("SASRec", "DIEN"):
            options["train_neg_sample_args"] = None
        config = Config(model=model, dataset="tiny", config_dict=options)
        return _dataset_class(config)(config)

    return make


def named(part):
    tokens = [part.id2token(field, part.inter_feat[field].numpy())
              for field in (part.uid_field, part.iid_field)]
    return list(zip(*(token.tolist() for token in tokens)))


def parts_by_hand(rows, order, name):
    """The (user, item) of each part, out of rows in exact order of time."""
    pairs = [rows[row][:2] for row in order]
    of_user = {u: [p for p in pairs if p[0] == u] for u in {p[0] for p in pairs}}
    if name in ("leave one out", "ratio per user"):  # 6:1:1 of eight are the same two
        return [{p for own in of_user.values() for p in own[part]}
                for part in (slice(0, -2), slice(-2, -1), slice(-1, None))]
    n = len(pairs)
    if name == "ratio over all":
        return [set(pairs[part]) for part in (slice(0, n * 3 // 4), slice(n * 3 // 4, n * 7 // 8),
                                              slice(n * 7 // 8, n))]
    times = [rank_of(rows[row][2]) for row in order]
    # The percentile lies between two neighbours, or on the first of them where they are equal.
    last = times[int(np.floor((n - 1) * 7 / 8))]
    early = [[p for p, t in zip(pairs, times) if p[0] == u and t <= last] for u in of_user]
    cut = [int(len(own) * (6 / 8) / (1 - 1 / 8)) for own in early]
    return [{p for own, k in zip(early, cut) for p in own[:k]},
            {p for own, k in zip(early, cut) for p in own[k:]},
            {p for p, t in zip(pairs, times) if t > last}]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("clock", CLOCKS)
def test_parts_are_cut_in_the_exact_order_of_time(make, clock, split):
    if (clock, split) == ("5 events at a time", "instant, unordered"):
        pytest.skip("the order of equal times is drawn, too")
    rows, order = events(clock)
    dataset = make(rows, eval_args={**SPLITS[split], "mode": "full"})
    parts = dataset.build()
    assert [set(named(part)) for part in parts] == parts_by_hand(rows, order, split)
    assert all(part.inter_feat["timestamp"].dtype == torch.float32 for part in (dataset, *parts))


@pytest.mark.parametrize("numerical", [[], ["timestamp"]])
@pytest.mark.parametrize("model", ["SASRec", "DIEN"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_histories_are_in_the_exact_order_of_time(make, clock, model, numerical):
    rows, order = events(clock)
    rated = [(*row, 1) for row in rows]
    dataset = make(rated, f"{HEAD}\tlabel:float", model, numerical_features=numerical,
                   eval_args={**SPLITS["leave one out"],
                              "mode": "labeled" if model == "DIEN" else "full"})
    by_user = {f"u{u}": [rows[row][1] for row in order if rows[row][0] == f"u{u}"]
               for u in range(N_USERS)}
    parts = dataset.build()
    for place, part in zip((None, -2, -1), parts):
        histories = part.id2token("item_id", part.inter_feat["item_id_list"].numpy())
        for (user, item), history, length in zip(named(part), histories,
                                                 part.inter_feat["item_length"]):
            k = by_user[user].index(item)
            assert history[:length].tolist() == by_user[user][:k]
            assert place is None or k == PER_USER + place
        for name in ("timestamp", "timestamp_list"):
            assert part.inter_feat[name].dtype == torch.float32
    assert [len(part) for part in parts] == [N_USERS * (PER_USER - 3), N_USERS, N_USERS]


def test_global_order_holds_for_histories_too(make):
    rows, order = events("5 s")
    dataset = make(rows, model="SASRec", eval_args={**SPLITS["ratio over all"], "mode": "full"})
    seen, targets = set(), []
    for row in order:
        targets += [rows[row][:2]] if rows[row][0] in seen else []
        seen.add(rows[row][0])
    result = [pair for part in dataset.build() for pair in named(part)]
    assert result == targets


@pytest.mark.parametrize("keep, kept", [("first", 0), ("last", -1)])
def test_the_repeat_that_stays_is_that_of_the_exact_time(make, keep, kept):
    rows = [("u", f"i{k % 50}", START + k % 7, k) for k in range(400)]
    dataset = make(rows, f"{HEAD}\tnumber:float", rm_dup_inter=keep)
    in_order = sorted(rows, key=lambda row: row[2])
    expected = {item: [row[3] for row in in_order if row[1] == item][kept]
                for item in {row[1] for row in rows}}
    result = dict(zip(dataset.id2token("item_id", dataset.inter_feat["item_id"].to_numpy()),
                     dataset.inter_feat["number"]))
    assert result == expected


def test_what_models_receive_of_times_is_what_recbole_gives_them(make):
    rows, _ = events("0.1 s")
    part = make(rows, eval_args={**SPLITS["leave one out"], "mode": "full"}).build()[0]
    time = {row[:2]: row[2] for row in rows}
    expected = torch.tensor([float(time[pair]) for pair in named(part)], dtype=torch.float32)
    assert torch.equal(part.inter_feat["timestamp"], expected)


@pytest.mark.parametrize("changed, words", [
    ({"head": HEAD.replace("timestamp:float", "timestamp:token")},
     ["timestamp:float", "loaded is timestamp:token"]),
    ({"load_col": {"inter": ["user_id", "item_id"]}}, ["timestamp:float", "loaded is none"]),
    ({"rows": [("u0", "i0", ""), ("u0", "i1", 2)]}, ["1 interactions have no finite", "'u0'"]),
    ({"rows": [("u0", "i0", "-inf"), ("u0", "i1", 2)]}, ["no finite timestamp", "'u0'"]),
    ({"numerical_features": ["timestamp"],
      "discretization": {"timestamp": {"method": "ED", "bucket": 5}}}, ["discretization"]),
])
@pytest.mark.parametrize("split", ["leave one out", "instant, unordered"])
def test_an_order_without_times_is_refused(make, changed, words, split):
    with pytest.raises(UserError) as caught:
        make(**{"rows": events("5 s")[0], "eval_args": {**SPLITS[split], "mode": "full"},
                **changed})
    assert all(word in str(caught.value) for word in words), caught.value


# Ids


@pytest.mark.parametrize("model", ["BPR", "SASRec", "CKE"])
def test_every_word_is_an_id(make, model):
    rows = [(user, item, START + k) for k, (user, item) in
            enumerate((user, item) for user in WORDS for item in WORDS)]
    files = {"tiny.user": "\n".join(["user_id:token\tnick:token", *(f"{w}\tNA" for w in WORDS)]),
             "tiny.item": "\n".join(["item_id:token\tclass:token_seq\tname:token",
                                     *(f"{w}\tNA {w}\t" for w in WORDS)]),
             "tiny.kg": "\n".join(["head_id:token\trelation_id:token\ttail_id:token",
                                   *(f"{w}\tnull\tnan" for w in WORDS)]),
             "tiny.link": "\n".join(["item_id:token\tentity_id:token",
                                     *(f"{w}\t{w}" for w in WORDS)])}
    dataset = make(rows, model=model, files=files)
    assert len(dataset.inter_feat) == len(rows)
    for field in ("user_id", "item_id"):
        assert set(dataset.field2id_token[field]) == {"[PAD]", *WORDS}
        assert len(dataset.field2id_token[field]) == len(WORDS) + 1
    assert len(dataset.user_feat) == len(dataset.item_feat) == len(WORDS) + 1
    assert dataset.field2id_token["nick"].tolist() == ["[PAD]", "NA"]
    if model == "CKE":
        assert set(dataset.item2entity) == set(WORDS) and "null" in dataset.field2id_token[
            "relation_id"]
    # An empty cell that is no id is missing, as RecBole has it.
    assert (dataset.item_feat["name"] == 0).all()


@pytest.mark.parametrize("file, text, words", [
    ("tiny.inter", f"{HEAD}\nu\ti\t1\n\n\ti\t2\n", ["line 4: user_id is ''"]),
    ("tiny.inter", f"{HEAD}\nu\t \t1\n", ["line 2: item_id is ' '"]),
    ("tiny.inter", f"{HEAD}\nu\t[PAD]\t1\n", ["line 2: item_id is '[PAD]'", "RecBole keeps"]),
    ("tiny.user", "user_id:token\tage:float\nu\t1\n\t2\n", ["line 3: user_id is ''"]),
    ("tiny.item", "item_id:token\tage:float\n[PAD]\t1\n", ["line 2: item_id is '[PAD]'"]),
    ("tiny.item", "item_id:token\tage:float\ni\told\n", ["line 2: age:float is 'old'"]),
    ("tiny.item", "item_id:token\tsizes:float_seq\ni\t1 2\nj\t3 x\n", ["line 3", "is 'x'"]),
    ("tiny.inter", f"{HEAD}\nu\ti\n", ["line 2 has 2 columns, but the first line 3"]),
    ("tiny.inter", f"{HEAD}\nu\ti\t1\t2\n", ["line 2 has 4 columns"]),
    ("tiny.inter", f"{HEAD}\ttimestamp:float\nu\ti\t1\t2\n", ["two columns", "'timestamp'"]),
])
def test_a_cell_that_is_wrong_is_named_by_file_and_line(make, file, text, words):
    with pytest.raises(UserError) as caught:
        make([], head="\n".join([HEAD, "u\ti\t1"]), files={file: text})
    assert file in str(caught.value) and all(word in str(caught.value) for word in words)


def test_bytes_of_another_encoding_are_named_and_read_where_it_is_set(make):
    rows = [("u", "i", 1), ("\u00e9", "j", 2)]
    with pytest.raises(UserError, match="is no utf-8.*set encoding"):
        make(rows, written="latin-1")
    dataset = make(rows, written="latin-1", encoding="latin-1")
    assert dataset.field2id_token["user_id"].tolist() == ["[PAD]", "u", "\u00e9"]


@pytest.mark.parametrize("settings, told", [
    ({"encoding": "utf-16"}, "tiny.inter cannot be read: .*no utf-16"),
    ({"encoding": "None"}, "which Python does not know"),
    ({"field_separator": ""}, "field_separator is empty"),
])
def test_what_no_file_can_be_read_with_is_refused(make, settings, told):
    config = make(events("5 s")[0]).config
    config.sources = {}
    for key, value in settings.items():
        config[key] = value
    with pytest.raises(UserError, match=told):
        check_columns(config)


@pytest.mark.parametrize("written", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(make, written):
    dataset = make(events("5 s")[0], written=written)
    assert dataset.user_num == N_USERS + 1


def test_quotes_of_a_whole_csv_line_go_and_others_are_text(make):
    titles = ['"The Escape, Great"', '"Weird Al', '5" records', '"A" (1963)', "x" * 200_000]
    rows = [(f"u{k}", f"i{k}", k, title) for k, title in enumerate(titles)]
    dataset = make(rows, f"{HEAD}\ttitle:token")
    assert dataset.field2id_token["title"].tolist() == [
        "[PAD]", "The Escape, Great", *titles[1:]]


def test_the_fixed_split_orders_by_label_whatever_the_times(make):
    rows = [(*row, k % 3) for k, row in enumerate(events("5 s")[0])]
    dataset = make(rows, f"{HEAD}\tpart:float", split_column="part",
                   eval_args={**SPLITS["leave one out"], "mode": "full"})
    assert isinstance(dataset, FixedSplitDataset)
    parts = dataset.build()
    assert [set(named(part)) for part in parts] == [
        {row[:2] for row in rows if row[3] == part} for part in range(3)]
    assert parts[0].inter_feat["timestamp"].dtype == torch.float32


def test_files_without_such_cells_are_read_as_recbole_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x"])
    (tmp_path / "few").mkdir()
    for file in Path(recbole.__path__[0], "dataset_example", "ml-100k").iterdir():
        with open(file, encoding="utf-8") as lines:
            (tmp_path / "few" / f"few{file.suffix}").write_text("".join(islice(lines, 2000)))
    config = Config(model="CKE", dataset="few",
                    config_dict={"data_path": str(tmp_path), "load_col": None})
    stock, ours = KnowledgeBasedDataset(config), _dataset_class(config)(config)
    assert (stock.item2entity, stock.field2type, stock.field2seqlen, stock.field2bucketnum) == (
        ours.item2entity, ours.field2type, ours.field2seqlen, ours.field2bucketnum)
    for field, tokens in stock.field2id_token.items():
        assert tokens.tolist() == ours.field2id_token[field].tolist(), field
    for one, other in zip(stock.build(), ours.build()):
        for name in ("inter_feat", "user_feat", "item_feat", "kg_feat"):
            columns = getattr(one, name).interaction
            assert list(columns) == list(getattr(other, name).interaction)
            assert name == "inter_feat" or all(
                torch.equal(values, getattr(other, name)[key]) for key, values in columns.items())
    assert len(stock.inter_feat) == len(ours.inter_feat)
