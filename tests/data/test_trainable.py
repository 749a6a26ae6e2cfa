"""Data that no model learns to rank from are refused by the names of user and item."""

import numpy as np
import pytest

import recbole_ssr
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError

ONE_ITEM = [(f"u{u}", f"i{part * 3 + u % 3}" if part else "i0", part)
            for part in range(3) for u in range(6)]
ONE_USER = [("u0", f"i{k}", [0, 0, 0, 0, 1, 2][k % 6]) for k in range(12)]
FULL = [(f"u{u}", f"i{(u + k) % 8}", [0, 0, 1, 2][k]) for k in range(4) for u in range(6)]
FULL += [("all", f"i{k}", [0, 0, 0, 0, 0, 0, 1, 2][k]) for k in range(8)]


@pytest.mark.parametrize("model", ["SSR", "BPR", "EASE"])
@pytest.mark.parametrize("rows, words", [
    (ONE_ITEM, ["All 6 training interactions", "the item 'i0'", "another split"]),
    (ONE_USER, ["The user 'u0' of few has all 12 items, 'i0' to", "user_inter_num_interval"]),
    (FULL, ["The user 'all' of few has all 8 items", "'[1,8)'"]),
    ([("u0", "i0", 0), ("u1", "i0", 1), ("u2", "i0", 2)],
     ["The user 'u0' (and 2 more) of few has the only item, 'i0'"]),
])
def test_the_user_or_the_item_is_named(tmp_path, model, rows, words):
    with pytest.raises(UserError) as caught:
        run(tmp_path, model, rows)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("model", ["SSR", "BPR"])
def test_training_by_one_user_is_possible(tmp_path, model):
    rows = [("u0", f"i{k}", 0) for k in range(5)]
    rows += [(f"u{u}", f"i{(u + part) % 7}", part) for part in (1, 2) for u in range(1, 9)]
    assert all(map(np.isfinite, run(tmp_path, model, rows).test.values()))


def run(root, model, rows):
    folder = root / "few"
    write_features(folder / "features", "text", np.eye(7)[:, :3], [f"i{k}" for k in range(7)])
    lines = ["user_id:token\titem_id:token\tpart:float", *("\t".join(map(str, r)) for r in rows)]
    (folder / "few.inter").write_text("\n".join(lines) + "\n")
    settings = {"data_path": str(root), "split_column": "part", "show_progress": False, "epochs": 1,
                "load_col": {"inter": ["user_id", "item_id", "part"]}, "run_dir": str(root),
                "embedding_size": 8, "topk": [1], "valid_metric": "Recall@1"}
    return recbole_ssr.run(model, "few", config_dict=settings)
