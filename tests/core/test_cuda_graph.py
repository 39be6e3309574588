"""A stage on one device, uncaptured on the CPU against the plain loop; its capture with a stand-in."""

import dataclasses
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from evae_core import VAE, Hamiltonian
from evae_core.training import Stage, cuda_graph
from evae_core.training.batch_schedule import batch_schedule
from evae_core.training.cuda_graph import GraphLoop, upload
from evae_core.training.step import Step, make_step

H = Hamiltonian(D=0.6, B=0.2)
STAGE = Stage(beta=1e-3, gamma=10.0, steps=36, batch=6, learning_rate=1e-3, final_rate=0.1, translate=True, seed=0)
CPU = torch.device("cpu")


def spins(n=20, size=16):
    return F.normalize(torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)


def ready(stage=STAGE, **options):
    """A step and a resident stage around it."""
    todo = batch_schedule(stage, 20, (16, 16), np.random.default_rng(1))
    step = make_step(16, H, stage.beta, stage.gamma, "cpu", seed=3, **options)
    return step, todo, GraphLoop(step, upload(spins(), CPU), todo)


def no_check(losses):
    pass


def weights(step):
    return torch.cat([value.flatten().float() for value in step.model.state_dict().values()])


def test_the_set_is_uploaded_whole_and_stays_unit():
    there = upload(spins(), CPU, piece=7)
    assert there.dtype == torch.float16 and there.shape == (20, 3, 16, 16)
    assert float((there.float() - spins()).abs().max()) <= 2.5e-4  # half a unit in the last of 11 bits below 1
    back = F.normalize(there.float(), dim=1)
    assert float((back - spins()).abs().max()) < 5e-4
    assert float((torch.linalg.vector_norm(back, dim=1) - 1).abs().max()) < 1e-6


def test_every_configuration_is_rolled_by_its_own_vector():
    _, todo, stage = ready()
    batch, shifts = spins(6), torch.from_numpy(todo.shifts[0])
    expected = torch.stack([one.roll(shift, (-2, -1)) for one, shift in zip(batch, shifts.tolist(), strict=True)])
    assert len(set(map(tuple, shifts.tolist()))) > 3
    assert torch.equal(stage._translate(batch, shifts), expected)


@pytest.mark.parametrize("translate", [True, False])
def test_a_stage_is_the_plain_loop(translate):
    """36 steps against the loop written out: the same bytes.

    The rate is rounded to float32 in both: Adam amplifies a difference in its last digit a thousandfold in a few steps.
    """
    stage = dataclasses.replace(STAGE, translate=translate)
    step, todo, there = ready(stage)
    twin = VAE(16)
    twin.load_state_dict(step.model.state_dict())
    history = there.run(False, no_check)
    twin.to(memory_format=torch.channels_last).train()
    data, noise = F.normalize(upload(spins(), CPU).float(), dim=1), torch.Generator().manual_seed(3)
    adam = torch.optim.Adam(twin.parameters(), betas=(0.9, 0.999), fused=True)
    for number in range(stage.steps):
        adam.param_groups[0]["lr"] = torch.tensor(todo.rates[number], dtype=torch.float32)
        batch = data[todo.indices[number]]
        if translate:
            batch = torch.stack([one.roll(tuple(shift), (-2, -1))
                                 for one, shift in zip(batch, todo.shifts[number].tolist(), strict=True)])
        batch = batch.contiguous(memory_format=torch.channels_last)
        losses = twin.losses(batch, H, stage.beta, stage.gamma, noise)
        adam.zero_grad()
        losses.total.backward()
        adam.step()
        expected = torch.stack([value.detach() for value in losses])
        assert torch.equal(history[number], expected), number
    for name, value in twin.state_dict().items():
        assert torch.equal(step.model.state_dict()[name], value), name


def test_the_rate_is_read_from_the_device():
    step, _, there = ready()
    there.rates.zero_()
    before = [p.detach().clone() for p in step.model.parameters()]
    there.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))
    there.rates.fill_(1e-3)
    there.advance()
    assert all(not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))


def test_it_is_checked_seldom_and_at_the_end(monkeypatch):
    monkeypatch.setattr(cuda_graph, "CHECK", 15)
    _, _, there = ready()
    seen = []
    there.run(False, lambda losses: seen.append((len(losses), bool(torch.isfinite(losses).all()))))
    assert seen == [(15, True), (30, True), (36, True)]


