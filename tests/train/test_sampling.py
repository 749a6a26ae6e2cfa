"""Which interactions an epoch shows, and that a run with drawn epochs resumes exactly."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from tiny import SETTINGS, write_tiny

from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare, trainer_of
from recbole_ssr.train.sampling import BalancedLoader, balanced

DEGREES = {1: 1, 2: 2, 5: 3, 3: 8, 4: 32}  # of users; 0 is padding


class Loader:
    """The parts of RecBole's loader that epochs depend on."""

    def __init__(self, seed=0, step=16):
        users = torch.cat([torch.full((n,), u) for u, n in DEGREES.items()])
        self._dataset = SimpleNamespace(uid_field="user_id", inter_feat={"user_id": users})
        self.generator, self.step = torch.Generator().manual_seed(seed), step
        self.extra = "the loader's"

    def __len__(self):
        return -(-len(self._dataset.inter_feat["user_id"]) // self.step)

    def collate_fn(self, index):
        return index.tolist()


def drawn(loader, epochs):
    return torch.cat([loader.draw() for _ in range(epochs)])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_users_occur_in_proportion_to_degree_to_the_one_minus_power(power):
    loader = Loader()
    index = drawn(BalancedLoader(loader, power), 2000)
    users = loader._dataset.inter_feat["user_id"]
    expected = torch.tensor([n ** (1.0 - power) for n in DEGREES.values()])
    expected /= expected.sum()
    share = torch.bincount(users[index], minlength=6)[list(DEGREES)] / len(index)
    # Five standard deviations of a binomial share.
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / len(index)).sqrt()).all()


def test_a_users_interactions_are_equally_likely():
    count = torch.bincount(drawn(BalancedLoader(Loader(), 1.0), 2000), minlength=46)
    of_user = count[-32:].double()  # user 4's
    assert len(count) == 46
    assert (of_user - of_user.mean()).abs().max() < 5 * of_user.mean().sqrt()


def test_an_epoch_is_as_long_as_the_data():
    loader = BalancedLoader(Loader(), 1.0)
    sizes = [len(batch) for batch in loader]
    assert sizes == [16, 16, 14] and len(loader) == 3
    assert loader.extra == "the loader's"


def test_epochs_differ_and_follow_from_the_generator():
    first, again, other = (BalancedLoader(Loader(seed), 1.0) for seed in (1, 1, 2))
    one, two = list(first), list(first)
    assert one != two
    state = again.generator.get_state()
    assert list(again) == one and list(other) != one
    again.generator.set_state(state)
    assert list(again) == one


def test_without_power_the_loader_is_untouched():
    loader = Loader()
    for power in (0, 0.0, None):
        assert balanced(loader, power) is loader


def test_what_cannot_be_balanced_is_named():
    with pytest.raises(UserError, match="sampling_power is -1; make it 0"):
        balanced(Loader(), -1)
    with pytest.raises(UserError, match="trains on Loader"):
        balanced(Loader(), 1)
    several = object.__new__(TrainDataLoader)
    several.config = {"single_spec": False}
    with pytest.raises(UserError, match="one process"):
        balanced(several, 1)


# With RecBole's loader and trainer


@pytest.fixture
def experiment(tmp_path):
    """Builds runs on `tiny`; a power of None leaves the key out."""
    base = SETTINGS | write_tiny(tmp_path / "data")

    def build(power, folder=None, **changes):
        config = build_config("BPR", "tiny", config_dict=base | changes)
        config["run_folder"] = None
        if folder:
            (tmp_path / folder).mkdir()
            config["run_folder"] = config["checkpoint_dir"] = str(tmp_path / folder)
        config["sampling_power"] = power
        return prepare(config)

    return build


def test_batches_are_training_interactions_with_fresh_negatives(experiment):
    train = experiment(1.0).train
    users, items = (train._dataset.inter_feat[f].tolist() for f in ("user_id", "item_id"))
    pairs, seen = set(zip(users, items)), Counter()
    for batch in balanced(train, 1.0):
        assert len(batch) <= train.step
        seen.update(zip(batch["user_id"].tolist(), batch["item_id"].tolist()))
        assert not set(zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist())) & pairs
    assert seen.total() == len(users) and set(seen) < pairs
    assert max(seen.values()) > 1


def fit(experiment, restore=None):
    trainer = trainer_of(experiment)
    if restore:
        trainer.restore(restore)
    trainer.fit(experiment.train, experiment.valid)
    losses = [record["loss"] for record in trainer.history]
    return losses, experiment.model.state_dict()


def test_an_interrupted_run_draws_what_it_would_have_drawn(experiment, tmp_path):
    whole, parameters = fit(experiment(1.0, "whole"))
    fit(experiment(1.0, "short", epochs=2))
    resumed, again = fit(experiment(1.0, "rest"), tmp_path / "short" / "last.pth")
    assert resumed == whole and len(whole) == 4
    assert all(torch.equal(parameters[name], again[name]) for name in parameters)


def test_the_power_reaches_the_trainer_and_zero_is_recboles_own_order(experiment):
    shuffled, drawn_losses, zero = (fit(experiment(power))[0] for power in (None, 1.0, 0.0))
    assert zero == shuffled != drawn_losses
