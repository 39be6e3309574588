"""Directions of z that move the decoded texture: all of it for a decoder that does just this, chance for another."""

import math

import pytest
import torch

from evae_companion.analysis import latent_directions
from evae_companion.analysis.latent_directions import generators
from evae_core import Hamiltonian
from evae_core.model import VAE
from evae_core.presets import VAEConfig
from evae_core.textures import skyrmions

N = 32
SMALL = VAEConfig(latent=5)


def texture(x, y):
    """A smooth periodic texture of the box, unit spins (3, ...) at real places."""
    k = 2 * math.pi / N
    field = torch.stack([torch.sin(k * x) + 0.3 * torch.cos(k * y), torch.cos(k * (x - y)),
                         1.5 + 0.5 * torch.sin(k * y)])
    return field / field.norm(dim=0)


class Moving(VAE):
    """Decodes z to the texture, moved by z_0 along x and 2 z_1 along y, and turned by z_2; z_3 and z_4 do nothing."""

    def decode(self, z):
        y, x = torch.meshgrid(*[torch.arange(N, dtype=z.dtype) - (N - 1) / 2] * 2, indexing="ij")
        states = []
        for one in z:
            c, s = one[2].cos(), one[2].sin()
            spins = texture(c * x + s * y + one[0], -s * x + c * y + 2 * one[1])
            states.append(torch.stack([c * spins[0] - s * spins[1], s * spins[0] + c * spins[1], spins[2]]))
        return torch.stack(states)


@pytest.fixture(scope="module")
def moving():
    return Moving((N, N), config=SMALL).eval()


def test_a_decoder_that_only_moves_has_just_these_directions(moving):
    z = torch.zeros(3, 5, dtype=torch.float64)
    z[:, :2] = torch.tensor([[0.0, 0.0], [3.0, 1.0], [-2.0, 5.0]])
    found = latent_directions(moving, z)
    for name in ("along x", "along y", "rotation"):
        assert (found.shares[name] > 0.999).all() and (found.shares[name] <= 1 + 1e-12).all(), name
        assert found.same[name] == pytest.approx(1, abs=0.01), name
    assert found.chance == {"along x": 3 / (2 * N * N), "along y": 3 / (2 * N * N),
                            "rotation": pytest.approx(3 / (2 * 208))}
    assert (found.number > 1).all() and (found.number <= 3).all()


def test_motion_is_the_angle_per_unit_of_z(moving):
    z, step = torch.zeros(1, 5, dtype=torch.float64), 1e-5
    moved = [(moving.decode(z + step * unit) - moving.decode(z - step * unit)) / (2 * step)
             for unit in torch.eye(5, dtype=torch.float64)]
    rms = torch.cat(moved).square().sum(1).mean().sqrt()
    assert float(latent_directions(moving, z).motion[0]) == pytest.approx(float(rms), rel=1e-3)
    assert math.isnan(latent_directions(moving, z).same["along x"])


def test_weights_at_random_know_nothing_of_translations():
    """A network that was never trained: its directions have the share that chance gives them, within a factor."""
    torch.manual_seed(0)
    model = VAE((N, N), config=SMALL).eval()
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    found = latent_directions(model, torch.randn(4, 5))
    assert float(found.shares["along x"].mean()) < 0.2 and found.chance["along x"] == 5 / (2 * N * N)


def test_the_generators_are_tangents_that_keep_the_energy():
    """To first order; a skyrmion far from the edges may be moved and turned, bent at random it may not."""
    H = Hamiltonian(D=0.6, B=0.2)
    spins = skyrmions(H, (N, N), [[15.5, 15.5]]).double()
    for name, (t, mask) in generators(spins).items():
        assert float((t * spins).sum(0).abs().max()) < 1e-7 and mask.sum() in (N * N, 208), name
        random = torch.randn(spins.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        random -= (random * spins).sum(0) * spins
        assert abs(slope(H, spins, t)) < 0.1 * abs(slope(H, spins, random)), name


def slope(H, spins, way):
    h, way = 1e-4, way / way.norm()
    up, down = (H.energy((spins + sign * h * way) / (spins + sign * h * way).norm(dim=0)) for sign in (1, -1))
    return float(up - down) / (2 * h)


def test_refusals(moving):
    with pytest.raises(ValueError, match=r"z must have shape \(n, 5\)"):
        latent_directions(moving, torch.zeros(5))
    with pytest.raises(ValueError, match=r"z must have shape \(n, 5\)"):
        latent_directions(moving, torch.zeros(0, 5))
    with pytest.raises(TypeError, match="model"):
        latent_directions("network", torch.zeros(1, 5))
    with pytest.raises(ValueError, match="eval mode"):
        latent_directions(Moving((N, N), config=SMALL), torch.zeros(1, 5))
