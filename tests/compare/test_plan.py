"""From what is asked to runs: which there are, in which order, and which share a folder."""

import pytest
import yaml
from tiny import SETTINGS, write_tiny

from recbole_ssr.compare.comparison_options import options_of
from recbole_ssr.compare.plan import PLAIN, SPARSITY, lines_of, plan_of
from recbole_ssr.comparison import Line
from recbole_ssr.config import build_config, config_hash
from recbole_ssr.errors import UserError


@pytest.fixture
def plan(tmp_path):
    """A function from flags to the plan of a comparison on `tiny`."""
    settings = SETTINGS | write_tiny(tmp_path / "data")

    def of(**flags):
        flags = {"dataset": "tiny", "out": str(tmp_path / "out"), **settings, **flags}
        presets = flags.pop("presets", {})
        options = options_of([], flags)
        return plan_of(options, lines_of(options, presets))

    return of


def test_every_line_runs_with_every_seed(plan):
    found = plan(models="FastLightGCN,BPR", seeds=3)
    assert [(t.label, t.seed) for t in found.of("BPR")] == [("BPR", s) for s in (2020, 2021, 2022)]
    assert [t.seed for t in found.in_order()] == [2020, 2020, 2021, 2021, 2022, 2022]
    assert len({t.folder for t in found.in_order()}) == 6


def test_folders_depend_on_what_changes_results_alone(plan):
    def folder(**flags):
        return plan(**flags).in_order()[0].folder

    one = folder(models="FastLightGCN")
    assert folder(models="FastLightGCN", jobs=2, show_progress=True) == one
    assert folder(models={"other name": {"model": "FastLightGCN"}}) == one
    assert folder(models="FastLightGCN", n_layers=1) != one
    assert folder(models={"FastLightGCN": {"n_layers": 1}}) == folder(models="FastLightGCN",
                                                                     n_layers=1)


@pytest.mark.parametrize("own, flags, expected, tuned", [
    ({}, {}, (0.5, 4), True),
    ({"embedding_size": 16}, {}, (0.5, 16), False),
    ({}, {"learning_rate": 0.2}, (0.2, 4), False),
    ({"learning_rate": 0.3}, {"learning_rate": 0.2}, (0.3, 4), False),
    ({"learning_rate": 0.5}, {"embedding_size": 4, "n_layers": 1}, (0.5, 4), True),
])
def test_presets_win_over_files_flags_over_presets_and_own_settings_over_all(
        tmp_path, caplog, own, flags, expected, tuned):
    file = tmp_path / "common.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, **write_tiny(tmp_path / "data"), "dataset": "tiny",
                                    "learning_rate": 0.1}))
    presets = {"BPR": Line("BPR", "BPR", {"learning_rate": 0.5, "embedding_size": 4}, (), trials=7)}
    options = options_of([str(file)], {"models": {"BPR": own}, **flags})
    found = plan_of(options, lines_of(options, presets))
    settings = found.of("BPR")[0].settings
    assert (settings["learning_rate"], settings["embedding_size"]) == expected
    # A line that has other settings than were selected is not told of as tuned.
    assert found.lines[0].trials == (7 if tuned else None)
    assert ("does not count as tuned" in caplog.text) == (not tuned)


