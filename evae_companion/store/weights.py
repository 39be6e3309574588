"""Half-precision and decoder-only checkpoints, in which trained networks are bundled and published.

Matrices and kernels become float16. Vectors (biases, batch norm), a few thousand numbers, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

WHOLE, DECODER, NONE = "whole", "decoder", "none"  # how much of a network a checkpoint holds
WEIGHTS_FILE, DECODER_FILE = "weights.safetensors", "decoder.safetensors"  # file names of a stage in the store
_PREFIX = "decoder."


def halved(state: Mapping[str, Tensor], decoder_only: bool = False) -> dict[str, Tensor]:
    """Return a state dict on the CPU, its floating-point tensors of two or more dimensions as float16.

    Raises
    ------
    ValueError
        a tensor that is not finite, or not finite in half precision (beyond 65504).
    """
    result = {}
    for name, value in (decoder_of(state) if decoder_only else state).items():
        value = value.detach().cpu().contiguous()
        stored = value.half() if value.ndim > 1 and value.is_floating_point() else value
        if not bool(torch.isfinite(stored).all()):
            raise ValueError(f"weights {name} hold a number that is not finite in half precision, the largest "
                             f"magnitude is {float(value.abs().max()):g}")
        result[name] = stored
    return result


def decoder_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the decoder's part of a state dict."""
    return {name: value for name, value in state.items() if name.startswith(_PREFIX)}


def file_in(folder: Path) -> Path:
    """Return the file of a stage's network in ``folder``, or of its decoder if that is all there is."""
    decoder, whole = folder / DECODER_FILE, folder / WEIGHTS_FILE
    return decoder if decoder.is_file() and not whole.is_file() else whole


def extent(state: Mapping[str, Tensor]) -> str:
    """Return how much of a network a state dict holds: WHOLE, DECODER or NONE."""
    if not state:
        return NONE
    return DECODER if all(name.startswith(_PREFIX) for name in state) else WHOLE
