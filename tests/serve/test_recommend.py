"""Recommendations: the right items, in the right order, for the right users."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny import ITEMS, SETTINGS, USERS, write_tiny

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.dataset_prep.histories import read_histories, tokens_from
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import read_rankings
from recbole_ssr.experiment import interactions_of
from recbole_ssr.serve import ranking
from recbole_ssr.serve.writers import write_blocks

MODELS = ("SSR", "GFCF", "BPR")


def training_histories(recommender):
    """Every user's items in training."""
    users, items = interactions_of(recommender.experiment).train
    catalogue = recommender.catalogue
    return {catalogue.users[u]: list(catalogue.items[items[users == u]])
            for u in np.unique(users)}


@pytest.mark.parametrize("model", MODELS)
def test_the_best_items_are_those_of_the_run_s_own_test_ranking(model, recommender):
    result = recommender(model).recommend(k=5)
    catalogue = recommender(model).catalogue
    ranking = read_rankings(Path(recommender(model).run) / "ranking.npz")[0]["test"]
    assert len(ranking.users) == USERS
    by_user = dict(list(result.groupby("user")))
    for user, ids in zip(ranking.users, ranking.items):
        own, items = by_user[catalogue.users[user]], catalogue.items[ids[:5]]
        scores = recommender(model).score(catalogue.users[user], items)
        np.testing.assert_allclose(own["score"], scores, rtol=1e-6)
        if model != "GFCF":  # whose scores have ties, which evaluation leaves as they come
            assert list(own["item"]) == list(items)
    assert result["rank"].tolist() == [1, 2, 3, 4, 5] * USERS
    scores = result["score"].to_numpy().reshape(USERS, 5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_scores_are_the_model_s_and_seen_items_stay_on_demand(recommender):
    recommender = recommender()
    every = recommender.recommend("u3", ITEMS, keep_seen=True)
    assert sorted(every["item"]) == sorted(recommender.items)
    np.testing.assert_allclose(recommender.score("u3", list(every["item"])), every["score"],
                               rtol=1e-6)
    embeddings = recommender.embeddings()
    u, i = (recommender.catalogue.user_ids(["u3"])[0],
            recommender.catalogue.item_ids(every["item"][:1])[0])
    assert every["score"][0] == pytest.approx(float(embeddings.user[u] @ embeddings.item[i]))
    seen = {recommender.catalogue.items[i] for i in recommender.catalogue.seen[u].indices}
    assert len(seen) == 8  # 9 interactions, one of them in the test part
    unseen = recommender.recommend("u3", ITEMS)
    assert set(unseen["item"]) == set(recommender.items) - seen
    assert unseen["rank"].tolist() == list(range(1, ITEMS - 8 + 1))


def test_blocks_do_not_change_what_is_recommended(recommender, monkeypatch):
    whole = recommender().recommend(k=3)
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 7 * (ITEMS + 1))
    blocks = list(recommender().blocks(k=3))
    assert [len(block) for block in blocks] == [21] * 5 + [15]
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)


def test_equal_scores_rank_by_their_place():
    scores = torch.randint(0, 4, (50, 30)).float()
    scores[:, 20:] = -torch.inf
    expected = scores.argsort(dim=1, descending=True, stable=True)
    for k in (1, 5, 20, 30):
        values, places = ranking.best_of(scores.clone(), k)
        finite = values > -torch.inf
        assert torch.equal(places[finite], expected[:, :k][finite])
        assert torch.equal(values, scores.gather(1, places))


def test_ranks_are_the_same_for_every_k_and_in_explanations(train):
    recommender = recbole_ssr.load(train("FeatureItemKNN", knn_k=2), "cpu")
    every = recommender.recommend(k=20)
    assert every.duplicated(["user", "score"]).mean() > 0.3
    few = recommender.recommend(k=5).reset_index(drop=True)
    pd.testing.assert_frame_equal(few, every[every["rank"] <= 5].reset_index(drop=True))
    for user, item, rank in every[["user", "item", "rank"]][::7].itertuples(index=False):
        assert recommender.explain(user, item).rank == rank
    alike = recommender.similar_items("i4", 20)
    assert alike.duplicated("score").any()
    pd.testing.assert_frame_equal(recommender.similar_items("i4", 5), alike[:5])
    ids = recommender.catalogue.item_ids(alike["item"])
    assert list(zip(-alike["score"], ids)) == sorted(zip(-alike["score"], ids))


