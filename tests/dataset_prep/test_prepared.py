"""A prepared dataset is there whole or not at all, and its manifest tells when it changed."""

import json
import os

import numpy as np
import pytest
import yaml

from recbole_ssr.cli import main
from recbole_ssr.config import build_config
from recbole_ssr.data.feature_writer import FeatureWriter
from recbole_ssr.data.features import load_item_features
from recbole_ssr.data.manifest import read_manifest
from recbole_ssr.dataset_prep import prepared
from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.prepared import (
    Draft,
    damaged_files,
    split_hash_of,
)
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import protocol_of
from recbole_ssr.quick_start import prepare


def interactions(users=6, items=5):
    pairs = [(u, i) for u in range(users) for i in range(items) if (i - u) % items != 2]
    labels = [2 if i == u % items else 1 if i == (u + 1) % items else 0 for u, i in pairs]
    return Interactions.from_tokens([f"u{u}" for u, _ in pairs], [f"i{i}" for _, i in pairs],
                                    ratings=np.full(len(pairs), 4.5),
                                    timestamps=np.arange(len(pairs)) + 1_400_000_000, labels=labels)


def write(data_path, name="made", overwrite=False, fail=None):
    with Draft(data_path, name, overwrite) as draft:
        draft.add_interactions(interactions())
        with FeatureWriter(draft.features, "text", 3) as out:
            out.write([f"i{i}" for i in range(4)], np.arange(12).reshape(4, 3))
        if fail:
            raise fail
        return draft.finish({"split_column": ("x_label", "0 train, 1 valid, 2 test"),
                             "load_col": ({"inter": ["user_id", "item_id", "x_label"]}, "read"),
                             "split_name": ("by hand", "what results call it")})


def test_a_finished_draft_is_a_dataset_with_a_true_manifest(tmp_path):
    folder = write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    lines = (folder / "made.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float\tx_label:float"
    assert lines[1] == "u0\ti0\t4.5\t1400000000\t2" and len(lines) == 25
    manifest = read_manifest(folder)
    assert (manifest["users"], manifest["items"], manifest["interactions"]) == (6, 5, 24)
    assert (manifest["train"], manifest["valid"], manifest["test"]) == (12, 6, 6)
    assert set(manifest["files"]) == {"made.inter", "made.yaml", "features/text.npy",
                                      "features/text.tokens"}
    assert damaged_files(folder, manifest) == []


def test_a_run_takes_the_settings_beside_the_data_and_names_the_split(tmp_path):
    write(tmp_path)
    config = build_config("SSR", "made", config_dict={
        "data_path": str(tmp_path), "train_batch_size": 64, "topk": [5],
        "valid_metric": "Recall@5",
    })
    assert config["split_column"] == "x_label" and config["split_name"] == "by hand"
    experiment = prepare(config)
    assert len(experiment.train._dataset) == 12
    assert experiment.dataset.split_fingerprint == split_hash_of(interactions())
    assert protocol_of(experiment)["split"] == "by hand"


def test_flags_and_files_win_over_the_settings_beside_the_data(tmp_path):
    write(tmp_path)
    config = build_config("LightGCN", "made", config_dict={"data_path": str(tmp_path)})
    assert config["split_column"] == "x_label"
    config = build_config("BPR", "made", config_dict={"data_path": str(tmp_path),
                                                     "split_column": None})
    assert config["split_column"] is None


def test_an_unknown_key_beside_the_data_is_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "made.yaml").write_text("split_colum: x_label\n")
    with pytest.raises(UserError, match=r"'split_colum' in .*made\.yaml.* mean 'split_column'"):
        build_config("SSR", "made", config_dict={"data_path": str(tmp_path)})


@pytest.mark.parametrize("fail", [RuntimeError("boom"), KeyboardInterrupt(), OSError(28, "full")])
def test_whatever_interrupts_leaves_nothing(tmp_path, fail):
    kind = UserError if isinstance(fail, OSError) else type(fail)
    for data_path in (tmp_path, tmp_path / "new/dataset"):
        with pytest.raises(kind):
            write(data_path, fail=fail)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    with pytest.raises(kind):
        write(tmp_path / "kept/dataset", fail=fail)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_dataset_is_replaced_only_on_demand_and_only_when_the_new_one_is_whole(tmp_path):
    folder = write(tmp_path)
    before = read_manifest(folder)
    with pytest.raises(UserError, match="exists.*--overwrite"):
        write(tmp_path)
    with pytest.raises(RuntimeError):
        write(tmp_path, overwrite=True, fail=RuntimeError())
    assert read_manifest(folder) == before and damaged_files(folder, before) == []
    (folder / "made.inter").write_text("spoilt")
    write(tmp_path, overwrite=True)
    assert damaged_files(folder, read_manifest(folder)) == []
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_what_a_manifest_does_not_list_outlives_the_dataset(tmp_path):
    folder = write(tmp_path)
    (folder / "images/small").mkdir(parents=True)
    for name in ("images/small/i0.png", "notes.txt", "features/audio.npy", "dataset.json"):
        (folder / name).write_text(name)
    (folder / "old").symlink_to("images")
    write(tmp_path, overwrite=True)
    assert damaged_files(folder, read_manifest(folder)) == []
    for name in ("images/small/i0.png", "notes.txt", "features/audio.npy"):
        assert (folder / name).read_text() == name
    assert os.readlink(folder / "old") == "images"
    assert not (folder / "dataset.json").exists()  # a report on the one that was replaced
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_settings_that_were_edited_are_kept_beside_the_new_ones(tmp_path, caplog):
    settings = write(tmp_path) / "made.yaml"
    made = settings.read_text()
    write(tmp_path, overwrite=True)
    assert not list(tmp_path.rglob("*.old"))
    for mine in ("epochs: 7\n", "epochs: 9\n"):
        settings.write_text(made + mine)
        write(tmp_path, overwrite=True)
        assert settings.read_text() == made
        assert settings.with_name("made.yaml.old").read_text() == made + mine
    assert caplog.text.count("had been edited: it is kept as made.yaml.old") == 2


