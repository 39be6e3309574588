r"""From material constants in SI units to the lattice's J, D, B, K.

A film of thickness t, magnetised uniformly across it, has the energy

.. math::
    E = t \int \left[ A\,(\nabla m)^2 + D\, w(m) - M_s B\, m_z - K_\mathrm{eff}\, m_z^2 \right] dx\,dy

with :math:`w = m_z\nabla\cdot m - (m\cdot\nabla) m_z` (interfacial) or :math:`m\cdot(\nabla\times m)` (bulk), as in
mumax3 (Vansteenkiste et al., AIP Advances 4, 107133 (2014)) and ubermag. On square cells of side a, where
:math:`|m_i - m_j|^2 = 2 - 2\,m_i\cdot m_j \approx a^2 (\partial m)^2`, it is the Hamiltonian of this project with

.. math::
    J = 2At, \quad |D_\mathrm{lattice}| = |D|\,a\,t, \quad B_\mathrm{lattice} = M_s B\,a^2 t, \quad
    K = K_\mathrm{eff}\,a^2 t

so that in units of J the thickness drops out: D a / 2A, M_s B a^2 / 2A, K_eff a^2 / 2A. The cell is a choice: lengths
in metres do not depend on it as long as it is small against the helix period and the wall width. The interfacial D
changes its sign on the way: mumax3's D > 0 favours the walls of this project's D < 0 with ``dmi="neel"``.

The stray field is there as a local term only: a thin film's, :math:`-\mu_0 M_s^2/2` on K_u. What it does between
places, the wide domains and bubbles of thick multilayers, this Hamiltonian does not know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import integrate, optimize

from evae_core.hamiltonian import DMI_TYPES, Hamiltonian
from evae_core.validation import check_choice, check_flag, check_number

MU_0 = 4e-7 * math.pi  # T m/A, to 1e-9
K_B = 1.380649e-23  # J/K, exact


@dataclass(frozen=True)
class Material:
    """A magnetic film in SI units.

    Parameters
    ----------
    A : exchange stiffness, J/m.
    D : Dzyaloshinskii-Moriya constant, J/m^2, with mumax3's sign (D > 0 favours left-handed Neel walls).
    Ms : saturation magnetisation, A/m.
    Ku : uniaxial anisotropy, J/m^3, easy axis out of the plane for Ku > 0.
    field : along +z, T.
    thickness : of the magnetic layer, m; it scales every energy alike.
    dmi : ``"neel"`` (interfacial) or ``"bloch"`` (bulk).
    thin_film : whether Ku is reduced by mu_0 Ms^2 / 2, the demagnetisation of a thin film.

    Raises
    ------
    TypeError, ValueError
        a constant that is not a finite number; A, Ms or thickness not positive; an unknown dmi.

    Examples
    --------
    >>> film = Material(A=1e-11, D=1.5e-3, Ms=6e5, Ku=2.5e5, field=0.1, thickness=1e-9, thin_film=True)
    >>> H = film.hamiltonian(cell=8e-9)
    >>> H.J, round(H.D, 3), round(H.B, 3), round(H.K, 3)
    (1.0, -0.6, 0.192, 0.076)
    """

    A: float
    D: float
    Ms: float
    Ku: float = 0.0
    field: float = 0.0
    thickness: float = 1e-9
    dmi: str = "neel"
    thin_film: bool = False

    def __post_init__(self) -> None:
        for name in ("A", "D", "Ms", "Ku", "field", "thickness"):
            check_number(name, getattr(self, name), 0.0 if name in ("A", "Ms", "thickness") else -math.inf)
        check_choice("dmi", self.dmi, DMI_TYPES)
        check_flag("thin_film", self.thin_film)

    def hamiltonian(self, cell: float, boundary: str | tuple[str, str] | np.ndarray = "periodic") -> Hamiltonian:
        """The lattice of square cells of side ``cell`` (m), J = 1; some ten cells a helix period or wall are needed."""
        check_number("cell", cell, most=1.0)
        sign = -1.0 if self.dmi == "neel" else 1.0
        return Hamiltonian(J=1.0, D=sign * self.D * cell / (2 * self.A),
                           B=self.Ms * self.field * cell**2 / (2 * self.A), K=self.Keff * cell**2 / (2 * self.A),
                           dmi=self.dmi, boundary=boundary)

    @property
    def Keff(self) -> float:
        """The anisotropy that counts, J/m^3: Ku, less mu_0 Ms^2 / 2 where ``thin_film`` is set."""
        return self.Ku - (MU_0 * self.Ms**2 / 2 if self.thin_film else 0.0)

    @property
    def J(self) -> float:
        """The lattice's unit of energy, 2 A t, in joules, whatever the cell; J / K_B is its temperature in kelvin."""
        return 2 * self.A * self.thickness

    @property
    def helix_period(self) -> float:
        """4 pi A / |D|, m: period of the helix where neither field nor anisotropy is; ValueError for D = 0."""
        if not self.D:
            raise ValueError("D must not be 0 for a helix, got 0")
        return 4 * math.pi * self.A / abs(self.D)

    @property
    def wall_width(self) -> float:
        """Delta = sqrt(A / Keff), m, of a wall cos(theta) = tanh(x / Delta); ValueError unless Keff > 0."""
        if self.Keff <= 0:
            raise ValueError(f"Keff must be positive for a wall between up and down, got {self.Keff:g} J/m^3")
        return math.sqrt(self.A / self.Keff)

    @property
    def critical_D(self) -> float:
        """(4/pi) sqrt(A Keff), J/m^2: where a wall costs nothing; below it the film without a field is uniform."""
        return 4 / math.pi * math.sqrt(self.A * max(0.0, self.Keff))

    @property
    def saturation_field(self) -> float:
        r"""Field along z, T, from which on the uniform state is lower than every helix.

        There a wall of a full turn costs nothing,

        .. math::
            \int_0^{2\pi}\sqrt{A\,[M_sB(1-\cos\theta)+K_\mathrm{eff}\sin^2\theta]}\,d\theta = \pi|D|

        which is pi^2 D^2 / (32 A Ms) for Keff = 0; at least 0 and -2 Keff / Ms, below which the moments tilt.
        Skyrmion lattices live on to somewhat larger fields (for K = 0 some 1.3 times).
        """
        least = max(0.0, -2 * self.Keff / self.Ms)

        def cost(field: float) -> float:
            def root(angle: float) -> float:
                density = self.Ms * field * (1 - math.cos(angle)) + self.Keff * math.sin(angle)**2
                return math.sqrt(max(0.0, density) * self.A)  # rounding alone makes it negative
            return float(2 * integrate.quad(root, 0, math.pi)[0]) - math.pi * abs(self.D)

        if cost(least) >= 0:
            return least
        most = least + (math.pi * self.D)**2 / (32 * self.A * self.Ms) + 2 * abs(self.Keff) / self.Ms
        return float(optimize.brentq(cost, least, 1.01 * most))
