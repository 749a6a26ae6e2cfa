"""Data without Python objects for each interaction: all that follows is what RecBole gives."""

import random

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler
from recbole.sampler.sampler import AbstractSampler
from tiny import SETTINGS, write_tiny
from torch.utils.data import RandomSampler

from recbole_ssr.config import build_config
from recbole_ssr.data import atomic_blocks, atomic_files
from recbole_ssr.data.atomic_numbers import WrongNumber, numbers
from recbole_ssr.data.exact import ExactDataset
from recbole_ssr.data.grouping import Groups
from recbole_ssr.data.large import _Shuffled
from recbole_ssr.data.used_items import UsedItems
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare

LETTERS = ("ab", "abcdefghijk", "é€😀x", "a b", "a\"'", "ab\r", "ab\t\n", "\u2028ab", "NA01.e-",
           "123", "1.")


def random_file(path, rng):
    """Write a file of up to 30 lines, most of them regular; return its columns and separator."""
    letters, width = rng.choice(LETTERS), rng.randint(1, 4)
    separator, newline = rng.choice("\t,; "), rng.choice(["\n", "\n", "\n", "\r\n", "\r"])
    names = ["abcd"[k] for k in range(width)]
    lines = [separator.join(f"{name}:token" for name in names)]
    for _ in range(rng.randint(0, 30)):
        cells = width if rng.random() < 0.98 else rng.randint(1, 5)
        lines.append(separator.join(
            "".join(rng.choices(letters, k=rng.choice([0, 1, 2, 3, 8, 9, 17, 30])))
            for _ in range(cells)))
        lines += [""] * (rng.random() < 0.02)
    text = newline.join(lines) + rng.choice(["", newline])
    path.write_bytes((b"\xef\xbb\xbf" if rng.random() < 0.05 else b"") + text.encode()
                     + (b"\xff" if rng.random() < 0.03 else b""))
    return rng.sample(names, rng.randint(1, width)), separator


def values_of(column):
    if isinstance(column, np.ndarray):
        return column.tolist()
    try:
        return numbers(column.distinct)[column.codes].tolist()
    except WrongNumber as error:
        return error, column.first_row(error.row)


def test_blocks_are_read_as_lines_are(tmp_path, monkeypatch):
    """Cells, their order and every error are equal, whatever the size of a block."""
    by_block, path, rng, used = atomic_files.columns_by_block, tmp_path / "x.inter", None, 0

    def read(wanted, separator):
        numeric = wanted[:1] if b"1" in path.read_bytes() else ()
        try:
            columns = atomic_files.read_columns(str(path), separator, None, wanted, numeric)
            return [str(values_of(columns.pop(name))) for name in numeric] + [
                (column.codes.tolist(), column.distinct) for column in columns.values()]
        except UserError as error:
            return str(error)

    def counted(*arguments, numeric):
        nonlocal used
        columns = by_block(*arguments, numeric)
        used += columns is not None
        return columns

    for seed in range(600):
        rng = random.Random(seed)
        wanted = random_file(path, rng)
        monkeypatch.setattr(atomic_blocks, "_BLOCK_BYTES", rng.choice([1, 3, 7, 40, 2**23]))
        monkeypatch.setattr(atomic_files, "columns_by_block", counted)
        found = read(*wanted)
        monkeypatch.setattr(atomic_files, "columns_by_block", lambda *_, **__: None)
        assert found == read(*wanted), seed
    assert 100 < used < 300


TABLE_SETTINGS = {
    "plain": {},
    "k-core": {"user_inter_num_interval": "[4,inf)", "item_inter_num_interval": "[3,60]"},
    "values": {"val_interval": {"rating": "[2,inf)"}},
    "repeats": {"rm_dup_inter": "first"},
    "ratio of all": {"eval_args": {"group_by": None}},
    "leave two out": {"eval_args": {"split": {"LS": "valid_and_test"}}},
    "leave one out": {"eval_args": {"split": {"LS": "test_only"}}},
}


