"""A user's own tables, texts, pictures and vectors, through the command line to a run."""

import csv
import json
import pickle
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ssr.cli import main
from recbole_ssr.data.features import load_item_features

USERS, ITEMS = 40, 24
RUN = ["--epochs=1", "--train_batch_size=64", "--show_progress=False", "--topk=[5]",
       "--valid_metric=Recall@5", "--device=cpu"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with orders.csv, products.csv and audio.npy (+ .tokens)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECBOLE_SSR_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    with open("orders.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["user_id", "item_id", "rating", "timestamp"])
        for user in range(USERS):
            for item in rng.choice(ITEMS, 8, replace=False):
                time = 1_500_000_000 + int(rng.integers(1e6))
                table.writerow([f"u{user}", f"{item:03d}", 4, time])
    with open("products.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "title", "description"])
        for item in range(ITEMS - 2):  # the last two have no row
            about = "cotton, black" if item else ""
            table.writerow([f"{item:03d}", f"red shirt {item % 5}", about])
    np.save("audio.npy", rng.normal(size=(ITEMS, 6)).astype(np.float32))
    Path("audio.tokens").write_text("".join(f"{item:03d}\n" for item in range(ITEMS)))
    return tmp_path


def manifest(name="shop"):
    return json.loads(Path("dataset", name, "manifest.json").read_text())


@pytest.mark.usefixtures("work")
def test_own_tables_and_vectors_become_a_dataset_that_trains(capsys):
    command = ["prepare", "--name=shop", "--interactions=orders.csv", "--items=products.csv",
               "--vectors={audio: audio.npy}", "--split=leave-one-out", "--text_encoder=tfidf"]
    assert main(command) == 0
    made = manifest()
    assert made["split"]["rule"] == "leave-one-out" and made["split"]["seed"] is None
    assert (made["train"], made["valid"], made["test"]) == (USERS * 6, USERS, USERS)
    assert made["features"]["text"]["missing"] == 2 and made["features"]["audio"]["missing"] == 0
    assert [source["file"] for source in made["sources"]] == ["orders.csv", "products.csv",
                                                             "audio.npy"]
    rows = [line.split("\t") for line in Path("dataset/shop/shop.inter").read_text().splitlines()]
    assert "007" in {row[1] for row in rows}  # ids are texts: zeros in front stay
    newest = {}
    for user, _, _, time, label in rows[1:]:
        newest.setdefault(user, []).append((float(time), label))
    for of_user in newest.values():
        assert [label for _, label in sorted(of_user)][-2:] == ["1", "2"]
    assert main(["--dataset=shop", *RUN]) == 0
    assert "SSR" in capsys.readouterr().out


@pytest.mark.usefixtures("work")
def test_vectors_stay_with_their_items():
    assert main(["prepare", "--name=shop", "--interactions=orders.csv",
                 "--vectors={audio: audio.npy}"]) == 0
    items = [f"{item:03d}" for item in range(ITEMS)]
    features = load_item_features("dataset/shop/features", ["[PAD]", *items[::-1]], scaling="none")
    assert (features.matrix("audio")[1:].numpy() == np.load("audio.npy")[::-1]).all()


@pytest.mark.usefixtures("work")
def test_a_split_of_one_s_own_keeps_its_repeats():
    """A drawn one has no pair in two parts."""
    rows = Path("orders.csv").read_text().splitlines()
    labelled = [f"{row},{'train' if n % 5 else 'valid'}" for n, row in enumerate(rows[1:])]
    again = [f"{row},test" for row in rows[1:31]]
    Path("own.csv").write_text("\n".join([f"{rows[0]},split", *again, *labelled]) + "\n")
    command = ["prepare", "--name=shop", "--interactions=own.csv", "--vectors={audio: audio.npy}"]
    assert main(command) == 0
    made, n = manifest(), len(labelled)
    assert (made["train"], made["valid"], made["test"]) == (n - n // 5, n // 5, 30)
    assert main([*command, "--split=ratio", "--overwrite"]) == 0
    assert manifest()["interactions"] == n


@pytest.mark.usefixtures("work")
def test_filters_do_not_turn_the_split_of_a_table_into_another(capsys):
    rows = [f"u{u},i{i},{3 if label == 'valid' else 5},{label}" for u in range(9)
            for i, label in enumerate(["train"] * 4 + ["valid", "test"])]
    Path("own.csv").write_text("\n".join(["user,item,rating,split", *rows]) + "\n")
    command = ["prepare", "--name=shop", "--interactions=own.csv", "--min_rating=4"]
    assert main(command) == 2
    assert "leaves a part empty: 36 train, 0 valid, 9 test" in capsys.readouterr().err
    assert main([*command, "--split=published-test"]) == 0
    assert manifest()["test"] == 9


@pytest.mark.usefixtures("work")
def test_what_is_bought_again_stays_in_a_test_part_that_is_published():
    """Also where the row of training is the earlier one."""
    rows = [f"u{u},i{i},{i},{label}" for u in range(9)
            for i, label in [*enumerate(["train"] * 10), (9, "test"), (10, "test")]]
    Path("own.csv").write_text("\n".join(["user,item,timestamp,split", *rows]) + "\n")
    assert main(["prepare", "--name=shop", "--interactions=own.csv"]) == 0
    made = manifest()
    assert (made["train"] + made["valid"], made["test"]) == (81, 18)


def test_pictures_and_texts_by_models_of_the_real_classes(work, capsys):
    pytest.importorskip("sentence_transformers", reason="needs the extra [encode]")
    from PIL import Image
    from tiny_models import clip_model, sentence_model

    photos = work / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for item in range(ITEMS - 1):
        pixels = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{item:03d}.{'png' if item % 2 else 'jpg'}")
    (photos / "005.png").write_bytes(b"no picture")
    command = ["prepare", "--name=shop", "--interactions=orders.csv", "--items=products.csv",
               "--images=photos", f"--text_encoder={sentence_model(work / 'bert')}",
               f"--image_encoder={clip_model(work / 'clip')}", "--device=cpu", "--batch_size=5"]
    assert main(command) == 0
    assert main(["prepare", "--like=shop", "--items=products.csv", "--images=photos", "--out=new",
                 "--device=cpu"]) == 0
    for modality in ("text", "image"):  # of the first item, which has both
        first = np.load(f"new/{modality}.npy")[0]
        known = Path(f"dataset/shop/features/{modality}.tokens").read_text().split().index("000")
        same = np.load(f"dataset/shop/features/{modality}.npy")[known]
        np.testing.assert_allclose(first, same, rtol=1e-4)
    made = manifest()["features"]
    assert made["text"]["dim"] == 32 and made["image"]["dim"] == 24
    assert made["image"]["missing"] == 2  # 005 is broken, the last has none
    assert "005" in capsys.readouterr().err
    assert set(Path("dataset/shop/features/image.missing").read_text().split()) == {"005", "023"}
    assert "feature_fill: mean" in Path("dataset/shop/shop.yaml").read_text()
    before = Path("dataset/shop/features/image.npy").read_bytes()
    assert main([*command, "--overwrite"]) == 0
    assert Path("dataset/shop/features/image.npy").read_bytes() == before
    assert main(["--dataset=shop", *RUN]) == 0


@pytest.mark.parametrize("words, message", [
    (["--interactions=order.csv"], "order.csv does not exist"),
    (["--interactions=orders.csv", "--user_column=usr"], "'usr'"),
    (["--interactions=orders.csv", "--items=products.csv", "--text=titel"], "'titel'"),
    (["--interactions=orders.csv", "--images=photo"], "photo"),
    (["--interactions=orders.csv", "--vectors={text: audio.npy}", "--items=products.csv"],
     "--vectors has text, which is also to be encoded"),
    (["--interactions=orders.csv", "--vectors={audio: orders.csv}"], "orders.csv"),
    (["--interactions=orders.csv", "--items=others.csv"], "none of its 1 items is in orders.csv"),
    (["--interactions=orders.csv", "--min_interactions=30"], "Lower min_interactions"),
    (["--interactions=orders.csv", "--split=published"], "split of their own"),
    (["--interactions=orders.csv", "--text_encoder=nowhere/model", "--items=products.csv"],
     "nowhere/model" if find_spec("sentence_transformers") else "pip install recbole_ssr[encode]"),
    (["--interactions=orders.csv", "--split=leave-one-out", "--split_seed=1"],
     "--split_seed=1 has no effect: the split 'leave one out by time' draws nothing"),
    (["--interactions=orders.csv", "--text=title"], "--text has no effect without --items"),
    (["--interactions=orders.csv", "--items_key=sku"],
     "--items_key has no effect without --items or --vectors"),
    (["--interactions=orders.csv", "--items=products.csv", "--items_key=nr"],
     "Correct --items_key"),
    (["--interactions=orders.csv", "--text_encoder=tfidf"], "--text_encoder has no effect without"),
    (["--interactions=orders.csv", "--image_encoder=clip", "--items=products.csv"],
     "--image_encoder has no effect without --images"),
    (["--interactions=orders.csv", "--vectors={audio: audio.npy, image: 5}"],
     "--vectors: 'image': 5 must be a name and a file"),
    (["--interactions=orders.csv", "--vectors={image: }"], "--vectors: 'image': None must be"),
    (["--interactions=orders.csv", "--vectors={image: [a.npy]}"], "'image': ['a.npy'] must be"),
])
def test_a_mistake_is_one_message_and_leaves_no_dataset(work, capsys, words, message):
    (work / "others.csv").write_text("item_id,title\nx,y\n")
    assert main(["prepare", "--name=shop", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "error: " in error and "Traceback" not in error
    assert not list(Path("dataset").glob("*"))


@pytest.mark.usefixtures("work")
def test_the_name_of_the_embedded_dataset_is_taken(capsys):
    assert main(["prepare", "--name=ml-100k", "--interactions=orders.csv"]) == 2
    assert "--name=ml-100k is the name of the embedded dataset" in capsys.readouterr().err
    assert not Path("dataset").exists()


def parts():
    """Three disjoint sets of (user, item), and features of every item."""
    rng = np.random.default_rng(1)
    pairs = np.array([(u, i) for u in range(30) for i in rng.choice(20, 8, replace=False)])
    labels = np.tile([0, 0, 0, 0, 0, 0, 1, 2], 30)
    return [pairs[labels == part] for part in range(3)], rng.normal(size=(20, 5))


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("kind", ["json", "pickle", "lightgcn"])
def test_other_published_layouts_train(kind):
    sets, features = parts()
    folder = Path("published")
    folder.mkdir()
    for pairs, name, short in zip(sets, ("train", "val", "test"), ("trn", "val", "tst")):
        if kind == "json":
            items = {str(u): [int(i) for v, i in pairs if v == u] for u in range(30)}
            (folder / f"{name}.json").write_text(json.dumps(items))
        elif kind == "lightgcn":
            lines = [f"{u} {' '.join(str(i) for v, i in pairs if v == u)}\n" for u in range(30)]
            (folder / f"{name}.txt").write_text("".join(lines))
        else:
            matrix = sp.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(30, 20))
            (folder / f"{short}Mat.pkl").write_bytes(pickle.dumps(matrix))
    np.save(folder / "image_feat.npy", features)
    wrong = ["prepare", f"--from={kind}", str(folder), "--name=other", "--modalities=imge"]
    assert main(wrong) == 2 and not Path("dataset/other").exists()
    assert main(["prepare", f"--from={kind}", str(folder), "--name=other"]) == 0
    made = manifest("other")
    assert (made["train"], made["valid"], made["test"]) == (180, 30, 30)
    rows = [line.split("\t") for line in
            Path("dataset/other/other.inter").read_text().splitlines()[1:]]
    for part, pairs in enumerate(sets):
        assert {(int(u), int(i)) for u, i, label in rows if label == str(part)} == {
            tuple(pair) for pair in pairs.tolist()}
    assert main(["--dataset=other", *RUN]) == 0


def rows_of(name):
    """The (user, item) and the part of each row of a prepared dataset."""
    file = Path("dataset", name, f"{name}.inter")
    head, *rows = [line.split("\t") for line in file.read_text().splitlines()]
    assert head[-1] == "x_label:float"
    return [((row[0], row[1]), int(row[-1])) for row in rows]


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("split", [[], ["--split=leave-one-out"], ["--split=ratio-global"]])
def test_a_split_drawn_for_an_import_puts_no_pair_into_two_parts(split, capsys):
    rng = np.random.default_rng(0)
    lines = [f"u{u}\ti{i}\t{rng.integers(1e6)}\n"
             for u in range(30) for i in rng.integers(25, size=12)]
    Path("published").mkdir()
    Path("published/p.inter").write_text(
        "".join(["user_id:token\titem_id:token\ttimestamp:float\n", *lines]))
    distinct = {tuple(line.split("\t")[:2]) for line in lines}
    assert main(["prepare", "--from=recbole", "published", "--name=drawn", *split]) == 0
    pairs = [pair for pair, _ in rows_of("drawn")]
    assert len(pairs) == len(distinct) and set(pairs) == distinct
    assert f"{len(lines) - len(distinct)} repeated pairs dropped" in capsys.readouterr().err
    assert manifest("drawn")["read"] == {"users": 30, "items": 25, "interactions": 360,
                                         "repeated_pairs": 360 - len(distinct)}


@pytest.mark.usefixtures("work")
def test_a_folder_of_mmrec_without_labels_is_split_where_a_split_is_asked_for(capsys):
    Path("published").mkdir()
    rows = [f"{u}\t{i}" for u in range(9) for i in range(10)]
    Path("published/p.inter").write_text("\n".join(["userID\titemID", *rows]) + "\n")
    command = ["prepare", "--from=mmrec", "published", "--name=made"]
    for split in ([], ["--split=published"], ["--split=published-test"]):
        assert main([*command, *split]) == 2 and "--split=ratio" in capsys.readouterr().err
    assert main([*command, "--split=ratio"]) == 0 and manifest("made")["test"] == 9


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("split, kept", [([], True), (["--split=ratio"], False)])
def test_what_a_published_split_keeps_is_told_where_it_is_kept(capsys, split, kept):
    Path("published").mkdir()
    for part in ("train", "valid", "test"):
        Path(f"published/{part}.txt").write_text("".join(
            f"{u} 0 1 2 3 4 5 6 7 8 9\n" for u in range(9)))
    assert main(["prepare", "--from=lightgcn", "published", "--name=made", *split]) == 0
    told = "180 interactions are in two parts; a published split keeps them"
    assert (told in capsys.readouterr().err) == (told in manifest("made")["notes"]) == kept


@pytest.mark.usefixtures("work")
def test_a_published_value_that_is_no_number_is_named_where_it_stands(capsys):
    Path("published").mkdir()
    for part in ("train", "valid", "test"):
        Path(f"published/{part}.txt").write_text("0 0 1 2\n")
    np.save("published/image_feat.npy", np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]]))
    assert main(["prepare", "--from=lightgcn", "published", "--name=made"]) == 2
    assert "published/image_feat.npy: item '1' has nan in column 1" in capsys.readouterr().err


@pytest.mark.usefixtures("work")
def test_a_published_test_part_stays_and_nothing_drawn_repeats_it():
    Path("published").mkdir()
    # Each user's training names item 0 twice, and item 9, which is in the test part twice.
    Path("published/train.txt").write_text("".join(f"{u} 0 1 2 0 9 3 4\n" for u in range(9)))
    Path("published/test.txt").write_text("".join(f"{u} 9 5 9\n" for u in range(9)))
    assert main(["prepare", "--from=lightgcn", "published", "--name=drawn"]) == 0
    rows = rows_of("drawn")
    assert [pair for pair, part in rows if part == 2] == [
        (str(u), item) for u in range(9) for item in "959"]
    assert sorted(pair for pair, part in rows if part < 2) == [
        (str(u), item) for u in range(9) for item in "01234"]
    assert manifest("drawn")["valid"] == 9 and manifest("drawn")["read"]["repeated_pairs"] == 18
    # The published split keeps all.
    Path("published/valid.txt").write_text("0 0\n")
    assert main(["prepare", "--from=lightgcn", "published", "--name=kept"]) == 0
    assert len(rows_of("kept")) == 9 * 10 + 1 and "read" not in manifest("kept")


@pytest.mark.usefixtures("work")
def test_texts_are_read_as_typed_and_home_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    for name in ("orders.csv", "audio.npy", "audio.tokens"):
        Path(name).rename(tmp_path / "me" / name)
    for name in ("007", "1e3"):
        assert main(["prepare", f"--name={name}", "--interactions=~/orders.csv",
                     "--vectors={audio: ~/audio.npy}", "--data_path=~/ds"]) == 0
        assert (tmp_path / f"me/ds/{name}/{name}.inter").is_file()
    assert not Path("~").exists()


@pytest.mark.usefixtures("work")
def test_the_commands_that_follow_can_be_typed_as_they_are_printed(capsys):
    words = ["prepare", "--name=shop", "--interactions=orders.csv", "--data_path=my data"]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "recbole-ssr" in line]
    typed = [shlex.split(line.partition("recbole-ssr ")[2]) for line in lines]
    assert typed == [["train", "--dataset=shop", "--data_path=my data"],
                     ["data", "shop", "--data_path=my data"]]


@pytest.mark.usefixtures("work")
def test_the_report_goes_where_out_says_as_typed(capsys):
    assert main(["prepare", "--name=shop", "--interactions=orders.csv"]) == 0
    for words, folder in ((["--out=007"], "007"), (["--out", "5"], "5")):
        assert main(["data", "shop", *words]) == 0
        assert Path(folder, "dataset.json").is_file()
    capsys.readouterr()
    assert main(["data", "shop", "--out"]) == 2
    assert "error: --out needs a value: --out=..." in capsys.readouterr().err


@pytest.mark.usefixtures("work")
def test_low_ratings_go_before_the_core(capsys):
    # u0 to u5 rate 4 items high and one low; the low one is the only one of item 9 that keeps it in
    # the 3-core, and u0 rated item 0 low before he rated it high.
    rows = [(f"u{u}", i, 4 + (u % 2)) for u in range(6) for i in range(4)]
    rows += [(f"u{u}", 9, 3 + (u < 2)) for u in range(3)]
    table = "\n".join(["user,item,rating", *(f"{u},{i},{r}" for u, i, r in [("u0", 0, 1), *rows])])
    Path("rated.csv").write_text(table + "\n")
    command = ["prepare", "--interactions=rated.csv", "--min_interactions=3"]
    assert main([*command, "--name=all"]) == 0 and main([*command, "--name=high",
                                                         "--min_rating=4"]) == 0
    assert (manifest("all")["items"], manifest("high")["items"]) == (5, 4)
    assert manifest("high")["interactions"] == 24
    assert manifest("high")["read"] == {"users": 6, "items": 5, "interactions": 28,
                                        "repeated_pairs": 0, "low_ratings": 2}
    assert manifest("high")["options"]["min_rating"] == 4
    ratings = [line.split("\t")[2] for line in
               Path("dataset/high/high.inter").read_text().splitlines()[1:]]
    assert set(ratings) == {"4", "5"}
    for flags, words in ((["--min_rating=6"], "leaves none of 28"),
                         (["--min_rating=high"], "a number"),
                         (["--min_rating=4", "--rating_column="], "--rating_column")):
        assert main([*command, "--name=none", *flags]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("work")
def test_a_pickle_that_would_run_code_is_refused(capsys, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    folder = Path("published")
    folder.mkdir()
    for name in ("trn", "val", "tst"):
        (folder / f"{name}Mat.pkl").write_bytes(pickle.dumps(Evil()))
    assert main(["prepare", "--from=pickle", str(folder), "--name=other"]) == 2
    assert "trnMat.pkl" in capsys.readouterr().err and not (tmp_path / "ran").exists()


def new_items(folder, *words):
    return main(["prepare", "--like=shop", "--items=next.csv", f"--out={folder}", *words])


@pytest.mark.usefixtures("work")
def test_new_items_are_encoded_as_the_dataset_was(capsys):
    """Whatever else the table of new items holds: known items get the rows that they had."""
    command = ["prepare", "--name=shop", "--interactions=orders.csv", "--items=products.csv",
               "--vectors={audio: audio.npy}", "--text_encoder=tfidf"]
    assert main(command) == 0
    words = ["blue shirt red", "black cotton shirt", "green chair 4"]
    lines = [f"new{n},{text},\n" for n, text in enumerate(words)]
    Path("next.csv").write_text("".join([Path("products.csv").read_text(), *lines]))
    assert new_items("new") == 0
    told = capsys.readouterr()
    assert "audio of dataset/shop are ready vectors of audio.npy" in told.err
    assert "recommend RUN --new-items=new" in told.out
    assert sorted(path.name for path in Path("new").iterdir()) == ["text.npy", "text.tokens"]
    rows, known = ({token: row for token, row in zip(
        Path(folder, "text.tokens").read_text().split(), np.load(Path(folder, "text.npy")))}
        for folder in ("new", "dataset/shop/features"))
    assert set(rows) == set(known) | {"new0", "new1", "new2"}
    for token, row in known.items():
        np.testing.assert_allclose(rows[token], row, atol=2e-5)
    assert main(["--dataset=shop", *RUN, "--modalities=[text]"]) == 0
    [run] = Path("runs").iterdir()
    assert main(["recommend", str(run), "--users=u0", "--new-items=new", "--out=r.csv"]) == 0


@pytest.mark.usefixtures("work")
def test_mistakes_in_new_items(capsys):
    Path("next.csv").write_text("item_id,title,description\nnew,red shirt,\n")
    assert new_items("new") == 2
    assert "dataset/shop is no prepared dataset" in capsys.readouterr().err
    command = ["prepare", "--name=shop", "--interactions=orders.csv"]
    assert main([*command, "--items=products.csv", "--text_encoder=tfidf"]) == 0
    for words, message in (
            (["--images=photos"], "has no features of pictures that were encoded"),
            (["--text_encoder=some/model"], "--text_encoder=some/model is not what made the texts"),
            (["--text=titel"], "no column 'titel'"),
            (["--split=ratio"], "--split has no effect on features of new items")):
        assert new_items("new", *words) == 2
        assert message in capsys.readouterr().err
    assert main(["prepare", "--like=shop", "--items=next.csv"]) == 2
    assert "--out=FOLDER" in capsys.readouterr().err
    assert new_items("dataset") == 2
    assert "dataset is not empty" in capsys.readouterr().err
    Path("dataset/shop/features/text.tfidf.npz").write_bytes(b"PK damaged")
    assert new_items("new") == 2
    assert "text.tfidf.npz cannot be read" in capsys.readouterr().err
    Path("dataset/shop/features/text.tfidf.npz").unlink()
    assert new_items("new") == 2
    assert "was prepared before it was kept" in capsys.readouterr().err


@pytest.mark.usefixtures("work")
def test_items_without_interactions_are_counted(capsys):
    with open("products.csv", "a") as file:
        file.write("new,blue shirt,\n")
    assert main(["prepare", "--name=shop", "--interactions=orders.csv", "--items=products.csv",
                 "--text_encoder=tfidf"]) == 0
    assert "1 of 23 items of products.csv have no interaction and are left out" in \
        capsys.readouterr().err


class SizeEncoder:
    """Stands in for a model of pictures: their vector is the size of the file."""

    name, key, dim = "transformers size", "size", 2

    def __init__(self, model="size", device="auto"):  # noqa: ARG002
        self.name = f"transformers {model}"

    def encode(self, batch):
        return np.array([[1, path.stat().st_size] for path in batch], dtype=np.float32)

    def digest(self, content):
        return content.name.encode()


@pytest.mark.usefixtures("work")
def test_pictures_of_new_items_are_encoded_by_the_same_model_or_none(monkeypatch, capsys):
    for module in ("encoders", "new_items"):
        monkeypatch.setattr(f"recbole_ssr.dataset_prep.{module}.image_encoder", SizeEncoder)
    Path("photos").mkdir()
    for item, size in (("000", 5), ("001", 6), ("new", 7)):
        Path(f"photos/{item}.jpg").write_bytes(b"x" * size)
    assert main(["prepare", "--name=shop", "--interactions=orders.csv", "--images=photos",
                 "--image_encoder=size"]) == 0
    Path("next.csv").write_text("item_id\nnew\n001\n")  # ids are all that pictures need
    assert new_items("new", "--images=photos") == 0
    assert np.load("new/image.npy").tolist() == [[1, 7], [1, 6]]
    assert new_items("other", "--images=photos", "--image_encoder=base") == 2
    assert "were made by transformers size, not by transformers base" in capsys.readouterr().err
    assert new_items("other") == 2
    assert "nothing to encode: dataset/shop has the features image" in capsys.readouterr().err


def lines_of(file):
    return [line.split("\t") for line in Path(file).read_text().split("\n")[:-1]]


@pytest.mark.usefixtures("work")
def test_the_columns_of_items_stand_beside_the_dataset_and_change_no_run(capsys):
    """Titles and filters are read from them; a run trains and is named as without them."""
    rows = [f'{n:03d},"Lamp ""{n}"",\n  tall",{"red" if n % 2 else "blue"},{n}.5,{n}\n'
            for n in range(ITEMS - 2)]
    Path("goods.csv").write_text("sku,title,colour,price: EUR,item_id\n" + "".join(rows) +
                                 "none,Chair,red,1,1\n")
    command = ["prepare", "--name=shop", "--interactions=orders.csv", "--items=goods.csv",
               "--items_key=sku", "--text_encoder=tfidf"]
    assert main(command) == 0
    head, first, *others = lines_of("dataset/shop/shop.item")
    assert head == ["item_id:token", "title:token_seq", "colour:token_seq", "price_EUR:token"]
    assert first == ["000", 'Lamp "0", tall', "blue", "0.5"] and len(others) == ITEMS - 3
    assert "shop.item" in manifest()["files"]
    run = ["--dataset=shop", *RUN]
    assert main([*run, "--run_dir=with"]) == 0
    [folder] = Path("with").iterdir()
    capsys.readouterr()
    assert main(["recommend", str(folder), "--users=u0", "--where={colour: red}", "--topk=30",
                 "--out=r.csv"]) == 0
    with open("r.csv") as file:
        assert {int(row["item"]) % 2 for row in csv.DictReader(file)} == {1}
    Path("dataset/shop/shop.item").unlink()
    assert main([*run, "--run_dir=without"]) == 0
    [other] = Path("without").iterdir()
    results = [json.loads((path / "metrics.json").read_text()) for path in (folder, other)]
    for key in ("valid", "test", "protocol", "config_hash"):
        assert results[0][key] == results[1][key], key


@pytest.mark.usefixtures("work")
def test_an_import_from_recbole_keeps_what_its_item_file_says(caplog):
    folder = Path("made")
    folder.mkdir()
    rng = np.random.default_rng(0)
    pairs = [f"u{u}\ti{i}\n" for u in range(30) for i in rng.choice(20, 8, replace=False)]
    (folder / "made.inter").write_text("user_id:token\titem_id:token\n" + "".join(pairs))
    (folder / "made.item").write_text(
        'year:float\titem_id:token\tname:token_seq\n1999\ti3\tA "big" lamp\n2000\tx\tNo one\n')
    command = ["prepare", "--from=recbole", "made", "--name=other"]
    assert main(command) == 0
    assert lines_of("dataset/other/other.item") == [
        ["item_id:token", "year:float", "name:token_seq"], ["i3", "1999", 'A "big" lamp']]
    assert [source["file"] for source in manifest("other")["sources"]] == ["made.inter",
                                                                          "made.item"]
    (folder / "made.item").write_text("film:token\tname:token_seq\n3\tA lamp\n")
    assert main([*command, "--overwrite"]) == 0
    assert "made.item is left out: it has no column item_id" in caplog.text
    assert not Path("dataset/other/other.item").exists()


@pytest.mark.usefixtures("work")
def test_another_split_of_one_s_own_data_is_told_as_a_command_that_works(capsys):
    assert main(["prepare", "--name=shop", "--interactions=orders.csv", "--data_path=my data",
                 "--vectors={audio: audio.npy}", "--user_column=user_id"]) == 0
    train = ["--dataset=shop", "--data_path=my data", "--split=leave-one-out"]
    capsys.readouterr()
    assert main([*train, *RUN]) == 2
    command = capsys.readouterr().err.partition("Prepare it anew with ")[2].partition(", or")[0]
    program, *words = shlex.split(command)
    assert program == "recbole-ssr" and main(words) == 0
    assert main([*train, *RUN]) == 0
