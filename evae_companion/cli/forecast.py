"""The command ``evae forecast``: beta_c and gamma_c of a Hamiltonian from some annealed states, before any training."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evae_companion.cli.errors import Failure, chosen_preset, user_errors

if TYPE_CHECKING:
    from evae_companion.analysis import Forecast

DEFAULT = "desktop"
WIDTH = 100  # of paragraphs
TINY = 1e-6  # a gamma_c below it is 0 but for rounding
GIVEN = ("size", "D", "B", "K", "J")  # options that take the place of the preset's numbers


def options(parser: ArgumentParser) -> None:
    """Add the options of the command besides the preset."""
    parser.add_argument("--size", type=int, metavar="L", help="side of the periodic lattice, a multiple of 16 "
                        "(default: the preset's)")
    for name, what in (("D", "DM strength"), ("B", "field"), ("K", "uniaxial anisotropy, 0 in every preset"),
                       ("J", "exchange")):
        parser.add_argument(f"--{name}", type=float, help=f"{what} (default: the preset's)")
    parser.add_argument("--states", type=int, default=100, metavar="N", help="annealed states (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the annealing (default: 0)")


def forecast(arguments: Namespace, root: Path) -> int:
    """Anneal the states and print what linear theory expects, with how the recorded sweeps compare with it."""
    from evae_companion.analysis import collapse_forecast
    from evae_companion.data_specs import data_schedule, data_spec
    from evae_companion.presets import PRESETS
    from evae_core.hamiltonian import Hamiltonian

    name = chosen_preset(arguments.preset, DEFAULT)
    p = PRESETS[name]
    given = {key: value for key in GIVEN if (value := getattr(arguments, key)) is not None}
    try:
        size = given.pop("size", p.size)
        H = Hamiltonian(**{"J": p.J, "D": p.D, "B": p.B, **given})
        print(f"forecast for {size} x {size} sites, J = {H.J:g}, D = {H.D:g}, B = {H.B:g}, K = {H.K:g}, annealed as "
              f"the data of preset {name}", flush=True)
        result = collapse_forecast.forecast(H, (size, size), arguments.states, data_schedule(p), arguments.seed,
                                            report=lambda line: print(f"  {line}", flush=True))
    except ValueError as error:
        raise Failure(f"{error}; the options are --size, --D, --B, --K, --J, --states and --seed", code=2) from error
    except RuntimeError as error:
        raise Failure(str(error)) from error
    print("\n".join(_numbers(result)))
    with user_errors():
        same = (H, (size, size)) == (data_spec(p).hamiltonian, data_spec(p).shape)
        print("\n".join(_compared(result, collapse_forecast.measured(name), name) if same else _paragraph(
            "Measured/forecast is not known here: no sweep of this system is recorded. "
            f"evae forecast --preset {DEFAULT} compares a forecast with recorded sweeps.")))
    return 0


def _numbers(result: Forecast) -> list[str]:
    """Return the lines about beta_c and gamma_c, their normalisation and what few states do to them."""
    from evae_companion.analysis.collapse_forecast import beta_c
    from evae_companion.analysis.linear_theory import gamma_c

    lines = [f"one state: {result.name}, E/N = {result.energy:.6f} J; the {result.states} annealed states lie "
             f"{result.data_energy - result.energy:.2e} J above it on average", "",
             f"{'':24}{'L_RC per spin':>26}{'L_RC per component':>26}",
             f"{'beta_c':24}" + "".join(f"{result.beta_c(per):>26.3g}" for per in (False, True))]
    for beta in result.betas:
        cells = (" to ".join(f"{one if one > TINY else 0:.3g}" for one in result.gamma_c(beta, per))
                 for per in (False, True))
        lines.append(f"{f'gamma_c at beta = {beta:g}':24}" + "".join(f"{cell:>26}" for cell in cells))
    beta = result.betas[1]
    ratios = [result.gamma_c(beta, per)[1] / result.beta_c(per) for per in (False, True)]
    lines += ["", *_paragraph(
        "From the L_RC of the best single output, which no state has, to that of the one state; 0 where beta is above "
        "beta_c. The paper's text does not decide between the two normalisations; gamma_c/beta_c hardly depends on "
        f"them: {ratios[0]:.2g} and {ratios[1]:.2g} at beta = {beta:g}."), "",
        f"{'What few states do':24}{'beta_c':>12}{f'gamma_c at {beta:g}':>22}"]
    rows: list[tuple[str, Any]] = [("all", result.theory), ("first half", result.halves[0]),
                                   ("second half", result.halves[1]), ("all, no average", result.alone)]
    lines += [f"{name:24}{beta_c(theory):>12.3g}{gamma_c(theory, beta)[1]:>22.3g}" for name, theory in rows]
    average = (f"The spectrum is averaged over all translations and {result.symmetries} rotations and mirrors."
               if result.symmetries else "The sample has edges: no average over translations is possible.")
    return [*lines, *_paragraph(
        f"{average} Few states make beta_c and gamma_c too large on average: read them as upper bounds, which hold the "
        "better the less the halves differ from all. A training set that is never translated is a sample, too: with "
        f"more than {result.states} states its own values lie between the first and the last row."), ""]


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _compared(result: Forecast, measured: list[dict[str, Any]], name: str) -> list[str]:
    """Return the lines about the recorded sweeps of the same data: measured over forecast."""
    import numpy as np

    if not measured:
        return _paragraph(f"Measured/forecast is not known here: no gamma sweep of preset {name} is recorded; "
                          f"evae figures --preset {name} and then evae publish --preset {name} record them.")

    def cell(value: float, expected: float) -> str:
        return f"{value:.3g} ({value / expected:.2g})" if np.isfinite(value) else "no collapse"

    lines = [f"Recorded sweeps of preset {name}: measured (and measured/forecast, per spin, of the one state)",
             f"{'':32}{'k-space MSE below 1 %':>24}{'L_KL doubled':>20}"]
    ratios = []
    for one in measured:
        expected = result.gamma_c(one["beta"])[1]
        values = [one["gamma_c_states"], one["gamma_c_kl"]]
        ratios += [value / expected for value in values if np.isfinite(value)]
        lines.append(f"{one['ladder']:32}{cell(values[0], expected):>24}{cell(values[1], expected):>20}")
    for value in sorted({one["beta_c_states"] for one in measured}):
        lines.append(f"{'beta_c':32}{cell(value, result.beta_c()):>24}")
    if ratios:
        lines.append(f"Measured/forecast of gamma_c: {min(ratios):.2g} to {max(ratios):.2g}; no collapse in "
                     f"{2 * len(measured) - len(ratios)} of {2 * len(measured)}.")
    lines += _paragraph("The two criteria: the generated states become one, and the posterior leaves the prior. Linear "
                        "theory knows the balance of the losses, not whether a training arrives there.")
    return lines
