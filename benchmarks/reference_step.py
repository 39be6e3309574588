"""The obvious code that fast training steps are measured against, in time and in losses, by benchmarks and tests."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from evae_core.hamiltonian import Hamiltonian
from evae_core.model import VAE, UpConv


class PlainUpConv(nn.Module):
    """What UpConv stands for, with the same weight: upsample, pad, 5x5 convolution."""

    def __init__(self, fast: UpConv):
        super().__init__()
        self.weight, self.pad = fast.weight, fast.pad

    def forward(self, x):
        return F.conv2d(self.pad(F.interpolate(x, scale_factor=2, mode="nearest"), 2), self.weight)


def plain(model: VAE) -> VAE:
    """A copy of the model with the paper's own layers and weights of its own; its state dict fits the model's."""
    model = copy.deepcopy(model)
    for k, layer in enumerate(model.decoder.convolutions):
        if isinstance(layer, UpConv):
            model.decoder.convolutions[k] = PlainUpConv(layer)
    return model


class PlainStep:
    """One step of the plain code, channels first, Adam as torch has it; noise from a seed; used as make_step's."""

    def __init__(self, model: VAE, H: Hamiltonian, beta: float, gamma: float, seed: int):
        self.model = plain(model).train()
        device = next(model.parameters()).device
        self.args = H, beta, gamma, torch.Generator(device).manual_seed(seed)
        self.restart()

    def restart(self):
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def update(self, batch):
        losses = self.model.losses(batch, *self.args)
        self.optimizer.zero_grad()
        losses.total.backward()
        self.optimizer.step()
        return losses
