"""Which results may stand in one table."""


import pytest
from made_comparison import made_comparison, made_result

from recbole_ssr.compare.protocol import compare_protocols
from recbole_ssr.errors import UserError
from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.result_table import result_table


def with_protocol(result, **changes):
    return made_result(result.model, result.seed, protocol=result.protocol | changes)


def with_training(model, **changes):
    return made_result(model, training=made_result().training | changes)


def test_seeds_and_models_of_one_protocol_need_no_word():
    results = [r for line in made_comparison(4, 3).lines for r in line.results]
    assert len(results) == 11
    assert compare_protocols(results) == ()


@pytest.mark.parametrize("key, value, said", [
    ("split", "random 0.8", "random 0.8"),
    ("split_fingerprint", "ff" * 32, "ff" * 32),
    ("masked", "training items", "training items"),
    ("valid_metric", "NDCG@20", "NDCG@20"),
    ("topk", [5], "[5]"),
    ("parity", ["4 decimals"], "['4 decimals']"),
    ("threshold", {"rating": 4}, "{'rating': 4}"),
    ("validation_ranking", "uni20", "uni20"),
    ("users", 9307, "9307"),
])
def test_another_protocol_is_refused_with_both_values(key, value, said):
    first, second = made_result("SSR", 1), with_protocol(made_result("BPR", 2), **{key: value})
    with pytest.raises(UserError) as error:
        compare_protocols([first, second])
    message = str(error.value)
    before = first.protocol.get(key)
    assert f"{key}: {'none' if before is None else before} (SSR seed 1), {said} (BPR seed 2)" \
        in message
    assert message.count("seed 1") == 1, "entries that agree are not named"


def test_every_differing_entry_is_named():
    other = with_protocol(made_result("BPR"), masked="nothing", ranking="uni100")
    with pytest.raises(UserError, match="(?s)ranking: full.*uni100.*masked: .*nothing"):
        compare_protocols([made_result(), other])


def test_an_entry_that_one_protocol_lacks_is_refused():
    short = dict(made_result().protocol)
    del short["masked"]
    with pytest.raises(UserError, match=r"masked: training and validation items \(SSR seed 2020\), "
                                        r"none \(BPR seed 2020\)"):
        compare_protocols([made_result(), made_result("BPR", protocol=short)])


def test_another_dataset_is_refused():
    with pytest.raises(UserError, match=r"dataset: tiktok \(SSR.*\), baby \(BPR"):
        compare_protocols([made_result(), made_result("BPR", dataset="baby")])


def test_many_runs_are_counted():
    results = [made_result("SSR", seed) for seed in range(5)]
    with pytest.raises(UserError, match=r"SSR seed 0, SSR seed 1, SSR seed 2 and 2 more"):
        compare_protocols([*results, with_protocol(made_result("BPR"), split="other")])


def test_other_features_of_the_same_modalities_are_refused():
    other = with_training("BM3", features="0d" * 32)
    with pytest.raises(UserError, match=r"features \(image, text\): fefefefefefe \(SSR.*"
                                        r"0d0d0d0d0d0d \(BM3"):
        compare_protocols([made_result(), other])


def test_features_that_vary_on_purpose_are_noted():
    other = with_training("BM3", features="0d" * 32)
    note, = compare_protocols([made_result(), other], features_vary=True)
    assert note.startswith("Lines see different features (image, text): fefefefefefe (SSR")


def test_other_modalities_are_noted_and_models_of_ids_are_not():
    ids = with_training("BPR", modalities=[], features=None)
    assert compare_protocols([made_result(), ids]) == ()
    text = with_training("BM3", modalities=["text"], features="0d" * 32)
    note, = compare_protocols([made_result(), ids, text])
    assert note == ("Not all lines with features see the same modalities: image, text "
                    "(SSR seed 2020), text (BM3 seed 2020).")


def test_versions_devices_and_budgets_are_noted():
    versions = made_result().versions | {"torch": "2.5.1"}
    training = made_result().training | {"epochs": 50, "stopping_step": 5}
    other = made_result("BPR", versions=versions, device="cuda:0", training=training)
    notes = compare_protocols([made_result(), other])
    assert len(notes) == 3
    assert "version of torch: 2.6.0 (SSR seed 2020), 2.5.1 (BPR seed 2020)" in notes[0]
    assert "device: cpu (SSR seed 2020), cuda:0 (BPR seed 2020)" in notes[1]
    assert "most epochs: 300 (SSR seed 2020), 50 (BPR" in notes[2]
    assert "patience in evaluations: 20 (SSR seed 2020), 5 (BPR" in notes[2]


def test_no_result_and_one_result():
    assert compare_protocols([]) == ()
    assert compare_protocols([made_result()]) == ()


@pytest.mark.parametrize("entries, said", [
    ({}, "full ranking, split by x_label, selected on Recall@20 (valid)"),
    ({"ranking": "uni20", "validation_ranking": "uni20"},
     "ranking among 20 sampled negatives, split by x_label, selected on Recall@20 (valid)"),
    ({"split": "LS valid_and_test", "order": "TO"},
     "full ranking, LS valid_and_test by time, selected on Recall@20 (valid)"),
    ({"split": "LS valid_and_test", "order": "RO"},
     "full ranking, LS valid_and_test, selected on Recall@20 (valid)"),
    ({"ranking": "pop1000", "validation_ranking": "full"},
     "ranking among 1,000 sampled negatives drawn by popularity, split by x_label, selected on "
     "Recall@20 (valid, full ranking)"),
    ({"ranking": "labeled", "validation_ranking": "labeled", "threshold": {"rating": 4},
      "valid_metric": "AUC"},
     "labelled interactions alone (rating from 4), split by x_label, selected on AUC (valid)"),
])
def test_a_title_says_what_the_protocol_is(entries, said):
    result = made_result(protocol=made_result().protocol | entries)
    assert protocol_title(result.protocol) == said
    assert result_table([result]).title == f"tiktok: {said}"
