"""The lattice version of DeepSPIN: its symmetries and derivatives, the two frames, and learning a Hamiltonian."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from evae_companion import sweeps
from evae_companion.data_specs import DataSpec
from evae_companion.deepspin import plots
from evae_companion.deepspin.descriptor import rows, spin_channels
from evae_companion.deepspin.experiments import guided
from evae_companion.deepspin.guide import Guide
from evae_companion.deepspin.lattice import LatticeSpec, LatticeSpin, from_neel, to_neel
from evae_companion.deepspin.lattice_training import LatticeTraining, disturbed, errors, label, pieces, train
from evae_companion.presets import load_preset
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages, train_sweeps
from evae_companion.trained import stage_spec
from evae_core.annealing import Schedule
from evae_core.hamiltonian import Hamiltonian
from evae_core.model import VAE
from evae_core.training.stages import chained
from evae_core.training.step import make_step

BLOCH = Hamiltonian(D=0.6, B=0.2)


def states(n=3, ny=8, nx=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, 3, ny, nx, generator=generator, dtype=torch.float64), dim=1)


def potential(seed=1, spec=None):
    model = LatticeSpin(spec, seed).double()
    model.normalise(*label(BLOCH, states(8, seed=seed)))
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def learned():
    """Trained for seconds on smooth and rough states of 12 x 12."""
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.randn(16, 3, 4, 4, generator=generator), size=(24, 24), mode="bicubic")
    cut = pieces(disturbed(F.normalize(smooth, dim=1), generator), 12, generator)
    return train(label(BLOCH, cut), LatticeTraining(steps=120, side=12))


def test_bloch_in_neels_frame_is_exact():
    """Energies, fields and torques of Bloch's model are Neel's of the turned spins, J, D, B and K together."""
    spins = states()
    for K in (0.0, 0.3):
        bloch, neel = (Hamiltonian(D=0.6, B=0.2, K=K, dmi=dmi) for dmi in ("bloch", "neel"))
        assert torch.allclose(neel.energy(to_neel(spins)), bloch.energy(spins), atol=1e-12, rtol=0)
        assert torch.allclose(neel.field(to_neel(spins)), to_neel(bloch.field(spins)), atol=1e-12, rtol=0)
    found, other = label(bloch, spins), label(neel, to_neel(spins))
    assert all(torch.allclose(x, y, atol=1e-12, rtol=0) for x, y in zip(found, other, strict=True))


def test_products_are_those_of_the_descriptor():
    """Against the arrows to the virtual atoms around one site, one after the other."""
    model, spins = potential(), states()
    found, spec = model.products(spins), model.spec
    y, x = 5, 0  # at the edge: its left neighbour is on the other side
    columns = []
    for shell in (((1, 0), (0, 1), (-1, 0), (0, -1)), ((1, 1), (1, -1), (-1, 1), (-1, -1))):
        column = 0
        for dx, dy in shell:
            place = torch.tensor([dx, dy, 0.0], dtype=torch.float64)
            row = rows(place, spec.smooth_from, spec.cutoff, spec.protection)
            column = column + spin_channels(row, spec.scale * spins[1, :, (y + dy) % 8, (x + dx) % 6])
        columns.append(column)
    one, two = columns
    own = spins[1, :, y, x]
    expected = torch.stack([own[2], one[0], one[3], own @ one[1:], two[0], two[3], own @ two[1:], one @ one, one @ two,
                            two @ two])
    assert torch.allclose(found[:, 1, y, x], expected, atol=1e-12, rtol=0)


def test_symmetries():
    """Translations; turns and reflections of lattice and spins as arrows; not of one alone, and not upside down."""
    model, spins = potential(), states(ny=6, nx=6)
    energy = model.energies(spins)

    def same(other):
        return torch.allclose(model.energies(other), energy, atol=1e-10, rtol=0)

    x, y, z = spins.unbind(1)
    turned = torch.stack([-y, x, z], 1)
    assert same(spins.roll((2, 1), (-2, -1)))
    assert same(turned.rot90(-1, (-2, -1))) and not same(turned) and not same(turned.rot90(1, (-2, -1)))
    assert same(torch.stack([-x, y, z], 1).flip(-1)) and not same(torch.stack([-x, y, z], 1))
    assert not same(torch.stack([x, y, -z], 1)) and not same(-spins)  # the substrate tells up from down
    assert torch.allclose(model.energies(spins.repeat(1, 1, 2, 1)), 2 * energy, atol=1e-10)  # extensive


def test_fields_against_finite_differences():
    """Along changes that keep the moments' length."""
    model, spins = potential(), states(1)
    energy, fields = model.fields(spins)
    along = torch.linalg.cross(spins, states(1, seed=9), dim=1)
    step = 1e-5
    ends = [float(model.energies(F.normalize(spins + s * step * along, dim=1))) for s in (1, -1)]
    assert float(-(fields * along).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
    assert float((fields * spins).sum(1).abs().max()) < 1e-12
    assert float(energy) == pytest.approx(float(model.energies(spins)), rel=1e-12)


@pytest.mark.parametrize("fitting", [(16,), (11,), (20, 20, 7), (10, 5, 10)])
@pytest.mark.parametrize("shape", [(8, 6), (3, 3), (2, 5)])
def test_slopes_written_out_are_those_of_autograd(fitting, shape):
    """With hidden layers that keep their input, double it and do neither; on lattices as small as the neighbourhood."""
    model, spins = potential(4, LatticeSpec(fitting=fitting)), states(3, *shape, seed=5).requires_grad_()
    energies = model.energies(spins)
    slope, = torch.autograd.grad(energies.sum(), spins)
    found = model.slopes(spins.detach())
    torch.testing.assert_close(found[0], energies.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], slope, rtol=0, atol=1e-12 * float(slope.abs().max()))