def test_items_of_the_test_part_are_left_out_on_demand(train, recommender, tmp_path):
    recommender, ranked = recommender(), {}
    held_out = interactions_of(recommender.experiment).test
    pairs = set(zip(recommender.catalogue.users[held_out[0]],
                    recommender.catalogue.items[held_out[1]], strict=True))
    for hidden in (False, True):
        table = recommender.recommend(k=ITEMS, hide_test=hidden)
        ranked[hidden] = list(zip(table["user"], table["item"], strict=True))
    assert len(pairs) == USERS and pairs <= set(ranked[False])
    assert ranked[True] == [pair for pair in ranked[False] if pair not in pairs]
    out = tmp_path / "all.csv"
    assert main(["recommend", train(), "--all", f"--out={out}", f"--topk={ITEMS}",
                 "--hide-test"]) == 0
    table = pd.read_csv(out, dtype=str)
    assert list(zip(table["user"], table["item"], strict=True)) == ranked[True]
    for more in ({"keep_seen": True}, {"history": {"u3": ["i1"]}}):
        with pytest.raises(UserError, match=f"hide_test .* drop it, or {next(iter(more))}"):
            recommender.recommend(["u3"], hide_test=True, **more)


def test_candidates_and_fields(recommender):
    recommender = recommender()
    red = recommender.recommend(["u0", "u1"], ITEMS, where={"colour": "red"})
    assert set(red["item"]) <= {f"i{i}" for i in range(0, ITEMS, 2)}
    every = recommender.recommend(["u0", "u1"], ITEMS)
    kept = every[every["item"].isin([f"i{i}" for i in range(0, ITEMS - 1, 2)])]
    assert red["item"].tolist() == kept["item"].tolist()
    few = recommender.recommend("u0", 9, candidates=["i1", "i3", "i5"], where={"name": ["3", "5"]})
    assert sorted(few["item"]) == ["i3", "i5"]
    for options, words in [({"candidates": ["i1", "x9"]}, ["x9"]),
                           ({"where": {"color": "red"}}, ["'color'", "colour"]),
                           ({"where": {"colour": "rod"}}, ["rod", "'red'"]),
                           ({"where": {"colour": set()}}, ["no value of colour"]),
                           ({"k": 0}, ["k is 0"]), ({"keep_seen": "no"}, ["keep_seen is 'no'"]),
                           ({"unknown": "popular"}, ["popularity"])]:
        with pytest.raises(UserError) as error:
            recommender.recommend("u0", **{"k": 3, **options})
        assert all(word in str(error.value) for word in words)


