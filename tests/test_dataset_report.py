"""`recbole-ssr data`: what is reported is what a run would see."""

import dataclasses
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console
from tiny import ITEMS, SETTINGS, USERS, write_tiny

from recbole_ssr.cli import main
from recbole_ssr.config import build_config
from recbole_ssr.data.features import write_features
from recbole_ssr.dataset_report import dataset_report
from recbole_ssr.errors import MissingDataset, UserError
from recbole_ssr.quick_start import prepare
from recbole_ssr.report.dataset import checks as dataset_checks
from recbole_ssr.report.dataset.plots import _at_least, _draw_degrees, draw
from recbole_ssr.report.dataset.record import Degrees, Part
from recbole_ssr.report.dataset.tables import tables
from recbole_ssr.report.record import write_record
from recbole_ssr.report.terminal import rendered

# user, item, time, label; u3 and i4 are new in test, i5 has features but no interaction.
BY_HAND = [("u1", "i1", 1400000000, 0), ("u1", "i2", 1400000010, 0), ("u2", "i1", 1400000005, 0),
           ("u2", "i3", 1400000006, 0), ("u1", "i3", 1400000020, 1), ("u2", "i2", 1400000007, 1),
           ("u1", "i4", 1400000009, 2), ("u3", "i1", 1400000000, 2)]
TOKENS = ["i1", "i2", "i4", "i9"]
IMAGE = np.array([[3, 4], [0, 0], [3, 4], [6, 8]], dtype=np.float32)


def write_dataset(root, rows=BY_HAND, features=True):
    folder = root / "toys"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float\tx_label:float"]
    lines += ["\t".join(map(str, row)) for row in rows]
    (folder / "toys.inter").write_text("\n".join(lines) + "\n")
    if features:
        write_features(folder / "features", "image", IMAGE, TOKENS)
    return {"data_path": str(root), "split_column": "x_label",
            "load_col": {"inter": ["user_id", "item_id", "x_label"]}}


def check_of(report, name):
    return next(check for check in report.checks if check.name == name)


def printed(sheet):
    console = Console(width=100, file=io.StringIO())
    console.print(rendered(sheet))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return dataset_report("toys", write_dataset(tmp_path_factory.mktemp("hand")))


def test_sizes_by_hand(by_hand):
    assert (by_hand.users, by_hand.items, by_hand.interactions) == (3, 4, 8)
    assert by_hand.density == pytest.approx(8 / 12)
    users, items = by_hand.user_degrees, by_hand.item_degrees
    assert (users.values, users.nodes) == ([1, 3, 4], [1, 1, 1])
    assert (items.values, items.nodes) == ([1, 2, 3], [1, 2, 1])
    assert (users.minimum, users.median, users.maximum) == (1, 3, 4)
    assert items.mean == 2 and items.histogram == [[1, 1, 1], [2, 3, 3]]
    # Of 4 items with 1, 2, 2, 3: the mean difference is 12 / 16, twice the mean is 4.
    assert items.gini == pytest.approx(12 / 16 / 4)


def test_parts_by_hand(by_hand):
    train, valid, test = by_hand.parts
    assert train == Part("train", 4, 2, 3, 0)
    # 1400000007 of u2 is after his newest in training, as is 1400000020 of u1.
    assert valid == Part("valid", 2, 2, 2, 0, older=0.0)
    # i4 of u1 is a second older than u1's newest, which float32 could not tell; u3 has none.
    assert test == Part("test", 2, 2, 2, 0, cold_users=1, cold_items=1, of_cold_users=1,
                        of_cold_items=1, of_either=2, older=1.0)
    assert by_hand.overlaps == {"train and valid": 0, "train and test": 0, "valid and test": 0}


