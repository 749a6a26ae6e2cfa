"""Splits: properties of every rule, counts by hand and by RecBole, and yamls with mistakes."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.split_rules import (
    RULES,
    TIMED,
    leave_one_out_counts,
    mmrec_counts,
    ratio_counts,
)
from recbole_ssr.dataset_prep.splits import Split, label, read_split, split_names
from recbole_ssr.errors import UserError

NEEDS_TS = pytest.mark.skipif(not hasattr(Dataset, "time_based_split"),
                              reason="RecBole 1.2.0 has no split by time")

NAMES = tuple(name for name in split_names() if not name.startswith("published"))
RANDOM = ("published-test", *(name for name in NAMES if name not in TIMED))
PER_USER = {"mmrec", "ratio", "leave-one-out", "leave-one-out-random", "temporal-ratio"}


@pytest.fixture(scope="module")
def shop():
    """Users of 1 to 40 interactions, distinct pairs, few distinct times."""
    rng = np.random.default_rng(0)
    rows = [(f"u{n}", f"i{item}") for n in range(1, 41)
            for item in rng.choice(60, n, replace=False)]
    rows = [rows[k] for k in rng.permutation(len(rows))]
    users, items = zip(*rows)
    return Interactions.from_tokens(users, items, timestamps=rng.integers(0, 50, len(rows)),
                                    labels=rng.permutation(np.arange(len(rows)) % 3))


def named(interactions, labels):
    return sorted(zip(interactions.user_tokens[interactions.users],
                      interactions.item_tokens[interactions.items], labels.tolist()))


def permuted(interactions, seed):
    """The same rows in another order, with tokens numbered anew."""
    return interactions.select(np.random.default_rng(seed).permutation(len(interactions)))


@pytest.mark.parametrize("name", split_names())
def test_the_order_of_rows_does_not_matter_save_for_equal_times(shop, ordered, name):
    data, split = ordered if name in TIMED else shop, read_split(name)
    other = permuted(data, 1)
    labels = label(data, split)
    assert labels.dtype == np.int8 and labels.shape == (len(data),) and set(labels) == {0, 1, 2}
    assert named(data, labels) == named(other, label(other, split))


@pytest.mark.parametrize("name", sorted(TIMED - {"global-temporal"}))
def test_rows_of_one_time_stay_in_their_order(ordered, name):
    """Rows in order of time, whatever the times, are split as if the times were all different."""
    tied = replace(ordered, timestamps=np.arange(len(ordered)) // 7 * 7)
    apart = replace(ordered, timestamps=np.arange(len(ordered)))
    if name != "time":  # whose border is a time, which a row or its neighbour has
        assert (label(tied, read_split(name)) == label(apart, read_split(name))).all()
    of_user = label(tied, read_split(name))
    for user in range(ordered.n_users):
        own = of_user[ordered.users == user]
        assert (np.diff(own) >= 0).all()


@pytest.mark.parametrize("scale", [1000, 1 / 7])
@pytest.mark.parametrize("name", sorted(TIMED))
def test_fractions_of_a_second_order_too(ordered, name, scale):
    times = 1_700_000_000 + ordered.timestamps / (1000 * scale)
    finer = replace(ordered, timestamps=times)
    other = permuted(finer, 2)
    labels = label(finer, read_split(name))
    assert (labels == label(ordered, read_split(name))).all()
    assert named(finer, labels) == named(other, label(other, read_split(name)))


@pytest.mark.parametrize("name", split_names())
def test_the_seed_moves_what_is_drawn_and_nothing_else(shop, name):
    split = read_split(name)
    other = split.with_seed(7)
    changed = (label(shop, split) != label(shop, other)).any()
    assert changed == (name in RANDOM) == (split.seed is not None)
    assert (split.title == other.title) == (not changed)
    if changed:
        assert other.title == split.title.replace("2020", "7")
        assert (label(shop, other.with_seed(2020)) == label(shop, split)).all()


@pytest.mark.parametrize("name, counts", [
    ("mmrec", mmrec_counts), ("leave-one-out", leave_one_out_counts),
    ("leave-one-out-random", leave_one_out_counts),
    ("ratio", lambda n: ratio_counts(n, (0.8, 0.1, 0.1))),
    ("temporal-ratio", lambda n: ratio_counts(n, (0.8, 0.1, 0.1))),
])
def test_every_user_of_1_to_40_gets_the_counts_of_the_rule(shop, name, counts):
    labels = label(shop, read_split(name))
    for code, token in enumerate(shop.user_tokens):
        result = np.bincount(labels[shop.users == code], minlength=3)
        assert tuple(result) == counts(int(token[1:])), token


@pytest.mark.parametrize("name", sorted(PER_USER))
def test_a_users_split_does_not_depend_on_other_users(shop, name):
    split = read_split(name)
    labels = label(shop, split)
    part = shop.users < 20
    assert (label(shop.select(part), split) == labels[part]).all()


def test_counts_by_hand():
    assert [mmrec_counts(n) for n in (1, 2, 3, 5, 9, 10, 14, 15, 20)] == [
        (1, 0, 0), (2, 0, 0), (1, 1, 1), (3, 1, 1), (7, 1, 1), (8, 1, 1), (12, 1, 1), (12, 1, 2),
        (16, 2, 2)]
    assert [leave_one_out_counts(n) for n in (0, 1, 2, 3, 9)] == [
        (0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (7, 1, 1)]
    assert [ratio_counts(n, (0.8, 0.1, 0.1)) for n in (1, 2, 3, 10, 29)] == [
        (1, 0, 0), (1, 0, 1), (1, 1, 1), (8, 1, 1), (25, 2, 2)]


@given(st.integers(0, 500), st.lists(st.floats(0.01, 10), min_size=3, max_size=3))
def test_ratio_counts_are_recboles(n, ratios):
    shares = tuple(ratio / sum(ratios) for ratio in ratios)
    borders = Dataset._calcu_split_ids(None, n, list(shares))
    assert ratio_counts(n, shares) == tuple(np.diff([0, *borders, n]))


@pytest.fixture(scope="module")
def ordered(shop):
    """Rows in order of time, every time another one, small enough for RecBole's float32."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.choice(10_000, len(shop), replace=False))
    return Interactions(shop.users, shop.items, shop.user_tokens, shop.item_tokens,
                        timestamps=times)


