"""A dataset small enough to train whole runs on within a second."""

import numpy as np

from recbole_ssr.data.features import write_features

USERS, ITEMS = 40, 24
# Enough batches an epoch for the generators to matter, few enough to be fast.
SETTINGS = {
    "epochs": 4, "embedding_size": 8, "train_batch_size": 128, "eval_users_per_step": 7,
    "learning_rate": 0.01, "show_progress": False, "topk": [2, 5], "valid_metric": "Recall@5",
    "metrics": ["Recall", "NDCG"],
}  # fmt: skip


def write_tiny(root, split=True, features=True):
    """Write `tiny` below `root`: users like items of their colour, which the features show.

    Returns the settings of a run on it. With `split`, a column gives every user one item each for
    validation and test.
    """
    folder = root / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    lines = ["user_id:token\titem_id:token" + "\tpart:float" * split]
    for user in range(USERS):
        own = rng.permutation(np.arange(user % 2, ITEMS, 2))[:9]
        for k, item in enumerate(own):
            lines.append(f"u{user}\ti{item}" + f"\t{max(0, k - 6)}" * split)
    (folder / "tiny.inter").write_text("\n".join(lines) + "\n")
    if features:
        colour = np.where(np.arange(ITEMS) % 2 == 0, 1.0, -1.0)[:, None]
        for name, width in (("text", 5), ("image", 7)):
            vectors = colour + rng.normal(scale=0.5, size=(ITEMS, width))
            write_features(folder / "features", name, vectors.astype(np.float32),
                           [f"i{item}" for item in range(ITEMS)])
    columns = ["user_id", "item_id", *["part"] * split]
    return {"data_path": str(root), "split_column": "part" if split else None,
            "load_col": {"inter": columns}}
