"""A run's configuration: which layer wins, what is refused and with which words, what it is."""

import logging
import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import recbole.data.dataset
import recbole.trainer
import torch
import yaml
from recbole.model.general_recommender import BPR

from recbole_ssr import registry
from recbole_ssr.config import build_config, config_hash, resolve_device, resolved
from recbole_ssr.config_hook import install_config_hook
from recbole_ssr.errors import UserError
from recbole_ssr.flags import parse_flags

TOY_YAML = ("embedding_size: 8  # (int: [1, 64]) Width.\ndropout: 0.1\n"
            "a: plugin\nb: plugin\nc: plugin\nd: plugin\n")


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    """Register the model Toy with yamls of its own; ml-100k lies in tmp_path/demo."""
    folder = tmp_path / "properties"
    (folder / "model").mkdir(parents=True)
    (folder / "dataset").mkdir()
    for name in ("overall.yaml", "recbole.yaml", "recbole_models.yaml"):
        write(folder / name, (registry.properties_folder() / name).read_text())
    (folder / "model" / "Toy.yaml").write_text(TOY_YAML)
    (folder / "dataset" / "ml-100k.yaml").write_text(
        "split_column: x_label\nload_col: {inter: [user_id, item_id, timestamp, x_label]}\n")
    monkeypatch.setattr(registry, "properties_folder", lambda: folder)
    registry.keys_of_any_model.cache_clear()
    demo = ModuleType("recbole_ssr.data.demo")
    demo.ensure_ml_100k = lambda cache_dir=None: Path(cache_dir or tmp_path / "demo") / "ml-100k"
    monkeypatch.setitem(sys.modules, "recbole_ssr.data.demo", demo)
    module = ModuleType("toy_of_config")
    module.Toy = type("Toy", (BPR,), {"trainer_class": object, "dataset_class": object})
    install_config_hook()
    registry.register("Toy", module)
    yield folder
    registry._registered.discard("Toy")
    registry.keys_of_any_model.cache_clear()
    del sys.modules["recbole.model.general_recommender.toy"]
    del recbole.trainer.ToyTrainer, recbole.data.dataset.ToyDataset


def dataset_at(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / f"{name}.inter").write_text("user_id:token\titem_id:token\n1\t1\n")
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Layers


def test_each_layer_overrides_the_weaker_ones(tmp_path):
    first = write(tmp_path / "1.yaml", "b: first\nc: file\nd: file\n")
    second = write(tmp_path / "2.yaml", "b: file\n")
    config = build_config("Toy", config_files=[first], config_dict={"c": "dict", "d": "dict"},
                          flags={"d": "flag", "config_files": [str(second)]})
    assert [config[key] for key in "abcd"] == ["plugin", "file", "dict", "flag"]
    assert config.sources == {"model": "argument", "b": f"config file {second}",
                              "c": "config_dict", "d": "command line"}


def test_model_and_dataset_follow_the_same_order(tmp_path):
    root = dataset_at(tmp_path / "data", "books")
    file = write(tmp_path / "a.yaml", f"model: toy\ndataset: books\ndata_path: {root}\n")
    chosen = []
    for argument, in_dict, flag in [(None, None, None), (None, "bpr", None),
                                    (None, "bpr", "LightGCN"), ("Pop", "bpr", "LightGCN")]:
        config = build_config(argument, config_files=[file],
                              config_dict={"model": in_dict} if in_dict else {},
                              flags={"model": flag} if flag else {})
        chosen.append((config["model"], config.model_class.__name__))
        assert config["dataset"] == "books" and Path(config["data_path"]) == root / "books"
    assert chosen == [(name, name) for name in ("Toy", "BPR", "LightGCN", "Pop")]


def test_nothing_said_means_ssr_on_ml_100k(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "SSR", "toy")
    monkeypatch.setattr("recbole_ssr.registry.get_model", lambda _: BPR)
    config = build_config()
    assert (config["model"], config["dataset"]) == ("SSR", "ml-100k")


