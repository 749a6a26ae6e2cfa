"""Pictures into vectors by a CLIP model (Radford et al., 2021) or another vision transformer."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from recbole_ssr.cache import content_key
from recbole_ssr.dataset_prep.encode import BrokenContents
from recbole_ssr.dataset_prep.images import ImageProblem, open_rgb
from recbole_ssr.dataset_prep.prepared import sha256_of
from recbole_ssr.dataset_prep.pretrained import (
    Unavailable,
    files_digest,
    missing_library,
    model_folder,
    resolve_device,
    versions,
)

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
_REMEDY = ("Download it on a machine with access and pass the folder, --image_encoder=FOLDER, or "
           "give ready vectors, --vectors='{image: FILE}'.")
# Raise it whenever this file or images.py makes other pixels of the same picture.
_VERSION = 1
_THREADS = min(8, os.cpu_count() or 1)


class ImageEncoder:
    """The vectors of a picture by a transformers model; contents are paths of files.

    CLIP and its kin (models with a text tower) give the projected image features, other models
    their pooled output or, if their weights have no pooler, the last hidden state of the class
    token.
    """

    def __init__(self, model: str, folder: Path, device: str):
        try:
            self._model, missing = _load_model(folder)
            self._prepare = _load_processor(folder)
        except ImportError as error:
            raise missing_library(error.name or "transformers", error) from error
        except Exception as error:  # whatever a damaged or foreign folder makes the library raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise Unavailable(f"The model {model!r} in {folder} cannot be loaded ({reason}). "
                              f"{_REMEDY}") from error
        lost = sorted(name for name in missing if ".pooler." not in f".{name}")
        if lost or not (hasattr(self._model, "get_image_features") or self._takes_pixels()):
            raise Unavailable(
                f"The model {model!r} in {folder} is no image encoder: "
                + (f"its files lack the weights {lost[:3]}. " if lost else "it takes no pixels. ")
                + _REMEDY)
        # A pooler that is not in the files has random weights.
        self._pooled = not missing
        self._model.eval().float().to(device)
        self._device = device
        self.name = f"transformers {Path(model).name}"
        self.key = content_key("image", _VERSION, files_digest(folder),
                               versions("transformers", "pillow"))
        self.dim: int | None = None

    @torch.inference_mode()
    def encode(self, batch: list[str | Path]) -> np.ndarray:
        """Return (b, dim) float32; raises BrokenContents for files that hold no usable picture."""
        with ThreadPoolExecutor(_THREADS) as pool:
            pixels = list(pool.map(self._pixels, batch))
        broken = {i: str(outcome) for i, outcome in enumerate(pixels)
                  if isinstance(outcome, ImageProblem)}
        if broken:
            raise BrokenContents(broken)
        rows = self._features(torch.from_numpy(np.stack(pixels)).to(self._device))
        self.dim = rows.shape[1]
        return rows.float().cpu().numpy()

    def digest(self, content: str | Path) -> bytes:
        """Return the sha256 of the file; raises OSError if it cannot be read."""
        return bytes.fromhex(sha256_of(content))

    def _pixels(self, path: str | Path) -> np.ndarray | ImageProblem:
        """Return (3, height, width) float32 as the model wants them."""
        try:
            picture = open_rgb(path)
        except ImageProblem as problem:
            return problem
        # Stated, because the library takes a picture of 1 or 3 rows for one of channels.
        made = self._prepare(images=np.asarray(picture), input_data_format="channels_last",
                             return_tensors="np")
        return np.asarray(made["pixel_values"][0], dtype=np.float32)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        if hasattr(self._model, "get_image_features"):
            output = self._model.get_image_features(pixel_values=pixels)
            # transformers 4 returns the tensor, transformers 5 an output that holds it.
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        out = self._model(pixel_values=pixels)
        pooled = getattr(out, "pooler_output", None)
        if self._pooled and pooled is not None:
            return pooled.flatten(1)
        return out.last_hidden_state[:, 0]

    def _takes_pixels(self) -> bool:
        return getattr(self._model, "main_input_name", "") == "pixel_values"


def image_encoder(model: str = DEFAULT_MODEL, device: str = "auto") -> ImageEncoder:
    """Return the encoder of a transformers CLIP or ViT model, given by name or folder.

    Raises UserError: Unavailable if library or model cannot be had, another for a wrong device.
    """
    device = resolve_device(device)
    for package in ("transformers", "PIL"):
        try:
            __import__(package)
        except ImportError as error:
            raise missing_library(package, error) from error
    return ImageEncoder(model, model_folder(model, "preprocessor_config.json", _REMEDY), device)


def _load_model(folder: Path) -> tuple[torch.nn.Module, set[str]]:
    """Return the model and the names of weights that its files lack."""
    from transformers import AutoModel

    model, about = AutoModel.from_pretrained(str(folder), local_files_only=True,
                                             output_loading_info=True)
    return model, set(about["missing_keys"])


def _load_processor(folder: Path):
    """Return the model's own resizing, cropping and scaling, the version that computes with PIL.

    The version that computes with torchvision gives slightly other pixels.
    """
    import transformers

    old = int(transformers.__version__.split(".")[0]) < 5
    wanted = {"use_fast": False} if old else {"backend": "pil"}
    return transformers.AutoImageProcessor.from_pretrained(str(folder), local_files_only=True,
                                                           **wanted)
