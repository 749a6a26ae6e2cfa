"""What the flags and files of a comparison mean, and what they say back to a mistake."""

from pathlib import Path

import pytest

from recbole_ssr.compare.comparison_options import is_comparison, options_of
from recbole_ssr.errors import UserError
from recbole_ssr.flags import parse_flags


def read(*words):
    flags = parse_flags(words)
    return options_of(flags.pop("config_files", []), flags)


def test_the_command_of_the_readme():
    options = read("--models=SSR,LightGCN,freedom", "--dataset=tiktok", "--seeds=5", "--epochs=3")
    assert options.models == {"SSR": ("SSR", {}), "LightGCN": ("LightGCN", {}),
                              "FREEDOM": ("FREEDOM", {})}
    assert options.seeds == (2020, 2021, 2022, 2023, 2024)
    assert options.settings == {"dataset": "tiktok", "epochs": 3}
    assert options.out == Path("comparisons/tiktok")


def test_a_file_says_the_same_and_flags_win(tmp_path):
    file = tmp_path / "compare.yaml"
    file.write_text("models: [SSR, BPR]\nseeds: [1, 7]\nepochs: 9\njobs: 3\n")
    assert is_comparison([str(file)], {}) and not is_comparison([], {"model": "SSR"})
    options = read(f"--config_files={file}", "--jobs=2", "--epochs=4")
    assert (options.jobs, options.seeds, options.settings["epochs"]) == (2, (1, 7), 4)
    assert list(options.models) == ["SSR", "BPR"]