def of_recbole(interactions, split):
    """Labels by RecBole's own methods, which need no more of a Dataset than this."""
    feat = Interaction({"user": torch.from_numpy(interactions.users),
                        "time": torch.from_numpy(interactions.timestamps).float(),
                        "row": torch.arange(len(interactions))})

    class Host:
        inter_feat, time_field, uid_field = feat, "time", "user"
        logger = SimpleNamespace(debug=str)
        _grouped_index, _calcu_split_ids = Dataset._grouped_index, Dataset._calcu_split_ids
        _split_index_by_leave_one_out = Dataset._split_index_by_leave_one_out

        def __len__(self):
            return len(feat)

        def _drop_unused_col(self):
            pass

        def copy(self, part):
            return part["row"].numpy()

    labels = np.full(len(interactions), -1)
    for number, rows in enumerate(split(Host())):
        labels[rows] = number
    return labels


@pytest.mark.parametrize("name, split", [
    ("temporal-ratio", lambda d: Dataset.split_by_ratio(d, [0.8, 0.1, 0.1], "user")),
    ("temporal-ratio-global", lambda d: Dataset.split_by_ratio(d, [0.8, 0.1, 0.1])),
    ("leave-one-out", lambda d: Dataset.leave_one_out(d, "user", "valid_and_test")),
    pytest.param("time", lambda d: Dataset.time_based_split(d, [0.8, 0.1, 0.1], "user"),
                 marks=NEEDS_TS),
])
def test_time_rules_are_recboles_on_rows_in_order_of_time(ordered, name, split):
    assert (label(ordered, read_split(name)) == of_recbole(ordered, split)).all()


def test_the_time_rule_holds_out_the_rows_that_recbole_means(ordered):
    """On unsorted rows RecBole applies the mask of sorted rows; ours still cuts at one instant."""
    other = permuted(ordered, 5)
    labels = label(other, read_split("time"))
    late = other.timestamps > np.percentile(other.timestamps, 90)
    assert ((labels == 2) == late).all()
    if hasattr(Dataset, "time_based_split"):
        theirs = of_recbole(other, lambda d: Dataset.time_based_split(d, [0.8, 0.1, 0.1], "user"))
        assert ((theirs == 2) != late).any()
    for user in range(other.n_users):
        times = [other.timestamps[(other.users == user) & (labels == part)] for part in (0, 1)]
        assert max(times[0], default=-1) < min(times[1], default=np.inf)


