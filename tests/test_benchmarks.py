"""The benchmark scripts, on data small enough to check them by other means."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from benchmark_scripts import scripts_of
from tiny import SETTINGS, write_tiny

from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare, run, trainer_of

scripts = scripts_of(
    "datasets", "records", "protocol", "closed_forms", "lightgcn_features", "ablation_jobs",
    "ablation_runs", "ablation_table", "command", "ssr_ablation", "step_time", "prepare_time",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {**SETTINGS, **write_tiny(tmp_path_factory.mktemp("data")), "seed": 1}


@pytest.fixture(scope="module")
def split(scripts, tiny):
    protocol = scripts["protocol"]
    data = {key: tiny[key] for key in ("data_path", "split_column", "load_col", "seed")}
    return protocol.load_split(protocol.data_config("tiny", data))


def train_matrix(split):
    R = np.zeros((split.n_users, split.n_items))
    R[split.train] = 1
    return R


# The protocol


def test_metrics_outside_recbole_are_those_of_the_package(scripts, split, tiny, tmp_path,
                                                          monkeypatch):
    protocol = scripts["protocol"]
    monkeypatch.setattr(protocol, "CUTOFFS", (1, 2))  # of 24 items
    settings = {**tiny, "topk": [1, 2], "valid_metric": "Recall@2"}
    experiment = prepare(build_config("SSR", "tiny", config_dict=settings))
    experiment.config["run_folder"] = experiment.config["checkpoint_dir"] = str(tmp_path)
    user, item = experiment.model.eval().encode()
    for part in ("valid", "test"):
        trainer = trainer_of(experiment)
        expected = trainer.evaluate(getattr(experiment, part), load_best_model=False)
        found = protocol.measure(lambda users: user[users] @ item.T, split, part)
        assert 0 < found.metrics["recall@2"] < 1
        assert found.metrics == pytest.approx(dict(expected), abs=1e-6)
        assert found.recall.mean().item() == pytest.approx(found.metrics["recall@2"])


def test_recall_by_user_averages_to_the_result_of_the_run(scripts, tiny, tmp_path):
    settings = {**tiny, "epochs": 1, "topk": [1, 2], "valid_metric": "Recall@2",
                "run_dir": str(tmp_path)}
    trained = run("SSR", "tiny", config_dict=settings)
    found = scripts["ablation_runs"].recall_of_run(trained, cutoff=2)
    for part, (users, recall) in found.items():
        assert len(users) == len(recall) == len(set(users.tolist())) == 40
        assert 0 < recall.mean().item() < 1
        assert recall.mean().item() == pytest.approx(getattr(trained, part)["recall@2"], abs=1e-6)


# Lines


def test_every_variant_builds_a_model_and_names_fit_the_table(scripts, tiny):
    ablation, table = scripts["ssr_ablation"], scripts["ablation_table"]
    hashes = {}
    for name, line in ablation.lines(3).items():
        assert len(name) <= table._NAME
        data = {key: value for key, value in tiny.items() if key != "embedding_size"}
        task = scripts["ablation_runs"].task_of(name, line, "tiny", data, 1)
        hashes.setdefault(task.config_hash, []).append(name)
        if line.program == "lightgcn":
            assert line.settings.keys() <= scripts["lightgcn_features"].DEFAULTS.keys()
        if line.program == "package":
            settings = scripts["ablation_runs"].settings_of(line, data, 1)
            experiment = prepare(build_config("SSR", "tiny", config_dict=settings))
            batch = next(iter(experiment.train))
            assert torch.isfinite(sum(experiment.model.calculate_loss(batch)))
    paths = {scripts["records"].path_of(Path(), name, 1) for name in ablation.lines(3)}
    assert len(paths) == len(ablation.lines(3))
    # Only an option that became the default may equal another line.
    assert all("default" in names for names in hashes.values() if len(names) > 1)


def test_an_option_that_is_the_default_has_no_run_of_its_own(scripts, tiny, monkeypatch):
    ablation, Line = scripts["ssr_ablation"], scripts["ablation_runs"].Line
    monkeypatch.setattr(ablation, "DATASET", "tiny")
    table = {"default": Line("package", {}, 2), "same": Line("package", {"topk": [2, 5]}, 1),
             "other": Line("package", {"n_layers": 1}, 1)}
    tasks = [(task.variant, task.seed) for task in ablation.tasks_of(table, tiny)]
    assert tasks == [("default", 1), ("other", 1), ("default", 2)]


def test_the_hash_of_a_run_moves_with_settings_and_seed(scripts, tiny):
    task_of, Line = scripts["ablation_runs"].task_of, scripts["ablation_runs"].Line
    for program, settings in (("package", {"mask_rate": 0.4}), ("lightgcn", {"n_layers": 2})):
        tasks = [task_of("x", Line(program, s, 1), "tiny", tiny, seed)
                 for s, seed in (({}, 1), ({}, 1), (settings, 1), ({}, 2))]
        assert tasks[0] == tasks[1]
        assert len({task.config_hash for task in tasks}) == 3


# Resuming


@pytest.fixture
def fake(scripts, tmp_path):
    """A benchmark of three lines whose runs take no time; `calls` lists those that were done."""
    ablation, records, command = (
        scripts[name] for name in ("ssr_ablation", "records", "command"))

    class Fake:
        out, calls, broken = tmp_path / "out", [], set()
        table = {name: ablation.Line("package", {}, 2) for name in ("default", "a/b", "c")}

        def tasks(self, hashes=None):
            return [records.Task(name, seed, (hashes or {}).get(name, "0"))
                    for seed in (1, 2) for name in self.table]

        def execute(self, task):
            self.calls.append((task.variant, task.seed))
            if task.variant in self.broken:
                return "MemoryError: too large"
            value = {"recall@20": 0.1 + 0.01 * task.seed, "ndcg@20": 0.05}
            users = np.arange(1, 6)
            records.write(
                self.out,
                records.Record(task.variant, "package", {}, task.seed, task.config_hash, value,
                               value, 3, 10, 1.5, 700.0),
                {part: (users, np.full(5, 0.1)) for part in ("valid", "test")},
            )
            return None

        def go(self, hashes=None):
            self.calls.clear()
            source = command.Fixed(self.tasks(hashes), self.out)
            command.perform(self.table, source, self.out, 2, self.execute)
            assert source.left == 0
            return source.notes

    return Fake()


def test_running_again_does_only_what_is_missing(fake):
    assert fake.go() == [] and len(fake.calls) == 6
    fake.go()
    assert fake.calls == []
    (fake.out / "a_b.seed2.json").unlink()
    fake.go()
    assert fake.calls == [("a/b", 2)]


def test_runs_of_other_settings_do_not_count_and_this_is_said(fake):
    fake.go()
    notes = fake.go({"c": "1"})
    assert sorted(fake.calls) == [("c", 1), ("c", 2)]
    assert len(notes) == 2 and "c.seed1.json" in notes[0] and "other settings" in notes[0]
    (fake.out / "c.seed1.json").write_text("{")
    assert "no record" in fake.go({"c": "1"})[0]
    assert fake.calls == [("c", 1)]


def test_runs_of_several_commits_are_pointed_out(fake):
    fake.go()
    path = fake.out / "c.seed1.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "versions": {"commit": "abc1234"}}))
    assert "several commits: abc1234, unknown" in fake.go()[0]


def test_a_failure_is_recorded_tried_again_and_stops_nothing(fake, scripts):
    fake.broken = {"a/b"}
    fake.go()
    assert len(fake.calls) == 6
    records, missing, _ = scripts["records"].sort_out(fake.out, fake.tasks())
    assert [r.error for r in records if r.error] == ["MemoryError: too large"] * 2
    assert [task.variant for task in missing] == ["a/b"] * 2
    text = "\n".join(scripts["ablation_table"].render(records, list(fake.table), fake.out))
    assert "a/b failed: MemoryError: too large" in text
    fake.broken = set()
    fake.go()
    assert sorted(fake.calls) == [("a/b", 1), ("a/b", 2)]


def test_a_process_that_fails_gives_its_last_line_as_the_reason(scripts, tmp_path):
    jobs, Task = scripts["ablation_jobs"], scripts["records"].Task
    script = tmp_path / "script.py"
    script.write_text("import sys; print('first'); sys.exit('ValueError: the reason')")
    assert jobs.Processes(script, tmp_path, 1)(Task("x", 1, "0")) == "ValueError: the reason"
    script.write_text("import os; os.kill(os.getpid(), 9)")
    assert "signal 9" in jobs.Processes(script, tmp_path, 1)(Task("x", 1, "0"))


def test_unknown_lines_and_missing_data_are_errors_with_a_remedy(scripts, tmp_path, capsys):
    ablation = scripts["ssr_ablation"]
    assert ablation.main(["--out", str(tmp_path), "--data", str(tmp_path), "--table"]) == 2
    assert "--data" in capsys.readouterr().err
    with pytest.raises(UserError, match="Did you mean|default"):
        scripts["command"].chosen(ablation.lines(1), ["defualt"])


# The table


def test_the_table_fits_the_screen_and_compares_pairs(scripts, tmp_path):
    records, table = scripts["records"], scripts["ablation_table"]
    names = [*scripts["ssr_ablation"].lines(3)]
    rng, done = np.random.default_rng(0), []
    for name in names:
        for seed in (1, 2, 3):
            shift = 0.01 if name == table.RIVAL else 0.0
            users = rng.permutation(np.arange(1, 201))
            recall = np.where(users % 3 == 0, 0.5, 0.0) + shift
            value = {"recall@20": recall.mean() + 0.001 * rng.random(), "ndcg@20": 0.0431}
            done.append(records.Record(name, "package", {}, seed, "0", value, value, 123, 150,
                                       123.4, 12345.6))
            records.write(tmp_path, done[-1],
                          {part: (users, recall) for part in ("valid", "test")})
    lines = table.render(done, names, tmp_path)
    assert max(map(len, lines)) <= table.WIDTH
    assert (tmp_path / "results.md").read_text() == "\n".join(lines) + "\n"
    assert len((tmp_path / "results.csv").read_text().splitlines()) == len(names) + 1
    found = table.per_user(done, tmp_path, "test", table.REFERENCE, table.RIVAL)
    assert found["difference"] == pytest.approx(-0.01) and found["users"] == 200
    assert found["p"] < 0.001
    rows = {row["line"]: row for row in table.rows_of(done, names)}
    assert rows[table.RIVAL]["d_valid"] == pytest.approx(0.01, abs=0.001)
    assert rows[table.RIVAL]["p_valid"] < 0.05 and "d_valid" not in rows["default"]
    assert json.loads((tmp_path / "default.seed1.json").read_text())["settings"] == {}


# Closed forms and LightGCN against dense formulas


def test_closed_forms_equal_their_dense_formulas(scripts, split):
    R, users = train_matrix(split), torch.arange(split.n_users)
    fit = scripts["closed_forms"].fit
    d_user, d_item = R.sum(1), R.sum(0)
    scale = np.sqrt(np.maximum(np.outer(d_user, d_item), 1e-9))
    N = np.where(R > 0, R / scale, 0)
    V = np.linalg.svd(N)[2][:5].T
    root = np.diag(np.sqrt(d_item))
    low = R @ np.linalg.pinv(root) @ V @ V.T @ root
    found = fit(split, "gf-cf", modes=5, alpha=3.0)(users)
    np.testing.assert_allclose(found, R @ N.T @ N + 3 * low, atol=1e-4)

    F = np.concatenate([f.numpy() for f in split.features.values()], axis=1)
    P = np.linalg.inv(R.T @ R + 2.0 * F @ F.T + 30 * np.eye(len(F)))
    B = np.eye(len(F)) - P / np.diag(P)
    found = fit(split, "ease", ridge=30.0, beta=2.0)(users)
    np.testing.assert_allclose(found, R @ B, atol=1e-5)
    found = fit(split, "popularity")(users)
    np.testing.assert_allclose(found, np.tile(d_item, (len(R), 1)))
    with pytest.raises(ValueError, match="no closed form 'x'"):
        fit(split, "x")


def test_lowest_modes_holds_every_copy_of_a_repeated_singular_value(scripts):
    """Thirty components of one pair each and one larger block: thirty-one times the value 1."""
    rng = np.random.default_rng(1)
    block = sp.csr_matrix((rng.random((60, 50)) < 0.2).astype(float))
    R = sp.block_diag([sp.identity(30), block, sp.csr_matrix((3, 4))]).tocsr()
    P = scripts["closed_forms"].normalised(R)
    for k in (20, 31, 40):
        Vt = scripts["closed_forms"].lowest_modes(P, k)
        np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), atol=1e-8)
        s = np.linalg.svd(P.toarray(), compute_uv=False)[:k]
        np.testing.assert_allclose(np.linalg.norm(P @ Vt.T, axis=0), s, atol=1e-8)


@pytest.mark.parametrize("with_features", [True, False])
def test_lightgcn_equals_its_dense_formula(scripts, split, with_features):
    module = scripts["lightgcn_features"]
    graph = module.BipartiteGraph(*split.train, split.n_users, split.n_items)
    features = list(split.features.values()) if with_features else []
    model = module.LightGCN(graph, features, 8, 3, None)
    R, U = train_matrix(split), split.n_users
    A = np.zeros((U + split.n_items,) * 2)
    A[:U, U:], A[U:, :U] = R, R.T
    D = np.diag(np.where(A.sum(0) > 0, np.maximum(A.sum(0), 1) ** -0.5, 0))
    A = D @ A @ D
    item = model.E_item.detach().numpy().astype(float)
    for layer, F in zip(model.W, features):
        item += F.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    X = np.concatenate([model.E_user.detach().numpy(), item])
    expected = (X + A @ X + A @ A @ X + A @ A @ A @ X) / 4
    with torch.no_grad():
        found = torch.cat(model.encode())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("objective", ["cosine_softmax", "bce"])
def test_lightgcn_learns_and_selects_on_validation(scripts, split, objective):
    module = scripts["lightgcn_features"]
    options = {**module.DEFAULTS, "objective": objective, "epochs": 5, "learning_rate": 0.01}
    first, again = (module.train(split, options, 3) for _ in range(2))
    assert first.curve == again.curve and len(first.curve) == 5
    assert first.curve[first.best_epoch] == max(first.curve)
    assert first.valid.metrics["recall@20"] == pytest.approx(max(first.curve))


# Datasets


def test_conversion_happens_once_and_missing_files_are_named(scripts, tmp_path):
    datasets, source = scripts["datasets"], tmp_path / "data"
    with pytest.raises(FileNotFoundError, match="name the folder that holds baby-lattice"):
        datasets.convert("baby-lattice", source, tmp_path / "out")
    (source / "baby-lattice").mkdir(parents=True)
    pairs = [f"{u}\t{(u + k) % 7}\t{min(k, 2)}" for u in range(5) for k in range(3)]
    (source / "baby-lattice/baby.inter").write_text("\n".join(["userID\titemID\tx_label", *pairs]))
    settings = datasets.convert("baby-lattice", source, tmp_path / "out")
    converted = tmp_path / "out" / "baby-lattice"
    assert np.load(converted / "features/image.npy").shape == (7, 4096)
    stamp = (converted / "features/text.npy").stat().st_mtime_ns
    assert datasets.convert("baby-lattice", source, tmp_path / "out") == settings
    assert (converted / "features/text.npy").stat().st_mtime_ns == stamp
    bare = datasets.convert("baby-lattice", source, tmp_path / "bare", features=False)
    assert not (Path(bare["data_path"]) / "baby-lattice/features").exists()
    config = scripts["protocol"].data_config("baby-lattice", settings)
    split = scripts["protocol"].load_split(config)
    assert split.n_items == 8 and split.features["text"].shape == (8, 384)
    assert sp.coo_matrix(scripts["closed_forms"].interactions(split)).nnz == 5


def test_the_preparation_of_made_files_reports_time_and_memory(scripts, tmp_path, monkeypatch,
                                                              capsys):
    monkeypatch.setattr(sys, "argv", [
        "prepare_time.py", f"--folder={tmp_path}", "--users=120", "--items=40",
        "--interactions=900", "--image_items=60"])
    scripts["prepare_time"].main()
    out = capsys.readouterr().out
    assert "900 interactions read, 0 repeated pairs dropped, 900 left in the 5-core" in out
    assert re.search(r"s wall, .* s processor, peak [\d,]+ MiB", out)
    inter = tmp_path / "data/amazon-Benchmark_Goods/amazon-Benchmark_Goods.inter"
    assert len(inter.read_text().splitlines()) == 901
