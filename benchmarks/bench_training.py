"""The training step on this machine's CPU, plain against fast, in time and in losses: `make bench`.

Plain is the obvious code: the paper's layers (upsample, circular padding, 5x5 convolution), channels first, Adam as
torch has it. Quote ratios of one run. `--against COMMIT` compares the compiled step with that of an older state of this
repository, in turns with a process that runs it. `--agreement` compares losses over 500 steps instead, with the spread
of seeds beside them (some 15 minutes).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from measure import in_turns, machine, median, spread, table
from reference_step import PlainStep
from torch.nn import functional as F

from evae_core import Hamiltonian, Schedule, anneal
from evae_core.training import fused
from evae_core.training.step import Step, make_step, new_model

VARIANTS = {"torch": dict(fused=False), "compiled": dict(fused=True),
            "compiled, bfloat16 products": dict(fused=True, precision="bfloat16")}
CASES = ((48, 32, 1), (128, 32, 1), (64, 100, 2), (128, 100, 2))  # lattice, batch, threads
# Runs the compiled step of whatever state of the package is on its path: a step a line that it reads.
OLD = """
import sys, torch
from torch.nn import functional as F
from evae_core import Hamiltonian
from evae_core.training import make_step
size, batch, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
spins = F.normalize(torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)
step = make_step(size, Hamiltonian(D=0.6, B=0.2), 1e-3, 1.0, "cpu", fused=True)
for line in sys.stdin:
    step.update(spins)
    print(flush=True)
"""


def variant(name: str, size: int, H: Hamiltonian, beta: float, gamma: float, seed: int = 0,
            start: dict | None = None) -> Step | PlainStep:
    """A step of random weights from ``seed``, or of the weights ``start``."""
    model = new_model(size, H, seed)
    if start:
        model.load_state_dict(start)
    if name == "plain":
        return PlainStep(model, H, beta, gamma, seed)
    return make_step(size, H, beta, gamma, "cpu", seed=seed, model=model, **VARIANTS[name])


def spins_of(size: int, batch: int) -> torch.Tensor:
    """A batch of random unit spins."""
    return F.normalize(torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)


def times(size: int, batch: int, threads: int, repeats: int) -> None:
    """Median ms a step of every variant, in turns, so that the machine's mood is the same for all."""
    torch.set_num_threads(threads)
    H, spins = Hamiltonian(D=0.6, B=0.2), spins_of(size, batch)
    steps = {name: variant(name, size, H, 1e-3, 1.0) for name in ("plain", *VARIANTS)}
    found = in_turns({name: lambda step=step: step.update(spins) for name, step in steps.items()}, repeats)
    table(f"Training step, {size} x {size}, batch {batch}, {threads} thread{'s' * (threads > 1)}",
          ("form", "ms", "times plain", "of the least times"),
          [(name, spread(took, 1e3), f"{median(found['plain']) / median(took):.1f}",
            f"{min(found['plain']) / min(took):.1f}") for name, took in found.items()])


@contextmanager
def state_of(commit: str):
    """A folder with the repository as it was at ``commit``."""
    git = ["git", "-C", str(Path(__file__).resolve().parents[1]), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/old", commit], check=True)
        try:
            yield f"{folder}/old"
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/old"], check=True)


def against(commit: str, cases, repeats: int) -> None:
    """Median ms of the compiled step now and at ``commit``, in turns."""
    rows = []
    with state_of(commit) as folder:
        for size, batch, threads in cases:
            torch.set_num_threads(threads)
            H, spins = Hamiltonian(D=0.6, B=0.2), spins_of(size, batch)
            step = variant("compiled", size, H, 1e-3, 1.0)
            with subprocess.Popen([sys.executable, "-c", OLD, *map(str, (size, batch, threads))], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  cwd=folder, env=os.environ | {"PYTHONPATH": folder}) as old:
                def older(old=old) -> None:
                    print(file=old.stdin, flush=True)
                    if not old.stdout.readline():
                        raise SystemExit(f"the compiled step of {commit} does not run here; see above")

                found = in_turns({"now": lambda step=step, spins=spins: step.update(spins), "old": older}, repeats)
                old.stdin.close()
            ratios = [f"{of(found['old']) / of(found['now']):.2f}" for of in (median, min)]
            rows.append((f"{size} x {size}", batch, threads, *(spread(found[name], 1e3) for name in ("old", "now")),
                         *ratios))
    table(f"Compiled training step against {commit}: ms", ("lattice", "batch", "threads", commit, "now", "ratio",
                                                           "of the least times"), rows)


def losses_of(step, data: torch.Tensor, batch: int, steps: int, seed: int) -> torch.Tensor:
    """L_RC, L_KL, L_H (steps, 3) of steps on batches drawn from ``seed``."""
    generator, kept = torch.Generator().manual_seed(1000 + seed), []
    for _ in range(steps):
        losses = step.update(data[torch.randint(len(data), (batch,), generator=generator)])
        kept.append(torch.stack([value.detach() for value in losses[:3]]))
    return torch.stack(kept)


def agreement(size: int, batch: int, seeds: int, steps: int) -> None:
    """Losses of every variant from the same trained weights, on the same batches and noise; seeds 0 to ``seeds`` - 1.

    From random weights the moment at which a run leaves the plateau of uniform outputs differs so much from seed to
    seed that any form of the step would pass.
    """
    H, (beta, gamma) = Hamiltonian(D=0.6, B=0.2), (1e-4, 1.0)
    data = anneal(H, (size, size), 1000, seed=0, device="cpu", schedule=Schedule(sweeps=100, overrelax=1))
    first = variant("compiled" if "compiled" in VARIANTS else "torch", size, H, beta, gamma)
    start = losses_of(first, data, batch, 2 * steps, 99)[-steps // 10:].mean(0)
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}
    print(f"{size} x {size}, batch {batch}, {len(data)} configurations, beta {beta:g}, gamma {gamma:g}, from weights "
          f"after {2 * steps} steps (L_RC, L_KL, L_H {start.tolist()}); at step n: mean over the last n/10", flush=True)
    for name in ("plain", *VARIANTS):
        for seed in range(seeds):
            kept = losses_of(variant(name, size, H, beta, gamma, seed, weights), data, batch, steps, seed)
            marks = [n for n in (1, 10, 100, 500, 1000) if n <= steps]
            means = [kept[n - max(1, n // 10):n].mean(0).tolist() for n in marks]
            print(f"{name}, seed {seed}: " + "; ".join(
                f"step {n}: {a:.6f} {b:.4f} {c:.6f}" for n, (a, b, c) in zip(marks, means, strict=True)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agreement", action="store_true")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--case", type=int, nargs=3, action="append", metavar=("SIZE", "BATCH", "THREADS"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    chosen = parser.parse_args()
    print(machine())
    if problem := fused.problem():
        VARIANTS = {"torch": VARIANTS["torch"]}
        print(f"compiled kernels: not measured, {problem}")
    cases = chosen.case or CASES
    if chosen.against:
        against(chosen.against, cases, chosen.repeats)
    else:
        for size, batch, threads in cases:
            if chosen.agreement:
                torch.set_num_threads(threads)
                agreement(size, batch, chosen.seeds, chosen.steps)
            else:
                times(size, batch, threads, chosen.repeats)
