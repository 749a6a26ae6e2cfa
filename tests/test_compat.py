"""Each shim: what fails without it, what works with it. Originals are reached by __wrapped__."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recbole
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.evaluator.collector import Collector
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer.trainer import DecisionTreeTrainer, PretrainTrainer, Trainer
from recbole.utils import EvaluatorType, InputType, ModelType
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr import compat
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare
from recbole_ssr.train import checkpoint
from recbole_ssr.train.state import plain_config

compat.apply()

ROOT = Path(recbole_ssr.__file__).resolve().parents[1]
# Models that must pass stock run_recbole and load_data_and_model.
STOCK_MODELS = ("BPR", "LightGCN", "ItemKNN", "SSR")


@pytest.fixture()
def config(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["test"])
    return Config(model="BPR", dataset="ml-100k", config_dict={"learning_rate": 0.25})


def test_apply_is_idempotent():
    before = (Trainer._save_checkpoint, Interaction.__getitem__, list(sys.meta_path))
    compat.apply()
    assert (Trainer._save_checkpoint, Interaction.__getitem__, list(sys.meta_path)) == before
    assert not hasattr(Trainer._save_checkpoint.__wrapped__, "__wrapped__")


def test_numpy_aliases(monkeypatch):
    for name in compat.NUMPY_ALIASES:
        monkeypatch.setattr(np, name, vars(np).get(name), raising=False)
    monkeypatch.delattr(np, "float")
    with pytest.raises(AttributeError):
        Interaction({"rating": np.array([1.5])})
    compat._shim_numpy_aliases()
    assert Interaction({"rating": np.array([1.5])})["rating"].tolist() == [1.5]
    # Names that are there stay as they are: numpy 2 has its own np.long.
    monkeypatch.setattr(np, "long", "numpy's own")
    compat._shim_numpy_aliases()
    assert np.long == "numpy's own"


def test_dok_update(monkeypatch):
    entries = {(0, 2): 1, (2, 1): 3}
    monkeypatch.delattr(sp.dok_matrix, "_update")
    with pytest.raises(AttributeError):
        sp.dok_matrix((3, 3), dtype=np.float32)._update(entries)
    compat._shim_dok_update()
    matrix = sp.dok_matrix((3, 3), dtype=np.float32)
    matrix[0, 2] = 9
    matrix._update(entries)
    assert matrix.nnz == 2
    np.testing.assert_array_equal((matrix * 2).toarray(), [[0, 0, 2], [0, 0, 0], [0, 6, 0]])


class Model(torch.nn.Linear):
    """A model whose extra parameters are an array, a sparse matrix and a submodule."""

    def other_parameter(self):
        return {"w": np.arange(3), "pred_mat": sp.eye(2, format="csr"), "layer": torch.nn.ReLU()}


def fake_trainer(config, folder, **extra):
    model = Model(2, 1)
    return SimpleNamespace(
        config=config,
        model=model,
        optimizer=torch.optim.Adam(model.parameters()),
        cur_step=1,
        best_valid_score=np.float64(0.5),
        saved_model_file=str(folder / "a.pth"),
        logger=SimpleNamespace(info=lambda *_: None),
        **extra,
    )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_trainer_checkpoints_hold_data_only(config, tmp_path):
    trainer = fake_trainer(config, tmp_path)
    Trainer._save_checkpoint.__wrapped__(trainer, 4)
    with pytest.raises(UserError, match="refused"):
        checkpoint.load(trainer.saved_model_file)
    Trainer._save_checkpoint(trainer, 4)
    # What stock evaluate and resume_checkpoint do under torch 2.6 and newer.
    state = torch.load(trainer.saved_model_file, weights_only=True)
    assert (state["epoch"], state["cur_step"], state["best_valid_score"]) == (4, 1, 0.5)
    assert state["config"]["model"] == "BPR"
    assert set(state["other_parameter"]) == {"w", "pred_mat"}
    trainer.model.load_state_dict(state["state_dict"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    Trainer._save_checkpoint(trainer, 5, saved_model_file=str(tmp_path / "b.pth"))
    assert checkpoint.load(tmp_path / "b.pth")["epoch"] == 5


def test_only_the_first_process_saves(config, tmp_path):
    config["single_spec"], config["local_rank"] = False, 1
    Trainer._save_checkpoint(fake_trainer(config, tmp_path), 0)
    assert os.listdir(tmp_path) == []


def test_checkpoints_of_the_other_trainers(config, tmp_path):
    trainer = fake_trainer(config, tmp_path, temp_best_file="trees.pth")
    PretrainTrainer.save_pretrained_model(trainer, 2, str(tmp_path / "pretrained.pth"))
    assert trainer.saved_model_file == str(tmp_path / "pretrained.pth")
    state = checkpoint.load(trainer.saved_model_file)
    assert torch.equal(state["state_dict"]["weight"], trainer.model.weight)
    DecisionTreeTrainer._save_checkpoint(trainer, 3)
    assert checkpoint.load(trainer.saved_model_file)["state_dict"] == "trees.pth"


def test_other_parameters_are_decoded():
    plain = checkpoint.to_plain({"pred_mat": sp.eye(2, format="csr"), "w": np.arange(3)})
    raw = AbstractRecommender()
    AbstractRecommender.load_other_parameter.__wrapped__(raw, plain)
    assert isinstance(raw.pred_mat, dict)
    model = AbstractRecommender()
    model.load_other_parameter(plain)
    assert model.pred_mat[1, :].toarray().tolist() == [[0, 1]]
    assert model.w.tolist() == [0, 1, 2]
    assert model.load_other_parameter(None) is None


def test_a_config_survives_as_plain_values(config, monkeypatch):
    plain = plain_config(config)
    assert checkpoint.to_plain(plain) == plain
    assert json.loads(json.dumps(plain)) == plain
    monkeypatch.setattr(sys, "argv", ["test", "--learning_rate=9"])
    back = compat.restore_config(plain)
    assert back["learning_rate"] == 0.25
    assert back["MODEL_TYPE"] is ModelType.GENERAL
    assert back["MODEL_INPUT_TYPE"] is InputType.PAIRWISE
    assert back["eval_type"] is EvaluatorType.RANKING
    assert back["device"] == torch.device("cpu")
    assert back.final_config_dict == config.final_config_dict
    assert (back.model, back.dataset, back.model_class) == ("BPR", "ml-100k", config.model_class)
    assert back.parameters == config.parameters
    assert "learning_rate" in str(back) and str(back) == str(config)
    back["topk"].append(99)
    assert 99 not in plain["topk"]


def test_a_gpu_that_is_absent_becomes_the_cpu(config, monkeypatch):
    plain = plain_config(config) | {"device": "cuda:1"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert compat.restore_config(plain)["device"] == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert compat.restore_config(plain)["device"] == torch.device("cuda:1")


def test_a_saved_config_that_cannot_be_used(config):
    plain = plain_config(config)
    with pytest.raises(UserError, match="'Nonesuch'.*import the package"):
        compat.restore_config(plain | {"model": "Nonesuch"})
    del plain["dataset"]
    with pytest.raises(UserError, match="lacks dataset"):
        compat.restore_config(plain)


INDICES = st.one_of(
    st.lists(st.integers(-6, 5), min_size=0, max_size=8).map(lambda i: np.array(i, dtype=np.int64)),
    st.lists(st.booleans(), min_size=6, max_size=6).map(np.array),
    st.lists(st.integers(0, 5), min_size=1, max_size=8).map(lambda i: np.array(i, dtype=np.uint8)),
    st.lists(st.integers(0, 5), min_size=1, max_size=8).map(lambda i: np.array(i)[::-1]),
    st.integers(0, 5).map(np.array),
)


@settings(max_examples=80, deadline=None)
@given(INDICES, st.booleans())
def test_indexing_equals_the_stock_one(index, as_tensor):
    if as_tensor:
        index = torch.from_numpy(index.copy())
    fields = {"a": torch.arange(6), "b": torch.rand(6, 3), "c": torch.arange(6.0)}
    interaction = Interaction(fields)
    expected = Interaction.__getitem__.__wrapped__(interaction, index)
    found = interaction[index]
    assert len(found) == len(expected)
    for name in fields:
        assert torch.equal(found[name], expected[name])


def test_indexing_copies_and_takes_other_indices():
    interaction = Interaction({"a": torch.arange(6)})
    rows = interaction[torch.tensor([0, 1])]
    rows["a"][0] = 99
    assert interaction["a"][0] == 0
    assert interaction[1:3]["a"].tolist() == [1, 2]
    assert interaction[[4, 0]]["a"].tolist() == [4, 0]
    for wrong in (np.array([6]), np.array([True, False])):
        with pytest.raises(IndexError):
            interaction[wrong]


def test_indexing_makes_no_list():
    class NoList(np.ndarray):
        def tolist(self):
            raise AssertionError("slow path")

    index = np.array([1, 0]).view(NoList)
    interaction = Interaction({"a": torch.arange(6)})
    with pytest.raises(AssertionError, match="slow path"):
        Interaction.__getitem__.__wrapped__(interaction, index)
    assert interaction[index]["a"].tolist() == [1, 0]


def test_the_collector_hands_over_what_is_no_tensor():
    collector = Collector(
        {"metrics": ["ItemCoverage"], "eval_args": {"mode": {}}, "topk": [1], "device": "cpu"}
    )
    counts = Counter({1: 2})
    collector.data_struct.set("data.num_items", 5)
    collector.data_struct.set("data.count_items", counts)
    collector.data_struct.set("rec.items", torch.tensor([[1]]))
    if recbole.__version__ == "1.2.1":
        with pytest.raises(AttributeError, match="cpu"):
            Collector.get_data_struct.__wrapped__(collector)
    struct = collector.get_data_struct()
    assert struct["data.num_items"] == 5 and struct["rec.items"].tolist() == [[1]]
    # Batches go, training data stay, and the receiver may change its copy.
    assert "rec.items" not in collector.data_struct
    struct["data.count_items"].clear()
    assert collector.data_struct["data.count_items"] == {1: 2}


def run_script(script, folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


QUICK_START = """
import sys
sys.modules["ray"] = None
from recbole_ssr import compat
compat.apply()
assert "recbole.quick_start" not in sys.modules
import recbole.quick_start as package
assert sys.modules["ray"] is None
module = sys.modules["recbole.quick_start.quick_start"]
try:
    module.tune.report()
