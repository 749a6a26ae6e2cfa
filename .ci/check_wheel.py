"""Asserts that the installed wheel is whole and that nothing of the checkout is imported."""

import importlib
import sys
from importlib.resources import files
from pathlib import Path

checkout = Path(sys.argv[1])
for module in ("recbole_ssr", "recbole_ssr.properties", "recbole_ssr.dataset_prep"):
    importlib.import_module(module)
    for folder in sys.modules[module].__path__:
        assert checkout not in Path(folder).resolve().parents, f"{module} comes from {folder}"
shipped = files("recbole_ssr.properties")
for file in (checkout / "properties").glob("**/*.yaml"):
    inside = shipped / str(file.relative_to(checkout / "properties"))
    assert inside.is_file(), f"the wheel lacks {inside}"
    assert inside.read_text() == file.read_text(), f"the wheel has another {inside}"
for package in ("recbole_ssr", "recbole_ssr.dataset_prep"):
    folder = package.split(".")[-1]
    for file in (checkout / folder).glob("**/*.py"):
        inside = Path(str(files(package))) / file.relative_to(checkout / folder)
        assert inside.is_file(), f"the wheel lacks {inside}; is its package listed in setup.cfg?"