def test_the_plugins_protocol_holds_for_recboles_models():
    toy, bpr = build_config("Toy"), build_config("BPR")
    for key in ("metrics", "topk", "valid_metric", "epochs", "split_column", "eval_args"):
        assert toy[key] == bpr[key], key
    assert bpr["valid_metric"] == "Recall@20" and bpr["split_column"] == "x_label"
    assert bpr["embedding_size"] == 64


def test_sequential_models_keep_their_own_split(toy, caplog):
    (toy / "dataset" / "ml-100k.yaml").write_text(
        "split_column: x_label\nload_col: {inter: [user_id, item_id, timestamp, x_label]}\n"
        "eval_args: {split: {RS: [0.5, 0.2, 0.3]}}\nrepeatable: False\n")
    config = build_config("SASRec")
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert config["eval_args"]["order"] == "TO" and config["repeatable"] is True
    assert config["split_column"] is None
    assert config["load_col"]["inter"] == ["user_id", "item_id", "timestamp"]
    assert config["train_neg_sample_args"]["distribution"] == "none"
    assert not caplog.records
    build_config("SASRec", config_dict={"split_column": "x_label"})
    assert "split_column='x_label' (config_dict) has no effect on SASRec" in caplog.text


def test_models_with_value_metrics_and_side_files_keep_them():
    config = build_config("DeepFM")
    assert config["metrics"] == ["AUC", "LogLoss"] and config["valid_metric"] == "AUC"
    assert config["eval_args"]["mode"] == {"valid": "labeled", "test": "labeled"}
    assert set(build_config("CKE")["load_col"]) == {"inter", "kg", "link"}


def test_nested_settings_merge_entry_by_entry(tmp_path):
    file = write(tmp_path / "a.yaml", "eval_args: {order: TO, split: {RS: [0.5, 0.2, 0.3]}}\n"
                 "split_column: ~\n")
    config = build_config("Toy", config_files=[file], flags={"eval_args": {"mode": "uni100"}})
    mode = {"valid": "uni100", "test": "uni100"}
    assert config["eval_args"] == {"split": {"RS": [0.5, 0.2, 0.3]}, "order": "TO",
                                   "group_by": "user", "mode": mode}


# No side effects


def test_argv_environment_and_arguments_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prog", "--epochs=1/0", "--nonsense=1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    given = {"train_neg_sample_args": {"distribution": "popularity"}, "topk": [20]}
    before = deepcopy(given)
    config = build_config("Toy", config_dict=given)
    config["topk"].append(3)
    assert given == before and config["epochs"] == 300
    assert config["train_neg_sample_args"]["sample_num"] == 1
    assert sys.modules["os"].environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_text_is_never_evaluated(tmp_path):
    target = tmp_path / "X"
    code = f"__import__('os').system('touch {target}')"
    config = build_config("Toy", config_dict={"run_dir": code, "a": "1+1"},
                          flags=parse_flags([f"--b={code}"]))
    assert config["run_dir"] == code and config["b"] == code and config["a"] == "1+1"
    with pytest.raises(UserError, match="epochs"):
        build_config("Toy", flags=parse_flags([f"--epochs={code}"]))
    assert not target.exists()


# Values


def test_numbers_take_the_type_of_their_default():
    config = build_config("Toy", flags=parse_flags(["--learning_rate=1e-3", "--dropout=0"]))
    assert config["learning_rate"] == 0.001
    assert config["dropout"] == 0.0 and type(config["dropout"]) is float
    assert build_config("Toy", flags={"split_column": None})["split_column"] is None
    # RecBole's yaml gives this float the default 1.
    assert build_config("NNCF", config_dict={"resolution": 0.5})["resolution"] == 0.5
    with pytest.raises(UserError, match="resolution='fine'"):
        build_config("NNCF", config_dict={"resolution": "fine"})


