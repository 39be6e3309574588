"""Export of a trained decoder to ONNX, so that any program that runs ONNX can generate states without this package."""

from __future__ import annotations

import json
import logging
import os
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from evae_companion.store.serialization import PARTIAL
from evae_core.model import VAE
from evae_core.validation import check_is, check_path

OPSET = 18  # of ONNX 1.13 (2022); the decoder needs no later operator
NEEDED = ("onnx", "onnxscript")


class _Decode(nn.Module):
    """Module whose forward is :meth:`VAE.decode` without its checks of shapes."""

    def __init__(self, model: VAE):
        super().__init__()
        self.decoder, self.magnetic = model.decoder, model.magnetic

    def forward(self, z: Tensor) -> Tensor:
        spins = self.decoder(z)
        return spins if self.magnetic is None else spins * self.magnetic


def export_decoder(model: VAE, path: str | os.PathLike[str]) -> None:
    """Write the decoder of ``model`` as ONNX, opset 18: input z (n, latent), output spins (n, 3, Ny, Nx), n free.

    Padding is that of the sample (wrapped around or zero), and non-magnetic sites are 0. Batch norm uses its running
    averages. The file's metadata hold size, latent and boundary. The file is checked before it gets its name.

    Raises
    ------
    ValueError
        a model in training mode.
    RuntimeError
        onnx or onnxscript is not installed.
    """
    check_is("model", model, VAE)
    path = check_path("path", path)
    if model.training:
        raise ValueError("export_decoder needs the model in eval mode; call model.eval() first")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise RuntimeError(f"{' and '.join(missing)} must be installed to write ONNX; pip install {' '.join(missing)}")
    import onnx  # imported here: few callers need it, and it takes a second

    partial = path.with_name(f"{path.stem}{PARTIAL}{os.getpid()}.onnx")
    device = next(model.parameters()).device
    example = torch.zeros(2, model.latent, device=device)
    talk = logging.getLogger("torch.onnx")  # at each export it says that torchvision, not used here, is not installed
    before = talk.level
    try:
        talk.setLevel(logging.ERROR)
        program = torch.onnx.export(_Decode(model).eval(), (example,), dynamo=True, opset_version=OPSET,
                                    input_names=["z"], output_names=["spins"], dynamic_shapes=({0: "n"},),
                                    external_data=False, verbose=False)
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program")
        proto = program.model_proto
        edge = model.boundary if model.magnetic is None else np.asarray(model.boundary).astype(int).tolist()
        about = {"size": json.dumps(list(model.size)), "latent": str(model.latent), "boundary": json.dumps(edge),
                 "axes": "spins (n, 3, Ny, Nx): S^x, S^y, S^z"}
        onnx.helper.set_model_props(proto, about)
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, partial)
        partial.replace(path)
    finally:
        talk.setLevel(before)
        partial.unlink(missing_ok=True)
