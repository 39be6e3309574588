"""Two steps of gpu_quarter_hour.sh: whether the annealer is right on this GPU (verify), and how fast it is (speed).

    python benchmarks/gpu_annealer.py verify|speed

Right means, stated before the run: mean energies per spin at three temperatures within 4 standard errors (of both) of
the CPU's annealer and of independent codes; random streams bit for bit, and reflections to rounding, those of the
CPU's kernels; all kinds of lattices the same bits in shared and in global memory; relaxed states at rest.
"""

import math
import statistics
import sys

import gpu_bare as bare
import numpy as np
import torch
from gpu_bare import DEVICE, REHEARSAL, seconds

from evae_companion import dataset
from evae_core import Hamiltonian, Schedule, anneal, heat_bath
from evae_core.annealing import cpu, gpu, relax

# Energy per spin of the paper's system on 128 x 128, and its error, from independent Metropolis and heat-bath codes.
REFERENCE = {1.0: (-0.8210, 4e-4), 0.5: (-1.5073, 5e-4), 0.2: (-1.8439, 5e-4)}
PAPER = Hamiltonian()
SIGMAS = 4  # between two means: more is a difference
ROUNDING = 2e-7  # J per spin: what float32 spins cost an energy; SIGMAS times that are no difference
REFLECTED = 1e-3  # largest difference of a spin component after five reflections on the GPU and on the CPU
SIZE, REPLICAS, SWEEPS = (16, (16, 16), 40) if REHEARSAL else (128, (264, 48), 500)  # replicas: GPU, CPU
SIZES, WAVES, TARGET = ((8,), (2,), 0.005) if REHEARSAL else ((64, 128, 256), (1, 4, 16), 0.05)
KINDS = {"heat bath": (True, 0), "over-relaxation": (False, 0), "1 + 3 mixed": (True, 3)}
# Bytes that an update must move: the other colour's spins are read once and its own written once a pass, 12 each;
# over-relaxation reads its own too.
BYTES = {"heat bath": 24, "over-relaxation": 36, "1 + 3 mixed": 33}


class GlobalMemory:
    """Within it the kernels for lattices that do not fit shared memory are used for all."""

    def __enter__(self):
        self.place = gpu.Replicas._place
        gpu.Replicas._place = lambda replicas, extra: (
            "global_periodic" if replicas.H.periodic else "global_open", extra)

    def __exit__(self, *error):
        gpu.Replicas._place = self.place


# --- is it right? ---