def test_modality_by_hand(by_hand):
    (image,) = by_hand.modalities
    assert (image.name, image.dim, image.dtype, image.rows) == ("image", 2, "float32", 4)
    # The row of i2 is all zeros: it counts as none.
    assert (image.items, image.coverage, image.unused_rows) == (2, 0.5, 1)
    assert image.coverage_by_interactions == pytest.approx(4 / 8)  # i2 and i3 have 2 each
    assert image.norms == {"minimum": 0, "median": 5, "mean": 5, "maximum": 10}
    assert (image.zero_rows, image.repeated_rows) == (1, 1)


def test_checks_by_hand(by_hand):
    status = {check.name: check.status for check in by_hand.checks}
    assert status == {
        "parts": "ok", "leaks": "ok", "repeats": "ok", "users without training": "note",
        "items without training": "note", "times": "note", "idle users and items": "ok",
        "missing features": "note", "zero rows": "note", "equal rows": "note",
        "unused rows": "note"}
    assert "1 users of test (50.00% of its" in check_of(by_hand, "users without training").sentence
    assert "0.0% of valid, 100.0% of test" in check_of(by_hand, "times").sentence
    assert "2 of image. They get zeros" in check_of(by_hand, "missing features").sentence


def test_leaks_and_repeats_are_found(tmp_path):
    rows = [*BY_HAND, ("u1", "i1", 1, 2), ("u2", "i2", 1, 2), *[("u1", "i2", 1, 0)] * 2]
    flags = write_dataset(tmp_path, rows)
    report = dataset_report("toys", flags)
    assert report.overlaps == {"train and valid": 0, "train and test": 1, "valid and test": 1}
    assert [part.repeats for part in report.parts] == [2, 0, 0]
    leaks = check_of(report, "leaks")
    assert leaks.status == "problem"
    assert "Train and test share 1 pairs" in leaks.sentence and "too high" in leaks.sentence
    assert "2 in train" in check_of(report, "repeats").sentence
    again = dataset_report("toys", flags | {"repeatable": True})
    assert check_of(again, "leaks").status == "note"


def test_an_empty_part_is_a_problem():
    parts = [Part("train", 5, 1, 5, 0), Part("valid", 0, 0, 0, 0), Part("test", 1, 1, 1, 0)]
    check = dataset_checks.split_checks(parts, {}, False)[0]
    assert check.status == "problem" and "The valid part has no interaction" in check.sentence


def test_scales_that_are_not_levelled(by_hand):
    short, long = by_hand.modalities[0], dataclasses.replace(
        by_hand.modalities[0], name="text", norms={**by_hand.modalities[0].norms, "mean": 50.0})
    for scaling, status in (("none", "note"), ("l2", "ok")):
        checks = dataset_checks.feature_checks([short, long], scaling, "zero", 4, 2)
        found = next(check for check in checks if check.name == "scales")
        assert found.status == status and "image 5, text 50" in found.sentence
        assert "2 items have features but no interaction" in checks[-1].sentence


SPLITS = {"column": {}, "random": {"split_column": None},
          "last": {"split_column": None, "eval_args": {"split": {"LS": "valid_and_test"}}}}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("model", ["SSR", "BPR"])
def test_the_parts_are_those_of_a_run(tmp_path, split, model):
    settings = write_tiny(tmp_path) | SPLITS[split]
    report = dataset_report("tiny", settings)
    experiment = prepare(build_config(model, "tiny", config_dict=SETTINGS | settings))
    assert report.split_fingerprint == experiment.dataset.split_fingerprint
    for part, loader in zip(report.parts, (experiment.train, experiment.valid, experiment.test)):
        assert part.interactions == len(loader._dataset)
        for side, field in (("users", "user_id"), ("items", "item_id")):
            assert getattr(part, side) == len(loader._dataset.inter_feat[field].unique())