def test_users_for_whom_nothing_is_left_are_named(train, recommender, caplog, capsys):
    catalogue = recommender().catalogue
    seen = ",".join(catalogue.items[catalogue.seen[catalogue.user_id("u3")].indices[:2]])
    words = ["recommend", train(), "--users=u3", f"--candidates={seen}"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert not out and "nothing is left to recommend to u3, who have all" in err
    assert "--keep_seen" in err
    assert main([*words, "--keep_seen"]) == 0
    out, err = capsys.readouterr()
    assert "u3" in out and "nothing is left" not in err
    caplog.clear()
    assert len(recommender().recommend(candidates=seen.split(",")))
    assert len(caplog.messages) == 1 and "more, who have all of these items" in caplog.text


def test_one_token_stands_for_a_list_of_it(recommender):
    """A text of two characters is one token, not two."""
    recommender = recommender("GFCF")
    one, several = (
        [recommender.recommend(given("u1"), ITEMS, candidates=given("i3")),
         recommender.recommend("u1", ITEMS, keep_seen=True, where={"name": given("3")}),
         recommender.recommend(history={"new": given("i3")})]
        for given in (lambda token: token, lambda token: np.array([token])))
    for a, b in zip(one, several):
        pd.testing.assert_frame_equal(a, b)
    assert len(one[1]) and len(one[2])
    assert recommender.recommend("u1", np.int64(3)).equals(recommender.recommend("u1", 3))


@pytest.mark.parametrize("model", ["SSR", "GFCF"])
def test_a_trained_user_folded_in_by_its_own_history_has_its_own_ranking(model, recommender):
    recommender = recommender(model)
    own = recommender.recommend(k=ITEMS, keep_seen=True)
    folded = recommender.recommend(k=ITEMS, keep_seen=True,
                                   history=training_histories(recommender))
    assert own["item"].tolist() == folded["item"].tolist()
    np.testing.assert_allclose(folded["score"], own["score"], rtol=1e-4, atol=1e-6)


def test_a_new_user_gets_what_goes_with_its_items(recommender):
    recommender = recommender("GFCF")
    result = recommender.recommend(
        k=4, history={"red": ["i0", "i2", "i4"], "blue": ["i1", "i3"], "lost": ["x"]},
        unknown="popularity")
    groups = {user: block for user, block in result.groupby("user")}
    assert {int(item[1:]) % 2 for item in groups["red"]["item"]} == {0}
    assert {int(item[1:]) % 2 for item in groups["blue"]["item"]} == {1}
    assert not {"i0", "i2", "i4"} & set(groups["red"]["item"])
    assert groups["lost"]["score"].isna().all()
    with pytest.raises(UserError, match="lost"):
        recommender.recommend(history={"lost": ["x"]})


def test_models_without_a_fold_in_are_named(recommender):
    with pytest.raises(UserError, match="BPR has no embedding of a user by the user's items"):
        recommender("BPR").recommend(history={"new": ["i1"]})


def test_unknown_users_are_named_or_answered_by_popularity(recommender):
    recommender = recommender()
    with pytest.raises(UserError, match="nobody is named"):
        recommender.recommend([])
    with pytest.raises(UserError, match="2 of the users: nobody, 7"):
        recommender.recommend(["u1", "nobody", 7])
    result = recommender.recommend(["u1", "nobody"], 3, unknown="popularity")
    popular = result[result["user"] == "nobody"]
    counts = recommender.catalogue.popularity
    assert counts[recommender.catalogue.item_ids(popular["item"])].tolist() == sorted(
        counts, reverse=True)[:3]
    assert popular["score"].isna().all() and result["score"][:3].notna().all()


@pytest.mark.parametrize("model", ["FeatureItemKNN", "FastLightGCN"])
def test_a_closed_form_knows_users_by_their_items_in_training(model, tmp_path, caplog):
    settings = SETTINGS | write_tiny(tmp_path / "data") | {"epochs": 1}
    with open(tmp_path / "data/tiny/tiny.inter", "a") as file:
        file.write("late\ti3\t2\n")  # of the test part alone
        file.write("".join(f"valid\ti{i}\t1\n" for i in range(0, ITEMS, 2)))
    run = recbole_ssr.run(model, "tiny", config_dict=settings, folder=tmp_path / "run").run
    recommender = recbole_ssr.load(run, "cpu")
    if model == "FastLightGCN":  # which has an embedding of every user
        assert recommender.recommend("late", 2)["score"].notna().all()
        return
    with pytest.raises(UserError, match="nothing is known of 1 of the users: late;"):
        recommender.recommend(["u1", "late"])
    with pytest.raises(UserError, match="nothing is known of the user 'late'"):
        recommender.explain("late", "i3")
    popular = recommender.recommend("late", 3, unknown="popularity")
    assert popular["score"].isna().all() and len(popular) == 3
    caplog.clear()
    every = recommender.recommend(k=ITEMS)
    unknown = every[every["score"].isna()].groupby("user")["item"].apply(list)
    assert unknown["late"][:3] == popular["item"].tolist()
    assert set(unknown["valid"]) == {f"i{i}" for i in range(1, ITEMS, 2)}  # others are seen
    assert "nothing is known of late, valid, who are answered by popularity" in caplog.text


def test_similar_items(recommender):
    recommender = recommender()
    result = recommender.similar_items("i4", 3)
    item = recommender.embeddings().item.numpy()[:, :-1]  # the last is popularity
    unit = item / np.linalg.norm(item, axis=1, keepdims=True).clip(1e-12)
    i = recommender.catalogue.item_id("i4")
    cosine = unit @ unit[i]
    cosine[[0, i]] = -2
    assert result["item"].tolist() == list(recommender.catalogue.items[np.argsort(-cosine)[:3]])
    np.testing.assert_allclose(result["score"], np.sort(cosine)[::-1][:3], rtol=1e-5)
    with pytest.raises(UserError, match="no item 'i99'"):
        recommender.similar_items("i99")
    with pytest.raises(UserError, match="k is -1"):
        recommender.similar_items("i4", -1)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_files_hold_all_blocks(suffix, recommender, tmp_path):
    pytest.importorskip("pyarrow" if suffix == "parquet" else "json")
    whole = recommender().recommend(k=3)
    parts = [whole[:50], whole[50:]]
    path = tmp_path / f"out.{suffix}"
    assert write_blocks(iter(parts), path) == len(whole)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet,
            "jsonl": lambda file: pd.read_json(file, lines=True)}[suffix](path)
    pd.testing.assert_frame_equal(read.astype({"score": "float32"}), whole)

    def broken():
        yield parts[0]
        raise UserError("stop")

    with pytest.raises(UserError, match="stop"):
        write_blocks(broken(), path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_histories_of_every_format(tmp_path):
    table = pd.DataFrame({"user": ["1", "1", "2"], "item": ["07", "a", "b"]})
    expected = {"1": ["07", "a"], "2": ["b"]}
    table.to_csv(tmp_path / "h.csv", index=False)
    table.to_csv(tmp_path / "h.tsv", index=False, sep="\t")
    (tmp_path / "h.jsonl").write_text('{"user": 1, "items": ["07", "a"]}\n'
                                      '{"user": "2", "items": ["b"]}\n')
    for file in tmp_path.iterdir():
        assert read_histories(file) == expected, file
    for bad in ('{"user": 1}\n', '{"user": 1, "items": "196"}'):  # one text is no list of items
        (tmp_path / "bad.jsonl").write_text(bad)
        with pytest.raises(UserError, match="line 1"):
            read_histories(tmp_path / "bad.jsonl")
    (tmp_path / "bad.csv").write_text("user,item\nu,a\n,b\n")
    with pytest.raises(UserError, match="line 3: user is missing"):
        read_histories(tmp_path / "bad.csv")
    with pytest.raises(UserError, match="h.xls"):
        read_histories(tmp_path / "h.xls")
    (tmp_path / "names.txt").write_text("u1\n\nu2\nu1\n")
    assert tokens_from(str(tmp_path / "names.txt")) == tokens_from("u1, u2") == ["u1", "u2"]
    many = [f"u{n}" for n in range(5000)]
    assert tokens_from(",".join(many)) == many
    (tmp_path / "names.txt").write_text("u\u20281\nu2\n")
    assert tokens_from(str(tmp_path / "names.txt")) == ["u\u20281", "u2"]


def test_files_of_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "names.txt").write_text("u1\n")
    (tmp_path / "h.csv").write_text("user,item\nu,a\n")
    assert tokens_from("~/names.txt") == ["u1"]
    assert read_histories("~/h.csv") == {"u": ["a"]}