except ImportError as error:
    assert error.name == "ray"
else:
    raise SystemExit("ray should be missing")
patched = module.load_data_and_model
assert patched is package.load_data_and_model is not patched.__wrapped__
module.load_data_and_model = package.load_data_and_model = patched.__wrapped__
compat.apply()
assert module.load_data_and_model is package.load_data_and_model is not patched.__wrapped__
"""


def test_quick_start_is_patched_late_or_early_and_ray_is_optional(tmp_path):
    assert run_script(QUICK_START, tmp_path) == ""


KMEANS = """
import sys
sys.modules["kmeans_pytorch"] = None
import recbole_ssr
import recbole.model.general_recommender as models
assert models.BPR and models.LDiffRec and sys.modules["kmeans_pytorch"] is None
"""


def test_general_models_are_there_without_kmeans(tmp_path):
    assert run_script(KMEANS, tmp_path) == ""


ANOMALY = """
import recbole_ssr
import torch
import recbole.model.sequential_recommender as models
assert models.SINE and not torch.is_anomaly_enabled()
"""


def test_sequential_models_leave_anomaly_detection_off(tmp_path):
    assert run_script(ANOMALY, tmp_path) == ""


STOCK_RUNS = """
import glob
import json
import sys
models, sys.argv = sys.argv[1:], sys.argv[:1]
import recbole_ssr
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.utils import get_trainer
results = {}
for model in models:
    settings = dict(epochs=1, train_batch_size=8192, eval_batch_size=1682 * 1000,
                    show_progress=False, gpu_id="", metrics=["Recall", "MRR", "ItemCoverage",
                    "GiniIndex", "AveragePopularity", "TailPercentage"])
    trained = run_recbole(model=model, dataset="ml-100k", config_dict=settings)["test_result"]
    (file,) = glob.glob(f"saved/{model}-*.pth")
    config, network, _, train, _, test = load_data_and_model(file)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
    trainer.eval_collector.data_collect(train)
    loaded = trainer.evaluate(test, load_best_model=False)
    trainer.resume_checkpoint(file)
    results[model] = [trained, loaded, trainer.start_epoch]
