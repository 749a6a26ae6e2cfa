"""Exported embeddings: their inner products are the model's scores, read without this package."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError
from recbole_ssr.serve.export import export


def read_back(folder):
    """What another program does: two matrices and two lists of names."""
    sides = ("users", "items")
    tokens = (Path(folder, f"{side}.tokens").read_text().splitlines() for side in sides)
    return *(np.load(Path(folder, f"{side}.npy")) for side in sides), *tokens


@pytest.mark.parametrize("model", ["SSR", "BPR", "LightGCN"])
def test_inner_products_are_the_scores_and_give_the_ranking(model, recommender, tmp_path):
    recommender = recommender(model)
    files = export(recommender, tmp_path)
    assert {file.name for file in files} == {"users.npy", "users.tokens", "items.npy",
                                             "items.tokens", "export.json"}
    user, item, users, items = read_back(tmp_path)
    assert user.dtype == item.dtype == np.float32
    scores = user @ item.T
    for token in users[::9]:
        np.testing.assert_allclose(scores[users.index(token)], recommender.score(token, items),
                                   rtol=1e-5, atol=1e-6)
        best = np.argsort(-scores[users.index(token)], kind="stable")
        ranked = recommender.recommend(token, len(items), keep_seen=True)["item"]
        assert [items[i] for i in best] == ranked.tolist()
    about = json.loads((tmp_path / "export.json").read_text())
    assert about["model"] == model and about["dimensions"] == user.shape[1]
    assert about["run"] == str(recommender.run) and about["test"]["recall@5"] >= 0
    assert len(about["protocol"]["split_fingerprint"]) == 64


def test_figures_of_another_ranking_are_none_of_the_export(train, tmp_path):
    folder = tmp_path / "features"
    for name, width in (("text", 5), ("image", 7)):
        write_features(folder, name, np.ones((1, width), np.float32), ["new"])
    for changes, own in (({}, True), ({"popularity_discount": 0}, True),
                         ({"popularity_discount": 0.5}, False), ({"new_items": folder}, False)):
        export(recbole_ssr.load(train(), **changes), tmp_path)
        about = json.loads((tmp_path / "export.json").read_text())
        assert (about["test"] is not None, about["valid"] is not None) == (own, own)


def test_parquet(recommender, tmp_path):
    pytest.importorskip("pyarrow")
    export(recommender(), tmp_path, "parquet")
    table = pd.read_parquet(tmp_path / "items.parquet")
    matrix = recommender().embeddings().item[1:].numpy()
    assert table["token"].tolist() == recommender().items.tolist()
    np.testing.assert_array_equal(np.stack(table["embedding"]), matrix)


def test_an_older_export_leaves_nothing_beside_a_newer_one(recommender, tmp_path):
    pytest.importorskip("pyarrow")
    export(recommender(), tmp_path, "parquet", ["flat"])
    (tmp_path / "items.flat.faiss").touch()  # as the command does
    (tmp_path / "items.hnsw.faiss").touch()  # somebody else's, as are the notes
    (tmp_path / "notes.txt").touch()
    files = export(recommender(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt", "items.hnsw.faiss", *(file.name for file in files)}


@pytest.mark.parametrize("name, about", [
    ("items.npy", None), ("export.json", "{}"), ("users.tokens", '{"files": ["users.npy"]}'),
    ("items.flat.faiss", None)])
def test_files_of_no_earlier_export_stay(name, about, recommender, tmp_path):
    if about is not None:
        (tmp_path / "export.json").write_text(about)
    (tmp_path / name).touch()
    (tmp_path / "items.parquet").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"{name} is of no earlier export"):
        export(recommender(), tmp_path, kinds=["flat"])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_models_without_embeddings_are_named(recommender, tmp_path):
    with pytest.raises(UserError, match="the scores of GFCF are no inner products"):
        export(recommender("GFCF"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_indices_find_what_is_best(train, recommender, tmp_path, capsys):
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed: the extra ann")
    assert main(["export", train(), f"--out={tmp_path}", "--index=flat,hnsw"]) == 0
    out = capsys.readouterr().out
    assert out.count("recall 1.0000") == 2 and "items.hnsw.faiss" in out
    user, item, users, items = read_back(tmp_path)
    for kind in ("flat", "hnsw"):
        index = faiss.read_index(str(tmp_path / f"items.{kind}.faiss"))
        result = index.search(user[:3], 4)[1]
        for token, row in zip(users, result):
            ranked = recommender().recommend(token, 4, keep_seen=True)["item"]
            assert [items[i] for i in row] == ranked.tolist()


def test_mistakes_on_the_command_line(train, capsys):
    for words, part in [([], "run folder"), ([train()], "--out=FOLDER"),
                        ([train(), "--out=x", "--format=csv"], "npy or parquet"),
                        ([train(), "--out=x", "--index=ivf"], "flat or hnsw")]:
        assert main(["export", *words]) == 2
        assert part in capsys.readouterr().err
