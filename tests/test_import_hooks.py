"""Stand-ins for packages that are not there, and hooks around imports."""

import importlib
import sys
from types import ModuleType

import pytest

from recbole_ssr import import_hooks
from recbole_ssr.import_hooks import around_import, postponed, stand_in


@pytest.mark.parametrize("state", ["absent", "blocked", "broken"])
def test_a_stand_in_is_there_within_and_raises_on_use(monkeypatch, tmp_path, state):
    name = f"nowhere_{state}"
    if state == "blocked":
        monkeypatch.setitem(sys.modules, name, None)
    if state == "broken":
        (tmp_path / f"{name}.py").write_text("import nowhere_below\n")
        monkeypatch.syspath_prepend(tmp_path)
    before = sys.modules.get(name, "nothing")
    with stand_in(name, "part"):
        scope: dict = {}
        exec(f"from {name} import part", scope)
    assert sys.modules.get(name, "nothing") is before
    part = scope["part"]
    for use in (part, lambda: part.report):
        with pytest.raises(ImportError) as caught:
            use()
        assert caught.value.name == ("nowhere_below" if state == "broken" else name)
    assert not hasattr(part, "__wrapped__")  # which tools look for
    with pytest.raises(ImportError):
        importlib.import_module(name)


def test_a_package_that_is_there_has_no_stand_in():
    with stand_in("json", "decoder"):
        from json import decoder
    assert isinstance(decoder, ModuleType)


def test_a_stand_in_leaves_with_the_error_of_the_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError), stand_in("nowhere_absent", "part"):
        1 / 0  # noqa: B018
    assert "nowhere_absent" not in sys.modules


def test_a_postponed_package_is_imported_with_its_first_use(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hooked_late.py").write_text("def double(number, plus=0): return 2 * number + plus")
    scope: dict = {}
    with postponed("hooked_late", ["double"]):
        exec("from hooked_late import double", scope)
    assert "hooked_late" not in sys.modules
    assert scope["double"](3, plus=1) == 7 and "hooked_late" in sys.modules
    with postponed("hooked_late", ["double"]):
        exec("from hooked_late import double", scope)
    assert scope["double"] is sys.modules.pop("hooked_late").double


def test_a_hook_is_around_one_module(tmp_path, monkeypatch):
    monkeypatch.setattr(import_hooks, "_hooks", dict(import_hooks._hooks))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("hooked_one", "hooked_two"):
        (tmp_path / f"{name}.py").write_text("value = 1\n")

    def load(module, execute):
        module.value = 5
        execute(module)
        module.value += 1

    around_import("hooked_one", load)
    found = [importlib.import_module(name) for name in ("hooked_one", "hooked_two")]
    assert [module.value for module in found] == [2, 1]
    assert importlib.reload(found[0]).value == 2
    for module in found:
        del sys.modules[module.__name__]
