"""Weights & Biases and TensorBoard hear from our trainers what RecBole's own would tell them."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import recbole.trainer.trainer as host
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.measurement import evaluate
from recbole_ssr.quick_start import prepare
from recbole_ssr.train.monitors import TENSORBOARD

BOTH = {"epochs": 3, "log_wandb": True, "wandb_project": "bands"}
# What RecBole's own trainer does not do, and one model with a single loss, one with parts.
LIKE_STOCK = {"BPR": {}, "SSR": {"band_refit": False, "sampling_power": 0,
                                 "fused_optimizer": False}}


class Wandb(ModuleType):
    """Records what is asked of wandb."""

    def __init__(self):
        super().__init__("wandb")
        self.run, self.begun, self.logged, self.ended = None, [], [], 0
        self.summaries, self.steps = [], []

    def init(self, **settings):
        self.begun.append(settings)
        self.run = SimpleNamespace(summary={})
        self.summaries.append(self.run.summary)

    def define_metric(self, name, step_metric):
        self.steps.append((name, step_metric))

    def log(self, metrics, commit):
        self.logged.append((metrics, commit))

    def finish(self):
        self.run, self.ended = None, self.ended + 1


@pytest.fixture
def wandb(monkeypatch):
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    settings = SETTINGS | write_tiny(tmp_path / "data")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return settings


def stock(settings, model):
    """Train as RecBole does, with its own loggers, in the current folder."""
    config = build_config(model, "tiny", config_dict=settings)
    config["checkpoint_dir"] = "stock"
    experiment = prepare(config)
    trainer = host.Trainer(config, experiment.model)
    trainer.fit(experiment.train, experiment.valid, saved=False, verbose=False)
    trainer.tensorboard.close()


def scalars(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("model", LIKE_STOCK)
def test_both_hear_what_recbole_would_tell_them(tiny, wandb, model):
    settings = tiny | BOTH | LIKE_STOCK[model]
    stock(settings, model)
    logged, steps = wandb.logged, wandb.steps
    (folder,) = Path("log_tensorboard").iterdir()
    told = scalars(folder) | scalars(next(path for path in folder.iterdir() if path.is_dir()))
    wandb.__init__()

    result = recbole_ssr.run(model, "tiny", config_dict=settings)
    folder = Path(result.run)
    assert wandb.logged == logged and wandb.steps == steps
    assert [(m.get("train_step"), m.get("valid_step")) for m, _ in logged] == [
        (0, None), (None, 0), (1, None), (None, 1), (2, None), (None, 2)]
    (begun,) = wandb.begun
    assert (begun["project"], begun["dir"], begun["name"]) == ("bands", str(folder), folder.name)
    assert begun["config"]["model"] == model and begun["config"]["epochs"] == 3
    assert wandb.ended == 1
    assert wandb.summaries[0] == {f"eval/{name}": value for name, value in result.test.items()}
    assert scalars(folder / TENSORBOARD) == told
    assert len(told["Vaild_score"]) == 3 and len(told["hparam/best_valid_result"]) == 1
    assert len([tag for tag in told if tag.startswith("Loss/Train")]) == {"BPR": 1, "SSR": 4}[model]


def test_a_resumed_run_goes_on_in_its_folder(tiny):
    short = recbole_ssr.run("BPR", "tiny", config_dict=tiny | {"epochs": 2})
    recbole_ssr.run(flags={"resume": short.run, "epochs": 4})
    folder = Path(short.run) / TENSORBOARD
    assert [step for step, _ in scalars(folder)["Vaild_score"]] == [0, 1, 2, 3]
    files = set(folder.iterdir())
    recbole_ssr.run(flags={"resume": short.run, "epochs": 4})  # there is nothing to do
    recbole_ssr.load_run(short.run)
    assert set(folder.iterdir()) == files
    assert not Path("log_tensorboard").exists()


def test_a_run_of_wandb_that_the_program_began_is_used_and_left_open(tiny, wandb):
    wandb.init(project="mine")
    recbole_ssr.run("BPR", "tiny", config_dict=tiny | BOTH)
    assert wandb.begun == [{"project": "mine"}] and wandb.run is not None and not wandb.ended
    assert len(wandb.logged) == 6


def test_looking_at_a_run_begins_none(tiny, wandb):
    run = recbole_ssr.run("BPR", "tiny", config_dict=tiny | BOTH).run
    before = set(Path(run).rglob("*"))
    evaluate(run)
    assert len(wandb.begun) == 1 and len(wandb.logged) == 6
    assert set(Path(run).rglob("*")) == before and not Path("log_tensorboard").exists()


def test_without_wandb_nothing_is_trained(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="log_wandb needs wandb .*pip install wandb"):
        recbole_ssr.run("BPR", "tiny", config_dict=tiny | BOTH)
    assert not list(Path("runs").iterdir())