@pytest.mark.parametrize("changes", TABLE_SETTINGS.values(), ids=TABLE_SETTINGS)
def test_ids_rows_and_splits_are_those_of_recbole(tmp_path, changes):
    """With floats that are missing, sequences of tokens and users of one interaction."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\trating:float\ttags:token_seq\tprices:float_seq"]
    for user in rng.zipf(1.6, size=400) % 70:
        tags = " ".join(f"t{k}" for k in rng.integers(9, size=rng.integers(4)))
        prices = " ".join(f"{k / 4}" for k in rng.integers(9, size=rng.integers(1, 3)))
        rating = rng.choice(["1", "2.5", "4e0", "NA", ""])
        lines.append(f"user{user}\t{rng.integers(40)}\t{rating}\t{tags}\t{prices}")
    (folder / "shop.inter").write_text("\n".join(lines))
    columns = [column.split(":")[0] for column in lines[0].split("\t")]
    evaluation = {"order": "RO", "group_by": "user", "split": {"RS": [8, 1, 1]}}
    config = build_config("LightGCN", "shop", config_dict={
        "data_path": str(tmp_path), "load_col": {"inter": columns}, **changes,
        "eval_args": {**evaluation, **changes.get("eval_args", {})}})
    parts = {}
    for kind in (Dataset, ExactDataset):
        dataset = kind(config)
        torch.manual_seed(1)
        parts[kind] = dataset, *dataset.build()
    for stock, ours in zip(*parts.values()):
        assert stock.field2id_token.keys() == ours.field2id_token.keys()
        for field, tokens in stock.field2id_token.items():
            assert tokens.tolist() == ours.field2id_token[field].tolist()
        assert list(stock.inter_feat.interaction) == list(ours.inter_feat.interaction) == columns
        for name in columns:
            torch.testing.assert_close(ours.inter_feat[name], stock.inter_feat[name],
                                       rtol=0, atol=0, equal_nan=True)
    assert len(parts[Dataset][0]) > 50


def test_negatives_are_drawn_as_recbole_draws_them(tmp_path):
    experiment = prepare(build_config("LightGCN", "tiny", config_dict=SETTINGS
                                      | write_tiny(tmp_path)))
    ours = experiment.train._sampler
    every = Sampler.get_used_ids.__wrapped__(ours)
    for loader in (experiment.train, experiment.valid, experiment.test):
        phase = loader._sampler.phase
        assert [loader._sampler.used_ids[user] for user in range(ours.user_num)] == list(
            every[phase])
    users = np.random.default_rng(0).integers(1, ours.user_num, size=300)
    for keys in (users, np.full(50, 7)):
        np.random.seed(5)
        drawn = ours.sample_by_user_ids(keys, None, 3)
        stock = ours.set_phase.__func__(_with(ours, {"train": every["train"]}), "train")
        np.random.seed(5)
        assert torch.equal(drawn, AbstractSampler.sample_by_key_ids.__wrapped__(stock, keys, 3))


def _with(sampler, used_ids):
    copy = type(sampler).__new__(type(sampler))
    copy.__dict__.update(vars(sampler), used_ids=used_ids)
    return copy


def test_full_ranking_masks_what_recbole_masks(tmp_path):
    config = build_config("LightGCN", "tiny", config_dict=SETTINGS | write_tiny(tmp_path))
    experiment = prepare(config)
    for loader in (experiment.valid, experiment.test):
        sampler = _with(loader._sampler, Sampler.get_used_ids.__wrapped__(loader._sampler)[
            loader._sampler.phase])
        stock = FullSortEvalDataLoader.__new__(FullSortEvalDataLoader)
        FullSortEvalDataLoader.__init__.__wrapped__(stock, config, loader._dataset, sampler)
        assert torch.equal(stock.uid_list, loader.uid_list)
        assert stock.uid2items_num.tolist() == loader.uid2items_num.tolist()
        index = list(range(len(loader.uid_list)))[3:17]
        expected = FullSortEvalDataLoader.collate_fn.__wrapped__(stock, index)
        found = loader.collate_fn(index)
        assert torch.equal(found[0]["user_id"], expected[0]["user_id"])
        pairs = [{(row, item) for row, item in zip(rows.tolist(), items.tolist())}
                 for rows, items in (found[1], expected[1], found[2:], expected[2:])]
        assert pairs[0] == pairs[1] and pairs[2] == pairs[3] and pairs[0] and pairs[2]
        assert len(found[1][0]) == len(expected[1][0])  # nothing twice


def test_an_epoch_has_the_order_of_torch():
    """The second epoch, too, whose order depends on all that the first one drew."""
    expected, found = torch.Generator().manual_seed(4), torch.Generator().manual_seed(4)
    torchs, ours = RandomSampler(range(100_000), generator=expected), _Shuffled(100_000, found)
    for _ in range(2):
        assert list(ours) == list(torchs)
    assert len(ours) == len(torchs)


def test_items_of_users_are_found_and_counted():
    used = UsedItems(np.array([2, 0, 2, 2]), np.array([5, 1, 3, 5]), n_users=3, n_items=6)
    assert [used[user] for user in range(3)] == [{1}, set(), {3, 5}]
    assert list(used[np.array([2, 1])]) == [{3, 5}, set()]
    assert used.count().tolist() == [1, 0, 2]
    assert used.has(np.array([2, 2, 1, 0]), np.array([5, 4, 3, 1])).tolist() == [
        True, False, False, True]
    more = used | UsedItems(np.array([1]), np.array([0]), 3, 6)
    assert [more[user] for user in range(3)] == [{1}, {0}, {3, 5}]
    for user in (3, -1):
        with pytest.raises(IndexError, match=f"user {user} is none of 3"):
            used.of([user])


def test_more_pairs_than_64_bits_can_number_are_refused():
    one = np.array([0], dtype=np.int32)
    with pytest.raises(OverflowError, match="more pairs than 64 bits"):
        UsedItems(one, one, n_users=2**40, n_items=2**30)
    # Ids of 32 bits, whose product has more.
    wide = np.array([2**31 - 2], dtype=np.int32)
    assert UsedItems(wide, wide, 2**31, 2**31)[2**31 - 2] == {2**31 - 2}


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_those_of_recbole(seed):
    rng = np.random.default_rng(seed)
    keys = rng.integers(rng.integers(1, 30), size=rng.integers(1, 200))
    stock, ours = (kind.__new__(kind) for kind in (Dataset, ExactDataset))
    lists = list(Dataset._grouped_index(stock, keys))
    assert [rows.tolist() for rows in Groups(keys)] == lists
    for held in (1, 2):
        expected = Dataset._split_index_by_leave_one_out(stock, lists, held)
        found = ours._split_index_by_leave_one_out(Groups(keys), held)
        assert [rows.tolist() for rows in found] == expected
