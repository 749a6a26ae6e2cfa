"""Published figures: transcribed rightly, and shown beside runs on the same split only."""

import numpy as np
import pytest

from recbole_ssr import registry
from recbole_ssr.compare.literature import published_for
from recbole_ssr.data.split_hash import split_hash
from recbole_ssr.flags import read_config_file

FILES = sorted((registry.properties_folder() / "published").glob("*.yaml"))
SPLITS = {file.stem: read_config_file(file)["split"] for file in FILES}
# Models that neither the plugin nor RecBole has.
ELSEWHERE = {"MMSSL", "DRAGON", "SOIL", "COHESION", "MambaRec", "DANCE", "COHESION+NLGCL+",
             "DA-MRS", "SimGCL", "DiffMM", "MMHCL", "MF", "BRIDGE", "FITMM", "GUME", "DAMPS",
             "MDMNS", "GenRec", "KDiffE"}
BABY = (118_551, 20_559, 21_682)
TIKTOK = "fc694d278a162a1dcc1d2647da1415ae0e675c8a4fb83d39f2ef571b02eb9631"
LATTICE_BABY = "7c3e50952c5f476dd2a558732aeb45dd2832d3c680da47981e4b0976a0652320"


def protocol(split="as published", users=19_445, items=7_050, fingerprint="f" * 64, **changes):
    return {"split": split, "split_fingerprint": fingerprint, "ranking": "full", "users": users,
            "items": items, "masked": "training and validation items", **changes}


