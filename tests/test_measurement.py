"""Corruption at inference, of every model: what reaches the scores, and what must not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.config import build_config
from recbole_ssr.corruption import CLEAN, Corruption
from recbole_ssr.data.features import ItemFeatures
from recbole_ssr.dataset_report import dataset_report
from recbole_ssr.errors import UserError
from recbole_ssr.inference import inference_model
from recbole_ssr.measurement import evaluate
from recbole_ssr.quick_start import load_run, prepare

ON_IDS = {"FastLightGCN", "LayerGCN", "FastSGL"}
# Their scores read no features: those of BM3 are in its loss alone, GFCF is fitted on interactions.
BLIND = ON_IDS | {"BM3", "GFCF"}
TRAINS_FEATURES = ["BM3", "FREEDOM", "LATTICE", "MGCN", "PGL", "SMORE"]
# Few enough neighbours and directions for the 24 items of tiny; a weight for every closed form.
OPTIONS = {
    "SSR": {"feature_components": 3, "item_graph_weight": 0.5},
    "FeatureEASE": {"feature_weight": 5.0}, "ClosedFormSum": {"knn_weight": 1.0, "knn_k": 3},
    "FREEDOM": {"knn_k": 3}, "MENTOR": {"knn_k": 3}, "PGL": {"knn_k": 3}, "MGCN": {"knn_k": 3},
    "LATTICE": {"knn_k": 3}, "SMORE": {"knn_k": 3}, "FeatureItemKNN": {"knn_k": 3},
}
ALL = Corruption(dropped=("image", "text"))
# Other than what the models were trained on, but the features are the same.
UNTOUCHED = Corruption(seed=5)
HALF = Corruption(noise={"image": 0.5}, missing={"text": 0.5})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return SETTINGS | write_tiny(tmp_path_factory.mktemp("robustness"))


def trained(data, name, **changes):
    """An experiment whose model took a few steps, so that no parameter is as it was made."""
    settings = data | OPTIONS.get(name, {}) | changes
    experiment = prepare(build_config(name, "tiny", config_dict=settings))
    model = experiment.model
    if not list(model.parameters()):
        return experiment
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    model.train()
    for batch in list(experiment.train)[:3]:
        optimizer.zero_grad()
        losses = model.calculate_loss(batch)
        (sum(losses) if isinstance(losses, tuple) else losses).backward()
        optimizer.step()
    return experiment


def scores(model, experiment):
    users = {"user_id": torch.arange(1, experiment.dataset.user_num)}
    with torch.no_grad():
        return model.eval().full_sort_predict(users).view(len(users["user_id"]), -1)[:, 1:].clone()


@pytest.fixture(params=[*registry.MODELS, "SSR.reference"], scope="module")
def case(request, data):
    name, _, profile = request.param.partition(".")
    experiment = trained(data, name, **({"profile": profile} if profile else {}))
    return request.param, experiment


def test_nothing_is_left_as_it_was_but_the_features(case):
    """Built anew on the same features, a model scores as before, whatever it trained."""
    _, experiment = case
    before = scores(experiment.model, experiment)
    again = inference_model(experiment, experiment.model, UNTOUCHED)
    assert torch.equal(scores(again, experiment), before)
    assert inference_model(experiment, experiment.model, CLEAN) is experiment.model


@pytest.mark.parametrize("corruption", [ALL, HALF], ids=["all dropped", "half"])
def test_features_reach_the_scores_of_models_that_use_them(case, corruption):
    name, experiment = case
    before = scores(experiment.model, experiment)
    model = inference_model(experiment, experiment.model, corruption)
    after = scores(model, experiment)
    assert torch.isfinite(after).all() and after.shape == before.shape
    assert (model is experiment.model) == (name in ON_IDS)
    assert torch.equal(after, before) == (name in BLIND)
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in experiment.model.state_dict().items()}
    # The trained model is as it was.
    experiment.model.train()
    assert torch.equal(scores(experiment.model, experiment), before)


def test_shares_of_the_item_graph_are_those_of_training(data, caplog):
    """Where half of a modality is gone, its neighbours would seem to say more, or less."""
    with caplog.at_level("INFO"):
        experiment = trained(data, "SSR", item_graph_weight=0.5, knn_k=3)
        inference_model(experiment, experiment.model, HALF)
    built, again = (r.getMessage() for r in caplog.records if "co-occurrence" in r.message)
    assert again == built


def test_no_missing_value_is_read(case, monkeypatch):
    name, experiment = case
    if name == "SSR.reference":
        pytest.skip("the released code has no mask: it reads what feature_fill puts there")
    expected = scores(inference_model(experiment, experiment.model, HALF), experiment)
    matrix, blocks, poisoned = ItemFeatures.matrix, ItemFeatures.blocks, []

    def poison(self, modality):
        result = matrix(self, modality)
        if self.fitted is not self:
            result[~self.has_feature(modality)] = 100.0
            poisoned.append(modality)
        return result

    def poison_blocks(self, modality):
        whole = poison(self, modality) if self.fitted is not self else None
        start = 0
        for rows in blocks(self, modality):
            yield rows if whole is None else whole[start:start + len(rows)]
            start += len(rows)

    monkeypatch.setattr(ItemFeatures, "matrix", poison)
    monkeypatch.setattr(ItemFeatures, "blocks", poison_blocks)
    result = scores(inference_model(experiment, experiment.model, HALF), experiment)
    assert torch.equal(result, expected)
    assert name in ON_IDS | {"GFCF"} or set(poisoned) == {"image", "text"}


# Features that are parameters


@pytest.mark.parametrize("name, changes", [
    *((name, {}) for name in TRAINS_FEATURES), ("SSR", {"train_features": True}),
    ("SSR", {"train_features": True, "profile": "reference"}),
])
def test_trained_features_move_by_what_happens_to_the_files(data, name, changes):
    experiment = trained(data, name, **changes)
    clean = experiment.train._dataset.item_features
    noisy = clean.corrupted(HALF)
    model = inference_model(experiment, experiment.model, HALF)
    before, after = experiment.model.trained_features(), model.trained_features()
    assert len(before) == len(after) == 2
    for c, X, Y in zip(clean.modalities, before, after):
        assert not torch.allclose(X.detach()[1:], clean.matrix(c)[1:], atol=1e-3)  # it did train
        here = noisy.has_feature(c)
        difference = noisy.matrix(c) - clean.matrix(c)
        torch.testing.assert_close(Y[here], X[here] + difference[here])
        assert not Y[~here][1:].any()
        assert (difference[here].abs().sum() > 0) == (c == "image")


def test_rows_that_appear_take_their_value_from_the_files(data):
    settings = {"feature_missing": {"text": 0.5}, "corruption_at": "training"}
    experiment = trained(data, "LATTICE", **settings)
    features = experiment.train._dataset.item_features
    model = inference_model(experiment, experiment.model, CLEAN)
    k = features.modalities.index("text")
    before, after = (m.trained_features()[k].detach() for m in (experiment.model, model))
    had = features.has_feature("text")
    assert had.sum() == 12 and torch.equal(after[had], before[had])
    new = ~had & features.corrupted(CLEAN).has_feature("text")
    torch.testing.assert_close(after[new], features.corrupted(CLEAN).matrix("text")[new])


def test_centre_and_directions_are_those_of_training(data):
    experiment = trained(data, "SSR")
    model = inference_model(experiment, experiment.model, HALF)
    for k, c in enumerate(experiment.dataset.item_features.modalities):
        before, after = (torch.cat([m.features[k](), m.features[k].present], dim=1)
                         for m in (experiment.model, model))
        here = after[:, -1] > 0
        if c == "text":  # rows were removed, no noise: those left are as they were
            assert 0 < here.sum() < (before[:, -1] > 0).sum()
            assert torch.equal(after[here], before[here])
        else:
            assert torch.equal(after[:, -1], before[:, -1]) and not torch.equal(after, before)


def test_frozen_features_are_those_of_the_files(data):
    experiment = trained(data, "VBPR")
    features = experiment.train._dataset.item_features.corrupted(HALF)
    model = inference_model(experiment, experiment.model, HALF)
    for c, raw in zip(features.modalities, model.features):
        assert torch.equal(raw(), features.matrix(c))
        assert torch.equal(raw.present[:, 0] > 0, features.has_feature(c))


# Whole runs


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(data, model="SSR", **changes):
    return recbole_ssr.run(model, "tiny",
                           config_dict=data | {"epochs": 2} | OPTIONS.get(model, {}) | changes)


NOISE = {"feature_noise": {"image": 1.0, "text": 1.0}}


@pytest.mark.parametrize("model", ["LATTICE", "FeatureItemKNN",
                                   pytest.param("SSR", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("work")
def test_one_training_serves_all_levels(data, model):
    clean = train(data, model)
    unchanged = evaluate(clean.run, {})
    assert (unchanged.valid, unchanged.test, unchanged.corruption) == (clean.valid, clean.test,
                                                                       None)
    for settings in (NOISE, {"drop_modality": ["image"]}, {"feature_missing": {"text": 0.5}}):
        result = evaluate(clean.run, settings)
        own = train(data, model, corruption_at="inference", **settings)
        # The run that asks for it is trained alike, selected on clean features, measured so.
        assert (result.valid, result.test) == (own.valid, own.test)
        assert result.corruption == {k: v for k, v in own.protocol["corruption"].items()
                                    if k != "at"}
        clean_scores = [record["valid"] for record in clean.history]
        assert [record["valid"] for record in own.history] == clean_scores
        assert own.best_epoch == clean.best_epoch
        assert evaluate(own.run).test == own.test
    assert result.test != clean.test or evaluate(clean.run, NOISE).test != clean.test


@pytest.mark.usefixtures("work")
def test_metrics_and_rankings_against_a_direct_computation(data):
    clean = train(data, "VBPR")
    result = evaluate(clean.run, NOISE)
    experiment = load_run(clean.run)
    model = inference_model(experiment, experiment.model, Corruption.of(NOISE))
    for part, loader in (("valid", experiment.valid), ("test", experiment.test)):
        recalls, ranking = [], result.rankings[part]
        for k, user in enumerate(loader.uid_list.tolist()):
            with torch.no_grad():
                values = model.full_sort_predict({"user_id": torch.tensor([user])}).clone()
            values[0] = values[loader.uid2history_item[user]] = -np.inf
            best = values.argsort(descending=True)[:5].tolist()
            wanted = set(loader.uid2positive_item[user].tolist())
            recalls.append(len(wanted.intersection(best)) / len(wanted))
            assert ranking.users[k] == user and ranking.items[k].tolist() == best
        metrics = getattr(result, part)
        assert metrics["recall@5"] == pytest.approx(np.mean(recalls), abs=1e-6)


@pytest.mark.usefixtures("work")
def test_trained_on_corrupted_features_and_measured_on_clean_ones(data):
    settings = NOISE | {"feature_missing": {"text": 0.3}}
    both = train(data, "FeatureLightGCN", **settings)
    training = train(data, "FeatureLightGCN", corruption_at="training", **settings)
    # Training and selection are the same; what is measured is what clean features give.
    assert [r["valid"] for r in both.history] == [r["valid"] for r in training.history]
    assert both.valid == both.history[both.best_epoch]["valid"]
    result = evaluate(both.run, {})
    assert (training.valid, training.test) == (result.valid, result.test)
    assert training.test != both.test
    assert evaluate(both.run).test == both.test
    assert evaluate(training.run).test == training.test


@pytest.mark.usefixtures("work")
def test_a_loaded_run_has_the_features_it_was_measured_with(data):
    own = train(data, "VBPR", corruption_at="inference", **NOISE)
    measured, as_trained = load_run(own.run), load_run(own.run, stage="training")
    assert not torch.equal(scores(measured.model, measured), scores(as_trained.model, as_trained))
    again = inference_model(as_trained, as_trained.model, Corruption.of(NOISE))
    assert torch.equal(scores(again, measured), scores(measured.model, measured))


@pytest.mark.parametrize("where", ["both", "inference"])
@pytest.mark.usefixtures("work")
def test_a_corrupted_run_resumes_exactly(data, where):
    settings = NOISE | {"corruption_at": where, "train_share": 0.6}
    whole = train(data, "LATTICE", **settings)
    short = train(data, "LATTICE", epochs=1, **settings)
    resumed = recbole_ssr.run(flags={"resume": short.run, "epochs": 2})
    assert (resumed.valid, resumed.test) == (whole.valid, whole.test)
    timeless = [[{k: v for k, v in record.items() if "seconds" not in k} for record in history]
                for history in (resumed.history, whole.history)]
    assert timeless[0] == timeless[1]


@pytest.mark.usefixtures("work")
def test_results_of_corrupted_runs_do_not_pass_for_clean_ones(data):
    prints = [train(data, "VBPR", epochs=1, **changes).protocol for changes in (
        {}, NOISE, NOISE | {"corruption_at": "inference"}, NOISE | {"corruption_seed": 3})]
    assert prints[0]["corruption"] is None
    assert all(a != b for k, a in enumerate(prints) for b in prints[:k])


@pytest.mark.usefixtures("work")
def test_nothing_is_written_by_measuring(data):
    run = Path(train(data, "VBPR", epochs=1).run)

    def content():
        return {path: path.read_bytes() for path in run.rglob("*")
                if path.is_file() and path.name != "run.log"}

    before = content()
    evaluate(run, NOISE)
    assert content() == before and [path.name for path in Path().iterdir()] == ["runs"]


@pytest.mark.usefixtures("work")
def test_mistakes_are_named(data):
    run = train(data, "VBPR", epochs=1).run
    with pytest.raises(UserError, match="'feature_nois'.*Did you mean 'feature_noise'"):
        evaluate(run, {"feature_nois": {"image": 0.1}})
    with pytest.raises(UserError, match="Did you mean 'image'"):
        evaluate(run, {"drop_modality": ["imag"]})
    with pytest.raises(UserError, match="at least 0 and at most 1"):
        evaluate(run, {"feature_missing": {"image": 3}})
    with pytest.raises(UserError, match="not a run folder"):
        evaluate("nowhere", NOISE)


def test_the_report_of_a_dataset_shows_what_a_run_sees(data, tmp_path):
    settings = {k: data[k] for k in ("data_path", "split_column", "load_col")}
    changes = {"feature_missing": {"text": 0.5}, "drop_modality": ["image"], "train_share": 0.25}
    plain = dataset_report("tiny", settings, out=tmp_path / "plain")
    result = dataset_report("tiny", settings | changes, out=tmp_path / "changed")
    assert {m.name: m.items for m in plain.modalities} == {"image": 24, "text": 24}
    assert {m.name: (m.items, m.coverage) for m in result.modalities} == {
        "image": (0, 0.0), "text": (12, 0.5)}
    assert [m.unused_rows for m in result.modalities] == [0, 0]
    assert [part.interactions for part in result.parts] == [70, 40, 40]
    assert result.split_fingerprint == plain.split_fingerprint
    sentences = {check.name: check.sentence for check in result.checks}
    assert "from 280 interactions" in sentences["training share"]
    assert "50% of the items lose their text" in sentences["corrupted text"]
    assert "100% of the items lose their image" in sentences["corrupted image"]
    assert not {"training share", "corrupted text"}.intersection(c.name for c in plain.checks)


@pytest.mark.parametrize("name", registry.MODELS)
def test_every_model_trains_on_what_is_left(data, name):
    """All modalities dropped in training, and a fifth of the interactions: it still trains."""
    settings = {"drop_modality": ["image", "text"], "train_share": 0.2}
    experiment = trained(data, name, **settings)
    assert torch.isfinite(scores(experiment.model, experiment)).all()
    later = inference_model(experiment, experiment.model, CLEAN)
    assert torch.isfinite(scores(later, experiment)).all()
