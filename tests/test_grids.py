"""Grids and presets of the models: every value is one that a run of the model accepts."""

import pytest
import yaml

from recbole_ssr import registry
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.flags import ConfigLoader, read_config_file

FOLDER = registry.properties_folder()
GRIDS = sorted((FOLDER / "grid").glob("*.yaml"))
PRESETS = sorted(file for file in (FOLDER / "model").glob("*.*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset that exists, so that no embedded one has to be built."""
    root = tmp_path_factory.mktemp("data")
    (root / "shop").mkdir()
    (root / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    return {"data_path": str(root)}


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_a_grid_lists_values_that_the_model_accepts(file, data):
    assert file.stem in registry.MODELS
    grid = read_config_file(file)
    own = set(yaml.load((FOLDER / "model" / file.name).read_text(), ConfigLoader))
    shared = set(read_config_file(FOLDER / "overall.yaml")) | {"weight_decay"}
    assert set(grid) <= own | shared
    assert all(isinstance(values, list) and len(values) > 1 for values in grid.values())
    for k in range(max(map(len, grid.values()))):  # the k-th value of every key at once
        chosen = {key: values[k % len(values)] for key, values in grid.items()}
        config = build_config(file.stem, "shop", config_dict={**data, **chosen})
        assert {key: config[key] for key in grid} == chosen


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_names_itself_and_is_what_its_profile_runs(file, data):
    model, profile = file.stem.split(".")
    preset = read_config_file(file)
    assert preset["profile"] == profile
    config = build_config(model, "shop", config_dict=data, flags={"profile": profile})
    assert all(config[key] == value for key, value in preset.items())


def test_neighbours_may_differ_by_modality_where_the_model_knows_how(data):
    by_modality = {"image": 40, "text": 15}
    for given in (by_modality, 7):
        assert build_config("MGCN", "shop", config_dict={**data, "knn_k": given})["knn_k"] == given
        config = build_config("SMORE", "shop", config_dict={**data, "knn_k": given},
                              flags={"profile": "amazon-baby"})
        assert config["knn_k"] == given
    with pytest.raises(UserError, match="knn_k=.*must be of type int"):
        build_config("FREEDOM", "shop", config_dict={**data, "knn_k": by_modality})


def test_a_negative_number_of_layers_is_refused(data):
    with pytest.raises(UserError, match=r"n_layers=-1 .* must be at least 0"):
        build_config("FastLightGCN", "shop", config_dict={**data, "n_layers": -1})