def test_the_files_are_those_with_known_figures():
    assert [file.stem for file in FILES] == [
        "amazon-baby", "amazon-clothing", "amazon-sports", "baby-lattice", "clothing-lattice",
        "sports-lattice", "tiktok"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_figure_is_possible_and_has_a_source(file):
    content = read_config_file(file)
    metrics, used = content["metrics"], set()
    for figure in content["figures"]:
        assert set(figure) <= {"model", "source", "values", "note"}
        assert content["sources"][figure["source"]]["title"]
        used.add(figure["source"])
        values = dict(zip(metrics, figure["values"], strict=True))
        values = {metric: value for metric, value in values.items() if value is not None}
        assert values and all(0 < value < 1 for value in values.values()), figure
        for name in ("recall", "ndcg"):
            if {f"{name}@10", f"{name}@20"} <= set(values):
                assert values[f"{name}@10"] < values[f"{name}@20"], figure
        for k in (10, 20):
            if {f"recall@{k}", f"ndcg@{k}"} <= set(values):
                assert values[f"ndcg@{k}"] < values[f"recall@{k}"], figure
    assert used == set(content["sources"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_model_is_known_or_elsewhere(file):
    for figure in read_config_file(file)["figures"]:
        known = figure["model"] in registry.model_names()
        assert known != (figure["model"] in ELSEWHERE), figure["model"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_figure_stands_twice(file):
    rows = [(figure["model"], figure["source"], figure.get("note"))
            for figure in read_config_file(file)["figures"]]
    assert len(set(rows)) == len(rows)


def test_two_files_never_describe_one_split():
    sizes = [(s["users"], s["items"], *s["parts"]) for s in SPLITS.values()]
    assert len(set(sizes)) == len(sizes)
    for name in ("baby", "sports", "clothing"):
        mmrec, lattice = SPLITS[f"amazon-{name}"], SPLITS[f"{name}-lattice"]
        assert (mmrec["users"], mmrec["items"]) == (lattice["users"], lattice["items"])
        assert mmrec["parts"] == [lattice["parts"][i] for i in (0, 2, 1)]


def test_counts_are_those_of_the_datasets_own_yamls():
    for name in ("baby", "sports", "clothing"):
        split = SPLITS[f"amazon-{name}"]
        dataset = read_config_file(registry.properties_folder() / f"dataset/amazon-{name}.yaml")
        assert dataset["prepare"]["expected"] == {
            "users": split["users"], "items": split["items"], "interactions": sum(split["parts"])}


def test_precision_agrees_with_recall_where_one_item_is_held_out():
    entries = published_for("tiktok", protocol(fingerprint=TIKTOK))[0]
    off = {entry.model for entry in entries if "precision@20" in entry.values and abs(
        entry.values["precision@20"] - entry.values["recall@20"] / 20) > 1.0001e-4}
    noted = {entry.model for entry in entries if "one of them is wrong" in entry.note}
    assert off == noted == {"GRCN"}


@pytest.mark.parametrize("dataset, settings, parts, model, source, values", [
    ("amazon-baby", {}, BABY, "FREEDOM", "MMRec, evaluation README",
     {"recall@10": 0.0627, "recall@20": 0.0992, "ndcg@10": 0.0330, "ndcg@20": 0.0424}),
    ("amazon-baby", {}, BABY, "LGMRec", "LGMRec, released log",
     {"recall@10": 0.0644, "recall@20": 0.0982, "ndcg@10": 0.0347, "ndcg@20": 0.0434}),
    ("amazon-sports", {"users": 35_598, "items": 18_357}, (218_409, 37_899, 40_029), "SMORE",
     "SMORE paper", {"recall@10": 0.0762, "recall@20": 0.1142, "ndcg@10": 0.0408,
                     "ndcg@20": 0.0506}),
    ("amazon-clothing", {"users": 39_387, "items": 23_033}, (197_338, 40_150, 41_189), "BPR",
     "MENTOR paper", {"recall@10": 0.0187, "recall@20": 0.0279, "ndcg@10": 0.0103,
                      "ndcg@20": 0.0126}),
    ("amazon-clothing", {"users": 39_387, "items": 23_033}, (197_338, 40_150, 41_189), "DRAGON",
     "MDVT paper", {"recall@10": 0.0671, "ndcg@10": 0.0365}),
    ("tiktok", {"fingerprint": TIKTOK}, None, "BM3", "DiffMM, figures of its authors",
     {"recall@20": 0.0957, "precision@20": 0.0048, "ndcg@20": 0.0404}),
    ("baby-lattice", {"fingerprint": LATTICE_BABY}, None, "DiffMM",
     "DiffMM, figures of its authors", {"recall@20": 0.0975}),
])
def test_figures_by_hand(dataset, settings, parts, model, source, values):
    found = [entry for entry in published_for(dataset, protocol(**settings), parts)[0]
             if (entry.model, entry.source) == (model, source)]
    assert [entry.values for entry in found] == [values]


def test_a_fingerprint_decides_whatever_the_name():
    entries = published_for("my-videos", protocol("split by part", 1, 1, TIKTOK))[0]
    assert entries == published_for("tiktok", protocol(fingerprint=TIKTOK))[0] != ()
    [models] = [e for e in entries if e.model == "DiffMM"]
    assert "selected on test" in models.note and "three modalities" in models.note
    notes = "\n".join(published_for("my-videos", protocol("split by part", 1, 1, TIKTOK))[1])
    assert "selected on test" in notes and "could not be checked" not in notes


@pytest.mark.parametrize("name, folder, file", [("tiktok", "tiktok", "tiktok.inter"),
                                                ("baby-lattice", "baby-lattice", "baby.inter")])
def test_fingerprints_are_those_of_the_released_files(name, folder, file, shared_data):
    table = np.loadtxt(shared_data / folder / file, skiprows=1, dtype=np.int64)
    parts = [table[table[:, 2] == part] for part in range(3)]
    tokens = np.array([str(i) for i in range(table[:, :2].max() + 1)])
    users, items = ([part[:, column] for part in parts] for column in (0, 1))
    assert split_hash(users, items, tokens, tokens) == SPLITS[name]["fingerprint"]
    assert [len(part) for part in parts] == SPLITS[name]["parts"]
    assert len(np.unique(table[:, 0])) == SPLITS[name]["users"]
    assert len(np.unique(table[:, 1])) == SPLITS[name]["items"]


def test_an_unchecked_split_is_said():
    assert len(published_for("amazon-baby", protocol(), BABY)[0]) > 40
    notes = published_for("amazon-baby", protocol(), BABY)[1]
    assert "could not be checked" in notes[0]
    assert any("mask training items in the test ranking" in note for note in notes)
    same = published_for("amazon-baby", protocol(masked="training items"), BABY)[1]
    assert not any("mask training" in note for note in same)


def test_the_two_splits_of_baby_are_never_mixed():
    lattice = protocol(fingerprint=LATTICE_BABY)
    models = {entry.model for entry in published_for("amazon-baby", lattice, BABY)[0]}
    assert models == {"LATTICE", "MMSSL", "DiffMM"}
    # Sizes of LATTICE's parts in files numbered otherwise: neither table is shown.
    turned = (BABY[0], BABY[2], BABY[1])
    assert published_for("amazon-baby", protocol(), turned)[0] == ()
    notes = published_for("amazon-baby", protocol(), turned)[1]
    assert "118,551 / 21,682 / 20,559" in notes[0] and len(notes) == 2


def test_an_inflated_metric_is_told_but_not_a_figure():
    settings = protocol(fingerprint=LATTICE_BABY)
    for entry in published_for("baby-lattice", settings)[0]:
        assert set(entry.values) == {"recall@20"} and "printed ndcg@20 0.0" in entry.note
    assert "inflates" in published_for("baby-lattice", settings)[1][-1]


@pytest.mark.parametrize("dataset, settings, parts, reason", [
    ("amazon-baby", {"split": "MMRec random 8:1:1 per user, seed 2020"}, BABY,
     "the runs on the split 'MMRec random 8:1:1 per user, seed 2020'; import those files"),
    ("amazon-baby", {}, None, "the sizes of the parts, which would tell, are not known"),
    ("amazon-baby", {"users": 19_000}, BABY, "the runs on 19,000 users"),
    ("tiktok", {"users": 9_308, "items": 6_710}, (59_541, 6_130, 3_051), "split or numbered other"),
    ("ml-100k", {"users": 943, "items": 1_682}, None, "No published figures are known for ml-100k"),
    ("tiktok", {"fingerprint": TIKTOK, "ranking": "uni100"}, None,
     "these runs have ranking among 100 sampled"),
    ("ml-1m", {"fingerprint": None}, None, "amazon-baby"),
])
def test_nothing_is_shown_beside_another_split(dataset, settings, parts, reason):
    settings = protocol(**settings)
    assert published_for(dataset, settings, parts)[0] == ()
    assert reason in published_for(dataset, settings, parts)[1][0]


def test_published_files_are_no_settings():
    assert not {"figures", "sources", "incomparable"} & registry.keys_of_any_model()
