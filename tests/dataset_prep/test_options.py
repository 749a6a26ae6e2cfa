"""What may be told to a preparation, and how mistakes in it are answered."""


import pytest

from recbole_ssr.dataset_prep import on_demand
from recbole_ssr.dataset_prep.command import options_from
from recbole_ssr.dataset_prep.on_demand import FLAGS, check_flags, take_flags
from recbole_ssr.dataset_prep.options import (
    NAMES,
    SHARED,
    WITHOUT_EFFECT,
    options_of,
    recipe_names,
    recipe_of,
)
from recbole_ssr.dataset_prep.prepare import prepare
from recbole_ssr.dataset_prep.raw_files import address, raw_files
from recbole_ssr.errors import MissingDataset, UserError


def test_the_recipe_of_a_name_is_its_family_changed_by_its_own_file():
    sports = recipe_of("amazon-sports")
    assert sports["category"] == "Sports_and_Outdoors" and sports["min_interactions"] == 5
    assert sports["expected"] == {"users": 35598, "items": 18357, "interactions": 296337}
    office = recipe_of("amazon-Office_Products")
    assert office["category"] == "Office_Products" and "expected" not in office
    assert office["reviews_url"] == sports["reviews_url"]
    assert recipe_of("amazon2023-Baby_Products")["modalities"] == ["text"]
    assert [recipe_of(name) for name in ("amazon", "amazon-sport", "shop", "ml-100k")] == [None] * 4
    assert recipe_names() == ("amazon-baby", "amazon-clothing", "amazon-electronics",
                              "amazon-sports")


@pytest.mark.parametrize("name, counts", [
    # train + valid + test of the published MMRec splits
    ("amazon-baby", (19445, 7050, 118551 + 20559 + 21682)),
    ("amazon-sports", (35598, 18357, 218409 + 37899 + 40029)),
    ("amazon-clothing", (39387, 23033, 197338 + 40150 + 41189)),
])
def test_expected_counts_are_those_of_the_literature(name, counts):
    assert tuple(recipe_of(name)["expected"].values()) == counts


def test_the_addresses_name_the_category():
    options = options_of({}, recipe_of("amazon-baby"))
    assert address(options.reviews_url, "reviews", options).endswith("/reviews_Baby_5.json.gz")
    with pytest.raises(UserError, match="--meta_url='notes.txt' is no address"):
        address("notes.txt", "meta", options)
    with pytest.raises(UserError, match="no address of its images.*--images_url=URL"):
        address(None, "images", options)


def test_flags_win_over_the_recipe():
    options = options_from(["amazon-sports", "--min-interactions=3", "--modalities=text",
                            "--no-download", "--split", "leave-one-out", "--reviews_url=http://h/r"])
    assert (options.min_interactions, options.modalities) == (3, ["text"]) and options.no_download
    assert (options.name, options.split, options.reviews_url) == ("amazon-sports", "leave-one-out",
                                                                  "http://h/r")


def test_words_may_stand_anywhere():
    for words in (["--from=mmrec", "folder", "--name=x"], ["folder", "--from", "mmrec", "--name=x"],
                  ["--overwrite", "folder", "--name", "x", "--from=mmrec"]):
        options = options_from(words)
        assert (options.source, options.path, options.name) == ("mmrec", "folder", "x")


@pytest.mark.parametrize("typed, read", [
    ("007", "007"), ("1e3", "1e3"), ("2020-01-02", "2020-01-02"), ("yes", "yes"), ("[a]", "[a]"),
    ("a: b", "a: b"), ("'\"007\"'", '"007"'), ('"a b"', "a b"), ("None", None), ("null", None)])
def test_texts_are_read_as_typed(typed, read):
    words = [f"--user-column={typed}", "--interactions", typed, "--min_interactions=3", "--name=x"]
    options = options_from(words)
    assert (options.user_column, options.interactions) == (read, read)
    assert (options.min_interactions, options.name) == (3, "x")


