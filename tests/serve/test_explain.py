"""Explanations: their parts are what they say, and add up to the score."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stub_models import FOLDED, built

from recbole_ssr.cli import main
from recbole_ssr.commands.serve import _as_file
from recbole_ssr.errors import UserError
from recbole_ssr.report.explanation.plots import draw
from recbole_ssr.serve.attribution import parts_of, slots_of

AFFINE = ("FastLightGCN", "FastSGL", "FeatureLightGCN", "LATTICE", "FREEDOM", "PGL", "MENTOR",
          "BM3", "SLMRec")
CASES = [*(("SSR", changes) for changes in FOLDED["SSR"][:-1]), *((name, {}) for name in AFFINE),
         ("FeatureItemKNN", {}), ("FeatureEASE", {}), ("GFCF", {"modes": 3}),
         ("ClosedFormSum", {"modes": 3}), ("ClosedFormSum", {"modes": 3, "standardise": False})]


def as_experiment(model, name):
    return SimpleNamespace(model=model, config={"model": name})


def score_of(model, user, item):
    return model.full_sort_predict({"user_id": torch.tensor([user])}).view(-1)[item].item()


@pytest.mark.parametrize("name, changes", CASES)
def test_a_user_s_items_and_own_embedding_add_up_to_the_score(name, changes):
    model, edges = built(name, changes)
    for user, item in ((2, 1), (9, 16)):
        parts = parts_of(as_experiment(model, name), user, item)
        assert sorted(parts.items.tolist()) == sorted(edges[edges[:, 0] == user, 1].tolist())
        total = parts.scores.sum() + parts.own + parts.bias
        score = score_of(model, user, item)
        assert total.item() == pytest.approx(score, abs=1e-5 * max(1, abs(score)))
        assert name == "SSR" or parts.by_modality is None
        if name == "SSR":
            torch.testing.assert_close(parts.by_modality.sum(1), parts.scores)


def test_what_an_item_adds_is_what_goes_over_it():
    """One layer: the user is (e_u + sum of R_uj e_j) / 2, and the item's embedding is as it is."""
    model, edges = built("FastLightGCN", {"n_layers": 1})
    parts = parts_of(as_experiment(model, "FastLightGCN"), 4, 6)
    item = model.final_embeddings().item[6].double()
    row = model.graph["R"].to_dense()[4].double()
    expected = [row[j] * model.E_item[j].double() @ item / 2 for j in parts.items]
    torch.testing.assert_close(parts.scores, torch.stack(expected).detach(), rtol=1e-4, atol=1e-6)
    own = (model.E_user[4].double() @ item / 2).item()
    assert parts.own.item() == pytest.approx(own, rel=1e-4, abs=1e-6)


def test_slots_add_up_to_the_score_on_either_side_and_on_both():
    model, _ = built("SSR", {"inference_gains": [0.5, 1, 1.5], "user_weights": True})
    result = slots_of(model, 7, 3)
    score = score_of(model, 7, 3) - model.score_bias()[3].item()
    M, C = model.bank.n_bands, len(model.modalities)
    assert result.user.shape == result.item.shape == (M, C) and result.both.shape == (C, C)
    for table in result:
        assert table.sum().item() == pytest.approx(score, abs=1e-5)
    torch.testing.assert_close(result.user.sum(0), result.both.sum(1))
    torch.testing.assert_close(result.item.sum(0), result.both.sum(0))


def test_a_score_that_is_no_such_sum_is_refused_by_name():
    for name in ("MGCN", "LayerGCN"):
        with pytest.raises(UserError, match=f"scores of {name} are no sums"):
            parts_of(as_experiment(built(name, {})[0], name), 1, 1)


def test_an_explanation_of_a_run(train, recommender, tmp_path, capsys):
    recommender = recommender()
    best = recommender.recommend("u5", 3)
    result = recommender.explain("u5", best["item"][1])
    assert result.rank == 2 and result.ranked == 16 and not result.seen
    assert result.score == pytest.approx(best["score"][1])
    total = sum(s.score for s in result.sources) + result.own + result.bias
    assert total == pytest.approx(result.score, abs=1e-5)
    assert len(result.sources) == 7 and all(s.title in ("", f"Thing {s.item[1:]}")
                                           for s in result.sources)
    for shares in (result.slots.user, result.slots.item, result.slots.modalities_of_both):
        assert np.sum(shares) == pytest.approx(result.score - result.bias, abs=1e-5)
    assert recommender.explain("u5", result.sources[0].item).seen

    words = ["explain", train(), "--user=u5", f"--item={result.item}", f"--out={tmp_path}"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "Thing" in out and "text" in out and max(map(len, out.splitlines()[:-1])) <= 100
    (file,), (picture,) = tmp_path.glob("*.json"), tmp_path.glob("*.png")
    assert json.loads(file.read_text())["score"] == pytest.approx(result.score)
    check_picture(picture)
    assert main(["explain", train(), "--user=u5", "--item=i77"]) == 2
    assert "no item 'i77'" in capsys.readouterr().err


def test_a_file_s_name_is_of_one_user_and_item():
    pairs = [("a/b", "i"), ("a_b", "i"), ("u", "i-j"), ("u-i", "j"), ("a b", "i")]
    names = {f"{_as_file(user)}-{_as_file(item)}" for user, item in pairs}
    assert len(names) == len(pairs) and not any(set("/ ") & set(name) for name in names)
    assert _as_file("u_1.x") == "u_1.x"


def check_picture(path: Path):
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert 0.02 < (pixels.min(axis=2) < 0.9).mean() < 0.9  # neither blank nor flooded
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 1).all(), "something is cut"


def test_dollars_in_titles_are_no_formula(recommender, tmp_path):
    recommender = recommender()
    user = str(recommender.users[0])
    had = recommender.catalogue.items[recommender.catalogue.seen[1].indices[0]]
    title = "Was $20, now 50% off: $10"
    explanation = recommender.explain(user, str(recommender.items[0]))
    sources = [replace(source, title=title) if source.item == had else source
               for source in explanation.sources]
    draw(replace(explanation, title=title, sources=sources), tmp_path / "why.png")
    check_picture(tmp_path / "why.png")
