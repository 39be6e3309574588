"""Half-precision and decoder-only weights: how trained networks are carried and published.

Matrices and kernels become float16; vectors (biases, batch norm), a few thousand numbers, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

WHOLE, DECODER, NONE = "whole", "decoder", "none"  # how much of a network there is
WEIGHTS_FILE, DECODER_FILE = "weights.safetensors", "decoder.safetensors"  # of a stage in the store
_PREFIX = "decoder."


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
