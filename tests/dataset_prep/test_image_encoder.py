"""Image encoder: tiny CLIP and ViT models, real files, and files that are no pictures."""

import logging
import struct
import sys
import zlib

import numpy as np
import pytest
import tiny_models

from recbole_ssr.dataset_prep.encode import BrokenContents, encode_items
from recbole_ssr.dataset_prep.image_encoder import image_encoder
from recbole_ssr.dataset_prep.images import ImageProblem, find_images, open_rgb
from recbole_ssr.dataset_prep.pretrained import Unavailable
from recbole_ssr.errors import UserError

PIL = pytest.importorskip("PIL.Image", reason="needs Pillow")


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("transformers", reason="needs recbole_ssr[encode]")


@pytest.fixture(scope="module")
def clip(library, tmp_path_factory):  # noqa: ARG001
    return tiny_models.clip_model(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with five pictures of noise, of several sizes."""
    folder, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for n, size in enumerate([(50, 80, 3), (80, 50, 3), (32, 32, 3), (3, 40, 3), (1, 1, 3)]):
        PIL.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / f"p{n}.png")
    return folder


def paths(folder):
    return sorted(folder.glob("*.png"))


def test_clip_vectors_are_the_projected_image_features(library, clip, pictures):
    import torch

    encoder = image_encoder(str(clip), "cpu")
    rows = encoder.encode(paths(pictures)[:3])
    model = library.CLIPModel.from_pretrained(str(clip)).eval()
    processor = library.CLIPImageProcessor.from_pretrained(str(clip))
    pixels = processor(images=[PIL.open(path) for path in paths(pictures)[:3]],
                       return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    assert rows.shape == (3, 24) and rows.dtype == np.float32 and encoder.dim == 24
    assert np.allclose(rows, expected.numpy(), atol=1e-5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("classifier", [False, True])
def test_a_vit_without_trained_pooler_gives_its_class_token(pictures, tmp_path, classifier):
    folder = tiny_models.vit_model(tmp_path, classifier=classifier)
    first, second = (image_encoder(str(folder), "cpu").encode(paths(pictures)) for _ in range(2))
    assert first.shape == (5, 32)
    # A pooler made of random weights would differ from one loading to the next.
    assert np.allclose(first, second, atol=1e-6)


def test_the_batch_size_does_not_matter(clip, pictures):
    encoder = image_encoder(str(clip), "cpu")
    alone = np.concatenate([encoder.encode([path]) for path in paths(pictures)])
    assert np.allclose(alone, encoder.encode(paths(pictures)), atol=1e-5)


def test_the_key_follows_the_weights(clip, tmp_path):
    other = tiny_models.clip_model(tmp_path, seed=1)
    assert image_encoder(str(clip), "cpu").key == image_encoder(str(clip), "cpu").key
    assert image_encoder(str(clip), "cpu").key != image_encoder(str(other), "cpu").key


def test_broken_and_missing_pictures_are_reported(clip, pictures, tmp_path):
    good, whole = paths(pictures)[0], paths(pictures)[1].read_bytes()
    cut, text, empty = (tmp_path / f"{name}.png" for name in ("cut", "text", "empty"))
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("<html>404</html>")
    empty.write_bytes(b"")
    contents = [good, cut, None, text, empty, tmp_path / "gone.png"]
    encoder = image_encoder(str(clip), "cpu")
    with pytest.raises(BrokenContents):
        encoder.encode(contents[:2])
    report = encode_items(list("abcdef"), contents, encoder, tmp_path / "out", "image",
                          tmp_path / "cache", show_progress=False)
    assert report.missing == ["c"] and report.encoded == 1
    reasons = dict(report.broken)
    assert list(reasons) == ["b", "d", "e", "f"]
    assert "cannot be read as a picture" in reasons["b"] and str(cut) in reasons["b"]
    assert "cannot identify" in reasons["d"] and "is empty" in reasons["e"]
    assert "No such file" in reasons["f"]
    assert (tmp_path / "out" / "image.tokens").read_text() == "a\n"
    assert np.allclose(np.load(tmp_path / "out" / "image.npy"), encoder.encode([good]), atol=1e-6)


def test_an_absent_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Unavailable, match=r"transformers.*pip install recbole_ssr\[encode\]"):
        image_encoder("any/model")


@pytest.mark.usefixtures("library")
def test_models_that_encode_no_images(tmp_path):
    sentences = tiny_models.sentence_model(tmp_path / "text")
    with pytest.raises(Unavailable, match="'.*model'.*--image_encoder=FOLDER"):
        image_encoder(str(sentences), "cpu")
    with pytest.raises(Unavailable, match="cannot be loaded.*--vectors"):
        image_encoder(str(tmp_path), "cpu")


def saved(image, path, **options):
    image.save(path, **options)
    return np.asarray(open_rgb(path))


def test_every_mode_becomes_rgb(tmp_path):
    colour = PIL.new("RGB", (4, 4), (200, 100, 50))
    assert (saved(colour.convert("L"), tmp_path / "grey.png") == 124).all()
    cmyk = saved(colour.convert("CMYK"), tmp_path / "cmyk.jpg", quality=95)
    assert abs(cmyk.astype(int) - [200, 100, 50]).max() <= 6
    assert saved(colour.convert("1"), tmp_path / "bits.png").shape == (4, 4, 3)
    assert (saved(colour, tmp_path / "x.webp", lossless=True) == [200, 100, 50]).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    grey = np.array([[0, 0x7F00], [0xFFFF, 0x0100]], dtype=np.uint16)
    rgb = saved(PIL.fromarray(grey), tmp_path / "deep.png")
    assert rgb[..., 0].tolist() == [[0, 0x7F], [0xFF, 1]]


def test_transparent_parts_are_white_not_black(tmp_path):
    rgba = PIL.new("RGBA", (2, 1), (0, 0, 0, 0))
    rgba.putpixel((1, 0), (10, 20, 30, 255))
    assert saved(rgba, tmp_path / "a.png").tolist() == [[[255] * 3, [10, 20, 30]]]
    palette = PIL.new("P", (2, 1), 0)
    palette.putpalette([1, 2, 3, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    rgb = saved(palette, tmp_path / "p.png", transparency=0)
    assert rgb.tolist() == [[[255] * 3, [10, 20, 30]]]


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [PIL.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    rgb = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (rgb == [250, 0, 0]).all()


def test_pictures_are_turned_upright(tmp_path):
    tag = PIL.Exif()
    tag[0x0112] = 6
    assert saved(PIL.new("RGB", (8, 4)), tmp_path / "turned.jpg", exif=tag).shape == (8, 4, 3)


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body
            + struct.pack(">I", zlib.crc32(body)))


def test_bombs_and_stripes_are_refused(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(60000, 60000) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e")
    with pytest.raises(ImageProblem, match="too many pixels"):
        open_rgb(bomb)
    PIL.new("RGB", (1, 500)).save(tmp_path / "stripe.png")
    with pytest.raises(ImageProblem, match="1 x 500 pixels"):
        open_rgb(tmp_path / "stripe.png")


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def test_pictures_are_found_by_token(tmp_path):
    touch(tmp_path, "1.JPG", "2.jpeg", "a%2Fb.png", "x.txt", "3.webp.tmp", "c d.gif")
    (tmp_path / "4.png").mkdir()
    result = find_images(tmp_path, ["1", "2", "3", "4", "a/b", "x", "c d"])
    assert {token: path.name for token, path in result.items()} == {
        "1": "1.JPG", "2": "2.jpeg", "a/b": "a%2Fb.png", "c d": "c d.gif"}


def test_of_several_pictures_the_first_counts_and_is_said(tmp_path, caplog):
    touch(tmp_path, "1.jpg", "1.png", "2.png")
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        assert find_images(tmp_path, ["1", "2"])["1"].name == "1.png"
    assert "1 items have several pictures" in caplog.text and "['1.png', '1.jpg']" in caplog.text


def test_no_folder_and_no_match_are_errors(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}/none.*No such file.*--images"):
        find_images(tmp_path / "none", ["1"])
    touch(tmp_path, "photo1.jpg", "photo2.jpg", "photo3.jpg", "photo4.jpg")
    with pytest.raises(UserError, match=r"'photo1.jpg', 'photo2.jpg', 'photo3.jpg'\].*"
                                        r"\['1', '2', '3'\].*<item>.jpg"):
        find_images(tmp_path, ["1", "2", "3", "4"])
    (tmp_path / "tree/SKU").mkdir(parents=True)
    touch(tmp_path / "tree/SKU", "025.jpg")
    with pytest.raises(UserError, match=r"it has \[\] and the folders \['SKU'\], which are not "
                                        r"looked into.* as in SKU%2F025.jpg, all in one folder"):
        find_images(tmp_path / "tree", ["1", "SKU/025"])
    touch(tmp_path / "tree", "SKU%2F025.jpg")
    assert set(find_images(tmp_path / "tree", ["1", "SKU/025"])) == {"SKU/025"}
