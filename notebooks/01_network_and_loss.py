# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1b · The network and the loss in 40 lines
#
# *Half a minute; one picture needs the networks that notebook 2 has trained.*
#
# You will see the whole E-VAE as plain PyTorch: the energy, the network, the three losses, and a few steps of
# training. The core of this project computes the same numbers, faster; the last line of each part compares the two.
#
# Everything here is for 32 × 32 spins at $D=0.6\,J$ and $B=0.2\,J$, the paper's magnet on a lattice half as fine.

# %% tags=["parameters"]
preset = "desktop"
device = "auto"
size = 32
beta = 1e-3
gamma = 100.0

# %%
import torch
from torch import nn
from torch.nn import functional as F

from evae_companion import plotting, widgets
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
from evae_core import VAE, Hamiltonian, anneal
from evae_core.model import bounded

p = load_preset(preset)
figures = figures_folder(p)
H = Hamiltonian(J=1.0, D=0.6, B=0.2)
spins = anneal(H, (size, size), n=16, seed=0)

# %% [markdown]
# ## The energy
# Every spin has a neighbour to the right (+x, the last axis) and one above (+y), and the lattice is periodic. With
# the DM vector along the bond, $\mathbf D_{ij}=D\,\mathbf e_{ij}$, the energy per spin is
#
# $$\frac EN = -\frac1N\sum_i\Big[J\,\mathbf S_i\cdot(\mathbf S_{i+x}+\mathbf S_{i+y})
#   + D\,\big(\mathbf S_i\times\mathbf S_{i+x}\big)^x + D\,\big(\mathbf S_i\times\mathbf S_{i+y}\big)^y + B\,S_i^z\Big].$$

# %%
def energy_per_spin(S, J=1.0, D=0.6, B=0.2):
    right, above = S.roll(-1, -1), S.roll(-1, -2)
    exchange = (S * (right + above)).sum(1)
    dm = torch.cross(S, right, dim=1)[:, 0] + torch.cross(S, above, dim=1)[:, 1]
    return -(J * exchange + D * dm + B * S[:, 2]).mean((-2, -1))

apart = (energy_per_spin(spins) - H.energy_per_spin(spins)).abs().max()
print(f"E/N = {energy_per_spin(spins).mean():.4f} J; largest difference from the core {apart:.0e} J")

# %% [markdown]
# ## The network
# Four convolutions of 5 × 5, each with batch norm, leaky ReLU and 2 × 2 pooling, and two dense layers lead to the
# mean μ and to log σ² of 100 latent variables. The decoder goes the way back, with an upsampling before each
# convolution. Padding is circular, as the lattice is.

# %%
def conv(c_in, c_out, bias=False):
    return nn.Conv2d(c_in, c_out, 5, padding=2, padding_mode="circular", bias=bias)

def encoder(size, filters=(6, 12, 24, 48), hidden=512):
    layers, width = [], filters[-1] * (size // 16) ** 2
    for c_in, c_out in zip((3, *filters), filters, strict=False):
        layers += [conv(c_in, c_out), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, width, bias=False), nn.BatchNorm1d(width),
                         nn.LeakyReLU(0.1), nn.Linear(width, hidden))

# %%
def decoder(size, filters=(48, 24, 12, 6), hidden=512, latent=100):
    layers, low = [], size // 16
    for c_in, c_out in zip(filters, (*filters[1:], 3), strict=True):
        layers += [nn.Upsample(scale_factor=2), conv(c_in, c_out), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.1)]
    width = filters[0] * low**2
    return nn.Sequential(nn.Linear(latent, hidden, bias=False), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.1),
                         nn.Linear(hidden, width, bias=False), nn.BatchNorm1d(width), nn.LeakyReLU(0.1),
                         nn.Unflatten(1, (filters[0], low, low)), *layers, conv(3, 3, bias=True))

# %% [markdown]
# The latent vector is sampled, $z=\mu+\sigma\epsilon$ with normal $\epsilon$, and the decoder's output is brought to
# unit length, spin by spin. `bounded` limits log σ² from above; well below its bound it changes nothing.

# %%
class PlainVAE(nn.Module):
    def __init__(self, size, hidden=512, latent=100):
        super().__init__()
        self.encoder = encoder(size)
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = decoder(size)

    def forward(self, S, epsilon):
        hidden = self.encoder(S)
        mu, logvar = self.mu(hidden), bounded(self.logvar(hidden))
        z = mu + (logvar / 2).exp() * epsilon
        return F.normalize(self.decoder(z), dim=1), mu, logvar