def test_from_neel_is_the_way_back():
    assert torch.equal(from_neel(to_neel(states())), states())


def test_learns_the_hamiltonian(learned):
    """From pieces of 12 x 12 to other states on another lattice; and an untrained one does not know it."""
    generator = torch.Generator().manual_seed(5)
    smooth = F.interpolate(torch.randn(8, 3, 4, 4, generator=generator), size=(20, 16), mode="bicubic")
    data = label(BLOCH, disturbed(F.normalize(smooth, dim=1), generator))
    found = errors(learned, data)
    untrained = errors(train(data, LatticeTraining(steps=0)), data)
    assert found["torque"] < 0.2 * found["torque_label"] < untrained["torque"] and found["energy"] < 0.05


def test_guide(learned):
    """The learned energy in the Hamiltonian's frame: near the explicit one, exact gradient, its interface in a step."""
    guide, spins = Guide(learned, BLOCH, {"steps": 120}), states(5, 16, 16)
    assert torch.allclose(guide.energy_per_spin(spins), learned.energies(to_neel(spins)) / 256, atol=1e-5)
    wrong = (guide.energy_per_spin(spins) - BLOCH.energy_per_spin(spins)).abs().max()
    assert 0 < float(wrong) < 0.1
    variable = spins.float().requires_grad_()
    weights = torch.arange(1.0, 6.0)
    (weights * guide.energy(variable)).sum().backward()
    _, fields = learned.fields(to_neel(spins))
    slope = variable.grad / weights[:, None, None, None]
    across = slope - (slope * spins).sum(1, keepdim=True) * spins
    assert torch.allclose(to_neel(-across), fields, atol=1e-4)
    batch = spins.float()
    for compile in (False, None):
        model = VAE(16)
        before = [value.clone() for value in model.decoder.parameters()]
        losses = make_step(16, guide, 1e-3, 100.0, "cpu", model=model, fused=compile)(batch)
        assert all(bool(torch.isfinite(loss)) for loss in losses)
        assert any(not torch.equal(x, y) for x, y in zip(before, model.decoder.parameters(), strict=True))


def test_guided_compiled_step_is_the_plain_one(learned):
    from evae_core.training import fused
    if problem := fused.problem():
        pytest.skip(problem)
    guide, batch, found = Guide(learned, BLOCH, {}), states(4, 16, 16).float(), []
    for compile in (False, True):
        torch.manual_seed(0)
        found.append(make_step(16, guide, 1e-3, 100.0, "cpu", seed=3, model=VAE(16), fused=compile)(batch))
    assert torch.allclose(torch.stack(found[0]), torch.stack(found[1]), rtol=1e-4, atol=1e-5)


def test_stages_are_named_by_their_guide(learned):
    """What gamma = 0 gives does not depend on a guide; a stage above has another name, and an unguided one its old."""
    data = DataSpec(BLOCH, (16, 16), 8, 2, 0)
    start, *up = chained([(1e-3, 0.0, 2), (1e-3, 10.0, 2)], load_preset("smoke"), 0)
    guide = Guide(learned, BLOCH, {"steps": 120})
    assert stage_spec(start, data, guide) == stage_spec(start, data)
    assert stage_spec(up[0], data, guide) == stage_spec(up[0], data) | {"guide": {"steps": 120}}


