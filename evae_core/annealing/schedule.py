"""The annealing schedule: how a random state is cooled, and when the descent to T = 0 has arrived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evae_core.validation import check_choice, check_count, check_number

KINDS = ("linear", "geometric")
LEAST_T = 1e-9  # 1/T must be a float32
LEAST_TOLERANCE = 1e-5  # float32 spins carry rounding torques of about 1e-6 J
# The descent is successive over-relaxation with a factor 2 - SLACK, near the best one for the softest modes of skyrmion
# lattices (48 to 128 sites wide, D/J 0.15 to 0.6). Where a texture must glide over a nearly flat landscape, larger
# factors get there sooner, but settle slowly: the slack is halved after every PATIENCE sweeps, three times, and begins
# anew. The torque is measured every STRIDE sweeps. Rounding leaves float32 spins a torque of about 1e-6 J; down to
# ROUGH J they serve.
SLACK, PATIENCE, STRIDE = 0.02, 1000, 50
ROUGH = 2e-5
ALGORITHM = 3  # raise when the same seed gives other spins: older data sets are then made anew


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One annealing run: a random state, heat-bath sweeps at falling temperature and at T = 0, descent to rest.

    The paper anneals from above the Curie temperature to zero and does not state its schedule;
    these numbers are a choice of this project. They leave some defects in nearly every
    configuration, as metastable training data should have.

    Parameters
    ----------
    T_start, T_end : first and last temperature, J/k_B; T_start >= T_end > 0.
    sweeps : number of heat-bath sweeps (every site once), one temperature each.
    overrelax : over-relaxation sweeps after every heat-bath sweep. They move spins at constant
        energy, cost about a third of a heat-bath sweep, and are what finds order.
    quench : heat-bath sweeps at T = 0 before the descent: every spin is turned into its field. A hundred remove
        the thermal noise and leave the texture as it is; the descent, which over-shoots, goes on finding order.
    kind : ``"linear"`` or ``"geometric"`` (a constant ratio from one temperature to the next).
    tolerance : largest torque |S x h| left anywhere at the end, units of J; at least 1e-5,
        because spins are float32.
    max_descent : most descent sweeps allowed to get there.

    Raises
    ------
    TypeError, ValueError
        naming the field that is not a number, or out of range.
    """

    T_start: float = 1.2
    T_end: float = 0.01
    sweeps: int = 200
    overrelax: int = 3
    kind: str = "linear"
    tolerance: float = 1e-4
    max_descent: int = 20_000
    quench: int = 0

    def __post_init__(self) -> None:
        for name, least in (("T_start", LEAST_T), ("T_end", LEAST_T), ("tolerance", 0.0)):
            object.__setattr__(self, name, check_number(name, getattr(self, name), least))
        for name, least in (("sweeps", 1), ("overrelax", 0), ("max_descent", 1), ("quench", 0)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        if self.T_end > self.T_start:
            raise ValueError(f"T_end must not exceed T_start, got T_end={self.T_end:g} > T_start={self.T_start:g}")
        check_choice("kind", self.kind, KINDS)
        if self.tolerance < LEAST_TOLERANCE:
            raise ValueError(f"tolerance must be at least {LEAST_TOLERANCE:g}, which float32 spins can hold, got "
                             f"{self.tolerance:g}; for less use relax() on float64 spins")

    def temperatures(self) -> np.ndarray:
        """(sweeps,) float64: the temperature of every heat-bath sweep, J/k_B, from T_start to T_end."""
        between = np.linspace if self.kind == "linear" else np.geomspace
        return between(self.T_start, self.T_end, self.sweeps)