def test_a_file_that_a_new_dataset_would_replace_is_named_and_stays(tmp_path):
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["features/text.npy"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "features/text.npy").write_text("mine")
    with pytest.raises(UserError, match=r"made has features/text\.npy, .* Move it away"):
        write(tmp_path, overwrite=True)
    assert (folder / "features/text.npy").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_is_no_prepared_dataset_is_never_replaced(tmp_path):
    (tmp_path / "made/photos").mkdir(parents=True)
    (tmp_path / "made/photos/a.png").touch()
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"no manifest\.json: --overwrite does not replace it"):
            write(tmp_path, overwrite=overwrite)
    assert (tmp_path / "made/photos/a.png").is_file()


def test_a_damaged_manifest_is_mended_by_overwriting(tmp_path):
    folder = write(tmp_path)
    (folder / "manifest.json").write_text("{")
    (folder / "notes.txt").write_text("mine")
    write(tmp_path, overwrite=True)
    assert damaged_files(folder, read_manifest(folder)) == []
    assert (folder / "notes.txt").read_text() == "mine"


def test_home_is_home_in_the_data_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert write("~/ds") == tmp_path / "ds/made" and not (tmp_path / "~").exists()


def test_ratings_keep_their_digits(tmp_path):
    ratings = [1_234_567, 4.1, 4.5, 3, 0.1234567, -2, 1e-7, 16_777_216]
    made = Interactions.from_tokens([f"u{k}" for k in range(8)], ["i"] * 8, ratings=ratings,
                                    labels=[0] * 8)
    with Draft(tmp_path, "made") as draft:
        draft.add_interactions(made)
        folder = draft.finish({})
    texts = [line.split("\t")[2] for line in (folder / "made.inter").read_text().splitlines()[1:]]
    assert texts == ["1234567", "4.1", "4.5", "3", "0.1234567", "-2", "0.0000001", "16777216"]


def test_drafts_of_killed_processes_are_cleared_and_those_of_living_ones_stay(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, alive, elsewhere = (
        tmp_path / f".made-{host}-{number}-0.draft" for host, number in (
            (prepared._HOST, child), (prepared._HOST, os.getppid()), ("other", child)))
    for folder in (dead, alive, elsewhere):
        folder.mkdir()
    write(tmp_path)
    assert not dead.exists() and alive.exists() and elsewhere.exists()


def test_changes_of_files_are_found(tmp_path):
    folder = write(tmp_path)
    manifest = read_manifest(folder)
    text = (folder / "made.inter").read_text()
    (folder / "made.inter").write_text(text.replace("u0\ti0", "u0\ti1", 1))
    (folder / "features/text.tokens").unlink()
    with open(folder / "features/text.npy", "ab") as file:
        file.write(b"x")
    result = damaged_files(folder, manifest)
    assert len(result) == 3
    assert "features/text.npy has 177 bytes, not 176" in result
    assert "made.inter has other contents" in result and "features/text.tokens is missing" in result


def test_a_folder_without_manifest_has_none_and_a_broken_one_is_an_error(tmp_path):
    assert read_manifest(tmp_path) is None
    made = {"made_at": "2026", "made_by": "x"}
    for text in ("{", "[]", *map(json.dumps, ({"files": 3}, {"files": {}}, {**made, "files": ["a"]},
                                              {**made, "files": {"a.js": "a.123.js"}}))):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UserError, match="--overwrite"):
            read_manifest(tmp_path)


def own_run(tmp_path, table, *prepared, **options):
    """Prepare a table whose times are the row numbers, and return the experiment of a run on it."""
    (tmp_path / "table.csv").write_text(table)
    assert main(["prepare", "--name=shop", f"--interactions={tmp_path / 'table.csv'}",
                 f"--data_path={tmp_path}", *prepared]) == 0
    return run_on(tmp_path, **options)


