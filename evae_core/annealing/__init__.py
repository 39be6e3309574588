"""Simulated annealing of spin configurations: random states cooled to metastable states at T = 0.

Two backends share the algorithm: numba on the CPU (``cpu.py``, ``kernels.py``) and CUDA through CuPy (``gpu.py``,
``kernels.cu``). Both know J, D, B and K on nearest neighbours. A third, on the CPU alone, knows every bilinear
Hamiltonian (``general_lattice.py``). Each says by ``supports(H)`` whether it knows all of a Hamiltonian.

The algorithm is checkerboard heat bath (exact single-spin Boltzmann sampling in the local field, Miyatake et al.,
J. Phys. C 19, 2539 (1986)), over-relaxation (reflection about the local field, Creutz, Phys. Rev. D 36, 515 (1987)),
and a descent that turns every spin into its field, over-shooting, until the largest torque is below a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_core.annealing import cpu, general_lattice, threads
from evae_core.annealing.lbfgs import lbfgs_refine
from evae_core.annealing.schedule import ALGORITHM, LEAST_T, Schedule
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_choice, check_count, check_flag, check_is, check_number, check_seed, say_once

__all__ = ["ALGORITHM", "Annealing", "Schedule", "anneal", "heat_bath", "lbfgs_refine", "relax", "replicas_from",
           "runs_on"]

DEVICES = ("auto", "cpu", "cuda")
MAX_SITES = 2**34  # of all replicas of a call: 200 GB of spins
MAX_SWEEPS = 10**7  # of a call at a constant temperature: days
GLIDING = 8000  # sweeps after which a texture that still moves glides


def _backend(device: str, H: Hamiltonian | None = None) -> Any:
    """The module that computes on ``device``: cpu or gpu where these support ``H``, else general_lattice."""
    check_choice("device", device, DEVICES)
    host = cpu if H is None or cpu.supports(H) else general_lattice
    if H is not None and host is general_lattice and not general_lattice.supports(H):
        names = ", ".join(type(term).__name__ for term in H.unknown)
        raise ValueError(f"H must be bilinear to be annealed, and its term {names} is not; energies, fields and "
                         "training know it, and evae_core.annealing.lbfgs_refine descends under it")
    if device == "cpu":
        return host
    from evae_core.annealing import gpu  # here, because it is of no use without a GPU

    if H is not None and not gpu.supports(H):
        lack = ("J, D, B and K on nearest neighbours only, and H has other bonds or terms" if host is general_lattice
                else f"one boundary for both axes only, and H has {H.boundary}")
        if device == "cuda":
            raise ValueError(f'device "cuda" knows {lack}; use "cpu" or "auto"')
        if gpu.usable():
            say_once(f"annealing on the CPU: the GPU's kernels know {lack}")
        return host
    if device == "cuda":
        gpu.require()
        return gpu
    return gpu if gpu.usable() else host


def runs_on(device: str) -> str:
    """What ``device`` stands for on this machine, ``"cpu"`` or ``"cuda"``; errors as those of :func:`anneal`."""
    return "cpu" if _backend(device) is cpu else "cuda"


def _check(H: Hamiltonian, shape: Sequence[int]) -> tuple[int, int]:
    check_hamiltonian(H)
    scale = H.largest_coupling
    if scale and not 1e-6 <= scale <= 1e6:  # squares of fields must neither vanish nor overflow in float32
        raise ValueError(f"H must have its largest coupling between 1e-6 and 1e6, got {scale:g}; use J as the unit")
    ny, nx = H.check_shape(shape)
    if cpu.supports(H) and any(n % 2 for n, wraps in zip((ny, nx), H.periodic_axes, strict=True) if wraps):
        raise ValueError("shape must be even along every periodic axis, since the lattice is swept in two colours, "
                         f'got {(ny, nx)}; use even sizes or boundary="open"')
    return ny, nx


class Annealing:
    """The anneal of n replicas in steps, for those who want to watch: ``anneal`` is this, run to its end.

    ``run(sweeps)`` advances along the schedule, iterating advances one sweep at a time, and
    ``finish()`` does what is left and the descent to T = 0. However it is divided, the result is
    bit for bit that of :func:`anneal`.

    Parameters
    ----------
    as for :func:`anneal`.

    Attributes
    ----------
    sweep : heat-bath sweeps done. done : whether the schedule is at its end (the descent may still be due).
    temperature : of the last sweep, J/k_B; inf before the first (random spins), 0 after ``finish()``.
    spins : (n, 3, Ny, Nx) float32, a copy in host memory.

    Examples
    --------
    >>> annealing = Annealing(Hamiltonian(D=0.6, B=0.2), (16, 16), n=2, device="cpu")
    >>> energies = [float(a.H.energy(a.spins).mean()) for a in annealing]
    >>> spins = annealing.finish()
    """

    def __init__(self, H: Hamiltonian, shape: Sequence[int], n: int, seed: int = 0, device: str = "auto",
                 schedule: Schedule | None = None, first: int = 0) -> None:
        shape = _check(H, shape)
        check_is("schedule", schedule, Schedule, type(None))
        n, seed, first = check_count("n", n, 1), check_seed(seed), check_count("first", first)
        if n * shape[0] * shape[1] > MAX_SITES or first >= 2**62:
            raise ValueError(f"n must be at most {MAX_SITES // (shape[0] * shape[1])} at this shape, and first below "
                             f"2**62, got n={n}, first={first}")
        self.H, self.schedule = H, schedule or Schedule()
        self._temperatures = self.schedule.temperatures()
        self._replicas = _backend(device, H).Replicas(H, shape, n, first, seed)
        self._replicas.sweep([0.0], 0)  # infinite temperature: uniform on the sphere
        self.sweep, self.temperature = 0, float("inf")

    @property
    def done(self) -> bool:
        return self.sweep == self.schedule.sweeps

    @property
    def spins(self) -> Tensor:
        return self._replicas.spins().cpu()

    def run(self, sweeps: int = 1) -> Annealing:
        """Advance by ``sweeps`` heat-bath sweeps with their over-relaxation, or to the schedule's end; return self."""
        upcoming = self._temperatures[self.sweep:self.sweep + check_count("sweeps", sweeps)]
        if len(upcoming):
            self._replicas.sweep(1 / upcoming, self.schedule.overrelax)
            self.sweep, self.temperature = self.sweep + len(upcoming), float(upcoming[-1])
        return self

    def __iter__(self) -> Iterator[Annealing]:
        while not self.done:
            yield self.run(1)

    def finish(self) -> Tensor:
        """Run what is left of the schedule, descend to T = 0, and return the spins.

        Raises
        ------
        RuntimeError
            the torque is still above the schedule's tolerance after ``max_descent`` sweeps.
        """
        return self._arrive().cpu()

    def _arrive(self) -> Tensor:
        """As finish, but the spins stay on the device that computed them."""
        self.run(self.schedule.sweeps)
        if self.temperature > 0:
            if self.schedule.quench:
                self._replicas.sweep(np.full(self.schedule.quench, 1 / LEAST_T), 0)
            _descend(self._replicas, self.schedule.tolerance, self.schedule.max_descent, "max_descent")
            self.temperature = 0.0
        return self._replicas.spins()


