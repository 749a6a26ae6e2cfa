"""Stock RecBole finds a registered model, its companions and its defaults."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import recbole.data.dataset
import recbole.trainer
from recbole.config import Config
from recbole.model.general_recommender import BPR
from recbole.utils import get_model, get_trainer

from recbole_ssr import registry
from recbole_ssr.config_hook import install_config_hook
from recbole_ssr.errors import MissingDataset, UserError

TOY_YAML = "embedding_size: 8\na: plugin\nb: plugin\nc: plugin\nd: plugin\n"


class ToyTrainer:
    """Stands in for a model's own trainer."""


class ToyDataset:
    """Stands in for a model's own dataset."""


def toy_module(**attributes) -> ModuleType:
    module = ModuleType("toy_of_registry")
    companions = {"trainer_class": ToyTrainer, "dataset_class": ToyDataset}
    module.Toy = type("Toy", (BPR,), {**companions, **attributes})
    return module


def forget_toy() -> None:
    registry._registered.discard("Toy")
    sys.modules.pop("recbole.model.general_recommender.toy", None)
    for place, name in ((recbole.trainer, "ToyTrainer"), (recbole.data.dataset, "ToyDataset")):
        if hasattr(place, name):
            delattr(place, name)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Register Toy with yamls and an ml-100k folder of its own; returns the yamls' folder."""
    folder = tmp_path / "properties"
    (folder / "model").mkdir(parents=True)
    (folder / "dataset").mkdir()
    for name in ("overall.yaml", "recbole.yaml"):
        (folder / name).write_text((registry.properties_folder() / name).read_text())
    (folder / "model" / "Toy.yaml").write_text(TOY_YAML)
    (folder / "dataset" / "ml-100k.yaml").write_text("split_column: x_label\n")
    monkeypatch.setattr(registry, "properties_folder", lambda: folder)
    demo = ModuleType("recbole_ssr.data.demo")
    demo.ensure_ml_100k = lambda cache_dir=None: Path(cache_dir or "cache") / "ml-100k"
    monkeypatch.setitem(sys.modules, "recbole_ssr.data.demo", demo)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # RecBole's Config overwrites it
    monkeypatch.setattr(sys, "argv", ["prog"])
    install_config_hook()
    registry.register("Toy", toy_module())
    yield folder
    forget_toy()


@pytest.mark.usefixtures("toy")
def test_stock_lookups_find_model_trainer_and_dataset():
    model = get_model("Toy")
    assert model.__name__ == "Toy" and issubclass(model, BPR)
    assert get_trainer(model.type, "Toy") is ToyTrainer
    assert recbole.data.dataset.ToyDataset is ToyDataset
    assert registry.is_plugin_model("Toy") and not registry.is_plugin_model("BPR")


@pytest.mark.usefixtures("toy")
def test_registering_again_replaces_the_module():
    second = toy_module(dataset_class="collections:OrderedDict")
    registry.register("Toy", second)
    registry.register("Toy", second)
    assert get_model("Toy") is second.Toy
    assert recbole.data.dataset.ToyDataset.__name__ == "OrderedDict"
    assert registry.model_names().count("Toy") == 1


def test_companions_fall_back_to_the_defaults(monkeypatch):
    monkeypatch.setattr(registry, "DEFAULT_TRAINER", "collections:Counter")
    monkeypatch.setattr(registry, "DEFAULT_DATASET", "collections:OrderedDict")
    module = toy_module()
    del module.Toy.trainer_class, module.Toy.dataset_class
    try:
        registry.register("Toy", module)
        assert recbole.trainer.ToyTrainer.__name__ == "Counter"
        assert recbole.data.dataset.ToyDataset.__name__ == "OrderedDict"
    finally:
        forget_toy()