def test_a_guided_stage_differs_by_its_guide_alone(learned, tmp_path):
    """Two stages from one parent, with the explicit Hamiltonian and the learned one: unlike weights, like batches."""
    data = DataSpec(BLOCH, (16, 16), 8, 2, 0, schedule=Schedule(sweeps=5))
    stages = chained([(1e-3, 0.0, 2), (1e-3, 1000.0, 1)], load_preset("smoke"), 0)
    guide, store = Guide(learned, BLOCH, {"steps": 120}), Store(tmp_path)
    explicit = train_stages(stages, data, store, "cpu", fused=False)
    guided = train_stages(stages, data, store, "cpu", fused=False, guide=guide)
    assert explicit[0].folder == guided[0].folder and explicit[1].folder != guided[1].folder
    first, second = explicit[1].history[0], guided[1].history[0]
    assert first[:2].tolist() == second[:2].tolist() and first[2] != second[2]
    assert first[2] == pytest.approx(second[2], abs=0.1 * (0.3 / 0.6) ** 2)


def test_guided_ladders_side_by_side(learned, tmp_path, monkeypatch):
    """In processes, each with its own guide or none: the same bytes as one after the other."""
    monkeypatch.setattr(sweeps, "FEW_STEPS", 0)
    data = DataSpec(BLOCH, (16, 16), 8, 2, 0, schedule=Schedule(sweeps=5))
    stages = chained([(1e-3, 0.0, 2), (1e-3, 1000.0, 2)], load_preset("smoke"), 0)
    guides = [Guide(learned, BLOCH, {"steps": 120}), None]
    both = train_sweeps([stages] * 2, data, Store(tmp_path / "both"), "cpu", workers=2, guides=guides)
    alone = [train_stages(stages, data, Store(tmp_path / "alone"), "cpu", guide=guide) for guide in guides]
    assert [one[-1].folder.name for one in both] == [one[-1].folder.name for one in alone]
    assert both[0][-1].folder != both[1][-1].folder
    assert all((x[-1].history == y[-1].history).all() for x, y in zip(both, alone, strict=True))


def test_bad_input(learned):
    with pytest.raises(ValueError, match="sqrt"):
        LatticeSpec(smooth_from=1.2)
    with pytest.raises(ValueError, match="fitting"):
        LatticeSpec(fitting=())
    with pytest.raises(ValueError, match="pieces"):
        LatticeTraining(pieces=0)
    with pytest.raises(ValueError, match="side"):
        pieces(states(), 7, torch.Generator())
    edges = Hamiltonian(D=0.6, B=0.2, boundary="open")
    with pytest.raises(ValueError, match="periodic"):
        label(edges, states())
    with pytest.raises(ValueError, match="periodic"):
        Guide(learned, edges, {})
    with pytest.raises(TypeError, match="hamiltonian"):
        make_step(16, learned, 1e-3, 1.0, "cpu")


def test_figures_of_learned_potentials():
    x, picture = np.array([0.4, 0.1, 0.02]), to_neel(states(1))[0].float().numpy()
    levels = {"explicit": (1e-4, 0.0, 0.9)}
    seeds = np.stack([0.1 * x, 0.3 * x])
    fig = plots.guided_collapse(x, seeds, 0.0 * seeds, 1 - seeds, levels,
                                   [("a state", picture), ("another", picture)])
    ax = fig.axes[0]
    assert ax.lines[0].get_xdata().tolist() == pytest.approx([2.0, 10.0, 40.0]) and len(fig.axes) == 4
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.004, 0.02, 0.08])
    labels, shares = {"active": [4, 10], "random": [4, 10]}, {"active": [0.5, np.nan], "random": [0.4, np.nan]}
    errors_ = {way: np.array([[0.2, 0.1], [0.3, 0.2]]) for way in labels}
    fig = plots.active_learning(labels, shares, [("rms", errors_), ("maximum", errors_)])
    assert fig.axes[1].lines[0].get_ydata().tolist() == pytest.approx([0.25, 0.15])
    with pytest.raises(ValueError, match="decoded"):
        plots.guided_collapse(x, seeds[:, :2], seeds, seeds, levels, [("a state", picture)])


def test_what_is_drawn_of_guided_collapses():
    """Potentials between the start and the explicit run; levels are means over seeds."""
    names = ["start", "3 steps", "9 steps", "explicit"]
    table = {key: np.array([[4.0, 3.0, 2.0, 1.0], [6.0, 3.0, 2.0, 3.0]]) for key in guided.COLUMNS}
    table["torque_error"] = np.array([[0.0, 0.5, 0.1, 0.0]] * 2)
    found = SimpleNamespace(names=names, table=table, states={name: states(1)[0].float() for name in names})
    drawn = guided.arguments(found)
    assert drawn["error"].tolist() == [0.5, 0.1] and drawn["decoded"].tolist() == [[3.0, 2.0]] * 2
    assert drawn["references"] == {"explicit Hamiltonian": (2.0,) * 3, "before guidance": (5.0,) * 3}
    assert [title for title, _ in drawn["shown"]] == ["torque error 50.0%", "torque error 10.0%", "explicit"]
    assert len(plots.guided_collapse(**drawn).axes) == 5