@pytest.mark.parametrize("key, value, told", [
    ("epochs", "ten", r"epochs='ten' \(config_dict\) must be of type int"),
    ("epochs", True, "epochs=True"), ("epochs", 1.5, "epochs=1.5"), ("epochs", "10", "type int"),
    ("epochs", None, "epochs=None"), ("dropout", "0.1", "type float"), ("a", 3, "type str"),
    ("show_progress", 1, "show_progress=1 .* type bool"),
    ("epochs", 0, "at least 1"), ("epochs", -3, "epochs=-3"), ("stopping_step", -1, "at least 0"),
    ("train_batch_size", 0, "at least 1"), ("embedding_size", -8, "at least 1"),
    ("eval_users_per_step", 0, "at least 1"), ("learning_rate", 0, "above 0"),
    ("learning_rate", float("nan"), "above 0"),
    ("feature_fill", "means", "zero, mean, error. Did you mean 'mean'"),
    ("feature_scaling", "L1", "none, l2, standardise"),
    ("metrics", ["Recal"], "no metric 'Recal'. Did you mean 'Recall'"),
    ("metrics", "AUC", "Add Recall to metrics"), ("metrics", ["Recall", "AUC"], "one kind"),
    ("topk", [10, 0], "at least 1"), ("topk", "20", "list of int"),
    ("topk", [True, 20], "list of int"), ("topk", [], "must have an entry"),
    ("topk", 5, r"valid_metric='Recall@20' \(default\) is not computed. Add 20 to topk.*\[5\]"),
    ("valid_metric", "NDGC@20", "Did you mean 'NDCG'"),
    ("valid_metric", "Hit@20", r"Add Hit to metrics, which is \['Recall', 'NDCG'\]"),
    ("valid_metric", "NDCG@5", r"Add 5 to topk, which is \[10, 20\]"),
    ("valid_metric", "NDCG", "Write NDCG@k"),
    ("eval_args", {"spilt": {}}, "entry 'spilt' of eval_args.* Did you mean 'split'"),
    ("eval_args", "full", "type dict"), ("eval_args", {"mode": "half"}, "'half' is no mode"),
    ("train_neg_sample_args", {"distribution": "zipf"}, "one of uniform, popularity"),
    ("device", "tpu", "auto, cpu, cuda or cuda:N"), ("model", "LigthGCN", "Did you mean 'LightG"),
])
def test_a_wrong_value_is_refused_with_its_remedy(key, value, told):
    model = None if key == "model" else "Toy"
    with pytest.raises(UserError, match=told):
        build_config(model, config_dict={key: value})


@pytest.mark.parametrize("settings", [
    {"valid_metric": "ndcg@10"}, {"topk": 20}, {"metrics": "Recall"},
    {"metrics": ["GAUC", "Recall"], "valid_metric": "GAUC"}, {"stopping_step": 0},
])
def test_metric_settings_that_hold_are_accepted(settings):
    config = build_config("Toy", config_dict=settings)
    assert isinstance(config["topk"], list) and isinstance(config["metrics"], list)
    assert all(config[key] in (value, [value]) for key, value in settings.items())


def test_a_metric_without_cutoffs_takes_none():
    with pytest.raises(UserError, match="GAUC has no cut-off. Write valid_metric=GAUC"):
        build_config("Toy", config_dict={"metrics": ["GAUC"], "valid_metric": "GAUC@10"})


# Keys


def test_an_unknown_key_is_refused_with_its_source(tmp_path):
    file = write(tmp_path / "a.yaml", "epoch: 3\n")
    with pytest.raises(UserError, match=r"'epoch' \(config file .*a.yaml\). Did you mean 'epochs'"):
        build_config("Toy", config_files=[file])
    with pytest.raises(UserError, match=r"'dropuot' \(command line\). Did you mean 'dropout'"):
        build_config("Toy", flags={"dropuot": 0.5})
    with pytest.raises(UserError, match=r"\(config_dict\). Did you mean 'config_files'"):
        build_config("Toy", config_dict={"config_file": "a.yaml"})


def test_a_key_of_another_model_only_warns(caplog):
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        config = build_config("BPR", config_dict={"dropout": 0.5, "ssl_temp": 1.0})
    assert [r.getMessage() for r in caplog.records] == [
        f"{key} (config_dict) has no effect on BPR." for key in ("dropout", "ssl_temp")]
    assert "dropout" not in config and config_hash(config) == config_hash(build_config("BPR"))


