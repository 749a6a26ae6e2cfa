"""What a configuration needs so that several processes can share its run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from recbole.utils import ModelType

from recbole_ssr import registry
from recbole_ssr.config import PluginConfig
from recbole_ssr.distributed.place import Place
from recbole_ssr.errors import UserError


def check_processes(config: PluginConfig, here: Place) -> None:
    """Raise UserError where the processes `here` is one of could not share a run."""
    if here.size == 1:
        return
    model, asked = config["model"], f"{here.size} processes cannot share a run of"
    alone = "Leave nproc out"
    if not registry.is_plugin_model(model):
        raise UserError(f"{asked} {model}: the training steps of RecBole's own models are not "
                        f"written for it. {alone}, or take one of recbole-ssr models, such as "
                        "FastLightGCN for LightGCN")
    if config.model_class.type == ModelType.TRADITIONAL:
        raise UserError(f"{asked} {model}: it is fitted without training steps. {alone}")
    if config["cuda_graph"]:
        raise UserError(f"{asked} {model} whose steps are captured: set cuda_graph to False")
    if config["device"].type == "cuda":
        _check_gpus(config["device"], here, torch.cuda.device_count())


def _check_gpus(device: torch.device, here: Place, count: int) -> None:
    if device.index:
        raise UserError(f"device={device} is one GPU, and {here.size} processes need one each: "
                        "write --device=cuda, of which the first are taken, and choose them by "
                        "CUDA_VISIBLE_DEVICES")
    if here.local_size > count:
        raise UserError(f"{here.local_size} processes on this machine need a GPU each, and it has "
                        f"{count}: take --nproc={count}, or --device=cpu")


def take_place(config: PluginConfig, here: Place) -> None:
    """Give a configuration the GPU of its process, and keep all processes but the main silent."""
    if here.size > 1 and config["device"].type == "cuda":
        device = torch.device("cuda", here.local_rank)
        torch.cuda.set_device(device)
        config["device"], config["gpu_id"] = device, str(device.index)
    if here.rank:
        config["show_progress"] = False


def check_size(here: Place, settings: Mapping) -> None:
    """Raise UserError where settings ask for other processes than torchrun has started."""
    asked = settings.get("nproc")
    if asked not in (None, here.size):
        raise UserError(f"nproc={asked} and WORLD_SIZE={here.size} disagree: torchrun has started "
                        f"{here.size} processes. Leave nproc out, or start without torchrun")