@pytest.mark.parametrize("preset, flags, own, tuned", [
    ({"sample_num": 4}, {}, {}, True),
    ({"sample_num": 4}, {"distribution": "popularity"}, {}, True),
    ({"sample_num": 4, "distribution": "uniform"}, {"distribution": "popularity"}, {}, False),
    ({"sample_num": 4}, {"sample_num": 3}, {"distribution": "popularity"}, False),
    ({"sample_num": 4}, {}, {"sample_num": 3}, False),
    ({}, {"sample_num": 4}, {"distribution": "popularity"}, True),
])
def test_nested_settings_are_those_of_a_single_run_with_the_same_layers(
        tmp_path, preset, flags, own, tuned):
    layers = [{"train_neg_sample_args": part} for part in (preset, flags, own)]
    files = [tmp_path / "common.yaml", tmp_path / "preset.yaml"]
    common = {**SETTINGS, **write_tiny(tmp_path / "data"), "dataset": "tiny", "split_column": None,
              "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user"},
              "train_neg_sample_args": {"sample_num": 2, "alpha": 0.5}}
    for file, content in zip(files, (common, layers[0])):
        file.write_text(yaml.safe_dump(content))
    typed = {**layers[1], "eval_args": {"mode": "uni5"}}
    options = options_of([str(files[0])], {"models": {"BPR": layers[2]}, **typed})
    found = plan_of(options, lines_of(options, {"BPR": Line("BPR", "BPR", layers[0], (),
                                                            trials=7)}))
    # A line's own settings are to a single run flags above flags.
    alone = build_config("BPR", config_files=files, config_dict=typed, flags=layers[2])
    task, = found.of("BPR")
    config = build_config("BPR", config_dict=task.settings)
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    for key in ("eval_args", "train_neg_sample_args"):
        assert config[key] == alone[key]
    assert task.folder.name.endswith(config_hash(alone))
    assert found.lines[0].trials == (7 if tuned else None)


def test_a_line_tells_of_tuned_settings_where_they_are_not_those_of_all(plan):
    presets = {"BPR": Line("BPR", "BPR", {"learning_rate": 0.01, "embedding_size": 4}, ())}
    line, = plan(models="BPR", learning_rate=0.01, presets=presets, embedding_size=8).lines
    assert line.settings == {}


def test_curves_take_runs_of_their_own_after_all_others(plan):
    found = plan(models="FastLightGCN", seeds=2, interactions="0.5", noise="image:0.2,0.4",
                 drop_modality="text")
    levels = [(condition.curve, condition.level) for condition in found.conditions]
    assert levels == [("noise on image", 0.2), ("noise on image", 0.4), ("without text", 1.0),
                      (SPARSITY, 0.5)]
    tasks = found.in_order()
    assert len(tasks) == 2 * 5
    assert {t.folder for t in tasks[:2]} == {t.folder for t in found.of("FastLightGCN", PLAIN)}
    assert found.of("FastLightGCN", found.conditions[3])[0].settings["train_share"] == 0.5


def test_disturbance_at_inference_alone_trains_nothing(plan):
    found = plan(models="FastLightGCN", noise="image:0.2", corrupt_at="inference")
    assert len(found.in_order()) == 1 and found.conditions[0].at_inference


@pytest.mark.parametrize("settings, curve, refused", [
    ({"train_share": 0.5}, {"interactions": "0.2"}, True),
    ({"train_share": 0.5}, {"noise": "image:0.1"}, False),
    ({"train_share": 1}, {"interactions": "0.2"}, False),
    ({"feature_noise": {"image": 3}}, {"missing": "image:0.1"}, True),
    ({"feature_noise": {"image": 0}}, {"noise": "image:0.1"}, False),
    ({"feature_noise": {"text": 3}}, {"noise": "image:0.1", "corrupt_at": "inference"}, True),
    ({"feature_missing": {"text": 0.2}}, {"drop_modality": "image"}, True),
    ({"feature_missing": {"text": 0.2}}, {}, False),
])
@pytest.mark.parametrize("of_a_line", [False, True])
def test_the_undisturbed_end_of_a_curve_is_undisturbed(plan, settings, curve, refused, of_a_line):
    flags = {"models": {"VBPR": settings}} if of_a_line else {"models": "VBPR", **settings}
    if not refused:
        assert plan(**flags, **curve).in_order()
        return
    key, = settings
    with pytest.raises(UserError, match=f"VBPR has {key}=.*no undisturbed end"):
        plan(**flags, **curve)


@pytest.mark.parametrize("where, trained", [("inference", 2), ("both", 3)])
@pytest.mark.parametrize("curve", [{"noise": "image:0.5"}, {"drop_modality": "image"}])
def test_a_line_without_the_disturbed_modality_has_its_plain_runs(plan, curve, where, trained):
    both, alone = "FeatureLightGCN", "text alone"
    found = plan(models={both: {}, alone: {"model": both, "modalities": ["text"]}}, **curve,
                 corrupt_at=where)
    assert len(found.in_order()) == trained
    condition, = found.conditions
    assert found.of(alone, condition) == found.of(alone)
    assert found.measures(both, condition) == (where == "inference")
    assert not found.measures(alone, condition)


