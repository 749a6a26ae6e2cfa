from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from recbole.config import Config

from recbole_ssr.data.dataset import FixedSplitDataset, MultimodalDataset
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError

HEAD = "user_id:token\titem_id:token\trating:float\tx_label:float"
# Every user has items of each part; i9 has one interaction, so that a 2-core drops it.
ROWS = [
    (f"u{user}", f"i{(user + step) % 6}", user + step, [0, 0, 0, 1, 2][step])
    for step in range(5)
    for user in range(6)
]
ROWS.insert(7, ("u0", "i9", 3, 2))


def lines(head, rows):
    return "\n".join([head, *("\t".join(map(str, row)) for row in rows)]) + "\n"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that writes tiny.inter and builds a Config for it."""
    monkeypatch.setattr("sys.argv", ["x"])

    def make(head=HEAD, rows=ROWS, text=None, **options):
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "tiny.inter").write_text(lines(head, rows) if text is None else text)
        base = {"data_path": str(tmp_path), "load_col": None, "normalize_all": True}
        options = {**base, "split_column": "x_label", **options}
        return Config(model="BPR", dataset="tiny", config_dict=options)

    return make


def pairs(part):
    users = part.id2token(part.uid_field, part.inter_feat[part.uid_field].numpy())
    items = part.id2token(part.iid_field, part.inter_feat[part.iid_field].numpy())
    return set(zip(users.tolist(), items.tolist()))


def labelled(code, rows=ROWS):
    return {(user, item) for user, item, _, label in rows if label == code}


def error_of(config, kind=FixedSplitDataset):
    with pytest.raises(UserError) as caught:
        kind(config).build()
    return str(caught.value)


# A split from a column


@pytest.mark.parametrize("kind", ["float", "token"])
def test_parts_are_those_of_the_column(make, kind):
    dataset = FixedSplitDataset(make(HEAD.replace("x_label:float", f"x_label:{kind}")))
    parts = dataset.build()
    assert [pairs(part) for part in parts] == [labelled(code) for code in range(3)]


@pytest.mark.parametrize("kind", ["float", "token"])
def test_the_column_is_no_field(make, kind):
    dataset = FixedSplitDataset(make(HEAD.replace("x_label:float", f"x_label:{kind}")))
    train = dataset.build()[0]
    assert "x_label" not in dataset.fields() and "x_label" not in dataset.field2id_token
    assert set(train[torch.arange(3)].columns) == {"user_id", "item_id", "rating"}
    assert train.inter_feat["rating"].max() <= 1, "the other floats are still normalised"


def test_filters_keep_labels_with_their_rows(make):
    config = make(item_inter_num_interval="[2,inf)", val_interval={"rating": "[0,8]"})
    parts = FixedSplitDataset(config).build()
    kept = [row for row in ROWS if row[1] != "i9" and row[2] <= 8]
    assert [pairs(part) for part in parts] == [labelled(code, kept) for code in range(3)]
    assert len(kept) < len(ROWS) - 1


def test_removal_of_duplicates_reorders_rows_with_their_labels(make):
    rows = [(*row[:2], 100 - i, row[3]) for i, row in enumerate(ROWS)]
    config = make(HEAD.replace("rating", "timestamp"), [*rows, rows[0]], rm_dup_inter="first")
    parts = FixedSplitDataset(config).build()
    assert [pairs(part) for part in parts] == [labelled(code, rows) for code in range(3)]
    assert sum(map(len, parts)) == len(rows)


def test_column_absent(make):
    message = error_of(make(split_column="x_lable"))
    assert "split_column needs x_lable:float" in message
    assert "Did you mean 'x_label'?" in message and "rating:float" in message


@pytest.mark.parametrize(
    "columns",
    [
        {"unload_col": {"inter": ["x_label"]}},
        {"load_col": {"item": ["item_id"]}},
    ],
)
def test_column_not_loaded(make, columns):
    message = error_of(make(**columns))
    assert "load_col" in message and "Add " in message


def test_the_column_is_loaded_whatever_load_col_has(make):
    parts = FixedSplitDataset(make(load_col={"inter": ["user_id", "item_id"]})).build()
    assert [pairs(part) for part in parts] == [labelled(code) for code in range(3)]
    assert parts[0].fields() == ["user_id", "item_id"]


@pytest.mark.parametrize("column, told", [({}, True), ({"split_column": None}, False),
                                          ({"split_column": "x_label"}, False)])
def test_a_column_of_labels_that_is_no_split_is_told_once(make, tmp_path, caplog, column, told):
    make()
    folder = {"data_path": str(tmp_path), "load_col": None}
    FixedSplitDataset(Config(model="BPR", dataset="tiny", config_dict=folder | column)).build()
    warned = [record.message for record in caplog.records if "split is drawn" in record.message]
    assert len(warned) == told and all("set split_column=x_label" in text for text in warned)


@pytest.mark.parametrize("kind", ["float", "token"])
@pytest.mark.parametrize("value", ["3", "0.5", "", "-1"])
def test_label_out_of_range_names_the_row(make, value, kind):
    rows = [*ROWS[:4], ("u4", "i9", 1, value), *ROWS[4:]]
    message = error_of(make(HEAD.replace("x_label:float", f"x_label:{kind}"), rows))
    shown = f"'{value}'" if kind == "token" and value else value or "nan"
    assert f"of user 'u4' with item 'i9' is {shown}. Use 0 for train" in message


@pytest.mark.parametrize("code, name", [(0, "train"), (1, "valid"), (2, "test")])
def test_empty_part(make, code, name):
    message = error_of(make(rows=[row for row in ROWS if row[3] != code]))
    assert f"the {name} part empty" in message and "x_label" in message


def test_two_sources_of_a_split_are_refused(make):
    assert "benchmark_filename" in error_of(make(benchmark_filename=["train", "valid", "test"]))


# RecBole's own split


def test_split_follows_split_seed_only(make):
    def split(**options):
        dataset = FixedSplitDataset(make(split_column=None, **options))
        torch.manual_seed(options.get("seed", 0))
        return [pairs(part) for part in dataset.build()]

    first = split(seed=1, split_seed=5)
    assert split(seed=2, split_seed=5) == first
    assert split(seed=1, split_seed=6) != first
    assert split() == split(split_seed=2020), "the default of overall.yaml, if a Config lacks it"
    assert set.union(*first) == {row[:2] for row in ROWS}


def test_random_state_is_left_as_found(make):
    dataset = FixedSplitDataset(make(split_column=None))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    dataset.build()
    assert torch.equal(torch.rand(4), expected)


# The fingerprint


def test_fingerprint_is_that_of_the_pairs_in_any_order(make):
    dataset = FixedSplitDataset(make())
    with pytest.raises(RuntimeError, match="build"):
        _ = dataset.split_fingerprint
    parts = dataset.build()
    first = dataset.split_fingerprint
    assert len(first) == 64 and {part.split_fingerprint for part in parts} == {first}

    def fingerprint(rows, **options):
        dataset = FixedSplitDataset(make(rows=rows, **options))
        dataset.build()
        return dataset.split_fingerprint

    assert fingerprint(ROWS[::-1]) == first
    relabelled = [(*ROWS[0][:3], 2), *ROWS[1:]]
    renamed = [(*ROWS[0][:1], "i8", *ROWS[0][2:]), *ROWS[1:]]
    drawn = fingerprint(ROWS, split_column=None)
    others = [fingerprint(relabelled), fingerprint(renamed), fingerprint(ROWS[1:]), drawn]
    assert len({first, *others}) == 5


def test_equal_splits_have_equal_fingerprints_whatever_made_them(make):
    drawn = FixedSplitDataset(make(split_column=None))
    label = {pair: code for code, part in enumerate(drawn.build()) for pair in pairs(part)}
    rows = [(user, item, rating, label[user, item]) for user, item, rating, _ in ROWS]
    dataset = FixedSplitDataset(make(rows=rows))
    dataset.build()
    assert dataset.split_fingerprint == drawn.split_fingerprint


# Files that cannot be used


def test_missing_folder_is_no_download(make, tmp_path, monkeypatch):
    config = make()
    config["data_path"] = str(tmp_path / "nowhere")
    monkeypatch.setattr("recbole.data.dataset.dataset.download_url", None)
    message = error_of(config)
    assert str(tmp_path / "nowhere") in message and "tiny.inter" in message
    assert "data_path" in message and "ml-100k" in message


def test_missing_inter_file_lists_what_is_there(make, tmp_path):
    config = make()
    (tmp_path / "tiny" / "tiny.inter").rename(tmp_path / "tiny" / "Tiny.inter")
    message = error_of(config)
    assert "tiny.inter does not exist" in message and "Tiny.inter" in message


@pytest.mark.parametrize(
    "head, found",
    [
        ("user\titem", "'user\\titem'"),
        ("user_id:token,item_id:token", "user_id:token,item_id:token"),
        ("user_id:token\titem_id:int", "item_id:int"),
        ("user_id:token\t:token", ":token"),
        ("", "''"),
    ],
)
def test_malformed_header(make, head, found):
    message = error_of(make(head))
    assert found in message and "name:type" in message and "field_separator" in message


def test_a_folder_of_mmrec_is_to_be_imported(make, tmp_path):
    command = f"recbole-ssr prepare --from=mmrec {tmp_path / 'tiny'} --name=OTHER"
    assert command in error_of(make("userID\titemID\tx_label"))
    assert "--from" not in error_of(make("user\titem\tx_label"))


@pytest.mark.parametrize(
    "head, key",
    [
        (HEAD.replace("item_id", "item"), "ITEM_ID_FIELD needs item_id:token"),
        (HEAD.replace("user_id", "uid"), "USER_ID_FIELD needs user_id:token"),
        (HEAD.replace("user_id:token", "user_id:float"), "USER_ID_FIELD needs user_id:token"),
        (HEAD.replace("x_label:float", "x_label:token_seq"), "split_column needs x_label:float"),
    ],
)
def test_missing_columns_show_the_header(make, head, key):
    message = error_of(make(head))
    assert key in message and head.replace("\t", ", ") in message


def test_rows_that_are_no_numbers_or_absent(make):
    message = error_of(make(rows=[*ROWS, ("u0", "i0", "five", 0)]))
    assert f"tiny.inter, line {len(ROWS) + 2}: rating:float is 'five'" in message
    assert "relax" in error_of(make(user_inter_num_interval="[99,inf)"))
    assert "No interaction" in error_of(make(rows=[]))


# Item features


def test_features_follow_the_kept_items(make, tmp_path):
    stored = np.arange(16, dtype=np.float32).reshape(8, 2)
    tokens = ["i9", "i5", "i4", "i3", "i2", "i1", "never", "i7"]
    write_features(tmp_path / "tiny" / "features", "text", stored, tokens)
    config = make(item_inter_num_interval="[2,inf)", feature_scaling="none")
    dataset = MultimodalDataset(config)
    result = dataset.item_features
    matrix = result.matrix("text")
    assert dataset.item_num == len(matrix) == 7, "[PAD] and six items: no vocabulary is added"
    for token in ("i1", "i2", "i3", "i4", "i5"):
        row = matrix[dataset.token2id("item_id", token)]
        assert row.tolist() == stored[tokens.index(token)].tolist()
    assert not result.has_feature("text")[dataset.token2id("item_id", "i0")]
    assert all(part.item_features is result for part in dataset.build())
    assert set(dataset.fields()) == {"user_id", "item_id", "rating"}


def test_feature_settings_reach_the_loader(make, tmp_path):
    folder = tmp_path / "elsewhere"
    tokens = sorted({row[1] for row in ROWS})
    for name in ("text", "image"):
        write_features(folder, name, np.full((len(tokens) - 1, 2), 3.0), tokens[1:])
    options = {"feature_path": str(folder), "modalities": "image", "feature_fill": "mean"}
    dataset = MultimodalDataset(make(**options, feature_scaling="none"))
    assert dataset.item_features.modalities == ("image",)
    assert (dataset.item_features.matrix("image")[1:] == 3).all()
    unit = MultimodalDataset(make(**options)).item_features.matrix("image")
    torch.testing.assert_close(unit[1:].norm(dim=1), torch.ones(len(tokens)))
    assert "zero, mean, error" in error_of(
        make(**{**options, "feature_fill": "median"}), MultimodalDataset
    )


def test_no_features_is_an_error_never_a_unimodal_run(make, tmp_path):
    message = error_of(make(), MultimodalDataset)
    assert str(tmp_path / "tiny" / "features") in message and "feature_path" in message


def test_a_pickled_dataset_keeps_split_and_features(make, tmp_path):
    write_features(tmp_path / "tiny" / "features", "text", np.ones((1, 50_000), "f4"), ["i1"])
    dataset = MultimodalDataset(make())
    data = ForkingPickler.dumps(dataset)
    assert len(data) < 100_000
    again = ForkingPickler.loads(data)
    assert [pairs(part) for part in again.build()] == [labelled(code) for code in range(3)]
    assert again.item_features.fingerprint == dataset.item_features.fingerprint
