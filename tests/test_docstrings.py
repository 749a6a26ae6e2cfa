"""The examples in docstrings: what they show is what comes out."""

import ast
import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("recbole_ssr/**/*.py"), *ROOT.glob("dataset_prep/*.py")])
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def has_examples(file):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return any(">>> " in (ast.get_docstring(node) or "")
               for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, documented))


def module_of(file):
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name if name.startswith("recbole_ssr") else f"recbole_ssr.{name}"


@pytest.mark.parametrize("module", [module_of(file) for file in FILES if has_examples(file)])
def test_examples_show_what_comes_out(module):
    found = doctest.testmod(importlib.import_module(module), optionflags=OPTIONS,
                            extraglobs={"np": np, "torch": torch})
    assert found.attempted and not found.failed