# %% [markdown]
# ## The loss
#
# $$L = \underbrace{\frac1N\sum_i|\mathbf S_i^\mathrm{in}-\mathbf S_i^\mathrm{out}|^2}_{L_\mathrm{RC}}
#   + \beta\,\underbrace{\Big(-\tfrac12\sum_j(1+\ln\sigma_j^2-\mu_j^2-\sigma_j^2)\Big)}_{L_\mathrm{KL}}
#   + \gamma\,\underbrace{\frac{E(X_\mathrm{out})-E_0}{N}\Big(\frac{0.3J}D\Big)^2}_{L_\mathrm{H}},$$
#
# each a mean over the batch. $E_0=-2JN$ is the exchange energy of the uniform state.

# %%
def losses(S, S_out, mu, logvar):
    L_RC = (S - S_out).square().sum(1).mean()
    L_KL = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
    L_H = (energy_per_spin(S_out).mean() + 2.0) * (0.3 / 0.6) ** 2
    return L_RC, L_KL, L_H, L_RC + beta * L_KL + gamma * L_H

# %% [markdown]
# The core's network and this one, with the same weights and the same noise, must agree in every loss.

# %%
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(0)
core, plain = VAE(size), PlainVAE(size)
vector_to_parameters(parameters_to_vector(core.parameters()), plain.parameters())
epsilon = torch.randn(len(spins), 100, generator=torch.Generator().manual_seed(1))
ours = core.loss(spins, H, beta, gamma, generator=torch.Generator().manual_seed(1))
for name, a, b in zip(("L_RC", "L_KL", "L_H", "L"), losses(spins, *plain(spins, epsilon)), ours, strict=True):
    print(f"{name:5s} {a.item():10.5f} here, {b.item():10.5f} in the core")

# %%
# NBVAL_CHECK_OUTPUT
parameters = sum(weight.numel() for weight in plain.parameters())
print("parameters of a network for 32 x 32 spins:", parameters if size == 32 else "not asked")
worst = max(abs(a.item() - b.item()) / abs(b.item())
            for a, b in zip(losses(spins, *plain(spins, epsilon)), ours, strict=True))
print("all losses agree to 1e-4:", worst < 1e-4)

# %% [markdown]
# ## Training
# Adam trains the network on the sixteen states. The distance to the input falls, and the energy of the output falls
# below that of the uniform state, where L_H is -0.05.

# %%
optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3)
for step in range(31):
    L_RC, L_KL, L_H, L = losses(spins, *plain(spins, torch.randn_like(epsilon)))
    optimiser.zero_grad()
    L.backward()
    optimiser.step()
    if step % 10 == 0:
        print(f"step {step:2d}: L_RC {L_RC.item():.3f}, L_KL {L_KL.item():6.1f}, "
              f"L_H {L_H.item():+.4f}, L {L.item():.3f}")

# %% [markdown]
# ## The picture (Fig. 1)
# The same network at the lattice of the preset, drawn from the model itself: every layer with the shape of its
# output, one validation state and its reconstruction at $\beta=10^{-3}$, and where the three losses are taken.

# %%
from evae_companion.experiments import beta_sweep
from evae_core.model import layer_shapes

found = beta_sweep.run(p, device=device)
fig = plotting.network(*layer_shapes(VAE(p.size)), found.given, found.x_out[p.betas.index(1e-3)])
plotting.save(fig, figures, "network")
fig

# %% [markdown]
# ## Try this
# Train without the energy (`gamma = 0`): in as many steps L_RC falls to half of its value here, and L_H falls half as
# far. At γ = 100 from the first step on, the network lowers the energy first and learns its inputs later. This is why
# γ is raised stage by stage in training, from weights that reconstruct.
#
# Next: [what the standard VAE makes of annealed states](02_beta_sweep.ipynb). Before: [the data](01_dataset.ipynb).

# %%
with torch.no_grad():
    S_out, _, _ = plain(spins, epsilon)

def pair(state):
    return plotting.gallery(torch.stack((spins[state], S_out[state])).numpy(), ["given", "returned"], columns=2)

widgets.explorer(pair, state=range(len(spins)))