def _descend(replicas: Any, tolerance: float, max_sweeps: int, name: str) -> None:
    torque = replicas.descend(tolerance, max_sweeps)
    if not torque <= tolerance:
        raise RuntimeError(f"the descent stopped at a torque of {torque:.3g} J after {name}={max_sweeps} sweeps, above "
                           f"tolerance={tolerance:g}; raise {name} or tolerance")


def anneal(H: Hamiltonian, shape: Sequence[int], n: int, seed: int = 0, device: str = "auto",
           schedule: Schedule | None = None, first: int = 0, progress: Any = None, keep: bool = False) -> Tensor:
    """n metastable states: random spins, cooled along ``schedule``, quenched where it says so, and brought to rest.

    Parameters
    ----------
    H : the Hamiltonian; periodic axes need even lengths, as the lattice is swept in two colours, unless H has further
        bonds. Those, and mixed boundaries, are annealed on the CPU only: ``"auto"`` says so where there is a GPU.
    shape : (Ny, Nx).
    n : number of replicas.
    seed : integer in [0, 2**64). Replica r of a seed is the same, bit for bit, whatever n, ``first``,
        and the number of threads: ``anneal(H, shape, 10)[4:]`` equals ``anneal(H, shape, 6, first=4)``.
        The CPU and the GPU differ (in rounding, not in distribution).
    device : ``"auto"`` (a usable GPU, else the CPU), ``"cpu"`` or ``"cuda"``. The CPU backend uses
        ``torch.get_num_threads()`` threads.
    schedule : a :class:`Schedule`; None is the default one.
    first : index of the first replica.
    progress : None, or a callable ``progress(done, total)`` in replicas.
    keep : leave the result on the device that computed it (needs a torch built for CUDA there), so that
        what follows on a GPU copies nothing; otherwise it comes to host memory.

    Returns
    -------
    (n, 3, Ny, Nx) float32, unit vectors, zero on non-magnetic sites; in host memory unless ``keep``.

    Raises
    ------
    TypeError, ValueError
        a bad argument. RuntimeError: no usable GPU for ``"cuda"``, or a descent that did not arrive.
    """
    ny, nx = _check(H, shape)
    n, first = check_count("n", n, 1), check_count("first", first)
    check_is("progress", progress, Callable, type(None))
    check_flag("keep", keep)
    backend = _backend(device, H)
    if n * ny * nx > MAX_SITES:
        raise ValueError(f"n must be at most {MAX_SITES // (ny * nx)} at this shape, got {n}; anneal in parts")
    stays = keep and hasattr(backend, "output_device")
    spins = torch.empty(n, 3, ny, nx, device=backend.output_device() if stays else "cpu")

    done = 0

    def work(piece: Any) -> int:
        start, count = piece
        part = Annealing(H, shape, count, seed, device, schedule, first=start)
        spins[start - first:start - first + count] = part._arrive()
        return count

    def finished(count: Any) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, n)

    threads.in_threads(work, backend.pieces((ny, nx), first, n), backend.workers(), finished)
    return spins


