"""Features rotated into fewer dimensions."""

import logging

import pytest
import torch
from stubs import Features, settings

from recbole_ssr.model.item_graph import neighbours_of
from recbole_ssr.model.rotation import rotated


def low_rank(rank=3, noise=0.0):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(*s, generator=generator) for s in ((40, rank), (rank, 12)))
    return Features(image=a @ b + noise * torch.randn(40, 12, generator=generator))


def config(tmp_path, components, **changes):
    return settings(feature_components=components, cache_dir=str(tmp_path), **changes)


def test_directions_that_hold_all_energy_keep_every_inner_product(tmp_path):
    features = low_rank()
    F, out = features.matrix("image"), rotated(config(tmp_path, 3), features, "image")
    assert out.shape == (40, 3)
    torch.testing.assert_close(out @ out.T, F @ F.T, rtol=1e-4, atol=1e-4)


def test_the_kept_share_is_that_of_the_largest_singular_values(tmp_path, caplog):
    features = low_rank(noise=0.5)
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        out = rotated(config(tmp_path, 4), features, "image")
    s = torch.linalg.svdvals(features.matrix("image"))
    kept = s[:4].square().sum() / s.square().sum()
    torch.testing.assert_close(out.square().sum(), s[:4].square().sum(), rtol=1e-3, atol=0)
    assert f"hold {100 * kept:.1f} % of their energy" in caplog.text


@pytest.mark.parametrize("components, changes", [(0, {}), (12, {}), (99, {}),
                                                 (4, {"train_features": True})])
def test_what_needs_no_rotation_stays_as_it_is(tmp_path, components, changes):
    features = low_rank(noise=1.0)
    out = rotated(config(tmp_path, components, **changes), features, "image")
    assert torch.equal(out, features.matrix("image"))


def test_directions_are_cached_by_content(tmp_path):
    features = low_rank(noise=1.0)
    first = rotated(config(tmp_path, 4), features, "image")
    files = list((tmp_path / "rotations").iterdir())
    assert len(files) == 1 and torch.equal(rotated(config(tmp_path, 4), features, "image"), first)
    files[0].write_bytes(b"damaged")
    assert torch.equal(rotated(config(tmp_path, 4), features, "image"), first)
    features._matrices["image"][3] += 1
    rotated(config(tmp_path, 4), features, "image")
    assert len(list((tmp_path / "rotations").iterdir())) == 2


def test_what_fills_missing_rows_has_no_part_in_the_directions(tmp_path):
    features = low_rank(noise=1.0)
    there = torch.arange(40) % 3 > 0
    matrices = [features.matrix("image") * there[:, None] + fill * ~there[:, None]
                for fill in (0.0, 2.0)]
    zero, filled = (rotated(config(tmp_path, 4), Features(present={"image": there}, image=matrix),
                            "image") for matrix in matrices)
    assert torch.equal(zero[there], filled[there])


def test_wide_features_are_held_whole_only_for_what_is_not_in_the_cache(tmp_path, monkeypatch):
    features, options = low_rank(noise=1.0), config(tmp_path, 4, knn_k=3)
    first = rotated(options, features, "image"), neighbours_of(options, features, "image", 3)
    F = features.matrix("image")
    monkeypatch.setattr(Features, "matrix", None)
    monkeypatch.setattr(Features, "blocks", lambda *_: iter(F.split(7)))
    again = rotated(options, features, "image"), neighbours_of(options, features, "image", 3)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
