"""The network in the paper's own layers: upsample, pad, 5x5 convolution. What every faster form is measured against."""

import copy

from torch import nn
from torch.nn import functional as F

from evae_core.model import VAE, UpConv


class PlainUpConv(nn.Module):
    """What UpConv stands for, with the same weight."""

    def __init__(self, fast: UpConv):
        super().__init__()
        self.weight, self.pad = fast.weight, fast.pad

    def forward(self, x):
        return F.conv2d(self.pad(F.interpolate(x, scale_factor=2, mode="nearest"), 2), self.weight)


def plain(model: VAE) -> VAE:
    """A copy of the model with plain layers and weights of its own; its state dict fits the model's."""
    model = copy.deepcopy(model)
    for k, layer in enumerate(model.decoder.convolutions):
        if isinstance(layer, UpConv):
            model.decoder.convolutions[k] = PlainUpConv(layer)
    return model
