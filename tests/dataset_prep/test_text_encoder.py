"""Text encoders: sentence-transformers on a tiny model, and what happens without it."""

import json
import logging
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models

from recbole_ssr.dataset_prep import pretrained
from recbole_ssr.dataset_prep.encode import encode_items
from recbole_ssr.dataset_prep.pretrained import Unavailable, resolve_device
from recbole_ssr.dataset_prep.text_encoder import default_text_encoder, text_encoder
from recbole_ssr.errors import UserError

TEXTS = ["red cotton shirt", "red cotton dress", "usb cable black", "a b c", "shirt"]


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("sentence_transformers", reason="needs recbole_ssr[encode]")


@pytest.fixture(scope="module")
def model(library, tmp_path_factory):  # noqa: ARG001
    return tiny_models.sentence_model(tmp_path_factory.mktemp("sentences"))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache of the hub, and a hub whose every address is refused at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = pytest.importorskip("huggingface_hub", reason="needs recbole_ssr[encode]")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)


def test_vectors_are_those_of_the_library(library, model):
    encoder = text_encoder(str(model), "cpu")
    rows = encoder.encode(TEXTS)
    expected = library.SentenceTransformer(str(model), device="cpu").encode(TEXTS)
    assert rows.dtype == np.float32 and encoder.dim == 32
    assert np.allclose(rows, expected, atol=1e-6)
    assert encoder.name == "sentence-transformers model"


def test_the_batch_size_does_not_matter(model, tmp_path):
    result = []
    for size in (1, 2, 64):
        encode_items(list("abcde"), TEXTS, text_encoder(str(model), "cpu"), tmp_path / str(size),
                     "text", tmp_path / f"cache{size}", batch_size=size, show_progress=False)
        result.append(np.load(tmp_path / str(size) / "text.npy"))
    assert np.allclose(result[0], result[1], atol=1e-5)
    assert np.allclose(result[0], result[2], atol=1e-5)


def test_the_key_follows_the_weights_and_settings(model, tmp_path):
    other = tiny_models.sentence_model(tmp_path / "other", seed=1)
    key = text_encoder(str(model), "cpu").key
    assert text_encoder(str(model), "cpu").key == key
    assert text_encoder(str(other), "cpu").key != key
    pooling = other / "1_Pooling" / "config.json"
    before = text_encoder(str(other), "cpu").key
    settings = json.loads(pooling.read_text())
    pooling.write_text(json.dumps(settings, indent=7))
    assert text_encoder(str(other), "cpu").key != before


def test_lone_surrogates_of_json_are_no_error(model):
    assert np.isfinite(text_encoder(str(model), "cpu").encode(["red \ud83d"])).all()


def test_an_absent_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(Unavailable, match=r"sentence_transformers.*pip install recbole_ssr\[encod"):
        text_encoder("any/model")


@pytest.mark.usefixtures("library", "no_network")
def test_offline_says_the_name_the_reason_and_the_remedy_at_once():
    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"'sentence-transformers/all-MiniLM-L6-v2'.*") as error:
        text_encoder("all-MiniLM-L6-v2", "cpu")
    assert time.monotonic() - start < 15
    assert "offline" in str(error.value).lower()
    assert "--text_encoder=FOLDER" in str(error.value)
    assert "--text_encoder=tfidf" in str(error.value)


@pytest.mark.usefixtures("library", "no_network")
def test_the_hub_is_asked_once(monkeypatch):
    import huggingface_hub

    asked = []

    def refuse(_, model, timeout):
        asked.append((model, timeout))
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(Unavailable, match="no route to host"):
        text_encoder("some/model", "cpu")
    assert asked == [("some/model", pretrained._TIMEOUT)]


def in_hub_cache(model, cache):
    """Put a model into a cache as the hub's library lays it out; return its snapshot."""
    home = cache / "models--some--model"
    snapshot = home / "snapshots" / ("0" * 40)
    shutil.copytree(model, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    return snapshot


@pytest.mark.usefixtures("no_network")
def test_a_model_in_the_cache_of_the_hub_needs_no_network(model, tmp_path):
    snapshot = in_hub_cache(model, tmp_path)
    encoder = text_encoder("some/model", "cpu")
    assert np.allclose(encoder.encode(TEXTS), text_encoder(str(model), "cpu").encode(TEXTS))
    # What an interrupted download leaves is not taken for the model.
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(Unavailable, match="could not be downloaded"):
        text_encoder("some/model", "cpu")


@pytest.mark.usefixtures("no_network")
def test_a_download_takes_the_weights_once(model, monkeypatch):
    import huggingface_hub

    asked = {}

    def about(_, name, timeout):  # noqa: ARG001
        names = ("model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "modules.json")
        files = [SimpleNamespace(rfilename=name) for name in names]
        return SimpleNamespace(sha="1" * 40, siblings=files)

    def download(name, local_files_only=False, **options):
        if local_files_only:
            raise FileNotFoundError
        asked.update(options, name=name)
        return str(model)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", about)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert text_encoder("some/model", "cpu").encode(TEXTS).shape == (5, 32)
    assert asked["name"] == "some/model" and asked["revision"] == "1" * 40
    assert {"*.bin", "onnx/*"} <= set(asked["ignore_patterns"])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["./no/such/folder", "../model", "a/b/c", ""])
def test_a_wrong_folder_is_not_looked_up(name):
    with pytest.raises(Unavailable, match="neither a folder nor a name on the hub"):
        pretrained.model_folder(name, "modules.json", "")


@pytest.mark.usefixtures("library")
def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(Unavailable, match=f"{tmp_path}.*cannot be loaded"):
        text_encoder(str(tmp_path), "cpu")


def test_the_fallback_is_said_aloud(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        encoder = default_text_encoder(TEXTS, "cpu")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    for part in ("all-MiniLM-L6-v2 is not available", "pip install recbole_ssr[encode]", "TF-IDF",
                 "Accuracy differs", "--text_encoder=tfidf"):
        assert part in caplog.text
    rows = encoder.encode(TEXTS)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]


@pytest.mark.usefixtures("library", "no_network")
def test_the_fallback_also_serves_without_network(caplog):
    assert default_text_encoder(TEXTS, "cpu").name == "TF-IDF and SVD"
    assert "could not be downloaded" in caplog.text


def test_devices():
    assert resolve_device("cpu") == "cpu" and resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(UserError, match="'gpu'. Use auto, cpu, cuda or cuda:N"):
        resolve_device("gpu")
    with pytest.raises(UserError, match="'cuda:99', but PyTorch sees"):
        resolve_device("cuda:99")
    with pytest.raises(UserError, match="'gpu'"):
        default_text_encoder(TEXTS, "gpu")
