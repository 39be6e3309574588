"""States and networks in the formats of other programs: OVF 2.0, numpy, ONNX.

This page alone defines how a state lies in memory and in files. x is the lattice's column, y its row, z the
direction of the field; row 0 is at the bottom of every figure, and site (x, y) sits at (x + 1/2, y + 1/2) cells.

=============  ========================================  ======================================================
where          shape, slowest axis first                 values
=============  ========================================  ======================================================
in memory      (..., 3, Ny, Nx), torch or numpy          S^x, S^y, S^z; unit length, 0 on non-magnetic sites
.npy           the same                                  float32 or float64, as they were
.ovf, .omf     (1, Ny, Nx, 3): x runs fastest, then y,   the same; values in A/m are normalised on reading
               then z; one layer, three values per cell
discretised-   ``Field.array`` (Nx, Ny, 1, 3)            the same
field
Spirit         (Ny Nx, 3), x fastest                     the same
ONNX           in: z (n, latent); out: spins             float32
               (n, 3, Ny, Nx)
=============  ========================================  ======================================================

Reading never runs code, and never takes more memory than the length of the file warrants.
"""

from evae_companion.io.onnx import export_decoder
from evae_companion.io.ovf import OVF, read_ovf, write_ovf
from evae_companion.io.states import load_state, save_state

__all__ = ["OVF", "export_decoder", "load_state", "read_ovf", "save_state", "write_ovf"]
