"""Devices, and how a GPU computes while a stage is trained: precision, and the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch


def pick_device(device: str) -> torch.device:
    """The torch device for ``"auto"`` (a GPU where torch sees one), ``"cpu"`` or ``"cuda"``; ValueError otherwise."""
    if not isinstance(device, str) or device not in ("auto", "cpu", "cuda"):
        raise ValueError(f'device must be "auto", "cpu" or "cuda", got {device!r}')
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError('device "cuda" was asked for and torch sees no usable GPU; use "auto" or "cpu"')
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """``"cpu"``, or what the GPU calls itself: for records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@contextmanager
def numerics(device: torch.device, precision: str) -> Iterator[None]:
    """On a GPU: TF32 unless ``precision`` is float32, and algorithms that give the same bytes again; then as before."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, cast(Any, torch.backends.cudnn)  # its parts are made at run time
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.deterministic
    matmul.fp32_precision = cudnn.conv.fp32_precision = "ieee" if precision == "float32" else "tf32"
    cudnn.deterministic = True
    try:
        yield
    finally:
        matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.deterministic = before
