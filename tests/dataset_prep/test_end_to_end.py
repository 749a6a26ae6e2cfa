"""From files as they are published to a finished run, through the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flaky_server import serve
from made_amazon import (
    small_shop,
    write_image_features,
    write_meta_2014,
    write_meta_2023,
    write_reviews_2014,
    write_reviews_2023,
)

from recbole_ssr.cli import main
from recbole_ssr.data.features import load_item_features
from recbole_ssr.dataset_prep import download

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
RUN = ["--epochs=2", "--model=SSR", "--train_batch_size=64", "--show_progress=False",
       "--topk=[5]", "--valid_metric=Recall@5", "--device=cpu"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working folder and a cache of its own; every test leaves them to pytest."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RECBOLE_SSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_PAUSE", 0)
    return folder


@pytest.fixture
def published(tmp_path):
    """A folder with the three raw files of one small category of 2014."""
    folder = tmp_path / "published"
    folder.mkdir()
    shop = small_shop(seed=0, users=60, items=40)
    write_reviews_2014(folder / "reviews_Sports_and_Outdoors_5.json.gz", shop.rows)
    write_meta_2014(folder / "meta_Sports_and_Outdoors.json.gz", shop.meta)
    write_image_features(folder / "image_features_Sports_and_Outdoors.b", shop.vectors)
    return folder


def urls(server):
    return [f"--{what}_url={server.url(name)}" for what, name in (
        ("reviews", "reviews_{category}_5.json.gz"), ("meta", "meta_{category}.json.gz"),
        ("images", "image_features_{category}.b"))]


def complaint(capsys, *words):
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_run_prepares_what_is_not_there_over_a_connection_that_drops(work, published, capsys):
    with serve(published, drop_after=1000, drops=30) as server:
        assert main(["--dataset=amazon-sports", "--text_encoder=tfidf", *urls(server), *RUN]) == 0
        ranges = [request for request in server.requests if request.range]
    # Every break was answered by going on, not by starting anew.
    assert {request.status for request in ranges} == {206}
    assert len({request.name for request in ranges}) == 3
    out, err = capsys.readouterr()
    assert "SSR" in out and "differs from the counts that the literature reports" in err
    folder = work / "dataset/amazon-sports"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["split"]["title"].startswith("MMRec") and manifest["min_interactions"] == 5
    assert set(manifest["features"]) == {"text", "image"}
    (run,) = (work / "runs").iterdir()
    protocol = json.loads((run / "metrics.json").read_text())["protocol"]
    assert protocol["split"] == manifest["split"]["title"]
    assert protocol["split_fingerprint"] == manifest["split"]["sha256"]
    for part in ("train", "valid", "test"):
        assert manifest[part] > 0
    raw = sorted(path.name for path in (work / "dataset/raw/amazon-sports").iterdir())
    names = [path.name for path in published.iterdir()]
    assert raw == sorted(names + [f"{name}.origin.json" for name in names])
    assert not [path for path in (work / "dataset").iterdir() if path.name.startswith(".")]

    # The second run trains at once, without the server, and says no when the flags disagree.
    assert main(["--dataset=amazon-sports", *RUN]) == 0
    assert "prepared now" not in capsys.readouterr().err
    for flag, words in (("--split=leave-one-out", "with split='mmrec', not 'leave-one-out'"),
                        ("--split_seed=7", "with split_seed=2020, not 7")):
        assert words in complaint(capsys, "--dataset=amazon-sports", flag, *RUN)
    for entry, words in (("split: leave-one-out", "with split='mmrec', not 'leave-one-out'"),
                         ("splitt: x", "Unknown option 'splitt' of prepare")):
        Path("run.yaml").write_text(f"dataset: amazon-sports\nprepare:\n  {entry}\n")
        assert words in complaint(capsys, "--config_files=run.yaml", *RUN)
    Path("run.yaml").write_text("prepare: {split: mmrec, name: other, text_encoder: auto}\n")
    assert main(["--dataset=amazon-sports", "--config_files=run.yaml", *RUN]) == 0
    # A file from one address is not taken for that of another.
    other = "--reviews_url=http://other.org/reviews_{category}_5.json.gz"
    message = complaint(capsys, "prepare", "amazon-sports", "--overwrite", other)
    assert "was fetched from http://127.0.0.1" in message and "not from http://other.org" in message


def test_two_addresses_of_one_file_name_are_refused(work, capsys):
    message = complaint(capsys, "prepare", "amazon-sports", *(
        f"--{what}_url=http://host/{what}/{{category}}.jsonl.gz" for what in ("reviews", "meta")))
    assert "would both be" in message and "Sports_and_Outdoors.jsonl.gz" in message
    assert not list(work.iterdir())


def test_a_split_file_is_compared_by_what_it_says(work, published, capsys):
    rule = "rule: ratio\ntitle: halves\nratios: [0.5, 0.25, 0.25]\nseed: 1\n"
    (work / "my.yaml").write_text(rule)
    assert main(["prepare", "amazon-sports", "--no-download", f"--raw={published}",
                 "--text_encoder=tfidf", "--split=my.yaml"]) == 0
    (work / "copy.yaml").write_text(rule)
    assert main(["--dataset=amazon-sports", "--split=copy.yaml", *RUN]) == 0
    (work / "my.yaml").write_text("rule: leave-one-out\ntitle: last\n")
    assert "with split=" in complaint(capsys, "--dataset=amazon-sports", "--split=my.yaml", *RUN)


def test_features_belong_to_their_items(work, published):
    shop = small_shop(seed=0, users=60, items=40)
    assert main(["prepare", "amazon-sports", "--no-download", f"--raw={published}",
                 "--text_encoder=tfidf"]) == 0
    folder = work / "dataset/amazon-sports"
    kept = {line.split("\t")[1]
            for line in (folder / "amazon-sports.inter").read_text().splitlines()[1:]}
    features = load_item_features(folder / "features", ["[PAD]", *sorted(kept)], scaling="none")
    images = features.matrix("image").numpy()
    for row, item in enumerate(sorted(kept), start=1):
        vector = shop.vectors.get(item)
        assert features.has_feature("image")[row] == (vector is not None)
        if vector is not None:
            assert (images[row] == np.asarray(vector, dtype=np.float32)).all()
    missing = (folder / "features/image.missing").read_text().split()
    assert set(missing) == {item for item in kept if item not in shop.vectors} and missing
    assert "feature_fill: mean" in (folder / "amazon-sports.yaml").read_text()


def test_the_same_files_give_the_same_bytes(work, published):
    for name in ("one", "two"):
        assert main(["prepare", "amazon-sports", "--no-download", f"--raw={published}",
                     "--text_encoder=tfidf", f"--data_path={name}"]) == 0
    one, two = (json.loads((work / name / "amazon-sports/manifest.json").read_text())
                for name in ("one", "two"))
    assert one["files"] == two["files"] and one["split"] == two["split"]


def test_without_network_the_message_says_what_to_put_where(work, capsys):
    message = complaint_all(capsys, "--dataset=amazon-baby", "--no-download", *RUN)
    for word in ("reviews_Baby_5.json.gz", "meta_Baby.json.gz", "image_features_Baby.b",
                 str(Path("dataset/raw/amazon-baby")), "https://", "--no-download"):
        assert word in message
    assert not (work / "dataset").exists() and not (work / "runs").exists()


def complaint_all(capsys, *words):
    assert main(words) == 2
    return capsys.readouterr().err


def test_a_failing_server_leaves_no_dataset_and_the_next_try_goes_on(work, published, capsys):
    with serve(published, status=503) as server:
        message = complaint_all(capsys, "--dataset=amazon-sports", *urls(server), *RUN)
    assert "reviews_Sports_and_Outdoors_5.json.gz" in message and "put it at" in message
    assert not (work / "dataset/amazon-sports").exists()
    with serve(published) as server:
        assert main(["prepare", "amazon-sports", "--text_encoder=tfidf", *urls(server)]) == 0
    assert (work / "dataset/amazon-sports/manifest.json").is_file()


@pytest.mark.usefixtures("work")
def test_a_mistake_in_a_setting_is_found_before_anything_is_fetched(published, capsys):
    with serve(published) as server:
        message = complaint(capsys, "--dataset=amazon-sports", "--epoch=3", *urls(server))
        assert "'epoch'" in message and "'epochs'" in message and not server.requests


@pytest.mark.parametrize("name, spoil, words", [
    ("reviews_Sports_and_Outdoors_5.json.gz", lambda b: b[: len(b) // 2], "cut off"),
    ("image_features_Sports_and_Outdoors.b", lambda b: b[:-7], "16,394"),
    ("meta_Sports_and_Outdoors.json.gz", lambda _: b"<html>busy</html>", "answered with a page"),
])
def test_a_damaged_raw_file_is_named_and_kept(work, published, capsys, name, spoil, words):
    file = published / name
    file.write_bytes(spoil(file.read_bytes()))
    before = file.read_bytes()
    message = complaint_all(capsys, "prepare", "amazon-sports", "--no-download",
                            f"--raw={published}", "--text_encoder=tfidf")
    assert name in message and words in message and "Traceback" not in message
    assert file.read_bytes() == before and not list((work / "dataset").glob("*sports*"))


def test_the_release_of_2023(work, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    shop = small_shop(seed=1, users=60, items=40)
    write_reviews_2023(raw / "Baby_Products.jsonl.gz", shop.rows)
    write_meta_2023(raw / "meta_Baby_Products.jsonl.gz", shop.meta)
    assert main(["--dataset=amazon2023-Baby_Products", "--no-download", f"--raw={raw}",
                 "--text_encoder=tfidf", "--split=temporal-ratio", *RUN]) == 0
    text = (work / "dataset/amazon2023-Baby_Products/amazon2023-Baby_Products.inter").read_text()
    times = [float(line.split("\t")[3]) for line in text.splitlines()[1:]]
    assert min(times) > 1e9 and max(times) < 2e9  # seconds, not the file's milliseconds


@pytest.mark.parametrize("name, file, counts, modalities", [
    ("tiktok", "tiktok", (59541, 3051, 6130, 9308), {"image": 128, "audio": 128}),
    ("baby-lattice", "baby", (118551, 21682, 20559, 19445), {"image": 128, "text": 128}),
])
@pytest.mark.slow
def test_published_folders_come_in_and_train(work, capsys, name, file, counts, modalities):
    if not (SHARED / name / f"{file}.inter").is_file():
        pytest.skip(f"the published {name} does not lie beside this checkout")
    assert main(["prepare", "--from=mmrec", str(SHARED / name), f"--name={name}"]) == 0
    manifest = json.loads((work / f"dataset/{name}/manifest.json").read_text())
    assert tuple(manifest[key] for key in ("train", "valid", "test", "users")) == counts
    result = {m: about["dim"] for m, about in manifest.get("features", {}).items()}
    assert result in (modalities, {})  # the folder may lie there without its features
    model = "--model=SSR" if name == "tiktok" else "--model=BPR"
    assert main([f"--dataset={name}", model, "--epochs=1", "--show_progress=False"]) == 0
    assert main(["data", name]) == 0
    out = capsys.readouterr().out
    assert "are as they were prepared" in out and f"{counts[0]:,}" in out


def test_a_changed_file_is_reported(work, published, capsys):
    assert main(["prepare", "amazon-sports", "--no-download", f"--raw={published}",
                 "--text_encoder=tfidf"]) == 0
    shutil.copy(work / "dataset/amazon-sports/features/text.npy", work / "copy.npy")
    with open(work / "dataset/amazon-sports/amazon-sports.yaml", "a") as file:
        file.write("# a note\n")
    capsys.readouterr()
    assert main(["data", "amazon-sports"]) == 0
    assert "amazon-sports.yaml has" in capsys.readouterr().out


@pytest.mark.usefixtures("work")
def test_a_flag_of_a_preparation_without_effect_is_refused(capsys):
    message = complaint(capsys, "--dataset=ml-100k", "--split=leave-one-out", *RUN)
    assert "--split shapes a dataset while it is prepared" in message and "ml-100k" in message
