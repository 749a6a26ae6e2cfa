"""The shape of the package: who may import whom, and where defaults live."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import recbole_ssr
from recbole_ssr import dataset_prep, registry
from recbole_ssr.flags import ConfigLoader

PACKAGE = Path(recbole_ssr.__file__).resolve().parent
PROPERTIES = registry.properties_folder()
PREPARATION = Path(dataset_prep.__file__).resolve().parent
# Installed as a wheel, dataset_prep lies inside of the package.
MODULES = sorted(set(PACKAGE.glob("**/*.py")) - set(PREPARATION.glob("**/*.py")))

# What a folder may import of the package; a module at the top stands for itself.
LEAVES = {"errors", "files", "cache", "constants", "contributions", "cores", "corruption",
          "distinct", "distributed", "footprint", "int32", "nodes", "products", "seal",
          "uncompiled"}
MAY_IMPORT = {
    "distributed": {"cores", "distributed", "errors"},
    "graph": LEAVES | {"graph"},
    "spectral": LEAVES | {"spectral"},
    "nn": LEAVES | {"nn"},
    "data": LEAVES | {"data"},
    "model": LEAVES | {"model", "graph", "spectral", "nn", "data.features"},
    "evaluation": LEAVES | {"evaluation", "comparison"},
    "train": LEAVES | {"train", "evaluation", "nn.fixed_shapes"},
    "report": LEAVES | {"report", "result", "comparison"},
}
# These may import everything, but dataset_prep only the commands.
ON_TOP = {"commands", "compare", "conformance", "serve", "tune"}
PREPARATION_MAY_IMPORT = {"cache", "contributions", "errors", "flags", "option", "data.features",
                          "data.feature_files", "data.feature_writer", "data.ids", "data.manifest",
                          "data.split_hash", "dataset_prep", "distinct", "__version__"}
WITHOUT_RECBOLE = ("distributed", "graph", "spectral", "nn", "report")


def imported(path):
    """Names of all modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def arrows():
    """Return the files that every file of the package imports, all by module name."""
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
             for path in MODULES}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    arrows = {}
    for name, path in files.items():
        modules = {target if target in files else target.rpartition(".")[0]
                   for target in imported(path)}
        arrows[name] = (modules & set(files)) - {name}
    return arrows


def below(name, package):
    return name == package or name.startswith(f"{package}.")


def test_the_rules_name_every_folder():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders - {"properties", "dataset_prep"} == set(MAY_IMPORT) | ON_TOP


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_downward(folder):
    for path in (PACKAGE / folder).glob("**/*.py"):
        for name in imported(path):
            if below(name, "recbole_ssr"):
                inside = name.removeprefix("recbole_ssr.")
                assert any(below(inside, allowed) for allowed in MAY_IMPORT[folder]), (path, name)
            if folder in WITHOUT_RECBOLE:
                assert not below(name, "recbole"), f"{path}: {name}"


def test_no_files_import_each_other_in_a_circle():
    """Imports within functions, and for types alone, count as well."""
    TopologicalSorter(arrows()).prepare()  # raises CycleError, which names the circle


def test_comparisons_know_nothing_of_tuning():
    """Tuning runs on the engine of comparisons; what needs both is a command."""
    for path in (PACKAGE / "compare").glob("**/*.py"):
        assert not any(below(name, "recbole_ssr.tune") for name in imported(path)), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_ray_no_quick_start_and_no_dataset_prep(path):
    for name in imported(path):
        assert not below(name, "recbole.quick_start"), name
        assert not below(name, "ray") or path.name == "ray_engine.py", name
        if path.parent.name != "commands":
            assert not below(name, "recbole_ssr.dataset_prep"), name


@pytest.mark.parametrize("path", sorted(PREPARATION.glob("*.py")), ids=lambda path: path.name)
def test_preparation_shares_formats_only(path):
    for name in imported(path):
        assert not below(name, "recbole") and not below(name, "ray"), name
        inside = name.removeprefix("recbole_ssr.")
        if inside != name:
            assert any(below(inside, allowed) for allowed in PREPARATION_MAY_IMPORT), name


def yaml_files():
    return sorted(PROPERTIES.glob("**/*.yaml"))


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.stem)
def test_every_default_has_a_comment_with_its_type(path):
    for line in path.read_text().splitlines():
        if re.match(r"\w", line):
            assert re.search(r" # \([a-z]\S*( .*)?\) \S.{10,}\.$", line), f"{path.name}: {line}"


def keys_read(path):
    """Keys read as config["..."] or settings["..."] in a file."""
    keys = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            owner = node.value
            name = getattr(owner, "attr", None) or getattr(owner, "id", None)
            if name == "config" and isinstance(node.slice.value, str):
                keys.add(node.slice.value)
    return keys


def test_every_key_that_the_code_reads_has_a_default_in_a_yaml():
    known = set(registry.keys_of_any_model()) | set(registry.KEYS_WITHOUT_YAML)
    # Settled by RecBole's Config, or by the run itself.
    known |= {"MODEL_TYPE", "MODEL_INPUT_TYPE", "single_spec", "local_rank", "run_folder",
              "eval_type"}
    for path in MODULES:
        assert keys_read(path) <= known, f"{path}: {keys_read(path) - known}"


def test_every_model_inherits_the_contract():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("model/test_*.py"))
    classes = re.findall(r"class \w+\(\w*Contract\):.*?^    model(?:, \w+)? = \"(\w+)\"", tests,
                         flags=re.DOTALL | re.MULTILINE)
    assert set(classes) == set(registry.MODELS)


def test_every_key_of_a_model_is_read_by_it():
    for model, module in registry.MODELS.items():
        keys = yaml.load((PROPERTIES / f"model/{model}.yaml").read_text(), ConfigLoader)
        # The registry, trainers and loaders, RecBole's and ours, read these.
        keys = set(keys) - {"learning_rate", "train_batch_size", "sampling_power", "weight_decay",
                          "learning_rate_decay", "learning_rate_decay_epochs", "calibrate",
                          "profile"}
        file = PACKAGE / Path(*module.split(".")[1:]).with_suffix(".py")
        rooms = (PACKAGE / room for room in ("model", "spectral"))
        used = set().union(*(keys_read(path) for room in rooms for path in room.glob("*.py")))
        assert file.is_file() and keys <= used, keys - used
