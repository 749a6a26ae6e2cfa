"""What a run says of the memory that it will need, and whether that is so."""

import json
import logging
from types import SimpleNamespace

import pytest
from benchmark_scripts import scripts_of
from tiny import SETTINGS, write_tiny

from recbole_ssr import memory
from recbole_ssr.config import build_config
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.errors import UserError
from recbole_ssr.footprint import Footprint
from recbole_ssr.memory import ACCURACY, Memory, memory_of, tell_footprint

scripts = scripts_of("datasets", "step_time", "made_data", "scaling")
GIB = 2**30


def told(monkeypatch, caplog, gib, total, free):
    """Let a model of `gib` begin on a machine of these sizes; return the records of the log."""
    needed = Footprint({"parameters": int((gib - 1) * GIB)}, {"of a step": GIB, "of none": 5},
                       ("embedding_size", "n_bands"))
    config = {"model": "SSR", "device": "cpu"}
    config = type("Config", (dict,), {
        "model_class": SimpleNamespace(footprint=lambda *_: needed)})(config)
    sizes = Memory(*(None if size is None else int(size * GIB) for size in (total, free)))
    monkeypatch.setattr(memory, "memory_of", lambda _: sizes)
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        tell_footprint(config, None)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_run_that_fits_says_what_it_needs_and_for_what(monkeypatch, caplog):
    assert told(monkeypatch, caplog, 4, 24, 20) == [
        ("INFO", "SSR needs about 4.0 GiB of memory at its peak: 3.0 GiB parameters, 1.0 GiB of a "
                 "step")]


@pytest.mark.parametrize("free", [4.3, 1])
def test_a_run_that_may_not_fit_warns_and_names_what_to_lower(monkeypatch, caplog, free):
    ((level, message),) = told(monkeypatch, caplog, 4, 24, free)
    assert level == "WARNING"
    assert message.endswith(f"; {free:.1f} GiB are free. If it is ended for lack of memory, lower "
                            "embedding_size, n_bands")


def test_a_run_that_cannot_fit_is_refused(monkeypatch, caplog):
    with pytest.raises(UserError, match=r"10\.0 GiB .* has 6\.0 GiB. Lower embedding_size, n_b"):
        told(monkeypatch, caplog, 10, 6, 5)
    assert told(monkeypatch, caplog, 10, 10 / ACCURACY + 0.1, 9)[0][0] == "WARNING"


def test_a_system_that_tells_nothing_and_a_small_run_are_left_alone(monkeypatch, caplog):
    assert told(monkeypatch, caplog, 4, None, None)[0][0] == "INFO"
    caplog.clear()
    assert told(monkeypatch, caplog, 1 + 1e-9, 24, 0.1)[0][0] == "WARNING"


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    import torch

    machine = memory_of(torch.device("cpu"))
    assert machine.total >= machine.free > 0
    file = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "none"), str(file)))
    for text, total in (("max\n", machine.total), (f"{10**8}\n", 10**8),
                        (f"{2**62}\n", machine.total)):
        file.write_text(text)
        assert memory_of(torch.device("cpu")).total == total


def test_a_batch_above_the_data_needs_what_the_data_need(tmp_path):
    needed = []
    for size in (10**5, 10**6):
        config = build_config("SSR", "tiny", config_dict={
            **SETTINGS, **write_tiny(tmp_path), "train_batch_size": size})
        needed.append(config.model_class.footprint(config, MultimodalDataset(config).build()[0]))
    assert needed[0] == needed[1] and needed[0].peak < GIB


@pytest.mark.slow
@pytest.mark.parametrize(("size", "changes"), [
    (200_000, {}), (200_000, {"embedding_size": 256, "n_bands": 5}),
    (400_000, {"feature_components": 16, "train_batch_size": 512}),
])
def test_the_peak_of_a_process_is_what_was_told(scripts, tmp_path, size, changes):
    """Of a few steps and an evaluation, with many users, within the factor that is stated."""
    script = scripts["scaling"]
    scripts["made_data"].make(tmp_path, script.name_of(size), users=size // 10, items=size // 40,
                              interactions=size, widths={"text": 64, "image": 64})
    settings = {**script.data_of(size, tmp_path), **changes}
    arguments = script.arguments_of(["--steps=1", "--blocks=1",
                                     f"--batch_size={changes.pop('train_batch_size', 2048)}"])
    found = script.measured("SSR", size, settings, arguments)
    assert "error" not in found, found
    config = build_config("SSR", script.name_of(size), config_dict={
        **settings, "train_batch_size": arguments.batch_size})
    needed = config.model_class.footprint(config, MultimodalDataset(config).build()[0])
    assert found["peak"] / ACCURACY < needed.peak / 2**20 < found["peak"] * ACCURACY, json.dumps(
        {**found, "told": needed.peak / 2**20})
