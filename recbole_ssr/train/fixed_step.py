"""Training steps of one shape: on a GPU one captured graph, optimizer included.

A step of this package launches more than a thousand small kernels; replayed as one graph they cost
their own time alone (CUDA Graphs). What is random or whose shape follows from the data is drawn on
the CPU, ahead of the device, from the model's own generator, and padded to the size that a batch
has at most; the same batches, negatives and masks as without. On a CPU nothing is captured: the
same computation with the same shapes, which is what tests can hold.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_ssr.errors import UserError
from recbole_ssr.nn.fixed_shapes import each_tensor, fixed_shapes, on_device

# Steps before a capture: libraries set up what they keep in the first ones, models what they keep
# for an epoch in its first one.
_WARM_UP, _WARM_UP_AGAIN = 3, 1


def check_fixed_steps(config, model: type[nn.Module]) -> None:
    """Raise UserError where cuda_graph is asked for and a model's steps cannot have one shape."""
    if not config["cuda_graph"]:
        return
    refuse = getattr(model, "why_no_fixed_steps", None)
    if refuse:
        why = refuse(config)
    elif model.type == ModelType.TRADITIONAL:
        why = f"{model.__name__} is fitted without training steps"
    else:
        why = f"{model.__name__} is RecBole's own"
    if why:
        raise UserError(f"cuda_graph is True, but {why}; set it to False")


class FixedStep:
    """The training steps of an epoch; a batch of another size than the first is computed as it is.

    The graph holds numbers of its time, the learning rate and the bands' polynomials among them, so
    that :meth:`begin_epoch` forgets it. `clip` bounds the gradients in place, or is None.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device,
                 clip: Callable[[], object] | None = None):
        self.model, self.optimizer, self.device, self.clip = model, optimizer, device, clip
        self.kind: type = tuple  # of the losses
        self._to_warm = _WARM_UP
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget the captured step."""
        self._size, self._graph, self._drawn, self._losses = None, None, None, None
        self._to_warm = max(self._to_warm, _WARM_UP_AGAIN)

    def __call__(self, interaction) -> Tensor:
        """Train on a batch that lies on the CPU; return the parts of its loss (parts,)."""
        drawn = self.model.draw(interaction)
        self._size = self._size or len(interaction)
        if len(interaction) != self._size:
            return self._step(on_device(drawn, self.device))
        drawn = self.model.padded(drawn)
        if self.device.type != "cuda":
            with fixed_shapes():
                return self._step(drawn)
        return self._captured(each_tensor(Tensor.pin_memory, drawn))

    def _step(self, drawn) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.model.loss(drawn)
        self.kind = type(losses)
        sum(losses).backward()
        if self.clip:
            self.clip()
        self.optimizer.step()
        return torch.stack([part.detach() for part in losses])

    def _captured(self, drawn) -> Tensor:
        if self._to_warm:
            self._to_warm -= 1
            return self._warmed(drawn)
        if self._graph is None:
            self._capture(drawn)
        else:
            _copy(drawn, self._drawn)
        self._graph.replay()
        return self._losses

    def _warmed(self, drawn) -> Tensor:
        """Take a step on a stream of its own, as a capture demands of the ones before it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._step(on_device(drawn, self.device))
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _capture(self, drawn) -> None:
        self._drawn = on_device(drawn, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._losses = self._step(self._drawn)
        except RuntimeError as error:
            raise UserError(f"cuda_graph is True, but a step of {type(self.model).__name__} cannot "
                            f"be captured with these settings ({str(error).splitlines()[0]}); set "
                            "cuda_graph to False") from error
        self._graph = graph


def _copy(source, target) -> None:
    """Copy nested tuples of tensors into others of the same shapes, without waiting."""
    if isinstance(source, Tensor):
        target.copy_(source, non_blocking=True)
    elif source is not None:
        for a, b in zip(source, target):
            _copy(a, b)