def test_the_parts_of_a_split_by_time_are_those_of_a_run(tmp_path):
    # Times of one day, which float32 cannot tell apart: their order is part of the split.
    rng = np.random.default_rng(0)
    rows = [(f"u{k % 12}", f"i{k // 6}", 1400000000 + int(rng.integers(3000)), 0)
            for k in range(200)]
    settings = write_dataset(tmp_path, rows, features=False) | {
        "split_column": None, "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"order": "TO", "group_by": "none", "split": {"RS": [0.8, 0.1, 0.1]}}}
    report = dataset_report("toys", settings)
    experiment = prepare(build_config("BPR", "toys", config_dict=SETTINGS | settings))
    assert report.split_fingerprint == experiment.dataset.split_fingerprint
    assert report.parts[2].interactions == 20


def test_without_features_interactions_are_reported(tmp_path):
    settings = write_tiny(tmp_path, features=False)
    report = dataset_report("tiny", settings)
    assert (report.users, report.items, report.interactions) == (USERS, ITEMS, 9 * USERS)
    assert report.modalities == [] and report.feature_scaling is None
    assert "only models that use nothing but ids" in check_of(report, "item features").sentence
    with pytest.raises(UserError, match="does not exist.*set feature_path"):
        dataset_report("tiny", settings | {"feature_path": "vectors"})


def test_features_of_items_that_nobody_chose(tmp_path):
    settings = write_tiny(tmp_path)
    items = ["item_id:token", *(f"i{k}" for k in range(ITEMS + 3))]
    (tmp_path / "tiny/tiny.item").write_text("\n".join(items) + "\n")
    tokens = [f"i{k}" for k in range(ITEMS + 2)]
    write_features(tmp_path / "tiny/features", "text", np.ones((len(tokens), 2)), tokens)
    settings["load_col"] = {**settings["load_col"], "item": ["item_id"]}
    report = dataset_report("tiny", settings)
    assert report.items == ITEMS + 3 and report.item_degrees.none == 3
    assert report.idle_featured_items == 2


def test_the_model_has_no_effect(tmp_path, caplog):
    settings = write_tiny(tmp_path)
    assert dataset_report("tiny", settings | {"model": "LightGCN"}) == dataset_report(
        "tiny", settings)
    assert "model has no effect" in caplog.text


def test_settings_are_not_changed(tmp_path):
    settings = write_dataset(tmp_path)
    before = json.dumps(settings)
    dataset_report("toys", settings)
    assert json.dumps(settings) == before


def test_the_file_is_the_report_and_nan_is_null(by_hand, tmp_path):
    text = (Path(by_hand.folder) / "dataset.json").read_text()
    assert json.loads(text) == dataclasses.asdict(by_hand)
    path = write_record({"density": float("nan")}, tmp_path / "new" / "x.json")
    assert json.loads(path.read_text()) == {"density": None}
    assert list(path.parent.iterdir()) == [path]


def test_files_lie_with_the_dataset_or_elsewhere(by_hand, tmp_path):
    files = set(os.listdir(by_hand.folder))
    assert {"dataset.json", "dataset.png"} <= files
    dataset_report("tiny", write_tiny(tmp_path), out=tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["dataset.json", "dataset.png"]
    assert "dataset.json" not in os.listdir(tmp_path / "tiny")


def test_a_folder_that_cannot_be_written(by_hand, tmp_path):
    settings = write_tiny(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write.*--out=FOLDER"):
        dataset_report("tiny", settings, out=tmp_path / "file")
    with pytest.raises(UserError, match="cannot write.*--out=FOLDER"):
        draw(by_hand, tmp_path / "file")


def test_what_cannot_be_written_is_shown_all_the_same(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    flags = [f"--{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
             for key, value in write_tiny(tmp_path).items()]
    assert main(["data", "tiny", *flags, f"--out={tmp_path / 'file'}"]) == 2
    shown = capsys.readouterr()
    assert "interactions" in shown.out and "Files:" not in shown.out
    assert f"cannot write {tmp_path / 'file' / 'dataset.json'}" in shown.err


def test_a_missing_dataset(tmp_path):
    with pytest.raises(MissingDataset, match="no dataset 'toys'"):
        dataset_report("toys", {"data_path": str(tmp_path)})


@pytest.mark.parametrize("changes, words", [
    ({"val_interval": {"nope": "[3,inf)"}}, "val_interval names the column 'nope'"),
    ({"normalize_field": ["timestamp"]}, "'timestamp' of inter, which is not loaded"),
    ({"load_col": {"inter": ["user_id", "item_id", "nope"]}}, "load_col names the column 'nope'"),
    ({"unload_col": {"inter": ["timestamp"]}}, "RecBole cannot use the data of toys: load_col"),
])
def test_what_a_run_refuses_is_refused_in_one_line(tmp_path, changes, words):
    settings = write_dataset(tmp_path, features=False) | changes
    with pytest.raises(UserError) as caught:
        dataset_report("toys", settings)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_picture_is_drawn(by_hand, tmp_path):
    for modalities in (by_hand.modalities, [], by_hand.modalities * 5):
        picture = imread(draw(dataclasses.replace(by_hand, modalities=modalities), tmp_path))
        assert picture.shape[1] == 1100 and picture.std() > 0.05


@pytest.mark.parametrize("users, items, per_user", [(6, 6, 3), (8, 4, 1), (5, 5, 1)])
def test_degrees_that_are_all_equal_are_lines_that_can_be_seen(users, items, per_user):
    def degrees(degree, n):
        return Degrees(*[degree] * 5, mean=degree, gini=0.0, none=0, values=[degree], nodes=[n],
                       histogram=[])

    axis = Figure().subplots()
    _draw_degrees(axis, SimpleNamespace(user_degrees=degrees(per_user, users),
                                        item_degrees=degrees(users * per_user // items, items)))
    of_users, of_items = axis.lines
    assert of_users.get_linewidth() > of_items.get_linewidth()  # seen where they meet
    for line, degree in ((of_users, per_user), (of_items, users * per_user // items)):
        x, share = line.get_xdata(), line.get_ydata()
        assert x[0] < 1 and list(x[1:]) == [degree, degree] and list(share) == [1, 1, 0]
        assert axis.get_xlim()[0] < x[0] and x[-1] < axis.get_xlim()[1]
    bottom, top = axis.get_ylim()
    assert 0 < bottom < 1 < top < 2


def test_steps_are_the_share_with_at_least_as_many(by_hand):
    x, share = _at_least(by_hand.item_degrees)  # 1, 2, 2 and 3
    assert list(x[1:]) == [1, 2, 3, 3] and list(share) == [1, 1, 0.75, 0.25, 0]


def large(report):
    """The report with the longest figures that one may expect."""
    modality = dataclasses.replace(
        report.modalities[0], name="picture_of_the_cover_large", dim=16384, rows=10**7,
        zero_rows=10**6, repeated_rows=10**6, norms=dict.fromkeys(report.modalities[0].norms, 1e-9))
    part = dataclasses.replace(report.parts[2], interactions=10**8, users=10**6, items=10**6,
                               repeats=10**6, cold_users=10**5, cold_items=10**5)
    degrees = dataclasses.replace(report.user_degrees, maximum=10**7 + 0.5, mean=1234.5)
    return dataclasses.replace(
        report, dataset="a-data-set-of-a-long-name", users=10**7, items=10**7,
        interactions=3 * 10**8, parts=[part] * 3, user_degrees=degrees, modalities=[modality])


def test_tables_fit_and_hold_the_figures(by_hand):
    text = "".join(map(printed, tables(by_hand)))
    for figure in ("66.6667%", "75.0%", "column x_label", "u", "note"):
        assert figure in text
    assert "Older than the same user's newest" in text
    for report in (by_hand, large(by_hand), dataclasses.replace(by_hand, modalities=[])):
        for table in tables(report):
            lines = printed(table).splitlines()
            assert max(map(len, lines)) <= 100
            assert not any("…" in line for line in lines), lines
