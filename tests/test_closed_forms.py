"""Whole runs of the models that are fitted without training.

One epoch that trains nothing, evaluates once and is timed as the fit; checkpoints hold no weights.
"""

import logging
from pathlib import Path

import pytest
import torch
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import load_run, prepare, trainer_of
from recbole_ssr.train import checkpoint

MODELS = ("FeatureEASE", "GFCF", "FeatureItemKNN", "ClosedFormSum")
FILES = {"config.yaml", "metrics.json", "ranking.npz", "run.log", "curve.png", "best.pth",
         "last.pth", "tensorboard"}
OWN = {"modes": 4, "alpha": 2.0, "feature_weight": 3.0, "knn_k": 5}


def settings_of(model, tiny):
    keys = build_config(model, "tiny", config_dict={"data_path": tiny["data_path"]})
    shared = {key: value for key, value in tiny.items() if key != "embedding_size"}
    return shared | {key: value for key, value in OWN.items() if key in keys.internal_config_dict}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    settings = SETTINGS | write_tiny(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return settings


def run(model, tiny, **changes):
    return recbole_ssr.run(model, "tiny", config_dict=settings_of(model, tiny) | changes)


@pytest.mark.parametrize("model", MODELS)
def test_a_run_measures_once_and_leaves_small_checkpoints(tiny, model, caplog):
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        result = run(model, tiny)
    folder = Path(result.run)
    assert {path.name for path in folder.iterdir()} == FILES
    assert result.epochs == 1 and result.best_epoch == 0 and result.parameters == 0
    (record,) = result.history
    assert record["loss"] == {} and record["valid"] == result.valid
    assert result.valid["recall@5"] > 0.3 and result.test["recall@5"] > 0.3
    assert result.seconds > result.seconds_per_epoch == record["seconds"] > 0
    log = (folder / "run.log").read_text()
    assert f"{model} fitted in" in log and "0 parameters" in log
    state = checkpoint.load(folder / "best.pth")
    assert not state["state_dict"] and not state["other_parameter"]
    assert (folder / "best.pth").stat().st_size < 20_000


@pytest.mark.parametrize("model", MODELS)
def test_a_loaded_run_is_fitted_again_to_the_same_scores(tiny, model):
    result = run(model, tiny)
    experiment = load_run(result.run)
    trainer = trainer_of(experiment)
    trainer.eval_collector.data_collect(experiment.train)
    for part, expected in ((experiment.valid, result.valid), (experiment.test, result.test)):
        assert trainer.evaluate(part, load_best_model=False) == expected


@pytest.mark.parametrize("changes", [{}, {"epochs": 9, "stopping_step": 3}])
def test_resuming_a_finished_run_changes_nothing(tiny, changes):
    result = run("FeatureEASE", tiny)
    again = recbole_ssr.run(flags={"resume": result.run, **changes})
    assert again.history == result.history and again.seconds > again.seconds_per_epoch
    assert (again.valid, again.test) == (result.valid, result.test)


def test_an_interrupted_run_is_resumed(tiny, monkeypatch):
    from recbole_ssr.train.fitted import FittedTrainer

    with monkeypatch.context() as patch:
        patch.setattr(FittedTrainer, "_train_epoch", lambda *_, **__: (_ for _ in ()).throw(
            KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run("GFCF", tiny)
    (folder,) = Path("runs").iterdir()
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    whole = run("GFCF", tiny)
    assert (resumed.valid, resumed.test, resumed.epochs) == (whole.valid, whole.test, 1)


@pytest.mark.parametrize("changes", [{"epochs": 1}, {"eval_step": 3}, {"stopping_step": 0},
                                     {"seed": 5}])
def test_settings_of_training_change_nothing(tiny, changes):
    a, b = run("GFCF", tiny), run("GFCF", tiny, **changes)
    assert (a.valid, a.test, a.epochs) == (b.valid, b.test, b.epochs)


def test_a_dataset_without_features_serves_where_none_are_needed(tmp_path, monkeypatch):
    tiny = SETTINGS | write_tiny(tmp_path / "data", features=False)
    monkeypatch.chdir(tmp_path)
    assert run("GFCF", tiny).epochs == 1
    assert run("FeatureEASE", tiny, feature_weight=0.0).epochs == 1
    assert run("FeatureItemKNN", tiny, interaction_weight=1.0).epochs == 1
    assert run("ClosedFormSum", tiny, feature_weight=0.0).epochs == 1
    for model in ("FeatureEASE", "FeatureItemKNN", "ClosedFormSum"):
        with pytest.raises(UserError, match="feature folder .* does not exist"):
            run(model, tiny)


def test_a_run_of_too_many_items_leaves_no_folder(tiny):
    with pytest.raises(UserError, match="max_items is 3"):
        run("FeatureEASE", tiny, max_items=3)
    assert not list(Path("runs").iterdir())


def test_interactions_alone_are_recboles_item_knn(tiny):
    """With as many neighbours as items: which of equal ones are kept is another matter."""
    data = {key: tiny[key] for key in ("data_path", "split_column", "load_col")}
    theirs = prepare(build_config("ItemKNN", "tiny", config_dict={**data, "k": 100}))
    settings = {"interaction_weight": 1.0, "knn_k": 100}
    ours = prepare(build_config("FeatureItemKNN", "tiny", config_dict={**data, **settings}))
    users = {"user_id": torch.arange(1, ours.dataset.user_num)}
    expected, result = (x.model.full_sort_predict(users).float() for x in (theirs, ours))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