json.dump(results, open("results.json", "w"), default=float)
"""


@pytest.mark.parametrize("repeatable", [False, True])
def test_negatives_by_popularity_know_the_train_part_alone(tmp_path, repeatable):
    """Most users have `late` in the test part, and nobody in training."""
    flags = SETTINGS | write_tiny(tmp_path) | {"repeatable": repeatable}
    with open(tmp_path / "tiny" / "tiny.inter", "a") as file:
        file.writelines(f"u{user}\tlate\t2\n" for user in range(30))
    flags["train_neg_sample_args"] = {"distribution": "popularity", "sample_num": 5}
    experiment = prepare(build_config("FastLightGCN", "tiny", config_dict=flags))
    train = experiment.train._dataset.inter_feat["item_id"]
    drawn = torch.cat([batch["neg_item_id"] for batch in experiment.train])
    late = experiment.dataset.token2id("item_id", "late")
    assert late not in train and late not in drawn
    expected = train.bincount(minlength=experiment.dataset.item_num) / len(train)
    found = drawn.bincount(minlength=experiment.dataset.item_num) / len(drawn)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("batch", [7, 4096])
def test_pop_counts_every_interaction_of_training(tmp_path, batch):
    """And no drawn negative."""
    flags = SETTINGS | write_tiny(tmp_path) | {"train_batch_size": batch, "epochs": 1}
    result = recbole_ssr.run("Pop", "tiny", config_dict=flags | {"run_dir": str(tmp_path)})
    experiment = recbole_ssr.load_run(result.run)
    train = experiment.train._dataset.inter_feat["item_id"]
    expected = train.bincount(minlength=experiment.dataset.item_num)
    assert expected.max() > 1 and torch.equal(experiment.model.item_cnt.squeeze(1), expected)


def test_negatives_by_popularity_need_an_item_that_a_user_lacks(tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    rows = [("a", "x", 0), ("a", "y", 0), ("b", "y", 0), ("a", "z", 1), ("b", "w", 2)]
    (folder / "few.inter").write_text("user_id:token\titem_id:token\tpart:float\n" + "".join(
        f"{user}\t{item}\t{part}\n" for user, item, part in rows))
    flags = {"data_path": str(tmp_path), "split_column": "part", "topk": [1],
             "valid_metric": "Recall@1", "load_col": {"inter": ["user_id", "item_id", "part"]},
             "train_neg_sample_args": {"distribution": "popularity"}}
    with pytest.raises(UserError, match="a user has all 2 items.*distribution.*to uniform"):
        prepare(build_config("FastLightGCN", "few", config_dict=flags))


@pytest.mark.slow
def test_stock_runs_train_test_and_load(tmp_path):
    run_script(STOCK_RUNS, tmp_path, *STOCK_MODELS)
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == list(STOCK_MODELS)
    for model, (trained, loaded, next_epoch) in results.items():
        assert trained["mrr@10"] > 0 and trained["itemcoverage@10"] > 0, model
        assert loaded == trained, model
        assert next_epoch == 1
