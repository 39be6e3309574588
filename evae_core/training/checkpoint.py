"""Checkpoints: a network's weights from a safetensors file, whole or its decoder alone. Loading never runs code."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from evae_core.model import VAE

_PREFIX = "decoder."


class NoEncoder(nn.Module):
    """Stands where a network came without its encoder: decodes, and says so when it is to encode."""

    def forward(self, spins: Tensor) -> NoReturn:
        raise RuntimeError("this network came without its encoder: it generates states and cannot reconstruct, map "
                           "back or be trained on; that needs the whole stage in the store")


def load(model: VAE, path: Path) -> None:
    """Load what was trained, carried or recorded into ``model``; its encoder becomes NoEncoder where there is none.

    Raises RuntimeError where the file is not there, ValueError where it is no safetensors file, holds another network
    or numbers that are not finite.
    """
    if not path.is_file():
        raise RuntimeError(f"{path.parent.name} was carried here without its weights, no later stage needed them; to "
                           f"train it anew remove {path.parent}")
    state = read(path)
    if all(name.startswith(_PREFIX) for name in state):
        model.encoder = NoEncoder()
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if wrong := sorted(name for name in wanted.keys() | state.keys()
                       if name not in state or state[name].shape != wanted.get(name)):
        raise ValueError(f"{path} holds another network than this model's: {wrong[0]}, and {len(wrong) - 1} more")
    model.load_state_dict(state)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError where it is none, or where a number in it is not finite."""
    import safetensors.torch  # here: a bare machine that only trains may lack it

    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path} holds a number that is not finite, in {name}")
    return state
