"""DeepSPIN: a learned spin-lattice potential (arXiv:2304.09606), its labels, training and dynamics.

    data         Frames; DeePMD layout, dpdata keys
    neighbours   tables of neighbours in periodic cells
    descriptor   rows, switch, embedding: what an atom sees
    model        ModelSpec, DeepSpin: the learned potential
    potential    evaluate(): forces, magnetic forces, torques, virials of any potential
    reference    SpinLattice: an explicit Hamiltonian for labels
    leastsquares the linear part of a potential, fitted to all labels at once
    training     TrainSpec, train(), errors(): trainings as artefacts of the store
    dynamics     Integrator: atoms and moments moving together, Langevin's thermostat

From labelled frames to a potential and its forces:

    frames = read_deepmd("data_0")
    trained = train(frames[:48], frames[48:], ModelSpec(("Ni", "O"), (0.314, 0.0)), TrainSpec())
    found = evaluate(trained.model(), frames[48:])        # energies, forces, force_mags, torques
"""
