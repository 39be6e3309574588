"""Weights on their way: in half precision, without an encoder, or left behind.

A trained network is carried and recorded in half precision: its matrices and kernels as float16, its vectors (biases,
batch norm), a few thousand numbers, as they are. Loading safetensors never runs code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from evae_core.model import VAE

WHOLE, DECODER, NONE = "whole", "decoder", "none"  # how much of a network there is
WEIGHTS_FILE, DECODER_FILE = "weights.safetensors", "decoder.safetensors"  # of a stage in the store
_PREFIX = "decoder."


class NoEncoder(nn.Module):
    """Stands where a network came without its encoder: decodes, and says so when it is to encode."""

    def forward(self, spins: Tensor) -> NoReturn:
        raise RuntimeError("this network came without its encoder: it generates states and cannot reconstruct, map "
                           "back or be trained on; that needs the whole stage in the store")


def halved(state: Mapping[str, Tensor], decoder_only: bool = False) -> dict[str, Tensor]:
    """A state dict with its floating-point tensors of two and more dimensions as float16, on the CPU.

    Raises
    ------
    ValueError
        a tensor that is not finite, or not in half precision (beyond 65504).
    """
    found = {}
    for name, value in (decoder_of(state) if decoder_only else state).items():
        value = value.detach().cpu().contiguous()
        kept = value.half() if value.ndim > 1 and value.is_floating_point() else value
        if not bool(torch.isfinite(kept).all()):
            raise ValueError(f"weights {name} hold a number that is not finite in half precision, the largest "
                             f"magnitude is {float(value.abs().max()):g}")
        found[name] = kept
    return found


def decoder_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's part of a state dict."""
    return {name: value for name, value in state.items() if name.startswith(_PREFIX)}


def file_in(folder: Path) -> Path:
    """The file of a stage's network in ``folder``, or of its decoder where that is all there is."""
    decoder, whole = folder / DECODER_FILE, folder / WEIGHTS_FILE
    return decoder if decoder.is_file() and not whole.is_file() else whole


def extent(state: Mapping[str, Tensor]) -> str:
    """WHOLE, DECODER or NONE: how much of a network a state dict holds."""
    if not state:
        return NONE
    return DECODER if all(name.startswith(_PREFIX) for name in state) else WHOLE


def load(model: VAE, path: Path) -> None:
    """Load what was trained, carried or recorded into ``model``; its encoder becomes NoEncoder where there is none.

    Raises RuntimeError where the file is not there, ValueError where it is no safetensors file, holds another network
    or numbers that are not finite.
    """
    if not path.is_file():
        raise RuntimeError(f"{path.parent.name} was carried here without its weights, no later stage needed them; to "
                           f"train it anew remove {path.parent}")
    state = read(path)
    if extent(state) == DECODER:
        model.encoder = NoEncoder()
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if wrong := sorted(name for name in wanted.keys() | state.keys()
                       if name not in state or state[name].shape != wanted.get(name)):
        raise ValueError(f"{path} holds another network than this model's: {wrong[0]}, and {len(wrong) - 1} more")
    model.load_state_dict(state)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError where it is none, or where a number in it is not finite."""
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path} holds a number that is not finite, in {name}")
    return state