def test_keys_that_recbole_reads_without_a_yaml_are_known(caplog):
    keys = {"encoding": "utf-8", "tail_ratio": 0.2, "benchmark_filename": None}
    config = build_config("Toy", config_dict=keys)
    assert {key: config[key] for key in keys} == keys and not caplog.records
    assert build_config("RecVAE", config_dict={"beta": 0.25})["beta"] == 0.25
    assert build_config("FEARec", config_dict={"tau": 0.5})["tau"] == 0.5 and not caplog.records


# Files


def test_bad_config_files_are_named(tmp_path):
    with pytest.raises(UserError, match="none.yaml"):
        build_config("Toy", config_files=[tmp_path / "none.yaml"])
    with pytest.raises(UserError, match="bad.yaml, line 2"):
        build_config("Toy", config_files=[write(tmp_path / "bad.yaml", "seed: 1\n  x: [")])
    with pytest.raises(UserError, match="list.yaml, line 1"):
        build_config("Toy", config_files=[write(tmp_path / "list.yaml", "- 1")])


def test_the_dataset_must_exist(tmp_path):
    root = dataset_at(tmp_path / "data", "books")
    config = build_config("Toy", "books", config_dict={"data_path": root})
    assert Path(config["data_path"]) == root / "books"
    with pytest.raises(UserError, match="'boks'.* Did you mean 'books'.* lie: books. Set"):
        build_config("Toy", "boks", config_dict={"data_path": str(root)})
    with pytest.raises(UserError, match="lie: none"):
        build_config("Toy", "books", config_dict={"data_path": str(tmp_path / "nowhere")})
    (root / "books" / "books.inter").unlink()
    with pytest.raises(UserError, match="books.inter does not exist"):
        build_config("Toy", "books", config_dict={"data_path": str(root)})
    parts = {"data_path": str(root), "benchmark_filename": ["train", "valid", "test"]}
    assert build_config("Toy", "books", config_dict=parts)["benchmark_filename"][0] == "train"


FILES = ["train", "valid", "test"]


@pytest.mark.parametrize("flags, told", [
    ({"eval_args": {"split": {"LS": "valid_and_test"}}}, r"split_column='x_label'.* decides"),
    ({"eval_args": {"group_by": "none"}}, "with --split_column=null"),
    ({"eval_args": {"order": "RO"}}, r"'order': 'RO'.*\(command line\) has no effect"),
    ({"split_column": None, "benchmark_filename": FILES, "eval_args": {"order": "TO"}},
     r"benchmark_filename=\['train'.* decides"),
    ({"split_column": None, "benchmark_filename": FILES, "user_inter_num_interval": "[2,inf)"},
     "no effect beside benchmark_filename"),
    ({"split_column": None, "benchmark_filename": FILES[:2]}, "must name three files"),
])
def test_a_split_of_the_data_leaves_no_setting_without_a_word(flags, told):
    with pytest.raises(UserError, match=told):
        build_config("Toy", flags=flags)


def test_what_goes_with_a_split_of_the_data(tmp_path):
    config = build_config("Toy", flags={"eval_args": {"mode": "uni5"}})
    whole = write(tmp_path / "run.yaml", yaml.safe_dump(resolved(config)))  # of a run folder
    assert config_hash(build_config(config_files=[whole])) == config_hash(config)
    drawn = {"split_column": None, "eval_args": {"order": "TO"}}
    assert build_config("Toy", flags=drawn)["eval_args"]["order"] == "TO"


@pytest.mark.parametrize("model", ["Toy", "BPR"])
def test_ml_100k_lies_where_the_user_says_else_in_the_cache(tmp_path, model):
    root = dataset_at(tmp_path / "mine", "ml-100k")
    assert Path(build_config(model)["data_path"]) == tmp_path / "demo" / "ml-100k"
    assert Path(build_config(model, flags={"cache_dir": "c"})["data_path"]) == Path("c/ml-100k")
    config = build_config(model, flags={"data_path": str(root)})
    assert Path(config["data_path"]) == root / "ml-100k"
    with pytest.raises(UserError, match="ml-100k without data_path"):
        build_config(model, flags={"data_path": str(tmp_path / "demo")})


