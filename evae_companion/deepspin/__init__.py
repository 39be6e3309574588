"""DeepSPIN: a learned spin-lattice potential (arXiv:2304.09606), its labels, training and dynamics.

    data         Frames; DeePMD layout, dpdata keys
    neighbours   tables of neighbours in periodic cells
    descriptor   rows, switch, embedding: what an atom sees
    model        ModelSpec, DeepSpin: the learned potential
    potential    evaluate(): forces, magnetic forces, torques, virials of any potential
    reference    SpinLattice: an explicit Hamiltonian for labels
    lammps       the same Hamiltonian by LAMMPS' SPIN package, to check it (optional)
    leastsquares the linear part of a potential, fitted to all labels at once
    training     TrainSpec, train(), errors(): trainings as artifacts of the store
    dynamics     Integrator: atoms and moments moving together, Langevin's thermostat
    spectra      magnons and phonons by motion and by linear theory, magnetisation against temperature
    magnet       a small ferromagnet to try everything on, its crystal and labelled frames
    active       learn(): a committee says what to label
    lattice      LatticeSpin: the potential of a rigid film, fast
    lattice_training  the Hamiltonian of a film from energies and torques
    guide        Guide: a learned energy as the L_H of an E-VAE

From labelled frames to a potential and its forces:

    frames = read_deepmd("data_0")
    trained = train(frames[:48], frames[48:], ModelSpec(("Ni", "O"), (0.314, 0.0)), TrainSpec())
    found = evaluate(trained.model(), frames[48:])        # energies, forces, force_mags, torques
"""
