"""A share of the training interactions: nested, seeded, and nothing else of a run moves."""

from pathlib import Path

import numpy as np
import pytest
from tiny import SETTINGS, USERS, write_tiny

from recbole_ssr.config import build_config
from recbole_ssr.data.train_share import kept
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import interactions_of, protocol_of
from recbole_ssr.quick_start import prepare

TRAIN = 7 * USERS  # of tiny: nine interactions a user, one each held out for validation and test


@pytest.fixture
def data(tmp_path):
    return SETTINGS | write_tiny(tmp_path / "data")


def experiment(data, model="LightGCN", **changes):
    return prepare(build_config(model, "tiny", config_dict=data | changes))


def pairs(loader, dataset):
    inter = loader._dataset.inter_feat
    users, items = (dataset.id2token(field, inter[field].numpy())
                    for field in (dataset.uid_field, dataset.iid_field))
    return list(zip(users, items))


# The draw


def random_rows(n=200, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(60 * 50)[:n]
    return codes // 50, codes % 50


def test_the_share_is_exact_and_larger_ones_add_to_smaller():
    users, items = random_rows()
    before = set()
    for share, count in ((0.001, 1), (0.1, 20), (0.2525, 51), (0.5, 100), (0.99, 198), (1.0, 200)):
        result = kept(users, items, share, seed=7)
        assert len(result) == count and (np.diff(result) > 0).all()
        assert before <= set(result.tolist())
        before = set(result.tolist())


def test_the_seed_decides_and_the_order_of_rows_does_not():
    users, items = random_rows()
    first = {(users[k], items[k]) for k in kept(users, items, 0.3, seed=7)}
    order = np.random.default_rng(1).permutation(len(users))
    moved = users[order], items[order]
    again = {(moved[0][k], moved[1][k]) for k in kept(*moved, 0.3, seed=7)}
    assert again == first
    assert {(users[k], items[k]) for k in kept(users, items, 0.3, seed=8)} != first


def test_every_interaction_is_as_likely():
    users, items = random_rows(20)
    counts = sum(np.bincount(kept(users, items, 0.25, seed), minlength=20) for seed in range(4000))
    # Binomial with p = 1/4: five deviations of sqrt(4000 * 3 / 16).
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 3 / 16)


# In a dataset


@pytest.mark.parametrize("model", ["LightGCN", "SSR", "EASE", "GFCF"])
def test_only_training_shrinks(data, model):
    whole, part = (experiment(data, model, train_share=share) for share in (1.0, 0.4))
    everything, chosen = (set(pairs(e.train, e.dataset)) for e in (whole, part))
    assert len(everything) == TRAIN and len(chosen) == round(0.4 * TRAIN) and chosen < everything
    for name in ("valid", "test"):
        expected = pairs(getattr(whole, name), whole.dataset)
        result = pairs(getattr(part, name), part.dataset)
        assert result == expected and not chosen.intersection(expected)
    assert part.dataset.user_num == whole.dataset.user_num == USERS + 1
    assert part.dataset.item_num == whole.dataset.item_num
    assert part.dataset.split_fingerprint == whole.dataset.split_fingerprint
    assert protocol_of(part)["train_share"] == 0.4
    assert protocol_of(part) | {"train_share": 1.0} == protocol_of(whole)
    for name, value in interactions_of(whole)._asdict().items():
        assert np.array_equal(getattr(interactions_of(part), name), value), name


def test_the_graph_holds_the_share_alone(data):
    part = experiment(data, "SSR", train_share=0.3)
    users, items = (ids.tolist() for ids in part.model.graph.edges())
    inter = part.train._dataset.inter_feat
    assert set(zip(users, items)) == set(zip(inter["user_id"].tolist(), inter["item_id"].tolist()))
    assert len(users) == round(0.3 * TRAIN)


def test_the_split_seed_decides_and_the_seed_does_not(data):
    first, other_seed, other_split = (
        pairs(e.train, e.dataset) for e in (
            experiment(data, train_share=0.5), experiment(data, train_share=0.5, seed=9),
            experiment(data, train_share=0.5, split_seed=9)))
    assert first == other_seed and set(first) != set(other_split)


def test_all_training_items_stay_out_of_every_ranking(data):
    """So that all shares rank the same candidates, brute force."""
    whole, part = (experiment(data, train_share=share) for share in (1.0, 0.3))
    for name in ("valid", "test"):
        masks = []
        for e in (whole, part):
            loader = getattr(e, name)
            masks.append({user: set(loader.uid2history_item[user].tolist())
                          for user in loader.uid_list.tolist()})
        assert masks[0] == masks[1] and all(len(mask) >= 7 for mask in masks[1].values())


def test_negatives_may_be_what_the_model_has_not_seen(data):
    part = experiment(data, train_share=0.3)
    inter = part.train._dataset.inter_feat
    known = {(u, i) for u, i in zip(inter["user_id"].tolist(), inter["item_id"].tolist())}
    full = part.dataset.full_train
    hidden = {(u, i) for u, i in zip(full["user_id"].tolist(), full["item_id"].tolist())} - known
    drawn = set()
    for _ in range(20):
        for batch in part.train:
            drawn |= set(zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist()))
    assert not drawn & known and drawn & hidden


def test_sampled_rankings_draw_no_training_item(data):
    part = experiment(data, train_share=0.3, eval_args={"mode": {"valid": "uni5", "test": "uni5"}})
    full = part.dataset.full_train
    train = {(u, i) for u, i in zip(full["user_id"].tolist(), full["item_id"].tolist())}
    for loader in (part.valid, part.test):
        for interaction, *_ in loader:
            result = zip(interaction["user_id"].tolist(), interaction["item_id"].tolist())
            assert not train.intersection(result)


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(UserError, match="train_share.*above 0 and at most 1"):
        build_config("LightGCN", config_dict={"train_share": float(share)})


def test_a_random_split_is_that_of_the_whole_data(tmp_path):
    data = SETTINGS | write_tiny(tmp_path / "data", split=False)
    whole, part = (experiment(data, train_share=share) for share in (1.0, 0.5))
    assert part.dataset.split_fingerprint == whole.dataset.split_fingerprint
    assert pairs(part.test, part.dataset) == pairs(whole.test, whole.dataset)
    assert set(pairs(part.train, part.dataset)) < set(pairs(whole.train, whole.dataset))


def test_a_model_with_a_split_of_its_own_is_refused(data):
    file = Path(data["data_path"], "tiny", "tiny.inter")
    head, *lines = file.read_text().splitlines()
    timed = [f"{line}\t{k}" for k, line in enumerate(lines)]
    file.write_text("\n".join([f"{head}\ttimestamp:float", *timed]) + "\n")
    columns = {"inter": ["user_id", "item_id", "part", "timestamp"]}
    with pytest.raises(UserError, match="train_share is 0.5, but GRU4Rec splits"):
        experiment(data, "GRU4Rec", train_share=0.5, load_col=columns, train_neg_sample_args=None)
