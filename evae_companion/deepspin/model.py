r"""The learned spin-lattice potential: E = sum over real atoms of a linear function of the atom's descriptor, and a
network of its principal components.

Every kind of neighbour has an embedding of its own for every type of central atom (the "type embedding" of DeepPot-SE
in its exact form): real atoms of each type, virtual atoms of each magnetic type, these once more as arrows (see
:mod:`.descriptor`), and the atom's own virtual atom, whose distance, s_t |S|, is far smaller than all others. Energies,
forces and magnetic forces: :func:`potential.evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.descriptor import Embedding, contract, layers, residual, rows, spin_channels
from evae_companion.deepspin.neighbours import Neighbours, Section, displacements
from evae_companion.deepspin.potential import derive
from evae_core.validation import check_count, check_is, check_list, check_number, check_numbers

OWN = "own"
WIDEST = 4096  # of any layer: beyond, the first forward pass would not fit into memory
# The numbers of a descriptor are strongly correlated: in NiO a few directions carry nearly all variance, the small
# displacements of the lattice sit in the rest. Inputs of the networks are principal components, of unit variance down
# to this part of the largest. Smaller ones brought to unit size would give forces far too large, and noisy ones: they
# are for the linear part.
FLOOR = 1e-2
# Random displacements (angstrom) and parts of the moments that the statistics include: see DeepSpin.normalise.
SHAKEN = 0.02, 0.03
SAMPLES = 3  # at least so many descriptors for each of their numbers


@dataclass(frozen=True)
class ModelSpec:
    """Every number of a model's architecture.

    Parameters
    ----------
    names : of the types.
    scales : of the virtual atoms for every type, angstrom/mu_B; 0 for types without moment. A virtual atom some 0.3 to
        0.4 angstrom from its real one is usual (NiO: 0.4/1.2737, fcc Fe: 0.3/1.323).
    cutoff, smooth_from : r_c and r_s, angstrom.
    embedding : widths of the embedding networks; the last is M, the columns of G of one kind of neighbour.
    axis : columns of A_< of one kind.
    components : principal components of the descriptor that the energy networks see, besides the linear part, which
        sees all numbers.
    fitting : widths of the hidden layers of the atoms' energy networks.
    protection : p in rho = sqrt(r^2 + p^2), angstrom.
    """

    names: tuple[str, ...]
    scales: tuple[float, ...]
    cutoff: float = 5.6
    smooth_from: float = 4.6
    embedding: tuple[int, ...] = (16, 16)
    axis: int = 4
    components: int = 32
    fitting: tuple[int, ...] = (64, 64)
    protection: float = 0.01

    def __post_init__(self) -> None:
        names = tuple(check_list("names", self.names, str))
        for name in ("embedding", "fitting"):
            widths = check_list(name, getattr(self, name), "widths")
            object.__setattr__(self, name, tuple(check_count(name, n, 1, WIDEST) for n in widths))
        for name in ("cutoff", "smooth_from", "protection"):
            check_number(name, getattr(self, name))
        check_count("axis", self.axis, 1, self.embedding[-1])
        check_count("components", self.components, 1, WIDEST)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "scales", check_numbers("scales", self.scales, 0.0, len(names)))
        if len(set(names)) != len(names):
            raise ValueError(f"names must be different, got {names}")
        if not 0 < self.protection < self.smooth_from < self.cutoff < float("inf"):
            raise ValueError("0 < protection < smooth_from < cutoff is needed, got "
                             f"{self.protection}, {self.smooth_from}, {self.cutoff}")

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


class DeepSpin(nn.Module):
    """A learned potential; see the module and :class:`ModelSpec`. Weights are drawn from ``seed``, float32.

    ``normalise`` must be called with the training data before training; ``double()`` gives the float64 model.
    """

    crowd: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, spec: ModelSpec, seed: int = 0):
        super().__init__()
        check_is("spec", spec, ModelSpec)
        self.spec = spec
        generator = torch.Generator().manual_seed(check_count("seed", seed, 0, 2**63 - 1))
        self.embeddings, self.fittings = nn.ModuleDict(), nn.ModuleDict()
        virtual = [name + "*" for name, scale in zip(spec.names, spec.scales, strict=True) if scale]
        for a, centre in enumerate(spec.names):
            kinds = [*spec.names, *virtual, *(name[:-1] + "^" for name in virtual), *([OWN] if spec.scales[a] else [])]
            for kind in kinds:
                self.embeddings[f"{centre}-{kind}"] = Embedding(spec.embedding, generator)
            inputs = len(kinds) ** 2 * spec.embedding[-1] * spec.axis
            self.fittings[centre] = AtomicEnergy(inputs, spec.components, spec.fitting, generator)
        types = len(spec.names)
        self.register_buffer("crowd", torch.ones(types))  # N_c: mean number of neighbours of a type
        self.register_buffer("bias", torch.zeros(types, dtype=torch.float64))  # eV an atom
        self.register_buffer("scale", torch.ones(()))  # eV: what the networks' outputs are multiplied by

    def atomic(self, a: int) -> AtomicEnergy:
        """The energy of atoms of type ``a``."""
        return cast(AtomicEnergy, self.fittings[self.names[a]])

    @property
    def names(self) -> tuple[str, ...]:
        return self.spec.names

    @property
    def cutoff(self) -> float:
        return self.spec.cutoff

    def reach(self, spins: Tensor, types: Tensor) -> tuple[float, ...]:
        """For every type s_t times its largest moment. ValueError for a moment on a type that has none here."""
        lengths = spins.detach().norm(dim=-1)
        found = []
        for a, (name, scale) in enumerate(zip(self.names, self.spec.scales, strict=True)):
            most = float(lengths[:, types == a].max()) if bool((types == a).any()) else 0.0
            if scale == 0 and most > 0:
                raise ValueError(f"spins of type {name} must be zero: its scale is 0, so the model gives it no moment; "
                                 f"got a moment of {most:g} mu_B")
            found.append(scale * most)
        return tuple(found)

    def energies(self, positions: Tensor, spins: Tensor, cells: Tensor, neighbours: Neighbours,
                 strain: Tensor | None = None) -> Tensor:
        """(F,) eV of the atoms in the tables' rows, which are all unless the tables were split."""
        constant = sum(self.bias[s.centre] * len(s.atoms) for s in neighbours.first_of_centres())
        # Added in float64: hundreds of eV would leave a float32 sum no room for the meV that matter.
        return self.excess(positions, spins, cells, neighbours, strain).to(self.bias.dtype) + constant

    def excess(self, positions: Tensor, spins: Tensor, cells: Tensor, neighbours: Neighbours,
               strain: Tensor | None = None) -> Tensor:
        """(F,) eV: the energies without the constant of each type's atoms."""
        total = positions.new_zeros(len(positions))
        for section in neighbours.first_of_centres():
            a = section.centre
            found = self.descriptor(a, neighbours.of_centre(a), positions, spins, cells, strain)
            total = total + self.scale * self.atomic(a)(found).sum(1)
        return total

    def descriptor(self, a: int, sections: tuple[Section, ...], positions: Tensor, spins: Tensor, cells: Tensor,
                   strain: Tensor | None = None) -> Tensor:
        """(F, n, inputs): D of the central atoms of type ``a``, not yet normalised."""
        empty = positions.new_zeros(len(positions), len(sections[0].atoms), 4, self.spec.embedding[-1])
        blocks = {name: empty for name in self.embeddings if name.startswith(self.names[a] + "-")}
        for name, matrix, s in self._environments(a, sections, positions, spins, cells, strain):
            blocks[name] = matrix.transpose(-1, -2) @ self.embeddings[name](s) / self.crowd[a]
        return contract(list(blocks.values()), self.spec.axis)

    def _environments(self, a: int, sections: tuple[Section, ...], positions: Tensor, spins: Tensor, cells: Tensor,
                      strain: Tensor | None = None) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name of embedding, R (F, n, K, 4), its input s (F, n, K, 1)) for every kind of neighbour of type ``a``."""
        spec = self.spec
        limits = spec.smooth_from, spec.cutoff, spec.protection
        for section in sections:
            found = displacements(section, positions, cells, strain)
            name = f"{self.names[a]}-{self.names[section.neighbour]}"
            real = rows(found[:, :, :section.real], *limits)
            if section.real:
                yield name, real, real[..., :1]
            if spec.scales[section.neighbour] and section.index.shape[1]:
                moments = spins.index_select(1, section.index.reshape(-1)).unflatten(1, section.index.shape)
                arrow = spec.scales[section.neighbour] * moments
                virtual = rows(found + arrow, *limits)
                yield name + "*", virtual, virtual[..., :1]
                if section.real:
                    yield name + "^", spin_channels(real, arrow[:, :, :section.real]), real[..., :1]
        if spec.scales[a]:
            own = rows(spec.scales[a] * spins.index_select(1, sections[0].atoms)[:, :, None], *limits)
            yield f"{self.names[a]}-{OWN}", own, own[..., :1]

    @torch.no_grad()
    def normalise(self, frames: Frames, neighbours: Neighbours, seed: int = 0) -> None:
        """Set what makes inputs and outputs of the networks of order one, from training data.

        Mean and standard deviation of s for every kind of neighbour; the descriptor's principal components; the energy
        an atom of each type (least squares over the frames, the smallest solution where it is not determined); and the
        scale of the output, so that a network fresh from random weights gives forces and magnetic forces of the labels'
        size. Statistics are those of the frames with all atoms and moments moved at random by SHAKEN: labels are
        derivatives, so what counts is how the descriptor changes in every direction, along those too in which the
        frames do not differ, as the length of the moments.
        """
        device, dtype = self.crowd.device, self.crowd.dtype
        tables = neighbours.to(device, dtype)
        inputs = [x.to(device, dtype) for x in (frames.positions, frames.spins, frames.cells)]
        generator = torch.Generator().manual_seed(seed)
        magnetic = torch.tensor(self.spec.scales, device=device, dtype=dtype)[tables.types][:, None] > 0
        length = inputs[1][:, magnetic[:, 0]].norm(dim=-1).mean() if bool(magnetic.any()) else 0.0

        def shaken() -> list[Tensor]:
            noise = [torch.randn(frames.positions.shape, generator=generator).to(inputs[0]) for _ in range(2)]
            return [inputs[0] + SHAKEN[0] * noise[0], inputs[1] + SHAKEN[1] * length * magnetic * noise[1], inputs[2]]

        for first in tables.first_of_centres():
            a, seen = first.centre, 0
            sections = tables.of_centre(a)
            for name, _, given in self._environments(a, sections, *shaken()):
                s = given[given > 0].double()
                seen += len(s)
                if len(s) > 1:
                    embedding = cast(Embedding, self.embeddings[name])
                    embedding.mean.fill_(float(s.mean()))
                    embedding.deviation.fill_(float(s.std()) + 1e-3 * float(s.mean()))
            self.crowd[a] = max(seen / (len(frames) * len(first.atoms)), 1.0)
            energy = self.atomic(a)
            # With fewer samples than numbers some components would seem constant, and be blown up by FLOOR.
            draws = -(-SAMPLES * len(energy.mean) // (len(frames) * len(first.atoms)))
            energy.normalise(torch.cat([self.descriptor(a, sections, *shaken()).flatten(0, 1) for _ in range(draws)]))
        counts = torch.bincount(frames.types, minlength=len(self.names)).double().expand(len(frames), -1)
        if frames.energies is not None:
            self.bias.copy_(torch.linalg.pinv(counts) @ frames.energies)
        labels = [getattr(frames, name) for name in ("forces", "force_mags")]
        if any(label is not None and bool(label.any()) for label in labels):
            self.scale.fill_(1.0)
            few = slice(0, 4)
            found = derive(self, inputs[0][few], inputs[1][few], inputs[2][few], tables)
            sizes = [(label[few].square().sum(), ours.double().cpu().square().sum())
                     for label, ours in zip(labels, (found.forces, found.force_mags), strict=True) if label is not None]
            self.scale.fill_(float((sum(size for size, _ in sizes) / sum(ours for _, ours in sizes)).sqrt()))


class AtomicEnergy(nn.Module):
    """From a descriptor (..., inputs) to an atom's energy (...): linear in it, plus a network of its principal
    components."""

    mean: Tensor
    size: Tensor
    whitening: Tensor

    def __init__(self, inputs: int, components: int, widths: Sequence[int], generator: torch.Generator):
        super().__init__()
        components = min(components, inputs)
        self.linear = nn.Parameter(torch.zeros(inputs))
        self.hidden = layers([components, *widths], generator)
        self.last = layers([widths[-1], 1], generator)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("size", torch.ones(inputs))
        self.register_buffer("whitening", torch.eye(inputs, components))

    def standard(self, descriptor: Tensor) -> Tensor:
        """The descriptor with mean 0 and variance 1 in the training data: what ``linear`` weighs."""
        return (descriptor - self.mean) / self.size

    def forward(self, descriptor: Tensor) -> Tensor:
        found = self.standard(descriptor)
        return found @ self.linear + self.last[0](residual(self.hidden, found @ self.whitening)).squeeze(-1)

    @torch.no_grad()
    def silence(self) -> None:
        """Start the network from zero, where the linear part alone gives the energy."""
        last = cast(nn.Linear, self.last[0])
        last.weight.zero_()
        last.bias.zero_()

    def normalise(self, descriptors: Tensor) -> None:
        """Set mean, size and principal components by descriptors (n, inputs)."""
        found = descriptors.detach().double()
        size = found.std(0, correction=0)
        size = size + 1e-6 * size.max()
        variances, axes = torch.linalg.eigh(torch.cov(((found - found.mean(0)) / size).T, correction=0))
        most = slice(-self.whitening.shape[1], None)  # eigh sorts from the smallest
        self.mean.copy_(found.mean(0))
        self.size.copy_(size)
        self.whitening.copy_(axes[:, most] / (variances[most].clamp_min(0.0) + FLOOR * variances[-1]).sqrt())
