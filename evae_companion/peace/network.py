r"""The network: P^2 at the nodes with its noise -> a size distribution with a monotone cumulative curve, and its
uncertainty.

The law is inside: of an answer a the forward law is formed, what it leaves unexplained is whitened and given back, and
the answer is made again, ``rounds`` times over with the same weights (learned iterative reconstruction, Adler and
Oktem, arXiv:1704.04058),

.. math::
    h_0 = f(P^2), \qquad a_k = \mathrm{softmax}(g(h_k)), \qquad
    h_{k+1} = u\big(h_k + B\,\mathrm{asinh}\,W(P^2 - |K a_k|^2)\big)

A perceptron alone must read P^2 to one part in 10^4 where grains are large; of what is left, one digit is enough.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evae_companion.peace.law import jinc
from evae_companion.peace.sizes import COUNT, HIGH, LOW
from evae_core.validation import check_count, check_number

FINE = 1e-3  # unit of the basis, so that it fits into half precision
BLIND = 100.0  # standard deviation that stands for a node without data
EXACT = 1e-5  # least standard error of the scale and of the height that a network is told


@dataclass(frozen=True)
class Shape:
    """Everything that a trained network's numbers mean: its sizes (law's radii) and nodes, its width and depth."""

    low: float = LOW  # m, radii of the law
    high: float = HIGH
    count: int = COUNT
    node: float = 226.797  # 1/m, distance of the nodes
    nodes: int = 47
    beam: float | None = 4.8e-3  # m, diameter of the clear beam trained with; None: another beam (a mask)
    width: int = 192
    blocks: int = 2
    rounds: int = 4  # of giving back what the forward law leaves unexplained; 0: a perceptron alone

    def __post_init__(self) -> None:
        check_number("low", self.low, below=check_number("high", self.high))
        if self.beam is not None:
            check_number("beam", self.beam)
        check_number("node", self.node)
        for name, most in (("count", 10**4), ("nodes", 10**4), ("width", 10**4), ("blocks", 100)):
            check_count(name, getattr(self, name), 1, most)
        check_count("rounds", self.rounds, 0, 100)

    def dictionary(self) -> dict[str, Any]:
        return asdict(self)


class Prediction(NamedTuple):
    """``area``, ``number``, ``volume``: weights (..., s), each summing to 1. ``spread`` (..., 2, s): expected absolute
    error of the cumulative curves by number and by volume."""

    area: Tensor
    number: Tensor
    volume: Tensor
    spread: Tensor


def features(squared: Tensor, spread: Tensor, doubt: Tensor, basis: Tensor) -> Tensor:
    """What the network sees of P^2 (..., nodes), its standard deviation, and the standard errors of the scale of q and
    of the height of the autocorrelation, doubt (..., 2): (..., 3 nodes + 2).

    The distance from 1 in a ``basis`` (nodes, nodes) in which the noise of neighbours is independent and of order 1, on
    a scale that is linear near 0 and logarithmic far away (small grains show in the fourth digit, large ones in the
    first); P^2 itself, faded out where it is noise; the logarithms of the noise and of the doubts. NaN or a noise
    beyond BLIND: no data there.
    """
    seen = torch.isfinite(squared) & (spread < BLIND)
    y, s = torch.where(seen, squared, 1.0), torch.where(seen, spread, BLIND)
    return torch.cat((torch.asinh((y - 1) @ basis.T / FINE) / 3, y.clamp(-10, 10) / torch.sqrt(1 + (s / 0.1) ** 2),
                      s.clamp(1e-5, BLIND).log10() / 2, doubt.clamp(EXACT, 0.1).log10() + 3.5), -1)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm, self.one, self.two = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(nn.functional.gelu(self.one(self.norm(x))))


class SizeNet(nn.Module):
    """Residual perceptron with the forward law's residual given back; softmax over the sizes makes area weights, so
    every cumulative curve is monotone from 0 to 1."""

    averaging: Tensor
    basis: Tensor
    ratio: Tensor
    kernel: Tensor

    def __init__(self, shape: Shape | None = None):
        super().__init__()
        self.shape = shape = shape or Shape()
        self.first = nn.Linear(3 * shape.nodes + 2, shape.width)
        self.blocks = nn.Sequential(*(Block(shape.width) for _ in range(shape.blocks)))
        self.last = nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, 3 * shape.count))
        if shape.rounds:
            self.back, self.again = nn.Linear(2 * shape.nodes, shape.width), Block(shape.width)
            for layer in (self.back, self.again.two):  # at first a round changes nothing
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            self.register_buffer("averaging", torch.zeros(1 + shape.nodes, shape.nodes))  # set as the basis is
        radii = torch.linspace(shape.low, shape.high, shape.count, dtype=torch.float64)
        nodes = shape.node * torch.arange(1, shape.nodes + 1, dtype=torch.float64)
        self.register_buffer("basis", torch.eye(shape.nodes))  # set by the training, kept with the weights
        self.register_buffer("ratio", (radii / shape.high).float(), persistent=False)
        self.register_buffer("kernel", torch.from_numpy(jinc(nodes[:, None] * radii)).float(), persistent=False)

    @property
    def radii(self) -> Tensor:
        """(s,) float64, the law's r in m."""
        return torch.linspace(self.shape.low, self.shape.high, self.shape.count, dtype=torch.float64)

    @property
    def nodes(self) -> Tensor:
        """(nodes,) float64, 1/m."""
        return self.shape.node * torch.arange(1, self.shape.nodes + 1, dtype=torch.float64)

    def forward(self, squared: Tensor, spread: Tensor, doubt: Tensor | None = None) -> Prediction:
        """From P^2 (..., nodes), its standard deviation, and the standard errors (..., 2) of scale and height (None:
        both are exact), float32; NaN where there is no data."""
        return self.answers(squared, spread, doubt)[-1]

    def answers(self, squared: Tensor, spread: Tensor, doubt: Tensor | None = None) -> list[Prediction]:
        """The answers before the first round and after each."""
        if doubt is None:
            doubt = squared.new_zeros(*squared.shape[:-1], 2)
        hidden = self.blocks(self.first(features(squared, spread, doubt, self.basis)))
        found = [self.answer(hidden)]
        for _ in range(self.shape.rounds):
            hidden = self.again(hidden + self.back(self.unexplained(squared, spread, found[-1].area)))
            found.append(self.answer(hidden))
        return found

    def unexplained(self, squared: Tensor, spread: Tensor, area: Tensor) -> Tensor:
        """What the forward law of area weights (..., s) leaves of P^2, (..., 2 nodes), in units of a good image's
        noise: of data that average over a node's neighbourhood, as images do, and of data that do not, as cuts."""
        seen = torch.isfinite(squared) & (spread < BLIND)
        made = self.coherence2(area)
        averaged = made + self.averaging[0] + (made - 1) @ self.averaging[1:]
        return torch.cat([torch.asinh(torch.where(seen, squared - x, 0.0) @ self.basis.T / FINE)
                          for x in (averaged, made)], -1)

    def answer(self, hidden: Tensor) -> Prediction:
        logits, *spreads = self.last(hidden).split(self.shape.count, -1)
        area = torch.softmax(logits, -1)
        number = torch.softmax(logits - 2 * self.ratio.log(), -1)
        volume = torch.softmax(logits + self.ratio.log(), -1)
        return Prediction(area, number, volume, nn.functional.softplus(torch.stack(spreads, -2) - 4) + 1e-5)

    def with_rounds(self, rounds: int) -> SizeNet:
        """A copy with so many rounds, which at first change nothing where there were none."""
        copy = SizeNet(replace(self.shape, rounds=rounds))
        own = copy.state_dict()
        copy.load_state_dict(own | {name: value for name, value in self.state_dict().items() if name in own})
        return copy

    def coherence2(self, area: Tensor) -> Tensor:
        """P^2 (..., nodes) of area weights (..., s): the forward law without its beam."""
        return (area @ self.kernel.T) ** 2