@pytest.mark.parametrize("flags, says", [
    ({"n_layer": 3}, "n_layers"),
    ({"models": {"BPR": {"embeding_size": 3}}}, "embedding_size"),
    ({"models": {"VBPR": {"drop_modality": ["text"]}}, "noise": "image:0.1"}, "no undisturbed end"),
    ({"valid_metric": "Recall@7"}, "7"),
    ({"dataset": "tinny"}, "tinny"),
])
def test_mistakes_in_settings_stop_all_before_anything_runs(plan, flags, says, tmp_path):
    with pytest.raises(UserError, match=says):
        plan(**{"models": "FastLightGCN,BPR", **flags})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("own, flags, says", [
    ({"eval_args": {"split": {"LS": "valid_and_test"}}}, {"split_column": None},
     r"split: RS \[0.8, 0.1, 0.1\] \(BPR seed 2020\), LS valid_and_test \(own seed 2020\)"),
    ({"eval_args": {"order": "TO"}}, {"split_column": None}, r"order: RO \(BPR.*, TO \(own"),
    ({"split_seed": 7}, {"split_column": None}, r"split_seed: 2020 \(BPR.*, 7 \(own"),
    ({"split_seed": 7}, {}, None),  # the data bring their split
    ({"split_seed": 7}, {"split_column": None, "eval_args": {"order": "TO"}}, None),
    ({"eval_args": {"mode": "uni5"}}, {}, r"ranking: full \(BPR.*validation_ranking: full"),
    ({"eval_args": {"mode": "full"}}, {}, None),
    ({"topk": [5, 10]}, {}, r"topk: \[2, 5\] \(BPR.*, \[5, 10\] \(own"),
    ({"metrics": ["Recall"]}, {}, "metrics: "),
    ({"valid_metric": "NDCG@5"}, {}, r"valid_metric: Recall@5 \(BPR.*, NDCG@5 \(own"),
    ({"test_masking": "train"}, {}, "masked: training and validation items"),
    ({"stopping_rule": "strict"}, {}, "stopping_rule: "),
    ({"train_share": 0.5}, {}, r"train_share: 1.0 \(BPR.*, 0.5 \(own"),
    ({"feature_noise": {"image": 1}}, {}, "corruption: none"),
    ({"feature_noise": {"image": 0}}, {}, None),
    ({"epochs": 2, "stopping_step": 1, "modalities": ["text"]}, {}, None),
])
def test_lines_of_several_protocols_are_refused_before_anything_runs(plan, own, flags, says):
    lines = {"BPR": {}, "own": {"model": "VBPR", **own}}
    if says is None:
        assert len(plan(models=lines, **flags).in_order()) == 2
        return
    with pytest.raises(UserError, match=f"These runs cannot stand in one table: .*{says}"):
        plan(models=lines, **flags)


def test_a_warning_about_a_setting_comes_once(plan, caplog):
    caplog.set_level("WARNING", logger="recbole_ssr")
    plan(models="FastLightGCN,BPR", seeds=3, n_layers=1)
    assert sum("no effect on BPR" in record.message for record in caplog.records) == 1


def test_lines_that_are_the_same_runs_are_refused(plan):
    models = {"FastLightGCN": {}, "shallow": {"model": "FastLightGCN", "n_layers": 3}}
    with pytest.raises(UserError, match="lines FastLightGCN and shallow have the same settings"):
        plan(models=models)
    models["shallow"]["n_layers"] = 2
    assert len(plan(models=models).in_order()) == 2


def test_what_a_line_does_not_read_is_said_once(plan, caplog):
    plan(models="FastLightGCN,BPR", objective="softmax", seeds=3)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["objective (config_dict) has no effect on BPR."]


@pytest.mark.parametrize("flags, says", [
    ({"seeds": 10**20}, "at most 1000"), ({"jobs": 10**20}, "at most 10000"),
    ({"tune": 10**20}, "at most 1000000"), ({"seeds": 0}, "at most 1000"),
])
def test_absurd_sizes_are_refused_at_once(plan, flags, says):
    with pytest.raises(UserError, match=says):
        plan(models="BPR", **flags)
