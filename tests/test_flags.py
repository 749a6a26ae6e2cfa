"""Flags and configuration files become plain values, and mistakes name their place."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ssr.errors import UserError
from recbole_ssr.flags import parse_flags, read_config_file


@pytest.mark.parametrize("text, value", [
    ("1e-3", 1e-3), ("1E5", 1e5), ("-2.5e+2", -250.0), ("-.5", -0.5), (".5e1", 5.0), ("7", 7),
    ("true", True), ("~", None), ("None", None), ("Recall@20", "Recall@20"), ("cuda:1", "cuda:1"),
    ("[10, 20]", [10, 20]), ("{'mode': {'valid':'full'}}", {"mode": {"valid": "full"}}),
    ("e5", "e5"), ("1e", "1e"), ("'1e-3'", "1e-3"),
])
def test_a_value_is_read_as_yaml(text, value):
    result = parse_flags([f"--x={text}"])["x"]
    assert result == value and type(result) is type(value)


@given(st.one_of(
    st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers()), st.text("abc =,#:-")))
def test_json_values_survive(value):
    assert parse_flags(["--key=" + json.dumps(value), "--other"])["key"] == value


def test_forms_of_a_flag():
    argv = ["--a=1", "--b", "2", "--c", "-1", "--on", "--split-seed=4", "--q=a=b", "--last"]
    assert parse_flags(argv) == {
        "a": 1, "b": 2, "c": -1, "on": True, "split_seed": 4, "q": "a=b", "last": True,
    }
    assert argv[0] == "--a=1"


@pytest.mark.parametrize("argv", [
    ["--config_files", "a.yaml", "b.yaml", "--seed=1"],
    ["--config-files=a.yaml b.yaml", "--seed=1"],
    ["--seed=1", "--config_files=a.yaml", "b.yaml"],
])
def test_config_files_is_a_list(argv):
    assert parse_flags(argv) == {"config_files": ["a.yaml", "b.yaml"], "seed": 1}


def test_a_file_whose_name_has_a_blank_is_one_file(tmp_path):
    file = tmp_path / "my settings.yaml"
    file.touch()
    assert parse_flags([f"--config_files={file}"]) == {"config_files": [str(file)]}


def test_code_stays_text(tmp_path):
    target = tmp_path / "X"
    code = f"__import__('os').system('touch {target}')"
    assert parse_flags([f"--seed={code}"]) == {"seed": code}
    with pytest.raises(UserError, match="--seed"):
        parse_flags([f"--seed=!!python/object/apply:os.system ['touch {target}']"])
    assert not target.exists()


@pytest.mark.parametrize("argv, told", [
    (["epochs=3"], "'epochs=3' is no flag. Did you forget '--'"),
    (["--metrics", "Recall", "NDCG"], "'NDCG' is no flag"),
    (["-x"], "'-x' is no flag"), (["--=3"], "'--=3' is no flag"),
    (["--seed=1", "--seed=2"], "--seed is given twice, as 1 and 2"),
    (["--vectors={image: v.npy, text: t.npy, image: w.npy}"], "'image' is given twice. Keep one"),
    (["--eval_args={mode: full, split: {RS: [1, 1], RS: [2, 1]}}"], "'RS' is given twice"),
    (["--topk=[1, 2"], r"--topk=\[1, 2 is no valid YAML"),
    (["--config_files", "--seed=1"], "names no file"),
    (["--config_files", "a.yaml", "--config_files=b.yaml"], "--config_files a.yaml b.yaml"),
])
def test_mistakes_are_named(argv, told):
    with pytest.raises(UserError, match=told):
        parse_flags(argv)


def test_a_dataset_is_called_as_it_is_typed():
    for name in ("007", "1e3", "NO", "12:30"):
        assert parse_flags([f"--dataset={name}", "--seed=007"])["dataset"] == name


def test_the_same_flag_twice_is_fine_but_true_is_not_one():
    assert parse_flags(["--seed=1", "--seed", "1"]) == {"seed": 1}
    with pytest.raises(UserError, match="True and 1"):
        parse_flags(["--seed", "--seed=1"])


def test_a_config_file_is_read_with_the_same_numbers(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("lr: 1e-3\nbig: 1e5\n3: x\n")
    content = read_config_file(file)
    assert math.isclose(content["lr"], 0.001) and content["big"] == 1e5 and content["3"] == "x"
    file.write_text("# nothing yet\n")
    assert read_config_file(file) == {}


def test_a_config_file_of_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("seed: 3\n")
    assert read_config_file("~/a.yaml") == {"seed": 3}


@pytest.mark.parametrize("text, told", [
    ("seed: 1\nepochs: [1\nx: 2\n", "a.yaml, line 3"),
    ("seed: 1\nlr: 2\nseed: 3\n", "a.yaml, line 3: 'seed' is given twice. Keep one"),
    ("just words", "a.yaml, line 1: expected a mapping, found str"),
    ("- seed\n", "found list"), ("a: !!python/name:os.system\n", "a.yaml, line 1"),
])
def test_a_bad_config_file_is_named_with_its_line(tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        read_config_file(tmp_path / "a.yaml")


@pytest.mark.parametrize("value", [
    "9" * 5000, "!!int x", "!!int ''", "2020-13-45", "!!timestamp x", "!!bool x", "[" * 500,
    "{" * 3000, "\x00", "'two\nlines", "*none",
])
def test_a_value_that_python_cannot_read_is_an_error_in_one_line(tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"seed: 1\ntopk: {value}\n")
    for read in (lambda: read_config_file(tmp_path / "a.yaml"),
                 lambda: parse_flags([f"--topk={value}"])):
        with pytest.raises(UserError, match="is no valid YAML") as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1


def test_a_missing_or_binary_config_file_is_named(tmp_path):
    with pytest.raises(UserError, match="none.yaml.*Check its path"):
        read_config_file(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="b.yaml"):
        read_config_file(tmp_path / "b.yaml")