def test_files_and_flags_give_parts_of_a_nested_setting(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("models: BPR\ntopk: [5]\n"
                     "eval_args: {split: {LS: valid_and_test}, order: TO}\n")
    second.write_text("eval_args: {group_by: user}\ntopk: [10]\n")
    options = read("--config_files", str(first), str(second), "--eval_args={mode: full}")
    assert options.settings["eval_args"] == {
        "split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    assert options.settings["topk"] == [10]
    assert options.typed == {"eval_args": {"mode": "full"}}


def test_labels_give_a_model_two_lines():
    options = read("--models={short: {model: ssr, n_layers: 2}, SSR: {profile: reference}}")
    assert options.models == {"short": ("SSR", {"n_layers": 2}),
                              "SSR": ("SSR", {"profile": "reference"})}


def test_a_line_may_vary_a_setting_at_a_time():
    assert read("--models={SSR: {n_layers: 3, vary: {n_bands: [1, 2], plain: {l2_weight: 0}}}}"
                ).models == {
        "SSR": ("SSR", {"n_layers": 3}),
        "SSR, n_bands 1": ("SSR", {"n_layers": 3, "n_bands": 1}),
        "SSR, n_bands 2": ("SSR", {"n_layers": 3, "n_bands": 2}),
        "SSR, plain": ("SSR", {"n_layers": 3, "l2_weight": 0})}


def test_what_varies_may_be_a_part_of_a_nested_setting():
    models = read("--models={BPR: {train_neg_sample_args: {sample_num: 2}, vary: {popular: "
                  "{train_neg_sample_args: {distribution: popularity}}}}}").models
    assert models["BPR, popular"][1]["train_neg_sample_args"] == {
        "sample_num": 2, "distribution": "popularity"}


def test_a_space_is_files_or_a_space():
    assert read("--models=SSR", "--space=a.yaml,b.yaml").space == ("a.yaml", "b.yaml")
    assert read("--models=SSR", "--space={BPR: [{seed: 1}]}").space == ({"BPR": [{"seed": 1}]},)


def test_seeds_count_from_the_seed():
    assert read("--models=SSR", "--seeds=2", "--seed=7").seeds == (7, 8)
    assert read("--models=SSR", "--seeds=3,5").seeds == (3, 5)
    assert "seed" not in read("--models=SSR", "--seed=7").settings


def test_a_list_of_seeds_takes_the_place_of_the_seed_of_a_file(tmp_path):
    file = tmp_path / "compare.yaml"
    file.write_text("models: [SSR, BPR]\nseed: 3\n")
    assert read(f"--config_files={file}", "--seeds=[1, 2]").seeds == (1, 2)
    assert read(f"--config_files={file}", "--seeds=2").seeds == (3, 4)
    file.write_text("models: [SSR, BPR]\nseeds: [1, 2]\n")
    with pytest.raises(UserError, match=r"seed=3 and the list seeds=\[1, 2\] exclude each other"):
        read(f"--config_files={file}", "--seed=3")
    assert read(f"--config_files={file}", "--seed=3", "--seeds=2").seeds == (3, 4)


@pytest.mark.parametrize("words, levels", [
    ("--noise=image:0.3", {"image": (0.3,)}),
    ("--noise=image:0.5,0.1", {"image": (0.1, 0.5)}),
    ("--noise={image: [0.1, 0.3], text: 1}", {"image": (0.1, 0.3), "text": (1.0,)}),
])
def test_levels_of_noise(words, levels):
    assert read("--models=SSR", words).noise == levels


def test_shares_of_interactions_leave_out_the_whole():
    assert read("--models=SSR", "--interactions=0.4,0.2,1.0").interactions == (0.2, 0.4)
    assert read("--models=SSR", "--interactions=0.4").interactions == (0.4,)


def test_dropped_modalities_are_a_condition_and_no_setting():
    options = read("--models=SSR", "--drop-modality=image", "--corrupt_at=inference")
    assert (options.drop_modality, options.corrupt_at) == (("image",), "inference")
    assert "drop_modality" not in options.settings


@pytest.mark.parametrize("words, says", [
    (["--models=SSR,FREEDM"], "FREEDOM"),
    (["--models=SSR,SSR"], "labels"),
    (["--models=SSR,ssr"], "two lines are called 'SSR'"),
    (["--models={ssr: , SSR: {n_bands: 4}}"], "two lines are called 'SSR'"),
    (["--models={SSR: {vary: {n_bands: [4, '4']}}}"], "two lines are called 'SSR, n_bands 4'"),
    (["--models=SSR", "--seeds=\u00b2"], "list of whole numbers"),
    (["--models=[]"], "names no model"),
    (["--models"], "needs a value"),
    (["--models={SSR: 3}"], "must be settings"),
    (["--models={SSR: {seed: 3}}"], "beside models"),
    (["--models={SSR: {vary: {n_bands: 3}}}"], "lists of values by key"),
    (["--models={SSR: {vary: [n_bands]}}"], "lists of values by key"),
    (["--models={SSR: {vary: {seed: [1, 2]}}}"], "beside models"),
    (["--models=SSR", "--model=BPR"], "single run"),
    (["--models=SSR", "--resume=runs/x"], "same command again"),
    (["--models=SSR", "--seedz=3"], "'seeds'"),
    (["--models=SSR", "--trails=3"], "'trials'"),
    (["--models=SSR", "--seeds=0"], "seeds=0"),
    (["--models=SSR", "--seeds=a,b"], "list of whole numbers"),
    (["--models=SSR", "--seed=x", "--seeds=2"], "seed='x'"),
    (["--models=SSR", "--engine=rai"], "'ray'"),
    (["--models=SSR", "--jobs=0"], "jobs=0"),
    (["--models=SSR", "--jobs"], "jobs=True"),
    (["--models=SSR", "--out"], "out"),
    (["--models=SSR", "--tune=-1"], "tune=-1"),
    (["--models=SSR", "--noise=image"], "--noise=image:0.3"),
    (["--models=SSR", "--noise=image:-1"], "above 0"),
    (["--models=SSR", "--missing=text:1.5"], "at most 1"),
    (["--models=SSR", "--interactions=1.5"], "interactions=1.5"),
    (["--models=SSR", "--interactions=some"], "interactions='some'"),
    (["--models=SSR", "--user_groups=[5, 3]"], "ascending"),
    (["--models=SSR", "--user_groups=[0, 5]"], "from 1 on"),
    (["--models=SSR", "--user_groups=null"], "from 1 on"),
    (["--models=SSR", "--head_share=2"], "above 0 and at most 1"),
    (["--models=SSR", "--head_share=0"], "head_share=0 must"),
    (["--models=SSR", "--head_share=null"], "head_share=None must"),
    (["--models=SSR", "--head_share=.nan"], "head_share=nan must"),
    (["--models=SSR", "--seeds=[1, 2]", "--seed=7"], "seed=7 and the list seeds=[1, 2]"),
    (["--models=SSR", "--published=maybe"], "True or False"),
    (["--models=SSR,BPR", "--reference=SRS"], "'SSR'"),
])
def test_mistakes_are_named(words, says):
    with pytest.raises(UserError) as error:
        read(*words)
    assert says in str(error.value)