# Device


def test_device_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device='cuda:1' is not available. This machine has cpu."):
        resolve_device("cuda:1")
    config = build_config("Toy", flags={"gpu_id": 0})
    assert config["device"] == torch.device("cpu") and config["gpu_id"] == ""
    assert config["use_gpu"] is False and config["single_spec"] and config["local_rank"] == 0


def test_device_with_two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)
    with pytest.raises(UserError, match="cpu, cuda:0, cuda:1"):
        resolve_device("cuda:2")
    for text in ("cuda:", "cuda:x", "cpu:0", "GPU"):
        with pytest.raises(UserError, match="is unknown"):
            resolve_device(text)
    told = [({"device": "cuda:1"}, "cuda:1"), ({"gpu_id": "1,0"}, "cuda:1"), ({}, "cuda:0"),
            ({"use_gpu": False}, "cpu"), ({"gpu_id": ""}, "cpu"),
            ({"use_gpu": False, "device": "cuda"}, "cuda:0")]
    for settings, device in told:
        config = build_config("Toy", config_dict=settings)
        assert config["device"] == torch.device(device)
        assert config["use_gpu"] == (device != "cpu")
        assert config["gpu_id"] == device.partition(":")[2]


# Identity


@pytest.mark.parametrize("model", ["Toy", "SASRec", "DeepFM", "CKE", "MultiVAE", "GRU4RecKG"])
def test_a_resolved_config_is_a_config_file_of_the_same_run(tmp_path, model):
    config = build_config(model, config_dict={"seed": 7, "learning_rate": 1e-5})
    config["run_folder"] = "set by the trainer"
    plain = resolved(config)
    file = write(tmp_path / "dump.yaml", yaml.safe_dump(plain))
    again = build_config(config_files=[file])
    assert resolved(again) == plain and config_hash(again) == config_hash(config)
    assert plain["device"] == str(config["device"]) and plain["seed"] == 7
    assert not {"MODEL_TYPE", "eval_type", "local_rank", "run_folder", "data_path"} & set(plain)


def test_a_users_data_path_is_kept_but_does_not_move_the_hash(tmp_path):
    roots = [dataset_at(tmp_path / name, "books") for name in ("one", "two")]
    configs = [build_config("Toy", "books", config_dict={"data_path": root}) for root in roots]
    assert [resolved(config)["data_path"] for config in configs] == [str(root) for root in roots]
    assert build_config(config_dict=resolved(configs[0]))["data_path"] == str(roots[0] / "books")
    assert len({config_hash(config) for config in configs}) == 1


def test_the_hash_moves_with_results_only():
    base = config_hash(build_config("Toy"))
    same = [{"run_dir": "x"}, {"show_progress": False}, {"device": "cpu"}, {"cache_dir": "c"},
            {"state": "DEBUG"}, {"checkpoint_dir": "y"}, {"resume": "z"}, {"use_gpu": False},
            {"eval_users_per_step": 3}, {"dropout": 0.1}]
    other = [{"seed": 1}, {"dropout": 0.2}, {"a": "x"}, {"topk": [20]}, {"split_column": None},
             {"model": "BPR"}]
    hashes = [config_hash(build_config(config_dict={"model": "Toy", **s})) for s in same + other]
    assert set(hashes[:len(same)]) == {base} and len(base) == 8 and int(base, 16) >= 0
    assert len({base, *hashes[len(same):]}) == 1 + len(other)


def test_a_setting_newer_than_a_run_leaves_its_hash_where_it_changes_nothing(toy):
    before = config_hash(build_config("Toy"))
    write(toy / "model" / "Toy.yaml", TOY_YAML + "popularity_discount: 0\n")
    newer = [config_hash(build_config("Toy", config_dict=settings)) for settings in
             ({}, {"popularity_discount": 0.0}, {"popularity_discount": 0.1})]
    assert newer[:2] == [before, before] and newer[2] != before


# Settings of the host