def equilibrium(device: str, n: int, size: int, sweeps: int, seed: int) -> dict[float, tuple[float, float]]:
    """{T: (mean energy per spin, its error)} of n replicas, cooled from one temperature to the next."""
    up = torch.zeros(n, 3, size, size, device=DEVICE if device == "cuda" else "cpu")
    up[:, 2] = 1
    spins = heat_bath(PAPER, up, T=math.inf, sweeps=1, seed=seed, device=device)
    found, before = {}, 1.5
    for goal in REFERENCE:
        for T in np.linspace(before, goal, 10).tolist():
            spins = heat_bath(PAPER, spins, T, sweeps // 10, seed=seed + int(1e6 * T), overrelax=1, device=device)
        energies = []
        for k in range(10):
            spins = heat_bath(PAPER, spins, T=goal, sweeps=sweeps // 10, seed=seed + 7 + k, overrelax=1, device=device)
            energies.append(PAPER.energy_per_spin(spins.double()))
        means = torch.stack(energies).mean(0)
        found[goal], before = (float(means.mean()), float(means.std()) / math.sqrt(n)), goal
    return found


def energies(size: int, n: tuple[int, int], sweeps: int) -> dict:
    """Energies at three temperatures: this GPU, this CPU, and the independent codes (at 128 x 128)."""
    here, there = equilibrium("cuda", n[0], size, sweeps, 1), equilibrium("cpu", n[1], size, sweeps, 2)
    rows = {}
    for T, (reference, uncertain) in REFERENCE.items():
        (e, error), (other, other_error) = here[T], there[T]
        rows[str(T)] = {"gpu": e, "gpu_error": error, "cpu": other, "cpu_error": other_error,
                        "sigmas_from_cpu": (e - other) / math.hypot(error, other_error)}
        if size == 128:
            rows[str(T)] |= {"reference": reference, "sigmas_from_reference": (e - reference) / math.hypot(
                error, uncertain)}
        rows[str(T)]["right"] = all(abs(v) < SIGMAS for key, v in rows[str(T)].items() if key.startswith("sigmas"))
    return rows


def against_cpu_kernels(size: int) -> dict:
    """One and the same numbers: the random streams' seeds, and reflections, which use no random numbers.

    Reflections start from thermal states: in random ones some fields vanish, and there rounding decides.
    """
    replicas = gpu.Replicas(PAPER, (size, size), 3, first=5, seed=2**63 + 1)
    state = replicas.cupy.asnumpy(replicas.state)
    streams = cpu.seed_streams(2**63 + 1, np.arange(5, 8), replicas.threads).transpose(2, 0, 1)
    up = torch.zeros(3, 3, size, size)
    up[:, 2] = 1
    start, turned = heat_bath(PAPER, up, T=0.5, sweeps=50, device="cpu"), []
    for backend in (gpu, cpu):
        replicas = backend.Replicas(PAPER, (size, size), 3)
        replicas.load(start)
        replicas.sweep([1.0] * 5, 0, heat=False)
        turned.append(replicas.spins().cpu())
    apart = float((turned[0] - turned[1]).abs().max())
    same = bool(np.array_equal(state, streams))
    return {"streams_agree": same, "reflections_apart": apart, "right": same and apart < REFLECTED}


def lattices(size: int) -> dict[str, tuple[Hamiltonian, tuple[int, int]]]:
    """Every kind of kernel, sizes that are odd, and sizes that no number of threads divides."""
    mask = np.random.default_rng(0).random((size - 1, size + 3)) < 0.8
    kw = dict(D=0.6, B=0.2)
    return {"periodic": (Hamiltonian(**kw), (size, size)), "with K": (Hamiltonian(K=0.3, **kw), (size, size)),
            "Neel": (Hamiltonian(dmi="neel", **kw), (size, size)), "open": (Hamiltonian(boundary="open", **kw),
                                                                            (size, size)),
            "open, odd": (Hamiltonian(boundary="open", **kw), (size - 1, size + 3)),
            "masked": (Hamiltonian(boundary=mask, **kw), mask.shape), "one row": (Hamiltonian(boundary="open", **kw),
                                                                                  (1, size + 1))}


def sigmas_apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Standard errors between the means of two sets of energies per spin (J), of replicas each.

    Where all replicas end in one state their spread is rounding, so an error is ``ROUNDING`` at least.
    """
    error = math.hypot(*(float(e.std()) / math.sqrt(len(e)) for e in (one, other)))
    return float(one.mean() - other.mean()) / math.hypot(error, ROUNDING)


def every_lattice(size: int, n: int) -> dict:
    """Shared against global memory bit for bit, the checks of a data set, and mean energies against the CPU's."""
    rows, schedule = {}, Schedule(sweeps=50)
    for name, (H, shape) in lattices(size).items():
        spins = anneal(H, shape, n, seed=3, device="cuda", schedule=schedule)
        with GlobalMemory():
            same = torch.equal(spins, anneal(H, shape, n, seed=3, device="cuda", schedule=schedule))
        dataset.verify(H, spins, schedule.tolerance)  # raises
        outside = 0 if H.mask is None else int((spins[..., ~torch.from_numpy(H.mask.copy())] != 0).sum())
        e = [H.energy_per_spin(s.double()) for s in (spins, anneal(H, shape, n, seed=4, device="cpu",
                                                                   schedule=schedule))]
        apart = sigmas_apart(*e)
        rows[name] = {"shape": list(shape), "shared_and_global_agree": same, "sigmas_from_cpu": apart,
                      "right": same and outside == 0 and abs(apart) < SIGMAS}
    return rows


def torque_after_relax(size: int) -> dict:
    """relax() in float64 of annealed states."""
    spins = anneal(PAPER, (size, size), 8, seed=5, device="cuda", schedule=Schedule(sweeps=50)).double()
    torque = float(PAPER.torque(relax(PAPER, spins, tolerance=1e-7, device="cuda")).max())
    return {"tolerance": 1e-7, "torque": torque, "right": torque < 1.1e-7}


def verify() -> int:
    notes = bare.Notes("verify")
    notes("compiling", lambda: {"seconds": 0.0 if REHEARSAL else seconds(lambda: gpu._kernels(0))})
    notes("same numbers as the CPU's kernels", against_cpu_kernels, SIZE // 2)
    notes("energies", energies, SIZE, REPLICAS, SWEEPS)
    notes("relax", torque_after_relax, SIZE)
    notes("lattices", every_lattice, *((8, 16) if REHEARSAL else (32, 64)))
    return notes.status()


# --- how fast is it? ---

def copied() -> dict:
    """Bytes a second, read and written, of a copy within the device's memory."""
    x = torch.ones(2**16 if REHEARSAL else 2**29, device=DEVICE)  # 2 GiB
    y = torch.empty_like(x)
    y.copy_(x)
    times = [seconds(lambda: y.copy_(x)) for _ in range(5)]
    return {"bytes_per_second": 2 * x.numel() * 4 / statistics.median(times)}


def updates_a_second(size: int, n: int, kind: str, bandwidth: float | None) -> dict:
    """Spin updates a second of n replicas at T = 0.5 J: the median of three runs of about TARGET seconds.

    The share of the memory bandwidth is that of the bytes which an update must move (BYTES), where the lattice lies in
    global memory; one in shared memory is read and written once a launch.
    """
    heat, overrelax = KINDS[kind]
    replicas = gpu.Replicas(PAPER, (size, size), n)
    replicas.sweep([0.0], 0)

    def run(sweeps):
        return seconds(lambda: replicas.sweep(np.full(sweeps, 2.0), overrelax, heat=heat))
    run(2)
    sweeps = max(4, min(100_000, int(10 * TARGET / run(10))))
    times = [run(sweeps) for _ in range(3)]
    rate = sweeps * (1 + overrelax) * n * size * size / statistics.median(times)
    memory = replicas._place(0)[0].split("_")[0]
    share = rate * BYTES[kind] / bandwidth if bandwidth and memory == "global" else None
    return {"size": size, "replicas": n, "kind": kind, "memory": memory, "sweeps": sweeps, "updates_per_second": rate,
            "spread": (max(times) - min(times)) / statistics.median(times), "share_of_bandwidth": share}


def derived() -> dict:
    """What gpu_roofline.py derives for this GPU, at its greatest clock, where nvcc and a disassembler are there."""
    import gpu_roofline

    properties, found = torch.cuda.get_device_properties(0), bare.read("what") or {}
    clock = found["clock_MHz"] / 1e3
    said, sass = gpu_roofline.compile_and_read(f"sm_{properties.major}{properties.minor}")
    table = gpu_roofline.counts(gpu_roofline.Code(sass, "sweep_shared_periodic"))
    return {kind: dict(zip(("updates_per_second", "limit"), (1e9 * rate, why), strict=True)) for kind, (rate, why) in (
        (kind, gpu_roofline.ceiling(one, properties.multi_processor_count, clock)) for kind, one in table.items())}


def speed() -> int:
    notes = bare.Notes("speed")
    bandwidth = notes("copy", copied).get("bytes_per_second")
    waves = 1 if REHEARSAL else torch.cuda.get_device_properties(0).multi_processor_count
    for size in SIZES:
        notes(f"updates {size}", lambda size=size: [updates_a_second(size, n * waves, kind, bandwidth) for n in WAVES
                                                    for kind in KINDS])
    with GlobalMemory():
        notes("updates in global memory", lambda: [updates_a_second(size, WAVES[-1] * waves, kind, bandwidth)
                                                   for size in SIZES for kind in KINDS])
    if not REHEARSAL:
        try:
            ceilings = derived()
        except (Exception, SystemExit) as error:  # no toolkit, or another GPU's machine code: no ceiling, no failure
            ceilings = {"not derived": str(error)}
        notes("ceiling", lambda: ceilings)
    return notes.status()


if __name__ == "__main__":
    bare.need_gpu()
    bare.prepare_annealer()
    sys.exit({"verify": verify, "speed": speed}[sys.argv[1]]())