def run_on(tmp_path, **options):
    settings = {"data_path": str(tmp_path), "topk": [5], "valid_metric": "Recall@5", **options}
    return prepare(build_config("BPR", "shop", config_dict=settings))


def table_of(time=str, items=range(8)):
    order = np.random.default_rng(0).permutation(160)
    # No user has all items, so that there are negatives; all have the last two.
    rows = [f"u{k % 20},{items[k // 20]},{time(int(k))}" for k in order if k // 20 != k % 20 % 6]
    return "\n".join(["user_id,item_id,time", *rows]) + "\n"


@pytest.mark.parametrize("time", [lambda k: 1_700_000_000 + 5 * k,
                                  lambda k: 1_700_000_000_000 + 100 * k,
                                  lambda k: f"1700000000.{k:03d}"])
def test_the_times_of_a_table_reach_the_split_and_the_file(tmp_path, time):
    experiment = own_run(tmp_path, table_of(time), "--split=leave-one-out")
    tokens = experiment.dataset.field2id_token["item_id"]
    for part, item in ((experiment.test, "7"), (experiment.valid, "6")):
        assert set(tokens[part._dataset.inter_feat["item_id"].numpy()]) == {item}
    # RecBole's own split of the prepared file is the same.
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    own = run_on(tmp_path, split_column=None, load_col=columns,
                 eval_args={"split": {"LS": "valid_and_test"}, "order": "TO"})
    assert own.dataset.split_fingerprint == experiment.dataset.split_fingerprint


def test_words_that_read_as_missing_are_ids_from_the_table_to_the_run(tmp_path):
    words = ["NA", "null", "nan", "None", "NaN", "N/A", "n/a", "7"]
    experiment = own_run(tmp_path, table_of(items=words))
    assert set(experiment.dataset.field2id_token["item_id"]) == {"[PAD]", *words}
    manifest = read_manifest(tmp_path / "shop")
    assert manifest["items"] == experiment.dataset.item_num - 1 == 8
    assert manifest["split"]["sha256"] == experiment.dataset.split_fingerprint


def test_a_run_on_another_split_than_the_prepared_one_stops_unless_it_has_its_own_name(tmp_path):
    own_run(tmp_path, table_of())
    changes = {"val_interval": {"timestamp": "[10,inf)"}}
    with pytest.raises(UserError, match="is not the one of .*manifest.json .*split_name of its"):
        run_on(tmp_path, **changes)
    title = read_manifest(tmp_path / "shop")["split"]["title"]
    assert protocol_of(run_on(tmp_path, **changes, split_name="late"))["split"] == "late"
    run_on(tmp_path, **changes, split_column=None)
    file = tmp_path / "shop/shop.inter"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=title):
        run_on(tmp_path)


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "a b"])
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no file name"):
        Draft(tmp_path, name)


@pytest.mark.parametrize("token", ["a\tb", " a", "a\n", "", 'a"b'])
def test_ids_that_an_inter_file_cannot_hold_are_refused(tmp_path, token):
    refused = pytest.raises(UserError, match="(?i)user.* (cannot hold|is no id)")
    with refused, Draft(tmp_path, "x") as draft:
        draft.add_interactions(Interactions.from_tokens([token], ["i"], labels=[0]))


def test_the_yaml_is_a_config_file_with_a_comment_per_key(tmp_path):
    text = (write(tmp_path) / "made.yaml").read_text()
    assert yaml.safe_load(text) == {"split_column": "x_label", "split_name": "by hand",
                                    "load_col": {"inter": ["user_id", "item_id", "x_label"]}}
    assert all("#" in line for line in text.splitlines())


def test_the_hash_of_a_split_ignores_the_order_of_rows_and_nothing_else():
    whole = interactions()
    rows = np.random.default_rng(0).permutation(len(whole))
    assert split_hash_of(whole.select(rows)) == split_hash_of(whole)
    labels = whole.labels.copy()
    labels[[0, 2]] = labels[[2, 0]]
    assert split_hash_of(whole.with_labels(labels)) != split_hash_of(whole)


def test_features_written_row_by_row_load_as_they_were(tmp_path):
    rows = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    with FeatureWriter(tmp_path, "image", 4) as out:
        out.write(["a", "b", "c"], rows[:3])
        out.write([f"t{i}" for i in range(7)], rows[3:])
    features = load_item_features(tmp_path, ["[PAD]", "t6", "a"], scaling="none")
    assert (features.matrix("image")[1:].numpy() == rows[[9, 0]]).all()
    for bad, words in ((np.full((1, 4), np.nan), "'x' has nan in column 0"),
                       (np.ones((1, 3)), r"shape \(1, 3\).*4 dimensions")):
        with pytest.raises(UserError, match=words), FeatureWriter(tmp_path, "bad", 4) as out:
            out.write(["x"], bad)
    with pytest.raises(UserError, match="both have the token 'x'"), \
            FeatureWriter(tmp_path, "bad", 1) as out:
        out.write(["x", "x"], np.ones((2, 1)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "image.tokens"]
