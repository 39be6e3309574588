"""DeepSPIN: a learned spin-lattice potential (arXiv:2304.09606), its labels, training and dynamics.

    data         Frames; DeePMD layout, dpdata keys
    neighbours   tables of neighbours in periodic cells
    descriptor   rows, switch, embedding: what an atom sees
    model        ModelSpec, DeepSpin: the learned potential
    potential    evaluate(): forces, magnetic forces, torques, virials of any potential
    reference    SpinLattice: an explicit Hamiltonian for labels
"""