class Reads(TorchDispatchMode):
    """Notes every operator that makes the host wait for a value, or brings one from the host."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("gamma", [0.0, 10.0])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_nothing_in_a_step_waits_for_a_value(gamma, boundary):
    """What would break a capture: scalars read on the host, shapes that depend on values, tensors made from Python."""
    system = dataclasses.replace(H, boundary=boundary)
    stage = dataclasses.replace(STAGE, translate=boundary == "periodic")
    todo = batch_schedule(stage, 20, (16, 16), np.random.default_rng(1))
    there = GraphLoop(make_step(16, system, 1e-3, gamma, "cpu"), upload(spins(), CPU), todo)
    there.advance()
    with Reads() as reads:
        there.advance()
    assert {"index_select", "convolution_backward", "_fused_adam_", "index_copy_"} <= reads.names
    waiting = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "is_nonzero", "equal"}
    # On the CPU Adam itself reads the rate; on a GPU its kernel does (capturable).
    assert reads.names & waiting <= {"_local_scalar_dense"} and reads.names & waiting == waiting_of_adam(there.step)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_nothing_in_a_step_lies_elsewhere(boundary, monkeypatch):
    """On the meta device there are no values, and tensors of the host do not mix with it: everything is there."""
    stage = dataclasses.replace(STAGE, translate=boundary == "periodic")
    step, meta = make_step(16, dataclasses.replace(H, boundary=boundary), 1e-3, 10.0, "cpu"), torch.device("meta")
    step.model.to(meta)
    step.device = meta
    draw, data = torch.randn, upload(spins(), meta)
    monkeypatch.setattr(torch, "randn", lambda shape, generator, **where: draw(shape, **where))  # a host's generator
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: nullcontext())  # knows no meta device
    there = GraphLoop(step, data, batch_schedule(stage, 20, (16, 16), np.random.default_rng(1)))
    there.advance()
    assert {p.grad.device for p in step.model.parameters()} == {meta} and there.history.device == meta


def waiting_of_adam(step: Step) -> set[str]:
    with Reads() as reads:
        step.optimizer.step()
    return reads.names & {"_local_scalar_dense"}


@pytest.fixture
def stand_in(monkeypatch):
    """A CUDA graph played on the CPU: a capture leaves no trace of its work behind, a replay does it."""
    log = []

    class Graph:
        def register_generator_state(self, generator):
            self.generator = generator

        def replay(self):
            log.append("replay")
            self.again()

    class Stream:
        def wait_stream(self, other):
            log.append("wait")

    @contextmanager
    def on(stream):
        log.append("side")
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)

    def install(there):
        @contextmanager
        def capture(graph):
            assert graph.generator is there.step.generator, "noise would be the same in every replay"
            assert there.step.optimizer.state, "Adam must be set up before"
            assert all(group["capturable"] for group in there.step.optimizer.param_groups)
            assert all(p.grad is None for p in there.step.model.parameters()), "gradients must be the graph's own"
            tensors = [*there.step.model.state_dict().values(), there.number, there.history,
                       *(v for state in there.step.optimizer.state.values() for v in state.values())]
            kept = [value.detach().clone() for value in tensors]
            state = graph.generator.get_state()
            yield
            with torch.no_grad():
                for value, old in zip(tensors, kept, strict=True):
                    value.copy_(old)
            graph.generator.set_state(state)
            graph.again = there.advance
            log.append("captured")

        monkeypatch.setattr(torch.cuda, "graph", capture)
    return install, log


@pytest.mark.parametrize("steps", [2, 3, 36])
def test_a_captured_stage_takes_the_same_steps(steps, stand_in):
    install, log = stand_in
    stage = dataclasses.replace(STAGE, steps=steps)
    step, _, there = ready(stage)
    expected = there.run(False, no_check)
    twin, _, again = ready(stage)
    install(again)
    assert torch.equal(again.run(True, no_check), expected) and torch.equal(weights(step), weights(twin))
    assert log.count("replay") == max(0, steps - 3) and log.count("captured") == (steps > 3)
    assert log[:3] == ["wait", "side", "wait"]