@pytest.mark.parametrize("words, message", [
    (["amazon-sport"], "no recipe for 'amazon-sport'. Did you mean 'amazon-sports'"),
    (["amazon-sports", "--slit=mmrec"], "no flag --slit. Did you mean 'split'"),
    (["a", "b"], "one dataset or folder, not a, b"),
    (["amazon-sports", "--split"], "--split needs a value"),
    (["--from"], "--from needs a value"),
    (["amazon-sports", "--min_interactions=five"], "--min_interactions='five' must be a whole"),
    (["amazon-sports", "--overwrite=7"], "--overwrite=7 must be True or False"),
    (["amazon-sports", "--modalities={a: 1}"], "--modalities={'a': 1} must be a list"),
    (["--interactions=x.csv", "--vectors=v.npy", "--name=x"], "--vectors='v.npy' must be entries"),
    (["--interactions=x.csv", "--vectors={5: v.npy}"], "--vectors: 5: 'v.npy' must be a name"),
    (["--interactions=x.csv", "--name=a", "--name=b"], "--name is given twice"),
])
def test_a_mistake_is_named_with_its_remedy(words, message):
    with pytest.raises(UserError) as error:
        options_from(words)
    assert message in str(error.value)


@pytest.mark.parametrize("given, message", [
    ({}, "Nothing to prepare"),
    ({"source": "mmrec"}, "--from=mmrec needs the folder"),
    ({"path": "shop"}, "needs a name: --name=shop"),
    ({"interactions": "a/orders.csv"}, "needs a name: --name=orders"),
    ({"recipe": "amzon", "name": "x"}, "no recipe 'amzon', only amazon"),
    ({"recipe": "amazon", "name": "x", "modalities": ["txt"]}, "no 'txt'"),
    ({"path": "shop", "name": "x", "min_interactions": 5}, "would change a published dataset"),
    ({"path": "shop", "name": "x", "items": "i.csv"}, "--items has no effect on the import"),
    ({"interactions": "o.csv", "name": "x", "modalities": ["text"]}, "--modalities has no effect"),
    ({"recipe": "amazon", "name": "x", "vectors": {"a": "b"}}, "--vectors has no effect on x"),
    ({"recipe": "amazon", "name": "x", "image_encoder": "m"}, "no effect without --images"),
])
def test_options_that_fit_no_preparation_are_refused(given, message):
    with pytest.raises(UserError) as error:
        prepare(options_of(given))
    assert message in str(error.value)


def test_files_that_are_missing_are_all_listed_with_address_and_place(tmp_path):
    options = options_of({"data_path": str(tmp_path), "no_download": True},
                         recipe_of("amazon-baby"))
    wanted = {"reviews": "http://h/a/reviews_Baby_5.json.gz", "meta": "http://h/meta.json.gz"}
    place = tmp_path / "raw" / "amazon-baby"
    with pytest.raises(UserError) as error:
        raw_files(wanted, options)
    for text in (*wanted.values(), str(place / "reviews_Baby_5.json.gz"), "--no-download",
                 str(place / "meta.json.gz")):
        assert text in str(error.value)
    place.mkdir(parents=True)
    for name in ("reviews_Baby_5.json", "meta.json.gz"):  # one was unpacked by hand
        (place / name).touch()
    assert raw_files(wanted, options) == {"reviews": place / "reviews_Baby_5.json",
                                          "meta": place / "meta.json.gz"}


def test_the_flags_of_a_preparation_are_taken_out_of_those_of_a_run():
    flags = {"no_download": True, "split": "mmrec", "epochs": 3, "device": "cpu"}
    assert take_flags(flags) == {"no_download": True, "split": "mmrec"}
    assert flags == {"epochs": 3, "device": "cpu"}


@pytest.mark.parametrize("split, seed", [("leave-one-out", None), ("ratio", 7)])
def test_the_seed_of_a_run_is_of_its_preparation_where_that_draws(tmp_path, monkeypatch, split,
                                                                  seed):
    made = []
    monkeypatch.setattr(on_demand, "prepare", made.append)
    missing = MissingDataset("none", "amazon-sports", str(tmp_path / "amazon-sports"))
    assert on_demand.prepare_missing(missing, {"split": split}, {"split_seed": 7})
    assert made[0].split_seed == seed


def test_what_says_how_to_prepare_is_refused_where_nothing_is_prepared(tmp_path):
    (tmp_path / "amazon-baby").mkdir()
    for dataset in ("shop", "amazon-baby"):
        with pytest.raises(UserError, match=f"--batch_size .* {dataset} .* train_batch_size"):
            check_flags({"batch_size": 17}, dataset, tmp_path)
        check_flags({"no_download": True}, dataset, tmp_path)
    check_flags({"batch_size": 17}, "amazon-sports", tmp_path)  # which will be prepared


def test_no_flag_of_a_preparation_is_also_a_setting_of_a_run():
    from recbole_ssr.registry import keys_of_any_model

    settings = keys_of_any_model()
    assert set(FLAGS) & settings == set() and set(SHARED) - {"data_path"} <= settings
    assert set(WITHOUT_EFFECT) < set(NAMES)
