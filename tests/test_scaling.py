"""The generator of large data, and the benchmark of sizes at sizes that take seconds."""

import json
import re

import numpy as np
import pytest
from benchmark_scripts import scripts_of

scripts = scripts_of("datasets", "step_time", "made_data", "scaling")
USERS, ITEMS, INTERACTIONS = 20_000, 4_000, 400_000


@pytest.fixture(scope="module")
def made(scripts):
    return scripts["made_data"].power_law(USERS, ITEMS, INTERACTIONS)


def test_pairs_are_distinct_as_many_as_asked_for_and_of_every_user(made):
    codes = made.user.astype(np.int64) * ITEMS + made.item
    assert len(codes) == INTERACTIONS and (np.diff(codes) > 0).all()
    assert len(np.unique(made.user)) == USERS and made.item.min() >= 0
    assert len(np.unique(made.item)) > 0.99 * ITEMS and made.item.max() < ITEMS
    assert np.bincount(made.user).max() <= ITEMS // 4 + 1


def test_activity_and_popularity_follow_their_laws(made, scripts):
    script = scripts["made_data"]
    degrees = np.sort(np.bincount(made.user))
    share = 1 - np.arange(USERS) / USERS  # of the users who have at least as many
    tail = (degrees > 2 * degrees[0]) & (degrees < 500)  # clear of rounding and of the limit
    slope = np.polyfit(np.log(degrees[tail]), np.log(share[tail]), 1)[0]
    assert slope == pytest.approx(-script.ACTIVITY, abs=0.1)
    popularity = np.sort(np.bincount(made.item, minlength=ITEMS))[::-1]
    rank = np.arange(1, ITEMS + 1) + script.FLATTENED
    slope = np.polyfit(np.log(rank[100:]), np.log(popularity[100:]), 1)[0]
    assert slope == pytest.approx(-script.POPULARITY, abs=0.1)


def test_equal_seeds_give_equal_data_and_others_do_not(scripts, tmp_path):
    script = scripts["made_data"]
    texts = []
    for k, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(k)
        script.make(folder, "made", 60, 200, 900, {"text": 4, "image": 3}, seed)
        texts.append((folder / "made/made.inter").read_text()
                     + "".join(str(np.load(folder / f"made/features/{name}.npy"))
                               for name in ("text", "image")))
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0].splitlines())) > 900


def test_features_tell_who_likes_what(made, scripts):
    """Users prefer items of their group, and the features of an item are nearest its own group."""
    own = (made.user_group[made.user] == made.item_group[made.item]).mean()
    assert 0.5 < own < 0.75
    F = scripts["made_data"].features(made.item_group, 128, seed=7)
    centres = np.stack([F[made.item_group == g].mean(0) for g in range(50)])
    nearest = ((F[:, None] - centres) ** 2).sum(2).argmin(1)
    assert (nearest == made.item_group).mean() > 0.8


def test_every_user_of_five_keeps_three_and_holds_out_one_for_either_part(made, scripts):
    part = scripts["made_data"].parts_of(made.user)
    by_user = np.stack([np.bincount(made.user[part == k], minlength=USERS) for k in range(3)])
    rich = by_user.sum(0) >= 5
    assert (by_user[1:, rich] == 1).all() and (by_user[1:, ~rich] == 0).all()
    assert (by_user[0, rich] >= 3).all()


@pytest.mark.parametrize("sizes", [(100, 50, 99), (10, 8, 11)])
def test_numbers_that_no_data_have_are_refused(scripts, sizes):
    with pytest.raises(ValueError, match=f"{sizes[2]} interactions of {sizes[0]} users with"):
        scripts["made_data"].power_law(*sizes)


def test_exponents_are_those_of_the_law(scripts):
    exponent = scripts["scaling"].exponent
    sizes = [1e5, 3e5, 1e6]
    assert exponent(sizes, [2 * x**1.3 for x in sizes]) == pytest.approx(1.3)
    assert np.isnan(exponent([1e5], [1.0]))


def row(model, size, **changes):
    return {"model": model, "size": size, "load": 1.0, "build": 2.0, "step": size / 1e6,
            "epoch": 60.0, "evaluation": size / 1e5, "peak": 300 + size / 1e3, "libraries": 300.0,
            "hardware": "AMD", **changes}


def test_a_part_measured_later_joins_the_table_and_replaces_what_it_measures(scripts, tmp_path,
                                                                           capsys):
    script, file = scripts["scaling"], tmp_path / "scaling.json"
    for one in (row("SMORE", 10**6), row("SSR", 10**6, step=9.0), row("SSR", 10**5),
                {"model": "FREEDOM", "size": 10**6, "error": "ended with status -9"},
                row("SSR", 10**6)):
        script.add(file, one)
    assert [(one["model"], one["size"]) for one in script.rows_of(file)] == [
        ("SSR", 10**5), ("SSR", 10**6), ("FREEDOM", 10**6), ("SMORE", 10**6)]
    assert script.main(["--report", f"--out={file}"]) == 0
    out = capsys.readouterr().out
    assert "| SSR | 1,000,000 | 1.0 | 2.0 | 1,000 | 1.0 | 10.0 | 1,300 |" in out
    assert "| FREEDOM | 1,000,000 | ended with status -9 |" in out
    assert "| SSR | 1.00 | 1.00 | 1.00 |" in out and "| SMORE | nan |" in out
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_model_is_measured_in_a_process_of_its_own(scripts, tmp_path, capsys):
    out = tmp_path / "scaling.json"
    assert scripts["scaling"].main([
        "--sizes", "20000", "--models", "ssr", "FastLightGCN", "--steps=2", f"--out={out}"]) == 0
    found = json.loads(out.read_text())
    assert [one["model"] for one in found] == ["SSR", "FastLightGCN"]
    for one in found:
        assert 100 < one["libraries"] < one["peak"] < 3000
        assert one["steps"] == 2 and min(one["step"], one["block"], one["load"]) > 0
        assert one["epoch"] > one["step"] and one["evaluation"] > one["block"]
    assert re.search(r"\| SSR \| 20,000 \| ", capsys.readouterr().out)
