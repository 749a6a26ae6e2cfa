import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from recbole.config import Config

from recbole_ssr import registry
from recbole_ssr.data import demo
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.data.demo import cache_folder, ensure_ml_100k, split_labels
from recbole_ssr.data.features import list_modalities
from recbole_ssr.errors import UserError

YAML = registry.properties_folder() / "dataset" / "ml-100k.yaml"
SOURCE = Path(importlib.util.find_spec("recbole").origin).parent / "dataset_example" / "ml-100k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ensure_ml_100k(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def small_build(monkeypatch):
    """Replace the seconds of building by an instant, for tests of the cache itself."""
    builds = []

    def build(_source, folder):
        builds.append(folder)
        for name in demo._FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")

    monkeypatch.setattr(demo, "_build", build)
    return builds


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(path):
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


# The data


def test_interactions_are_recboles_plus_the_split(folder):
    ours, theirs = read(folder / "ml-100k.inter"), read(SOURCE / "ml-100k.inter")
    assert ours.columns.tolist() == [*theirs.columns, "x_label:float"]
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs)
    for suffix in ("item", "user", "kg", "link"):
        name = f"ml-100k.{suffix}"
        assert (folder / name).read_bytes() == (SOURCE / name).read_bytes()


def test_split_is_eight_one_one_per_user(folder):
    table = read(folder / "ml-100k.inter")
    counts = pd.crosstab(table["user_id:token"], table["x_label:float"])
    total = counts.sum(axis=1)
    assert len(counts) == 943
    assert (counts["1"] == total // 10).all() and (counts["2"] == total // 10).all()


def test_text_covers_every_film_and_kg_those_with_a_neighbourhood(folder):
    assert list_modalities(folder / "features") == ("kg", "text")
    films = read(SOURCE / "ml-100k.item")["item_id:token"].tolist()
    links = set(read(SOURCE / "ml-100k.link")["item_id:token"])
    tokens = {
        name: (folder / "features" / f"{name}.tokens").read_text().split()
        for name in demo.MODALITIES
    }
    assert tokens["text"] == films
    assert set(tokens["kg"]) < links and len(tokens["kg"]) == 1596
    for name in demo.MODALITIES:
        matrix = np.load(folder / "features" / f"{name}.npy")
        assert matrix.dtype == np.float32 and matrix.shape == (len(tokens[name]), 64)
        assert matrix.any(axis=1).all(), "a row of zeros would be an item without features"


def genres_shared(folder, name):
    """Return how often a film shares a genre with its nearest film, and with any film."""
    films = read(SOURCE / "ml-100k.item").set_index("item_id:token")
    tokens = (folder / "features" / f"{name}.tokens").read_text().split()
    genres = films.loc[tokens, "class:token_seq"].str.get_dummies(" ").to_numpy()
    matrix = np.load(folder / "features" / f"{name}.npy")
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    shared = genres @ genres.T > 0
    similarity = matrix @ matrix.T
    np.fill_diagonal(similarity, -1)
    nearest = shared[np.arange(len(tokens)), similarity.argmax(axis=1)]
    return nearest.mean(), shared.mean()


def test_text_tells_films_apart_and_kg_does_not(folder):
    nearest, chance = genres_shared(folder, "text")
    assert nearest > 1.5 * chance
    nearest, chance = genres_shared(folder, "kg")
    assert abs(nearest - chance) < 0.05, "the docstring of demo.py says that the links are wrong"


def test_words_of_a_film_keep_their_kinds_apart():
    films = pd.DataFrame(
        {
            "movie_title": ["The Drama Queen", "unknown"],
            "release_year": ["1995", "unknown"],
            "class": ["Drama Sci-Fi", ""],
        }
    )
    assert demo._film_words(films) == [
        ["the", "drama", "queen", "year:1995", "decade:199", "genre:Drama", "genre:Sci-Fi"],
        ["unknown"],
    ]


def test_neighbourhoods_follow_edges_both_ways():
    triples = pd.DataFrame([("a", "r", "b"), ("c", "s", "a")])
    triples.columns = ["head_id", "relation_id", "tail_id"]
    assert demo._neighbourhoods(triples) == {"a": ["r|b", "s|c"], "b": ["r|a"], "c": ["s|a"]}


# The split


def test_labels_of_a_user_depend_on_his_items_only():
    users = np.repeat([3, 5, 9], [20, 30, 41])
    items = np.concatenate([np.arange(20), np.arange(30), np.arange(41)])
    labels = split_labels(users, items)
    order = np.random.default_rng(0).permutation(len(users))
    assert (split_labels(users[order], items[order]) == labels[order]).all()
    alone = users == 5
    assert (split_labels(users[alone], items[alone]) == labels[alone]).all()
    assert [np.bincount(labels[users == u]).tolist() for u in (3, 5, 9)] == [
        [16, 2, 2],
        [24, 3, 3],
        [33, 4, 4],
    ]


@pytest.mark.parametrize("n, sizes", [(1, [1, 0, 0]), (2, [2, 0, 0]), (3, [1, 1, 1])])
def test_every_user_keeps_a_training_item(n, sizes):
    labels = split_labels(np.full(n, 4), np.arange(n))
    assert np.bincount(labels, minlength=3).tolist() == sizes


# The cache


def test_a_second_build_gives_the_same_bytes_whatever_the_threads(folder, tmp_path):
    code = "import sys; from recbole_ssr.data.demo import *; print(ensure_ml_100k(sys.argv[1]))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=YAML.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    again = Path(run.stdout.strip())
    assert again.parent.name == folder.parent.name
    assert contents(again) == contents(folder)


def as_written(path):
    """What changes when a file is written; the time of access changes when one looks as well."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def test_built_once_and_again_after_deletion(small_build, tmp_path):
    first = ensure_ml_100k(tmp_path)
    before = {path: as_written(path) for path in first.rglob("*")}
    assert ensure_ml_100k(tmp_path) == first and len(small_build) == 1
    assert all(as_written(path) == stamp for path, stamp in before.items())
    (first / "features" / "kg.tokens").unlink()
    assert ensure_ml_100k(tmp_path) == first and len(small_build) == 2
    assert (first / "features" / "kg.tokens").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [first.parent.name]


def test_a_file_that_has_changed_is_not_used(small_build, tmp_path):
    first = ensure_ml_100k(tmp_path)
    (first / "features" / "text.npy").write_text("y")  # as long as it was
    assert ensure_ml_100k(tmp_path) == first and len(small_build) == 2
    assert (first / "features" / "text.npy").read_text() == "x"


@pytest.mark.usefixtures("small_build")
def test_concurrent_builders_leave_one_copy(tmp_path):
    with ThreadPoolExecutor(6) as pool:
        result = list(pool.map(lambda _: ensure_ml_100k(tmp_path), range(6)))
    assert len(set(result)) == 1 and demo._is_complete(result[0].parent)
    assert [path.name for path in tmp_path.iterdir()] == [result[0].parent.name]


@pytest.mark.usefixtures("small_build")
def test_the_slower_builder_discards_its_copy(tmp_path, monkeypatch):
    finished = demo._build

    def overtaken(source, folder):
        finished(source, folder)
        home = tmp_path / f"ml-100k-{demo._cache_key(source)}"
        finished(source, home / "ml-100k")
        demo._seal(home)
        (home / "winner").touch()

    monkeypatch.setattr(demo, "_build", overtaken)
    folder = ensure_ml_100k(tmp_path)
    assert (folder.parent / "winner").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.parent.name]


def test_the_key_follows_the_sources_and_the_builder(tmp_path, monkeypatch):
    for name in demo._SOURCES:
        (tmp_path / name).write_text(name)
    first = demo._cache_key(tmp_path)
    assert demo._cache_key(tmp_path) == first and len(first) == 12
    (tmp_path / "ml-100k.kg").write_text("other")
    second = demo._cache_key(tmp_path)
    monkeypatch.setattr(demo, "_BUILDER_VERSION", 0)
    assert len({first, second, demo._cache_key(tmp_path)}) == 3


def test_where_the_cache_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RECBOLE_SSR_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "recbole_ssr"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "recbole_ssr"
    monkeypatch.setenv("RECBOLE_SSR_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"


@pytest.mark.usefixtures("small_build")
def test_unwritable_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="RECBOLE_SSR_CACHE") as caught:
        ensure_ml_100k(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_recbole_without_its_example(tmp_path, monkeypatch):
    spec = importlib.util.find_spec("recbole")
    monkeypatch.setattr(spec, "submodule_search_locations", [str(tmp_path)])
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(UserError, match="lacks ml-100k.inter.*Install RecBole again"):
        ensure_ml_100k(tmp_path)
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="not installed"):
        ensure_ml_100k(tmp_path)


# All of it together


def test_the_dataset_yaml_loads_it(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x"])
    options = yaml.safe_load(YAML.read_text())
    config = Config(model="BPR", dataset="ml-100k", config_dict=options)
    config["data_path"] = str(folder)
    dataset = MultimodalDataset(config)
    result = dataset.item_features
    assert result.modalities == ("kg", "text")
    assert result.coverage("text") == 1.0 and result.coverage("kg") == 1596 / 1682
    norms = result.matrix("kg").norm(dim=1)
    torch.testing.assert_close(norms, result.has_feature("kg").float())
    train, valid, test = dataset.build()
    assert (len(train), len(valid), len(test)) == (80808, 9596, 9596)
    assert set(train.inter_feat.columns) == {"user_id", "item_id", "rating", "timestamp"}