def test_ids_of_a_parquet_file_with_gaps_stay_whole_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"user": [7, 8], "item": [1.0, 2.0], "rating": [4.0, None]})
    table.to_parquet(tmp_path / "h.parquet")
    assert read_histories(tmp_path / "h.parquet") == {"7": ["1"], "8": ["2"]}
    pd.DataFrame({"user": [7, None], "item": [1, 2]}).to_parquet(tmp_path / "h.parquet")
    with pytest.raises(UserError, match="row 2: user is missing"):
        read_histories(tmp_path / "h.parquet")


@pytest.mark.parametrize("name, text", [
    ("h.inter", "timestamp:float\tuser_id:token\titem_id:token\n3\tu\ta\n4\tu\t\"b\n5\tv\t9\"\n"),
    ("h.csv", "item,customer\na,u\n\"\"\"b\",u\n\"9\"\"\",v\n"),
    ("h.csv", 'who;what\nu;a\nu;"""b"\nv;"9"""\n'),
])
def test_the_columns_of_a_history_are_those_of_their_names(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_histories(tmp_path / name) == {"u": ["a", '"b'], "v": ['9"']}


@pytest.mark.parametrize("name, text, says", [
    ("h.csv", "user_id,item_id\n900,11,1\n", "line 2: 3 fields, but the header has 2"),
    ("h.csv", "900,11\n900,5\n", "begins with 900, 11, which is no header"),
    ("h.csv", "sku,price,artikel\n1,2,3\n", "needs a column user_id and a column item_id"),
    ("h.inter", "who:token\twhat:token\nu\ta\n", "needs a column user_id and a column item_id"),
    ("h.csv", "user,item\n", "no rows"),
])
def test_mistakes_in_histories(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_histories(tmp_path / name)


def test_what_is_no_mapping_is_said(recommender):
    recommender = recommender("GFCF")
    for options, says in (({"history": ["i1"]}, "history is a list"),
                          ({"history": pd.DataFrame({"user": ["u"]})}, "history is a DataFrame"),
                          ({"where": "colour: red"}, "where is 'colour: red'")):
        with pytest.raises(UserError, match=says):
            recommender.recommend(**options)
    assert recommender.score("u1", []).shape == (0,)


def test_the_command_line(train, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = train()
    assert main(["recommend", run, "--users=u1,u2", "--topk=3"]) == 0
    out = capsys.readouterr().out
    assert "u1" in out and "Thing" in out and max(map(len, out.splitlines())) <= 100
    (tmp_path / "h.jsonl").write_text(json.dumps({"user": "new", "items": ["i1", "i3"]}))
    assert main(["recommend", run, "--history=h.jsonl", "--topk=2", "--out=r.csv"]) == 0
    assert pd.read_csv("r.csv")["user"].tolist() == ["new", "new"]
    assert main(["recommend", run, "--all", "--out=all.jsonl", "--topk=2", "--keep-seen"]) == 0
    assert len(Path("all.jsonl").read_text().splitlines()) == 2 * USERS
    capsys.readouterr()
    for words, parts in [([], ["run folder"]), ([run], ["--users"]), ([run, "--all"], ["--out"]),
                         ([run, "--usres=u1"], ["--usres", "'users'"]),
                         ([run, "--users=u1", "--out=r.xlsx"], [".csv"]),
                         ([run, "--users=u1", "--topk=x"], ["topk"]),
                         ([run, "--users=u1", "--where=red"], ["where"]),
                         (["runs/none", "--users=u1"], ["not a run folder"])]:
        assert main(["recommend", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and all(part in error for part in parts), error


def test_data_that_have_moved_can_be_named(train, tmp_path, monkeypatch, capsys):
    run = train()
    monkeypatch.chdir(tmp_path)
    data = Path(yaml.safe_load((Path(run) / "config.yaml").read_text())["data_path"])
    commands = [["recommend", run, "--users=u1"], ["export", run, "--out=embeddings"],
                ["explain", run, "--user=u1", "--item=i1"]]
    data.rename("moved")
    try:
        for words in commands:
            assert main(words) == 2
            assert "Set data_path" in capsys.readouterr().err
            assert main([*words, "--data_path=moved"]) == 0
        assert recbole_ssr.load(run, "cpu", data_path="moved").recommend("u1", 2)["user"].size == 2
    finally:
        Path("moved").rename(data)


@pytest.mark.parametrize("item_bias", [0.5, None])
def test_popular_items_lose_by_the_log_of_their_interactions(item_bias, train):
    run = train("SSR", item_bias=item_bias)
    plain, discounted = (recbole_ssr.load(run, "cpu", popularity_discount=w) for w in (None, 0.4))
    counts = np.bincount(interactions_of(plain.experiment).train[1], minlength=ITEMS + 1)[1:]
    log = np.log(np.maximum(counts, 1))
    expected = np.where(counts > 0, 0.4 * (log - log[counts > 0].mean()), 0)
    temperature = plain.experiment.config["ranking_temperature"]
    for user in ("u3", "u8"):
        lost = plain.score(user, plain.items) - discounted.score(user, plain.items)
        np.testing.assert_allclose(lost / temperature, expected, atol=1e-5)


def test_a_discount_on_the_command_line(train, capsys):
    words = ["recommend", train(), "--users=u3", "--topk=3", "--device=cpu"]
    tables = []
    for more in ([], ["--popularity-discount=0"], ["--popularity-discount=9"]):
        assert main([*words, *more]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] != tables[2]
    for value, message in (("-1", "popularity_discount=-1 must be a number from 0 to 10"),
                           ("x", "popularity_discount='x' must be a number")):
        assert main([*words, f"--popularity-discount={value}"]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="no effect on this run's BPR; SSR of profile paper"):
        recbole_ssr.load(train("BPR"), "cpu", popularity_discount=0.3)