@pytest.mark.parametrize("settings, told", [
    ({"learner": "adma"}, "one of adam, adamw, .*Did you mean 'adam'"),
    ({"user_inter_num_interval": 5}, r"of type interval or null, for instance '\[0,inf\)'"),
    ({"item_inter_num_interval": "5"}, r"'5' is no interval.*\"\[5,inf\)\" is 5 or more"),
    ({"val_interval": {"rating": ">=4"}}, "'>=4' is no interval"),
    ({"MODEL_TYPE": ["part"]}, "MODEL_TYPE=.*follows from the model"),
    ({"nproc": 0}, "nproc=0 .*at least 1"), ({"nproc": "abc"}, "nproc='abc' .*type int"),
    ({"world_size": 2}, "world_size=2 .*cannot be honoured.*torchrun"),
    ({"save_dataloaders": True}, "save_dataloaders=True .*load_run"),
    ({"neg_sampling": {"uniform": 1}}, "Write train_neg_sample_args"),
    ({"training_neg_sample_num": 1}, "Write train_neg_sample_args"),
    ({"split_ratio": [0.8, 0.1, 0.1]}, r"Write eval_args: \{split"),
    ({"threshold": {"rating": 4}}, r"nothing here reads them.*val_interval=\{rating: \"\[4,inf\)"),
    ({"threshold": {"rating": 4, "x": 1}}, "one column"),
    ({"prepare": "nope"}, "type dict"), ({"modalities": 2}, "list of str"),
    ({"cache_dir": ["a"]}, "type str"), ({"split_column": [[1]]}, "type str"),
    ({"data_path": ["a"]}, "type str"), ({"dataset": ["a"]}, "must be a name"),
    ({"load_col": {"inter": "user_id"}}, "list of str"),
    ({"seed": -1}, "at least 0"), ({"seed": 10**20}, "at most 4294967295"),
    ({"embedding_size": 10**20}, "at most 64"), ({"topk": [20, 10**20]}, "at most 100000"),
    ({"clip_grad_norm": {"max_nrom": 1}}, "Did you mean 'max_norm'"),
    ({"clip_grad_norm": 5}, "dict of float"), ({"eval_args": {"split": {"RS": [1, 0]}}}, "RS must"),
    ({"eval_args": {"split": {"LS": "valid"}}}, "LS must .*Did you mean 'valid_only'"),
    ({"eval_args": {"split": {"KS": 1}}}, "no rule 'KS'"),
    ({"eval_args": {"split": {}}}, "one rule"),
    ({"eval_args": {"order": "XO"}}, "one of RO, TO"),
    ({"eval_args": {"mode": "uni0"}}, "'uni0' is no mode"),
    ({"eval_args": {"mode": {"vaild": "full"}}}, "no part 'vaild'"),
    ({"eval_args": {"mode": "uni1000000"}}, "N from 1 to 10000"),
    ({"train_neg_sample_args": {"sample_num": 0}}, "sample_num=0 of .*at least 1"),
    ({"valid_metric_bigger": False}, "for Recall@20 it is True"),
])
def test_a_setting_of_the_host_is_honoured_or_refused(settings, told):
    with pytest.raises(UserError, match=told) as caught:
        build_config("Toy", config_dict=settings)
    assert "\n" not in str(caught.value)


def test_the_home_folder_of_a_data_path_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset_at(tmp_path / "data", "books")
    config = build_config("Toy", "books", config_dict={"data_path": "~/data"})
    assert Path(config["data_path"]) == tmp_path / "data" / "books"


def test_numbers_of_numpy_are_numbers():
    given = {"seed": np.int64(3), "topk": np.array([2, 20]), "dropout": np.float64(0.5),
             "eval_args": {"split": {"RS": list(np.array([0.8, 0.1, 0.1]))}}}
    plain = {"seed": 3, "topk": [2, 20], "dropout": 0.5, "eval_args": {
        "split": {"RS": [0.8, 0.1, 0.1]}}}
    config, same = (build_config("Toy", config_dict=settings) for settings in (given, plain))
    assert yaml.safe_load(yaml.safe_dump(resolved(config))) == resolved(same)
    assert config_hash(config) == config_hash(same)


