"""What steps of z do: all of a translation for a decoder that translates, none for one that does something else."""

import math

import pytest
import torch

from evae_companion.analysis import latent_directions
from evae_companion.analysis.latent_directions import movements
from evae_core import Hamiltonian
from evae_core.model import VAE
from evae_core.presets import VAEConfig
from evae_core.textures import skyrmions

N = 32
SMALL = VAEConfig(latent=5)
Z = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)


def texture(x, y):
    """A smooth periodic texture of the box, unit spins (3, ...) at real places."""
    k = 2 * math.pi / N
    field = torch.stack([torch.sin(k * x) + 0.3 * torch.cos(k * y), torch.cos(k * (x - y)),
                         1.5 + 0.5 * torch.sin(k * y)])
    return field / field.norm(dim=0)


class Moving(VAE):
    """Decodes z to the texture, moved by z_0 along x and by 2 z_1 along y; the other components do nothing."""

    def decode(self, z):
        y, x = torch.meshgrid(*[torch.arange(N, dtype=z.dtype)] * 2, indexing="ij")
        return torch.stack([texture(x + one[0], y + 2 * one[1]) for one in z])


class Turning(VAE):
    """Decodes z to the texture with all spins turned about z by z_0."""

    def decode(self, z):
        y, x = torch.meshgrid(*[torch.arange(N, dtype=z.dtype)] * 2, indexing="ij")
        s = texture(x, y)
        return torch.stack([torch.stack([one[0].cos() * s[0] - one[0].sin() * s[1],
                                         one[0].sin() * s[0] + one[0].cos() * s[1], s[2]]) for one in z])


def test_a_decoder_that_translates():
    found = latent_directions(Moving((N, N), config=SMALL).eval(), Z)
    for name, step in (("along x", 1.0), ("along y", 0.5)):
        assert (found.shares[name] > 0.999).all() and (found.shares[name] <= 1 + 1e-12).all(), name
        assert found.cost[name].tolist() == pytest.approx([step, step], rel=1e-3), "|dz| per site"
    assert (found.shares["displacement"] < 0.5).all(), "of another movement it can do less"
    assert (found.number > 1).all() and (found.number <= 2).all()


def test_a_decoder_that_turns_spins_does_not_translate():
    found = latent_directions(Turning((N, N), config=SMALL).eval(), Z)
    assert all((share < 0.5).all() for share in found.shares.values())
    assert found.number.tolist() == pytest.approx([1.0, 1.0])


def test_motion_is_the_angle_per_unit_of_z():
    model, step = Moving((N, N), config=SMALL).eval(), 1e-5
    moved = [(model.decode(Z[:1] + step * unit) - model.decode(Z[:1] - step * unit)) / (2 * step)
             for unit in torch.eye(5, dtype=torch.float64)]
    rms = torch.cat(moved).square().sum(1).mean().sqrt()
    assert float(latent_directions(model, Z[:1]).motion[0]) == pytest.approx(float(rms), rel=1e-3)


def test_weights_at_random_know_nothing_of_translations():
    torch.manual_seed(0)
    model = VAE((N, N), config=SMALL).eval()
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert float(latent_directions(model, torch.randn(4, 5)).shares["along x"].mean()) < 0.2


def test_movements_are_tangents_and_a_translation_keeps_the_energy():
    """To first order, as against a random change of the spins."""
    H = Hamiltonian(D=0.6, B=0.2)
    spins = skyrmions(H, (N, N), [[15.3, 15.8]]).double()
    random = torch.randn(spins.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    random -= (random * spins).sum(0) * spins
    found = movements(spins)
    assert list(found) == ["along x", "along y", "displacement"]
    assert all(float((t * spins).sum(0).abs().max()) < 1e-7 for t in found.values())
    for name in ("along x", "along y"):
        assert abs(slope(H, spins, found[name])) < 0.1 * abs(slope(H, spins, random)), name


def slope(H, spins, way):
    h, way = 1e-4, way / way.norm()
    up, down = (H.energy((spins + sign * h * way) / (spins + sign * h * way).norm(dim=0)) for sign in (1, -1))
    return float(up - down) / (2 * h)


def test_refusals():
    model = Moving((N, N), config=SMALL)
    with pytest.raises(ValueError, match="eval mode"):
        latent_directions(model, torch.zeros(1, 5))
    model.eval()
    for z in (torch.zeros(5), torch.zeros(0, 5)):
        with pytest.raises(ValueError, match=r"z must have shape \(n, 5\)"):
            latent_directions(model, z)
    with pytest.raises(TypeError, match="model"):
        latent_directions("network", torch.zeros(1, 5))