def test_the_last_interaction_of_a_user_is_for_testing(shop):
    labels = label(shop, read_split("leave-one-out"))
    for user in range(shop.n_users):
        rows = np.flatnonzero(shop.users == user)
        rows = sorted(rows, key=lambda row: shop.timestamps[row])  # stable
        expected = ([0] * len(rows) + [1, 2])[-len(rows):] if len(rows) >= 3 else [0, 2][:len(rows)]
        assert labels[rows].tolist() == expected


def test_two_instants_cut_all_interactions_and_no_instant_is_in_two_parts(shop):
    labels = label(shop, read_split("global-temporal"))
    train, valid, test = (shop.timestamps[labels == part] for part in range(3))
    assert train.max() < valid.min() <= valid.max() < test.min()
    # Without ties the counts are those of the ratios.
    apart = Interactions.from_tokens(["u"] * 50, list(range(50)), timestamps=range(50, 0, -1))
    labels = label(apart, read_split("global-temporal"))
    assert labels.tolist() == [2] * 5 + [1] * 5 + [0] * 40


def test_held_out_items_are_in_one_part_only(shop):
    labels = label(shop, read_split("cold-items"))
    parts = [set(shop.items[labels == part]) for part in range(3)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert tuple(map(len, parts)) == ratio_counts(shop.n_items, (0.8, 0.1, 0.1))


def test_every_interaction_of_a_user_is_as_likely_to_be_held_out():
    users, items = np.divmod(np.arange(40_000), 20)
    many = Interactions.from_tokens(users.astype(str), items.astype(str))
    share = np.bincount(items, label(many, read_split("mmrec")) > 0) / 2000
    assert (np.abs(share - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 2000)).all()
    # Two seeds agree on a held-out row as often as chance has it.
    both = [label(many, read_split("mmrec").with_seed(seed)) > 0 for seed in (0, 1)]
    assert abs((both[0] & both[1]).mean() - 0.04) < 5 * np.sqrt(0.04 * 0.96 / 40_000)


def test_the_draw_stays_the_same_in_every_version():
    few = Interactions.from_tokens(["u"] * 6 + ["v"] * 5, [*"abcdef", *"abcde"])
    assert "".join(map(str, label(few, read_split("mmrec")))) == "00001220010"


def test_the_random_order_is_that_of_the_documented_hash():
    def mixed(value):  # splitmix64 in Python's own integers
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    def hashed(token, kind):
        digest = hashlib.blake2b(token.encode(), digest_size=8, person=kind).digest()
        return int.from_bytes(digest, "little")

    rows = [("u\u00fc", f"i{k}", 10**9 + k % 3) for k in range(30)]
    users, items, times = zip(*rows)
    many = Interactions.from_tokens(users, items, timestamps=times)
    keys = [mixed(mixed(mixed(mixed(5) ^ hashed(u, b"user")) ^ hashed(i, b"item")) ^ t)
            for u, i, t in rows]
    order = sorted(range(30), key=keys.__getitem__)
    labels = label(many, read_split("ratio").with_seed(5))
    assert labels[order].tolist() == [0] * 24 + [1] * 3 + [2] * 3


@pytest.mark.parametrize("name", sorted(TIMED))
def test_rules_of_time_need_times(name):
    few = Interactions.from_tokens(["u"] * 9, list("abcdefghi"))
    with pytest.raises(UserError, match=f"{name} orders by time.*--time_column.*--split=[a-z-]+"):
        label(few, read_split(name))


def test_published_needs_published_labels():
    few = Interactions.from_tokens(["u"] * 3, ["a", "b", "c"])
    with pytest.raises(UserError, match="no split of their own.*--split"):
        label(few, read_split("published"))
    assert label(few.with_labels([2, 0, 1]), read_split("published")).tolist() == [2, 0, 1]


def test_an_empty_part_is_an_error():
    few = Interactions.from_tokens(["u", "v"], ["a", "b"], timestamps=[1, 1])
    for name in NAMES:
        with pytest.raises(UserError, match="a part empty: .* Bring more interactions"):
            label(few, read_split(name))
    with pytest.raises(UserError, match="no interactions"):
        label(few.select([]), read_split("time"))


def test_validation_is_drawn_out_of_what_is_not_tested(shop):
    split = read_split("published-test")
    assert split.title == "published test, the rest 9:1 per user, seed 2020"
    labels = label(shop, split)
    assert ((labels == 2) == (shop.labels == 2)).all()
    for user in range(shop.n_users):
        result = labels[shop.users == user]
        n = int((result != 2).sum())
        assert (result == 1).sum() == ratio_counts(n, (0.9, 0.1, 0))[1] == (
            n // 10 if n >= 10 else int(n > 1))
    with_none = shop.with_labels(np.where(shop.labels == 1, 0, shop.labels))
    assert (label(with_none, split) == labels).all()
    with pytest.raises(UserError, match="a part empty.*published-test draws"):
        label(with_none, read_split("published"))


def test_names_titles_and_rules():
    assert set(split_names()) == set(RULES)
    titles = [read_split(name).title for name in split_names()]
    assert len(set(titles)) == len(titles) and not any("{" in title for title in titles)
    assert read_split("mmrec").title == "MMRec random 8:1:1 per user, seed 2020"
    assert Split("ratio", "r {ratios}", 1, (0.7, 0.15, 0.15)).title == "r 70:15:15, seed 1"
    assert Split("ratio", "r {ratios}", 1, (2 / 3, 1 / 6, 1 / 6)).title == (
        "r 66.67:16.67:16.67, seed 1")


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_file_changes_what_it_names(tmp_path):
    split = read_split(written(tmp_path, "rule: ratio\nratios: [7, 1, 2]\n"))
    assert split.title == "random 7:1:2 per user, seed 2020" and sum(split.ratios) == 1
    assert read_split(written(tmp_path, "rule: mmrec\nseed: 3\ntitle: ours\n")).title == (
        "ours, seed 3")


@pytest.mark.parametrize("text, words", [
    ("seed: 1", "has no rule. Write 'rule:' with one of published, published-test, mmrec"),
    ("rule: temporal-ration", "unknown rule 'temporal-ration'. Did you mean 'temporal-ratio'?"),
    ("rule: [ratio]", "unknown rule"),
    ("rule: ratio\nratio: [8, 1, 1]", "unknown key 'ratio'. Did you mean 'ratios'?"),
    ("rule: mmrec\nratios: [8, 1, 1]", "ratios has no meaning for the rule mmrec"),
    ("rule: time\nseed: 1", "seed has no meaning for the rule time, which has only rule, ratios"),
    ("rule: ratio\nratios: [0.8, 0.2]", r"ratios is [0.8, 0.2]. Write 3 numbers above 0"),
    ("rule: ratio\nratios: [0.8, 0.2, 0]", "ratios is [0.8, 0.2, 0]"),
    ("rule: ratio\nratios: [0.8, .inf, 1]", "ratios is [0.8, inf, 1]"),
    ("rule: ratio\nratios: 8:1:1", "ratios is"),
    ("rule: ratio\nratios: [true, 1, 1]", "ratios is [True, 1, 1]"),
    ("rule: ratio\nseed: -1", "seed is -1. Write a whole number"),
    ("rule: ratio\nseed: 1.5", "seed is 1.5"),
    ("rule: ratio\nseed: ~", "seed is None"),
    ("rule: ratio\ntitle: ''", "title is ''. Write one line"),
    ("rule: ratio\ntitle: 8", "title is 8"),
    ("- rule", "line 1: expected a mapping"),
])
def test_a_file_with_a_mistake_is_named_with_value_and_remedy(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_split(path)
    assert words in str(error.value) and str(path) in str(error.value)


def test_unknown_names_and_files():
    with pytest.raises(UserError, match="'leave-one'. Did you mean 'leave-one-out'.*mmrec"):
        read_split("leave-one")
    with pytest.raises(UserError, match="Cannot read the configuration file no/such.yaml"):
        read_split("no/such.yaml")
    with pytest.raises(UserError, match="split_seed is -4"):
        read_split("mmrec").with_seed(-4)
