"""Runs whose model is calibrated on the validation part: what is kept, told and resumed."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.evaluation.rankings import Ranking
from recbole_ssr.model.ssr import SSR
from recbole_ssr.quick_start import evaluated, load_run, trainer_of
from recbole_ssr.report.result_table import calibration_line
from recbole_ssr.result import RunResult
from recbole_ssr.train import calibration, checkpoint


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train SSR on `tiny` with the changes given; keep a calibration, whatever it does."""
    settings = SETTINGS | write_tiny(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibration, "_is_worse", lambda *_: False)

    def run(**changes):
        options = {} if "resume" in changes else settings
        options = {"model": "SSR", "dataset": "tiny", "config_dict": options} if options else {}
        return recbole_ssr.run(**options, flags=changes)

    return run


def test_a_run_measures_with_and_without_and_loads_what_it_measured(train):
    plain, run = train(calibrate=False), train(calibration_prior=1.0)
    assert plain.calibration == {} and calibration_line(plain) is None
    before = run.calibration["uncalibrated"]
    assert (before["valid"], before["test"]) == (plain.valid, plain.test)
    assert run.history[run.best_epoch]["valid"] == plain.valid
    assert RunResult.read(run.run) == run
    line = calibration_line(run)
    assert f"valid {plain.valid['recall@5']:.4f} to {run.valid['recall@5']:.4f}" in line
    experiment = load_run(run.run)
    torch.testing.assert_close(experiment.model.gains,
                               torch.tensor(run.calibration["gains"]))
    trainer = trainer_of(experiment)
    trainer.eval_collector.data_collect(experiment.train)
    assert evaluated(trainer, experiment.test, load_best_model=False)[0] == run.test


def test_what_calibration_did_is_told_on_the_features_that_are_measured(train):
    """It is fitted on those of training."""
    noise = {"feature_noise": {"text": 3.0}, "corruption_at": "inference"}
    plain, run = train(calibrate=False, **noise), train(calibration_prior=1.0, **noise)
    before = run.calibration["uncalibrated"]
    assert (before["valid"], before["test"]) == (plain.valid, plain.test)
    assert plain.valid != plain.history[plain.best_epoch]["valid"]


def test_with_a_share_of_training_it_leaves_out_what_rankings_leave_out(train, monkeypatch):
    given, calibrate = [], SSR.calibrate

    def spy(model, users, items, repeatable, left_out):
        given.append((model, left_out))
        return calibrate(model, users, items, repeatable, left_out)

    monkeypatch.setattr(SSR, "calibrate", spy)
    edges = []
    for share in (1.0, 0.5):
        train(train_share=share)
        edges.append(set(zip(*(side.tolist() for side in given[-1][0].graph.edges()))))
    (_, nothing), (_, left_out) = given
    assert nothing is None and edges[1] < edges[0]
    assert edges[1] | set(zip(*left_out.tolist())) == edges[0]


@pytest.mark.slow
def test_the_last_epoch_of_a_run_that_does_not_select_is_calibrated_too(train):
    selected = train(calibration_prior=1.0)
    last = train(calibration_prior=1.0, eval_step=0, epochs=selected.best_epoch + 1)
    assert last.best_epoch == selected.best_epoch
    assert last.calibration == selected.calibration and last.test == selected.test
    assert train(calibrate=False, eval_step=0).calibration == {}


def test_a_run_interrupted_while_it_calibrates_does_so_again(train, monkeypatch):
    whole = train(calibration_prior=1.0)
    calibrate = SSR.calibrate

    def killed(*args):
        calibrate(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SSR, "calibrate", killed)
        with pytest.raises(KeyboardInterrupt):
            train(calibration_prior=1.0)
    folder = next(path for path in Path("runs").iterdir() if not (path / "metrics.json").is_file())
    again = train(resume=str(folder))
    assert (again.valid, again.test, again.calibration) == (whole.valid, whole.test,
                                                            whole.calibration)


def test_a_run_of_an_earlier_version_is_loaded_without(train):
    run = Path(train(calibrate=False).run)
    state = checkpoint.load(run / "best.pth")
    for name in ("gains", "bias_gain"):
        del state["state_dict"][name]
    state["state_dict"]["gains_without_edges"] = torch.ones(1)  # one in between had it
    checkpoint.save(state, run / "best.pth")
    result = json.loads((run / "metrics.json").read_text())
    del result["calibration"]
    (run / "metrics.json").write_text(json.dumps(result))
    assert RunResult.read(run).calibration == {}
    assert (load_run(run).model.gains == 1).all()


def test_validation_is_shown_to_the_model_before_it_trains_and_once(train, monkeypatch):
    shown, before_training = [], SSR.before_training

    def spy(model, held_out):
        shown.append(held_out.sort().values)
        before_training(model, held_out)

    monkeypatch.setattr(SSR, "before_training", spy)
    run = train(epochs=1).run
    expected = load_run(run).valid._dataset.inter_feat["item_id"].sort().values
    assert len(shown) == 1 and torch.equal(shown[0], expected)
    train(resume=run, epochs=2)
    train(epochs=1, calibrate=False)
    assert len(shown) == 1


def test_a_sample_of_items_calibrates_nothing(train):
    assert train(eval_args={"mode": {"valid": "uni5", "test": "full"}}).calibration == {}


@pytest.mark.parametrize("better, worse, is_worse", [
    (20, 0, False), (0, 0, False),  # nobody lost
    (0, 20, True),                  # all lost
    (9, 11, False),                 # two users of 100, sqrt(20) by chance
    (6, 14, False), (4, 16, True),  # standard errors of .044
])
def test_a_loss_within_two_standard_errors_is_chance(better, worse, is_worse):
    """Of 100 users some gain the only item they have, some lose it."""
    n = 100
    pairs = np.stack([np.arange(n), np.zeros(n, dtype=int)])
    hit = np.arange(n) >= better  # before: those who will gain miss it
    now = hit.copy()
    now[:better] = True
    now[n - worse:] = False
    rank = [Ranking(np.arange(n), np.where(h, 0, 1)[:, None]) for h in (hit, now)]
    results = [({"recall@1": h.mean()}, ranking) for h, ranking in zip((hit, now), rank)]
    trainer = SimpleNamespace(valid_metric="recall@1", valid_metric_bigger=True)
    assert calibration._is_worse(trainer, *results, pairs) is is_worse