def _load(H: Hamiltonian, spins: Any, device: str, **kw: Any) -> tuple[Any, Callable[[], Tensor]]:
    """Replicas of ``spins``, flattened over the leading axes, and what to do to bring the result back."""
    check_spins(spins)
    shape = _check(H, spins.shape[-2:])
    check_spins(spins, unit=True, magnetic=None if H.mask is None else H.mask.copy())
    flat = spins.detach().reshape(-1, 3, *shape)
    if not len(flat):
        raise ValueError(f"spins must hold at least one configuration, got shape {tuple(spins.shape)}")
    replicas = _backend(device, H).Replicas(H, shape, len(flat), **kw)
    replicas.load(flat)
    return replicas, lambda: replicas.spins().to(spins).reshape(spins.shape)


def replicas_from(H: Hamiltonian, spins: Tensor, seed: int = 0, device: str = "auto") -> Any:
    """Replicas that hold ``spins`` (n, 3, Ny, Nx), for methods that sweep and descend on a plan of their own.

    Their ``sweep(betas, overrelax)``, ``descend(tolerance, max_sweeps)``, ``load(spins)`` and ``spins()`` are those of
    ``cpu.Replicas`` and ``gpu.Replicas``; arguments and errors as for :func:`heat_bath`.
    """
    return _load(H, spins, device, seed=check_seed(seed))[0]


def relax(H: Hamiltonian, spins: Tensor, tolerance: float = 1e-5, max_sweeps: int = 50_000,
          device: str = "auto") -> Tensor:
    """The nearest local minimum: turn every spin into its field until the largest torque is below ``tolerance``.

    The energy never rises on the way. Works in float64 whatever the dtype of ``spins``, so that float64
    results can be ranked; a float32 result is rounded at the end, which leaves torques of about 1e-6 J. Textures
    that glide over a nearly flat landscape, as skyrmion lattices with defects do, are still far from rest after
    thousands of sweeps: L-BFGS takes these the rest of the way (:func:`~evae_core.annealing.lbfgs.lbfgs_refine`,
    on the CPU).

    Parameters
    ----------
    spins : (..., 3, Ny, Nx), float32 or float64, unit vectors; values on non-magnetic sites are ignored.
    tolerance : largest torque |S x h| left, units of J.
    max_sweeps : most sweeps allowed.

    Returns
    -------
    a tensor of the shape, dtype and device of ``spins``; zero on non-magnetic sites.

    Raises
    ------
    TypeError, ValueError
        a bad argument. RuntimeError: not there after ``max_sweeps``.
    """
    tolerance, max_sweeps = check_number("tolerance", tolerance), check_count("max_sweeps", max_sweeps, 1)
    replicas, result = _load(H, spins, device, dtype=np.float64)
    if max_sweeps > GLIDING and not replicas.descend(tolerance, GLIDING) <= tolerance:
        flat = replicas.spins().cpu()
        for i in (H.torque(flat).flatten(1).amax(1) > tolerance).nonzero()[:, 0]:
            flat[i] = lbfgs_refine(H, flat[i], tolerance)[0]
        replicas.load(flat)
    _descend(replicas, tolerance, max_sweeps, "max_sweeps")
    return result()


def heat_bath(H: Hamiltonian, spins: Tensor, T: float, sweeps: int, seed: int = 0, overrelax: int = 0,
              device: str = "auto") -> Tensor:
    """Sample at a constant temperature: ``sweeps`` heat-bath sweeps, each followed by ``overrelax`` reflections.

    The Markov chain's stationary distribution is exp(-E/T) (with K too: a Metropolis step corrects both
    updates for it). Works in float32.

    Parameters
    ----------
    spins : (..., 3, Ny, Nx), the start; every leading index is a replica with random numbers of its own.
    T : temperature, J/k_B; above 0, and ``inf`` draws spins uniform on the sphere.
    sweeps, seed, overrelax, device : as for :func:`anneal`.

    Returns
    -------
    a tensor of the shape, dtype and device of ``spins``.

    Raises
    ------
    TypeError, ValueError
        a bad argument.
    """
    if not (isinstance(T, float) and T == float("inf")):
        T = check_number("T", T, LEAST_T)
    sweeps, overrelax = check_count("sweeps", sweeps, 0, MAX_SWEEPS), check_count("overrelax", overrelax, 0, 10**4)
    replicas, result = _load(H, spins, device, seed=check_seed(seed))
    replicas.sweep(np.full(sweeps, 1 / T), overrelax)
    return result()
