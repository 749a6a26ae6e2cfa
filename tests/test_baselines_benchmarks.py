"""The benchmarks of the baselines: schedule, selection, tables and settings."""

import json
import re
import subprocess
import sys

import pytest
import torch
from benchmark_scripts import BENCHMARKS, scripts_of
from tiny import SETTINGS, write_tiny

from recbole_ssr import registry
from recbole_ssr.compare.options import options_of
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare

scripts = scripts_of(
    "datasets", "records", "protocol", "closed_forms", "lightgcn_features", "ablation_jobs",
    "ablation_runs", "ablation_table", "command", "baselines_settings", "baselines_table",
    "baselines_tiktok", "id_only_baby",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {**SETTINGS, **write_tiny(tmp_path_factory.mktemp("data"))}


# The schedule, with runs that take no time


@pytest.fixture
def fake(scripts, tmp_path):
    """Two models of two and one settings; `valid` and `test` give what a run would measure."""
    records, settings = scripts["records"], scripts["baselines_settings"]
    baselines, command = scripts["baselines_tiktok"], scripts["command"]

    class Fake:
        out, calls, broken = tmp_path / "out", [], set()
        groups = [settings.Group("A", "paper", [{"n_layers": 1}, {"n_layers": 2}]),
                  settings.Group("B", "paper", [{}], seeds=2),
                  settings.Group("A", "common", [{"n_layers": 1}, {"n_layers": 2}])]
        plan = settings.Plan("tiny", groups, {"A": ".0653/.0282"}, "† published elsewhere")
        valid = {"A paper 1": 0.1, "A paper 2": 0.2, "B paper 1": 0.3, "A common 1": 0.4,
                 "A common 2": 0.3}
        test = {"A paper 1": 0.9, "A paper 2": 0.25}
        hashes = {}

        def task(self, name, seed):
            return records.Task(name, seed, self.hashes.get(name, "0"))

        def execute(self, task):
            self.calls.append((task.variant, task.seed))
            if task.variant in self.broken:
                return "MemoryError: too large"
            name = task.variant
            valid = {"recall@20": self.valid[name] + 0.001 * task.seed}
            test = {f"{m}@{k}": self.test.get(name, 0.5) + 0.002 * task.seed
                    for m in ("recall", "ndcg") for k in (10, 20)}
            records.write(self.out, records.Record(
                name, "package", {}, task.seed, task.config_hash, valid, test, 3, 10, 1.5, 700.0,
                1234))
            return None

        def schedule(self, **options):
            return baselines.Schedule(self.groups, self.task, self.out, **options)

        def go(self, jobs=1):
            self.calls.clear()
            source = self.schedule()
            command.perform(baselines.lines_of(self.plan), source, self.out, jobs, self.execute)
            assert source.left == 0
            return source

        def table(self):
            return "\n".join(scripts["baselines_table"].render(
                self.schedule(retry=False), self.plan, self.out))

    return Fake()


FIRST = [("A paper 1", 1), ("A paper 2", 1), ("B paper 1", 1), ("A common 1", 1), ("A common 2", 1)]
REST = [("A paper 2", 2), ("B paper 1", 2), ("A common 1", 2), ("A paper 2", 3), ("A common 1", 3)]


def test_settings_come_first_and_then_the_seeds_of_what_validation_chose(fake):
    source = fake.schedule()
    assert (source.done, source.left) == (0, 10)
    fake.go()
    assert fake.calls == FIRST + REST
    # The setting that the test part would have chosen has one seed.
    assert fake.test["A paper 1"] > fake.test["A paper 2"]


def test_two_jobs_start_every_run_once_and_seeds_as_soon_as_they_are_known(fake):
    fake.go(jobs=2)
    assert sorted(fake.calls) == sorted(FIRST + REST)
    assert fake.calls.index(("A common 2", 1)) < fake.calls.index(("A common 1", 2))


def test_nothing_is_decided_while_a_setting_is_running(fake):
    source = fake.schedule()
    running = [source.take() for _ in FIRST]
    assert source.take() is None and source.left == 10
    for task in running[1:3]:
        fake.execute(task)
        source.finished(task)
    # B is decided, A is not.
    assert source.winners == {"B paper": "B paper 1"}
    assert source.take() == fake.task("B paper 1", 2) and source.take() is None


def test_running_again_does_only_what_is_missing(fake):
    fake.go()
    assert fake.go().done == 10 and fake.calls == []
    (fake.out / "A_paper_2.seed3.json").unlink()
    fake.go()
    assert fake.calls == [("A paper 2", 3)]
    fake.hashes = {"B paper 1": "1"}
    source = fake.go()
    assert fake.calls == [("B paper 1", 1), ("B paper 1", 2)]
    assert any("other settings" in note for note in source.notes)


def test_a_failing_setting_is_recorded_and_the_others_go_on(fake):
    fake.broken = {"A paper 2", "B paper 1"}
    fake.go()
    assert ("A paper 1", 3) in fake.calls and ("A paper 2", 2) not in fake.calls
    assert ("B paper 1", 2) not in fake.calls and ("A common 1", 3) in fake.calls
    text = fake.table()
    assert "A paper (n_layers 2), seed 1: MemoryError: too large" in text
    assert "B paper (defaults), seed 1: MemoryError: too large" in text
    assert json.loads((fake.out / "B_paper_1.seed1.json").read_text())["error"]
    fake.broken = set()
    fake.go()
    assert fake.calls[:2] == [("A paper 2", 1), ("B paper 1", 1)]
    assert ("A paper 2", 3) in fake.calls and ("A paper 1", 2) not in fake.calls


SCRIPT = """
import sys
sys.path[:0] = {paths}
import baselines_tiktok as baselines, command
from baselines_settings import Group, Plan
command.convert = lambda *_: {data}
plan = Plan("tiny", [Group("BPR", "paper", [{{"embedding_size": 2}}], seeds=1),
                     Group("SSR", "paper",
                           [{{"band_filter": "svd", "n_bands": 2, "svd_bands": 5}}])], {{}}, "none")
if __name__ == "__main__":
    sys.exit(baselines.main(None, plan, __file__, "A test."))
"""


def test_a_failing_process_leaves_its_reason_and_ends_nothing(scripts, tiny, tmp_path):
    """The whole command, with processes of a model that trains and of one that does not."""
    data = {**tiny, "topk": [10, 20], "valid_metric": "Recall@20"}
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT.format(paths=[str(BENCHMARKS)], data=data))
    done = subprocess.run([sys.executable, script, "--out", out, "--epochs", "1"],
                          capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "0 of 4 runs are done" in done.stdout and "missing" not in done.stdout
    assert re.search(r"^BPR +\| paper +\| 1 \| \d?\.", done.stdout, re.M)
    assert re.search(r"^SSR +\| paper +\| 0 \| failed", done.stdout, re.M)
    record = scripts["records"].read(out / "SSR_paper_1.seed1.json")
    assert "svd_bands" in record.error and record.settings["svd_bands"] == 5
    trained = scripts["records"].read(out / "BPR_paper_1.seed1.json")
    assert trained.error is None and trained.epochs == 1 and trained.parameters == 2 * (41 + 25)


def test_unknown_models_are_named(scripts):
    baselines, plan = scripts["baselines_tiktok"], scripts["baselines_settings"].TIKTOK
    with pytest.raises(UserError, match="no model 'LightCGN'.*LightGCN"):
        baselines.selected(plan, ["LightCGN"])
    assert {group.model for group in baselines.selected(plan, ["SSR"])} == {"SSR"}


# The tables


def test_the_table_shows_test_of_chosen_settings_alone_and_marks_published_numbers(fake, scripts):
    fake.go()
    text = fake.table()
    rows = {tuple(cell.strip() for cell in line.split("|"))[:2]:
            [cell.strip() for cell in line.split("|")] for line in text.splitlines()
            if line.startswith(("A ", "B "))}
    quality = text.split("\n\n")[0].splitlines()
    assert "published†" in quality[0] and "† published elsewhere" in text
    cells = [cell.strip() for cell in quality[2].split("|")]
    assert cells == ["A", "paper", "3", ".2020±10", *[".2540±20"] * 4, ".0653/.0282"]
    # Once for a model, and nothing of the setting with .9 on test.
    assert text.count(".0653/.0282") == 1 and ".90" not in text and ".91" not in text
    assert rows["A", "paper"][-1] == "n_layers 2" and rows["B", "paper"][-1] == "defaults"
    assert (fake.out / "results.md").read_text() == text + "\n"
    assert ".90" not in (fake.out / "results.csv").read_text()
    assert max(map(len, text.splitlines())) <= scripts["ablation_table"].WIDTH


def test_an_interrupted_benchmark_shows_no_test_of_what_is_not_decided(fake):
    fake.go()
    for name in ("A_paper_1.seed1", "A_common_2.seed1"):
        (fake.out / f"{name}.json").unlink()
    text = fake.table()
    lines = [line for line in text.splitlines() if line.startswith("A  ")]
    assert len(lines) == 2 and all("1 of 2 settings" in line for line in lines)
    assert ".2540" not in text and "6 runs are missing" in text


# The settings


def test_every_setting_is_one_of_its_model_and_trains(scripts, tiny, caplog):
    """build_config refuses unknown keys and warns of those of other models."""
    data = {key: tiny[key] for key in ("data_path", "split_column", "load_col")}
    for plan in (scripts["baselines_settings"].TIKTOK, scripts["id_only_baby"].BABY):
        for name, line in scripts["baselines_tiktok"].lines_of(plan).items():
            caplog.clear()
            settings = scripts["ablation_runs"].settings_of(line, data, 1)
            config = build_config(line.model, "tiny", config_dict=settings)
            assert not caplog.records, (name, caplog.text)
            assert all(config[key] == value for key, value in line.settings.items()), name
            experiment = prepare(config)
            loss = experiment.model.calculate_loss(next(iter(experiment.train)))
            assert torch.isfinite(sum(loss) if isinstance(loss, tuple) else loss), name


def test_the_comparison_on_tiktok_has_every_model_with_a_setting_of_the_budget(scripts):
    asked = options_of([BENCHMARKS / "compare_tiktok.yaml"], {})
    tried = scripts["baselines_settings"].OWN | scripts["baselines_settings"].CLOSED_FORMS
    models = {model for model, _ in asked.models.values()}
    assert models == {*registry.MODELS, "BPR", "LightGCN"}
    for label, (model, own) in asked.models.items():
        own = {key: value for key, value in own.items() if key != "profile"}
        assert not own or own in tried[model], label
    base = scripts["baselines_settings"].BASE["paper"]
    assert {key: asked.settings[key] for key in base} == base


def test_the_comparison_on_baby_has_every_model_with_its_published_settings():
    asked = options_of([BENCHMARKS / "compare_baby.yaml"], {})
    assert {model for model, _ in asked.models.values()} == {*registry.MODELS, "BPR", "LightGCN"}
    profiled = {file.name.split(".")[0]
                for file in (registry.properties_folder() / "model").glob("*.amazon-baby.yaml")}
    own = {label: settings for label, (_, settings) in asked.models.items() if settings}
    assert own.pop("SSR-reference")["profile"] == "reference"
    assert own == {model: {"profile": "amazon-baby"} for model in profiled}


def test_every_model_is_compared_within_the_budget(scripts):
    settings = scripts["baselines_settings"]
    models = {group.model for group in settings.TIKTOK.groups}
    assert models == {*registry.MODELS, "BPR", "LightGCN"}
    for group in settings.TIKTOK.groups:
        most = 1 if group.objective == settings.COMMON else 3
        assert len(group.settings) == (1 if group.model == "SSR" else most), group.title
        assert len(set(map(str, group.settings))) == len(group.settings)
    assert settings.TIKTOK.published.keys() <= models
    # A model of the common objective has the same one, width and sampling as every other.
    lines = scripts["baselines_tiktok"].lines_of(settings.TIKTOK)
    for group in settings.TIKTOK.groups:
        if group.objective == settings.COMMON:
            for name in group.names:
                assert lines[name].settings["objective"] == "sampled_softmax"
                assert lines[name].settings["embedding_size"] == 64
