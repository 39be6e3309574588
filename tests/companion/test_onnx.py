"""The decoder as ONNX, run by onnxruntime: every layer, wrapped and open padding, masks, any number of states."""

import json

import numpy as np
import pytest
import torch

from evae_companion.io import export_decoder
from evae_companion.io import onnx as onnx_export
from evae_core import VAE

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
# torch's exporter uses a name of torch that torch has deprecated; seen with torch 2.13.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

MASK = np.zeros((32, 48), bool)
MASK[3:29, 5:40] = True


def trained_like(boundary) -> VAE:
    """A decoder in which every number counts: batch norms with averages of their own, as after training."""
    torch.manual_seed(0)
    model = VAE((32, 48), latent=7, boundary=boundary).eval()
    for module in model.decoder.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("boundary", ["periodic", "open", MASK, ["open", "periodic"]],
                         ids=["periodic", "open", "mask", "x"])
def test_onnxruntime_decodes_as_torch_does(tmp_path, boundary):
    model = trained_like(boundary)
    export_decoder(model, tmp_path / "decoder.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "decoder.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 2, 5):
        z = torch.randn(n, 7, generator=torch.Generator().manual_seed(n))
        (spins,) = session.run(["spins"], {"z": z.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(spins, model.decode(z).numpy(), atol=1e-5)
    length = np.linalg.norm(spins, axis=1)
    np.testing.assert_allclose(length, np.broadcast_to(MASK if boundary is MASK else 1.0, length.shape), atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["size"]) == [32, 48] and about["latent"] == "7"
    assert np.array_equal(json.loads(about["boundary"]), MASK if boundary is MASK else boundary)


def test_the_padding_wraps_around(tmp_path):
    """A latent vector whose low-resolution map is shifted by one cell gives states shifted by 16 sites, edges too."""
    model = trained_like("periodic")
    export_decoder(model, tmp_path / "decoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "decoder.onnx", providers=["CPUExecutionProvider"])
    z = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).numpy()
    (before,) = session.run(None, {"z": z})
    with torch.no_grad():  # the same shift of the dense layer's outputs: its rows, and the batch norm behind them
        linear, norm = model.decoder.dense[3], model.decoder.dense[4]
        for values in (linear.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.copy_(values.reshape(48, 2, 3, -1).roll((1, 1), (1, 2)).reshape(values.shape))
    export_decoder(model, tmp_path / "shifted.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "shifted.onnx", providers=["CPUExecutionProvider"])
    (after,) = session.run(None, {"z": z})
    np.testing.assert_allclose(after, np.roll(before, (16, 16), (2, 3)), atol=1e-5)
    assert np.abs(after - before).max() > 1e-2


def test_the_opset_is_the_one_that_is_documented(tmp_path):
    export_decoder(trained_like("open"), tmp_path / "decoder.onnx")
    (used,) = onnx.load(tmp_path / "decoder.onnx").opset_import
    assert (used.domain, used.version) == ("", onnx_export.OPSET)


def test_what_is_not_exported(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="eval"):
        export_decoder(trained_like("open").train(), tmp_path / "d.onnx")
    for wrong in (None, "x", torch.nn.Linear(1, 1)):
        with pytest.raises(TypeError, match="model must be VAE"):
            export_decoder(wrong, tmp_path / "d.onnx")
    for wrong in (None, 3, b"x", [], "", "a\0b"):
        with pytest.raises((TypeError, ValueError), match="path must be"):
            export_decoder(trained_like("open"), wrong)
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="onnx and onnxscript must be installed"):
        export_decoder(trained_like("open"), tmp_path / "d.onnx")
    assert list(tmp_path.iterdir()) == []
