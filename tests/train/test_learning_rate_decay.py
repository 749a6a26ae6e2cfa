"""Step sizes that fall with the epoch, in whole runs and in resumed ones."""

from pathlib import Path

import pytest
import torch
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.errors import UserError
from recbole_ssr.train import checkpoint
from recbole_ssr.train.trainer import RunMixin

RATE, DECAY, PERIOD = 0.01, 0.5, 2


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SETTINGS | write_tiny(tmp_path / "data") | {
        "learning_rate": RATE, "learning_rate_decay": DECAY, "learning_rate_decay_epochs": PERIOD}


@pytest.fixture
def steps(monkeypatch):
    """The step sizes that the optimizer took, by epoch, for runs of this test."""
    seen, original = {}, RunMixin._train_epoch

    def recorded(self, data, epoch, loss_func=None, **kwargs):
        calculate = loss_func or self.model.calculate_loss

        def noted(batch):
            seen.setdefault(epoch, []).extend(g["lr"] for g in self.optimizer.param_groups)
            return calculate(batch)

        return original(self, data, epoch, noted, **kwargs)

    monkeypatch.setattr(RunMixin, "_train_epoch", recorded)
    return seen


def train(options, model="FastLightGCN", **changes):
    return recbole_ssr.run(model=model, dataset="tiny", config_dict=options | changes)


def same_parameters(a, b):
    a, b = (checkpoint.load(Path(run) / "last.pth")["state_dict"] for run in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("model", ["FastLightGCN", "LightGCN"])
def test_every_step_of_an_epoch_follows_the_schedule(options, steps, model):
    train(options, model)
    assert sorted(steps) == [0, 1, 2, 3] and all(len(taken) > 1 for taken in steps.values())
    for epoch, taken in steps.items():
        assert taken == pytest.approx([RATE * DECAY ** (epoch / PERIOD)] * len(taken))


@pytest.mark.parametrize("decay", [1.0, 1])
def test_a_decay_of_1_keeps_the_step_size(options, steps, decay):
    run = train(options, learning_rate_decay=decay, epochs=3).run
    assert {rate for taken in steps.values() for rate in taken} == {RATE}
    never = {k: v for k, v in options.items() if not k.startswith("learning_rate_")}
    assert same_parameters(run, train(never, epochs=3, run_dir="never").run)


def test_a_decay_changes_what_is_learned(options):
    falling = train(options, epochs=3).run
    assert not same_parameters(falling, train(options, epochs=3, learning_rate_decay=1.0).run)


@pytest.mark.parametrize("model", ["FastLightGCN", "LayerGCN", "FastSGL"])
def test_a_resumed_run_takes_the_same_steps(options, steps, monkeypatch, model):
    """And the same draws of an epoch's edges and views, which the model's generator makes."""
    whole = train(options, model)
    expected = dict(steps)
    steps.clear()
    with monkeypatch.context() as patch:
        original = RunMixin._train_epoch

        def interrupted(self, data, epoch, *args, **kwargs):
            if epoch == 2:
                raise KeyboardInterrupt
            return original(self, data, epoch, *args, **kwargs)

        patch.setattr(RunMixin, "_train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(options, model, run_dir="broken")
    (folder,) = Path("broken").iterdir()
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    assert steps == expected
    assert same_parameters(resumed.run, whole.run)
    assert resumed.test == whole.test


@pytest.mark.parametrize("key, value, told", [
    ("learning_rate_decay", 0.0, "above 0 and at most 1"),
    ("learning_rate_decay", 1.5, "above 0 and at most 1"),
    ("learning_rate_decay_epochs", 0, "at least 1"),
])
def test_a_schedule_that_makes_no_sense_is_refused_before_the_run(options, key, value, told):
    with pytest.raises(UserError, match=f"{key}={value} .*must be {told}"):
        train(options, **{key: value})
    assert not Path("runs").exists()