def test_a_value_beside_a_prepared_dataset_is_taken_as_one_of_a_file_is(tmp_path):
    folder = dataset_at(tmp_path, "books") / "books"
    write(folder / "books.yaml", "test_masking: Train\nmetrics: recall\n")
    config = build_config("Toy", "books", config_dict={"data_path": tmp_path})
    assert (config["test_masking"], config["metrics"]) == ("train", ["recall"])


def test_a_wrong_value_beside_a_prepared_dataset_is_named_with_its_file(tmp_path):
    root = dataset_at(tmp_path / "data", "books")
    file = write(root / "books" / "books.yaml", "epochs: ten\n")
    with pytest.raises(UserError, match=rf"epochs='ten' \({file}\) must be of type int"):
        build_config("Toy", "books", config_dict={"data_path": str(root)})


@pytest.mark.parametrize("settings, told", [
    ({"state": "DEBUG"}, "state (config_dict) has no effect. run.log holds"),
    ({"MAX_ITEM_LIST_LENGTH": 9}, "MAX_ITEM_LIST_LENGTH (config_dict) has no effect on Toy."),
    ({"require_pow": True}, "require_pow (config_dict) has no effect on Toy."),
    ({"ssl_temp": 0.5}, "ssl_temp (config_dict) has no effect on Toy."),
    ({"beta": 0.1}, "beta (config_dict) has no effect on Toy."),
])
def test_what_nothing_reads_is_said_and_leaves_the_hash(settings, told, caplog):
    config = build_config("Toy", config_dict=settings)
    (record,) = caplog.records
    assert record.getMessage().startswith(told)
    assert config_hash(config) == config_hash(build_config("Toy"))


def test_files_are_named_outside_of_files(tmp_path):
    inner = write(tmp_path / "a.yaml", "epochs: 7\n")
    assert build_config("Toy", config_dict={"config_files": [str(inner)]})["epochs"] == 7
    outer = write(tmp_path / "b.yaml", f"config_files: [{inner}]\n")
    with pytest.raises(UserError, match="b.yaml names config_files"):
        build_config("Toy", config_files=[outer])


def test_settings_of_a_family_hold_for_it_and_values_of_the_default_are_silent(caplog):
    assert build_config("SASRec", config_dict={"MAX_ITEM_LIST_LENGTH": 9})[
        "MAX_ITEM_LIST_LENGTH"] == 9
    assert build_config("BPR", config_dict={"require_pow": True})["require_pow"] is True
    for absent in (None, "[0,inf)"):  # null in the yaml of RecBole's ml-100k
        build_config("BPR", config_dict={"entity_kg_num_interval": absent})
    kept = {"nproc": 1, "neg_sampling": None, "save_dataset": False, "state": "INFO"}
    assert config_hash(build_config("Toy", config_dict=kept)) == config_hash(build_config("Toy"))
    assert not caplog.records


def test_a_test_of_samples_needs_a_validation_of_samples():
    with pytest.raises(UserError, match="Give both the mode labeled"):
        build_config("BPR", config_dict={
            "eval_args": {"mode": {"valid": "labeled", "test": "uni10"}}, "metrics": ["AUC"],
            "valid_metric": "AUC", "threshold": {"rating": 4}})


def test_labels_are_made_where_they_are_evaluated():
    settings = {"threshold": {"rating": 4}, "eval_args": {"mode": "labeled"}, "metrics": ["AUC"],
                "valid_metric": "AUC"}
    assert build_config("Toy", config_dict=settings)["threshold"] == {"rating": 4}
    assert build_config("DeepFM", config_dict={"threshold": {"rating": 4}})["threshold"]


def test_choices_are_spelled_as_in_the_yaml_and_one_entry_is_a_list():
    config = build_config("Toy", config_dict={"learner": "AdamW", "modalities": "text",
                                              "feature_scaling": "L2"})
    assert (config["learner"], config["modalities"], config["feature_scaling"]) == \
        ("adamw", ["text"], "l2")
