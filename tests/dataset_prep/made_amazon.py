"""Small raw files in the formats of Amazon's releases, and a small category that fits together."""

import gzip
import json
import random
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IMAGE_DIM = 4096


def write_bytes(path, data: bytes) -> Path:
    """Write raw bytes, packed if the name ends in .gz."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def write_lines(path, lines) -> Path:
    """Write lines as UTF-8, packed if the name ends in .gz."""
    return write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def write_reviews_2014(path, rows) -> Path:
    """Write rows (user, asin, rating, seconds) as the JSON lines of reviews_<Category>_5.json."""
    return write_lines(path, (json.dumps({
        "reviewerID": user, "asin": item, "reviewerName": "N. N.", "helpful": [0, 1],
        "reviewText": "It said: {\"asin\": \"none\"}.", "overall": float(rating), "summary": "Fine",
        "unixReviewTime": int(seconds), "reviewTime": "07 1, 2013",
    }) for user, item, rating, seconds in rows))


def write_reviews_2023(path, rows) -> Path:
    """Write rows (user, asin, rating, seconds) as the JSON lines of <Category>.jsonl, in ms."""
    return write_lines(path, (json.dumps({
        "rating": float(rating), "title": "Fine", "text": "Größe passt", "images": [],
        "asin": f"variant-{item}", "parent_asin": item, "user_id": user,
        "timestamp": int(seconds) * 1000 + 7, "helpful_vote": 0, "verified_purchase": True,
    }, ensure_ascii=False) for user, item, rating, seconds in rows))


def write_ratings_csv(path, rows, release=2014) -> Path:
    """Write rows (user, asin, rating, seconds) as the CSV of a release: 2014, 2018 or 2023."""
    forms = {2014: lambda u, i, r, s: f"{u},{i},{float(r)},{int(s)}",
             2018: lambda u, i, r, s: f"{i},{u},{float(r)},{int(s)}",
             2023: lambda u, i, r, s: f"{u},{i},{float(r)},{int(s) * 1000 + 7},{i} {i}"}
    header = ["user_id,parent_asin,rating,timestamp,history"] if release == 2023 else []
    return write_lines(path, header + [forms[release](*row) for row in rows])


def write_meta_2014(path, items) -> Path:
    """Write {asin: record without its id} as the Python literals of meta_<Category>.json."""
    return write_lines(path, (repr({"asin": item, **record, "related": {"also_bought": [item]}})
                              for item, record in items.items()))


def write_meta_2018(path, items) -> Path:
    """Write the records of 2014 as the JSON lines of the release of 2018."""
    return write_lines(path, (json.dumps({
        "category": record.get("categories", [[]])[0], "description": _listed(record),
        "title": record.get("title", ""), "brand": record.get("brand", ""), "feature": [],
        "asin": item,
    }) for item, record in items.items()))


def write_meta_2023(path, items) -> Path:
    """Write the records of 2014 as the JSON lines of meta_<Category>.jsonl."""
    return write_lines(path, (json.dumps({
        "main_category": "Made", "title": record.get("title", ""), "price": None,
        "features": record.get("features", []), "description": _listed(record),
        "store": record.get("brand"), "categories": record.get("categories", [[]])[0],
        "details": {"Made": "up"}, "parent_asin": item, "bought_together": None,
    }) for item, record in items.items()))


def write_image_features(path, vectors) -> Path:
    """Write {asin: vector} as the records of image_features_<Category>.b."""
    return write_bytes(path, b"".join(item.encode("ascii") + np.asarray(vector, "<f4").tobytes()
                                      for item, vector in vectors.items()))


@dataclass(frozen=True)
class Shop:
    """A category: rows (user, asin, rating, seconds), records as in 2014, and image vectors.

    The 5-core is all users and `core_items`; of these, `without_meta` have no record,
    `without_title` and `without_description` a record that lacks it, `without_image` no vector.
    Records and vectors name two items more that nobody reviewed.
    """

    rows: list[tuple[str, str, float, int]]
    meta: dict[str, dict]
    vectors: dict[str, np.ndarray]
    users: list[str]
    core_items: list[str]
    rare_items: list[str]
    without_meta: list[str]
    without_title: list[str]
    without_description: list[str]
    without_image: list[str]


def small_shop(seed=0, users=60, items=40, dim=IMAGE_DIM) -> Shop:
    """Make a category in which every user has at least 5 interactions; needs users >= items > 7."""
    if not users >= items > 7:
        raise ValueError(f"{users} users and {items} items: users >= items > 7 is needed")
    draw = random.Random(seed)
    names = _distinct(draw, "A", 13, users)
    asins = _distinct(draw, "B", 9, items + 2)
    n_core = items - max(1, items // 8)
    core, rare, unseen = asins[:n_core], asins[n_core:items], asins[items:]
    meta = {item: _record(draw, number) for number, item in enumerate(core + rare + unseen)}
    rng = np.random.default_rng(seed)
    # As after a rectifier: half of the values are zero.
    vectors = {item: np.abs(rng.normal(size=dim)).astype(np.float32) for item in meta}
    lacking = {"without_meta": core[:1], "without_title": core[1:2],
               "without_description": core[2:4], "without_image": core[3:5]}
    for item in lacking["without_title"]:
        del meta[item]["title"]
    for item in lacking["without_description"]:
        del meta[item]["description"]
    for item in lacking["without_meta"]:
        del meta[item]
    for item in lacking["without_image"]:
        del vectors[item]
    return Shop(_rows(draw, names, core, rare), meta, vectors, names, core, rare, **lacking)


def _rows(draw, users, core, rare):
    pairs = []
    for number, user in enumerate(users):
        # Five in turn give every core item five users; chance adds up to three.
        first = [core[(5 * number + step) % len(core)] for step in range(5)]
        more = draw.sample([item for item in core if item not in first], draw.randint(0, 3) if
                           len(core) > 7 else 0)
        pairs += [(user, item) for item in first + more]
    for item in rare:
        pairs += [(user, item) for user in draw.sample(users, draw.randint(1, 3))]
    draw.shuffle(pairs)
    return [(user, item, float(draw.randint(1, 5)), draw.randint(1_325_376_000, 1_388_534_400))
            for user, item in pairs]


def _record(draw, number):
    words = [draw.choice(("soft", "blue", "sturdy", "light", "wooden", "round")) for _ in range(4)]
    return {"title": f"{words[0].title()} thing &amp; \"case\" {number}",
            "price": 9.99, "imUrl": "http://example.org/i.jpg", "brand": f"{words[1].title()}'s",
            "categories": [["Made", f"Shelf {number % 3}"], ["Elsewhere"]],
            "description": f"A {words[2]} thing,\nmade {words[3]}."}


def _listed(record):
    return [record["description"]] if "description" in record else []


def _distinct(draw, start, length, count):
    letters = string.ascii_uppercase + string.digits
    result = {}
    while len(result) < count:
        result[start + "".join(draw.choices(letters, k=length))] = None
    return list(result)