@pytest.mark.parametrize("name", ["LightGCN", "lightgcn", "Random", "KG", "Sequential"])
def test_recboles_own_names_are_refused(name):
    before = dict(sys.modules)
    with pytest.raises(UserError, match=f"already uses the model name '{name}'"):
        registry.register(name, toy_module())
    assert sys.modules == before and not registry.is_plugin_model(name)


def test_a_module_without_the_class_is_refused():
    with pytest.raises(UserError, match="toy_of_registry defines no class 'Tiger'"):
        registry.register("Tiger", toy_module())


def test_every_recbole_name_is_a_class_in_a_module_of_that_name():
    folders = Path(registry.recbole.__file__).parent / "model"
    modules = {path.stem: path.read_text() for path in folders.glob("*_recommender/*.py")}
    modules.pop("__init__")
    names = registry.recbole_model_names()
    assert {name.lower() for name in names} == set(modules)
    assert all(f"class {name}(" in modules[name.lower()] for name in names)


@pytest.mark.usefixtures("toy")
def test_canonical_spelling_and_the_nearest_name():
    assert registry.canonical("lightgcn") == "LightGCN" and registry.canonical("TOY") == "Toy"
    assert registry.canonical("ssr") == "SSR"
    with pytest.raises(UserError, match="'LigthGCN'.*Did you mean 'LightGCN'"):
        registry.canonical("LigthGCN")


@pytest.mark.usefixtures("toy")
def test_stock_config_layers_the_plugins_yaml_lowest(tmp_path, monkeypatch):
    file = tmp_path / "run.yaml"
    file.write_text("b: file\nc: file\nd: file\n")
    monkeypatch.setattr(sys, "argv", ["prog", "--d=flag"])
    config = Config("Toy", "ml-100k", [str(file)], {"c": "dict", "d": "dict"})
    assert [config[key] for key in "abcd"] == ["plugin", "file", "dict", "flag"]
    assert config["embedding_size"] == 8 and config["split_column"] == "x_label"
    assert config["valid_metric"] == "Recall@20" and config["train_batch_size"] == 2048


@pytest.mark.usefixtures("toy")
def test_stock_config_of_recboles_models_stays_untouched():
    config = Config("BPR", "ml-100k")
    assert config["valid_metric"] == "MRR@10" and "split_column" not in config
    assert "dataset_example" in config["data_path"]


@pytest.mark.parametrize("given, folder", [
    ({"cache_dir": "here"}, Path("here", "ml-100k")),
    ({"data_path": "mine"}, Path("mine", "ml-100k")),
])
@pytest.mark.usefixtures("toy")
def test_ml_100k_comes_from_the_plugin_or_the_user(given, folder):
    assert Path(Config("Toy", "ml-100k", config_dict=given)["data_path"]) == folder


@pytest.mark.usefixtures("toy")
def test_other_datasets_keep_recboles_place():
    assert Path(Config("Toy", "books")["data_path"]) == Path("dataset", "books")


@pytest.mark.usefixtures("toy")
def test_the_hook_is_installed_once():
    hooked = Config._load_internal_config_dict, Config._set_default_parameters
    install_config_hook()
    assert hooked == (Config._load_internal_config_dict, Config._set_default_parameters)


def test_keys_of_any_model_cover_models_that_do_not_run():
    registry.keys_of_any_model.cache_clear()
    keys = registry.keys_of_any_model()
    assert {"n_layers", "ssl_temp", "feature_fill", "eval_args"} <= keys
    assert "ml-1m" not in keys and "epoch" not in keys


@pytest.mark.parametrize("dataset", ["x" * 300, "a\x00b", "shop/..", ""])
@pytest.mark.parametrize("root", ["", "file", "nowhere", "x" * 300, "a\x00b"])
def test_a_dataset_that_no_file_can_be_named_after_is_not_there(tmp_path, root, dataset):
    (tmp_path / "file").write_text("")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\n")
    with pytest.raises(MissingDataset, match="There is no dataset"):
        registry.check_dataset(tmp_path / root / dataset, dataset, benchmark=False)
