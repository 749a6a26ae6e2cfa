"""What training changes in a model beside its state_dict: counters, and tensors written in place.

RecBole's variational models count their steps for an annealing, its diffusion models keep the last
losses of every step; neither is a parameter or a buffer, and a run that goes on without them
trains another model.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


class Written:
    """The numbers and tensors of a model that changed since this was built.

    A tensor that was replaced, as caches are, is left out: the model makes it again.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._built = {name: (value, _version(value)) for name, value in _held(model)}

    def state(self) -> dict[str, float | Tensor]:
        """Return what has changed, by module and attribute."""
        changed = {}
        for name, value in _held(self._model):
            if name not in self._built:
                continue
            built, version = self._built[name]
            kept = value is built if isinstance(value, Tensor) else type(value) is type(built)
            if kept and (_version(value) != version or
                         not isinstance(value, Tensor) and value != built):
                changed[name] = value
        return changed

    def restore(self, state: dict[str, float | Tensor]) -> None:
        """Take over what another process returned as `state`."""
        for name, value in state.items():
            path, _, attribute = name.rpartition(".")
            module = self._model.get_submodule(path)
            if isinstance(value, Tensor):
                getattr(module, attribute).copy_(value)
            else:
                setattr(module, attribute, value)


def _held(model: nn.Module) -> Iterator[tuple[str, float | Tensor]]:
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if type(value) in (int, float) or isinstance(value, Tensor):
                yield f"{path}.{name}", value


def _version(value: float | Tensor) -> int:
    return value._version if isinstance(value, Tensor) else 0
