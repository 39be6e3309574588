"""Captions of the notebooks' figures: what is drawn, the axes with their units, and what to see.

Plain text, one to three sentences of at most 25 words, without numbers that another run may change. :func:`save` writes
the caption beside the figure; README, docs and site take it as alt text.
"""

CAPTIONS = {
    # 00
    "start_skyrmions":
        "Three annealed states and the best perfect lattice that fits into the box, as maps of spins. White is up, "
        "black is down, colour is the direction in the plane. Above each map stand the energy per spin (J) and the "
        "topological charge.",
    "start_generated":
        "States generated from the same four random latent vectors, one row per stage of the training, one column per "
        "vector. The larger γ, the weight of the energy, the more alike they are.",
    # 01
    "data_annealing":
        "One lattice cooled: (a) maps of its spins, (b) energy per spin (J) and (c) topological charge against "
        "temperature (J/k_B). The number of skyrmions is settled long before the end; the energy falls on.",
    "data_gallery":
        "Four training states (above) and the same states fully relaxed (below), as maps of spins with the energy per "
        "spin (J). Relaxed, stretched skyrmions contract and rows straighten.",
    "data_statistics":
        "Histograms over training states: (a) energy per spin (J), (b) topological charge, (c) share of skyrmions "
        "without six neighbours. The best perfect lattice (dashed line) lies below them all.",
    # 02
    "network":
        "Drawing of the network after Figure 1: encoder, latent vector and decoder, with the shape of every layer's "
        "output. Lines below lead to the places where the three losses are taken.",
    "fig2a_beta_sweep":
        "Figure 2A: (a) reconstruction loss, (b) Kullback-Leibler loss (nats) and (c) energy loss (J per spin) "
        "against β. Where the posterior collapses, all outputs become one. Before that, the energy of generated "
        "states first falls as β grows.",
    "figS1_outputs":
        "Figure S1: one input, its reconstruction and a generated state for every β, as maps of spins. Past the "
        "collapse of the posterior every output is the uniform state.",
    # 03
    "fig2b_gamma_sweep":
        "Figure 2B: (a) reconstruction, (b) Kullback-Leibler and (c) energy loss against γ for two β; (d) energy loss "
        "above that of the lowest state known. From about γ = 100 (dotted line) on reconstruction suffers. The energy "
        "falls below that of the training data (dashed line).",
    # 04
    "fig3a_noise_reduction":
        "Figure 3A: a test state, its reconstruction and a generated state for three γ, beside maps of the angle "
        "between spin and local field. The number is the median angle in degrees. The maps grow paler with γ.",
    "more_theta_maps":
        "Angles between spin and local field in three reconstructions and three generated states, one column per "
        "network. The number in each corner is the median in degrees; it is smallest for the largest γ.",
    "fig3b_theta_densities":
        "Figure 3B: density of the angle between spin and local field in (a) reconstructions, (b) reconstructions "
        "without noise, (c) generated states. Axes: degrees, and share of spins per degree. The density for the "
        "largest γ is the sharpest and peaks nearest to zero.",
    # 05
    "inverse_mapping":
        "Drawing of the inverse mapping after Figure 4A: two states are mapped into latent space, and the straight "
        "line between their latent vectors is decoded.",
    "figS2_inverse_mapping":
        "Figure S2: the interstitial and the lattice, and what the model of each γ decodes from their latent vectors. "
        "Below each stands its map of the angle between spin and local field, with the median in degrees. The median "
        "falls with γ.",
    "fig4b_barrier":
        "Figure 4B: energy per spin along the line through latent space against the step R from its top, for four γ. "
        "Axes: (a) J, (b) 0.001 J above the lattice's end. With γ the barrier narrows in steps of k and the plateaus "
        "sink; each γ is shown at its own best place.",
    "minimum_barrier":
        "Energy of the sample above the lattice (J): (a) along minimum-energy paths, against distance (rad); (b) "
        "along latent walks, against the step R. The walks pass above the lower saddle (dashed line).",
    "minimum_barrier_states":
        "Five states along the lowest minimum-energy path, from the interstitial over the saddle to the lattice, as "
        "maps of spins. One skyrmion fewer is left in the end.",
    "fig4c_frames":
        "Figure 4C: the part of the box around the extra skyrmion, R steps from the top, for two γ. Below each frame "
        "stands the topological charge of the whole box. At γ = 0 a remnant of the skyrmion stays visible for longer.",
    # 06
    "fig5a_collapse":
        "Figure 5A: states generated from two random latent vectors, one column per γ, two rows per training. At the "
        "largest γ both vectors of each training give the same perfect skyrmion lattice.",
    "fig5b_kspace_mse":
        "Figure 5B: (a) pairwise difference of generated states in k space and (b) their energy per spin above the "
        "best perfect lattice (J), against γ. In the end every training falls below the threshold of the collapse "
        "(dash-dotted line).",
    "collapsed_states":
        "The generated state of median energy at the largest γ, relaxed, for every training, beside the best perfect "
        "lattice. Each is a perfect lattice, at another position or orientation.",
    "what_collapses":
        "One training along γ: (a) diversity of states, (b) their energy per spin above the lowest known (J), (c) "
        "variance of the latent vectors. Diversity is a share of that of the data. Generated states become one before "
        "reconstructions do.",
    "data_order":
        "The generated state of median energy at the largest γ for four kinds of training data, as maps of spins. "
        "Above each stands the mean energy of all trainings above the lowest state known (J per spin).",
    # 07
    "confined_states":
        "Samples with open edges, one column each: an annealed state, the best annealed one, the lowest generated "
        "one, and that one relaxed. Below each map stands the energy per spin (J).",
    "confined_energies":
        "Energy per spin above the best annealed state (0.001 J) in samples with edges, one row each. Dots are "
        "annealed states, circles the state of the collapsed model as decoded, diamonds the same relaxed. A diamond "
        "at 0 is the best state.",
    "size_scan_states":
        "Lowest states found for squares and wires of growing size, to one scale. Below each map stand its size in "
        "spacings of the bulk's skyrmions and its number of skyrmions.",
    "size_scan_energies":
        "Number of skyrmions (above) and energy per spin (J, below) of the lowest state found, against the size in "
        "spacings of the bulk's skyrmions. Filled diamonds: the E-VAE finds the same state; open ones: a higher one.",
    "size_scan_agreement":
        "Samples for which an E-VAE was trained: the lowest state known (above) and the lowest generated one, relaxed "
        "(below). Below each map stands the energy per spin (J).",
    # 08
    "ground_state_candidates":
        "The best state of an independent search, and the lowest relaxed state of each training, as maps of spins. "
        "All are lattices of skyrmions; some differ in number or orientation.",
    "budget":
        "Lowest energy per spin above the best known (J) against seconds of one core (above) and spin updates "
        "(below), one column per sample. Triangles: the best state known is reached. Annealing and tempering reach it "
        "far sooner than a trained network.",
    # 09
    "sample_quality_distributions":
        "Cumulative distributions for training data and generated states: (a) energy per spin above the lattice (J), "
        "(b) angle between spin and field (degrees), (c) charge. Energies and angles fall with γ.",
    "sample_quality_front":
        "Energy per spin above the lattice (J) against coverage of the data and Vendi score, of states as generated "
        "(above) and relaxed (below). At the largest γ states are the most stable and the least diverse.",
    "sample_quality_states":
        "One state of the data and one generated at each γ (above), and the states that they relax to (below), as "
        "maps of spins. Distortions of generated states vanish when relaxed.",
    # 10
    "critical_gamma":
        "Critical γ by two rules (markers) and by linear theory (band), against (a) β, (b) excess energy loss of the "
        "data (J per spin). The values for the largest β and for rough data lie above the band.",
    "other_systems":
        "Four other Hamiltonians, one column each: annealed, lowest annealed, generated, generated and relaxed, and "
        "lowest known state. Below each map stands the energy per spin (J).",
    "other_systems_collapse":
        "Four other Hamiltonians along γ: (a) difference of generated states relative to the data, (b) their energy "
        "per spin above the lowest known (J). Helices and spirals collapse near their lowest state; merons do not "
        "collapse. The data of the stripes were not learned.",
    # 11
    "own_shapes":
        "One annealed state each of a periodic film, a square, a disk and a triangle of the same material, as maps of "
        "spins. Grey is outside of the sample.",
    "own_bonds":
        "Annealed states of the film for growing antiferromagnetic exchange J_2 to second neighbours, with the "
        "topological charge. Skyrmions shrink, and stretch into pieces of a helix.",
    "own_collapse":
        "States generated from two random latent vectors, one column per γ, for the film of this notebook. At the "
        "largest γ both vectors give the same lattice.",
    # 12
    "deepspin_learning":
        "Errors on validation frames, in % of the rms of the labels, against the number of training frames: energy, "
        "force and magnetic force. All fall as frames are added.",
    "deepspin_predictions":
        "Predictions against labels for validation frames: (a) energy (meV per atom), (b) force (eV/Å), (c) magnetic "
        "force (eV/µ_B). Points lie on the diagonal.",
    "deepspin_modes":
        "Frequencies (THz) of (a) phonons and (b) magnons against the wave vector from Γ to X. Lines: linear theory; "
        "marks: peaks of the spectra in motion. The learned potential lies on the reference.",
    "deepspin_motion":
        "(a) Magnetisation against temperature (K) and (b) total energy against time (ps), in µeV per atom, for the "
        "reference and for the learned potential. Both agree up to 160 K.",
    "deepspin_active":
        "(a) Share of candidates (%), (b) rms and (c) largest error of the force (eV/Å) against the number of "
        "labelled frames: active and random choice. Bands are the range over seeds; they overlap in part.",
    "deepspin_nio":
        "Predictions against labels for NiO frames that were held out: (a) energy (meV per atom), (b) force (eV/Å), "
        "(c) magnetic force of Ni (eV/µ_B). Energies come out too small: the slope is below 1.",
    "deepspin_guided":
        "Collapses guided by learned potentials, against torque error (%): (a) energy per spin above the lowest known "
        "(J), (b) share that relaxes to it (%). (c) One generated state for each potential.",
    # 13
    "peace_law":
        "(a) Autocorrelation of simulated speckle and of the law against the lag (camera pixels); (b) their "
        "difference in standard errors. With the grains' number in it the law fits the far lags, too.",
    "peace_scores":
        "Mean distance W1 of found and true cumulative curves, as a share of the range of sizes, against (a) frames "
        "and (b) median size (µm). The network with the law inside is mostly the best.",
    "peace_frames":
        "Cumulative size distributions by volume against size (µm) for three simulated powders, true and as four "
        "estimators find them. No estimator resolves the two sizes on the right.",
    "peace_drying":
        "Sizes d10, d50 and d90 (µm) against time (frames) of a powder that breaks up: true (dashed) and found, with "
        "the error band. The answer lags behind the truth.",
    "peace_skyrmions":
        "Scattering of skyrmion states: (a) autocorrelation of the speckle against the lag, (b) envelope against q "
        "(1/site), (c) share of radii (sites) below. A gas gives its sizes; in ordered states the fit fails.",
    # 14
    "phase_diagram":
        "Phase at each D (J) and reduced field by (a) annealing, (b) the collapsed E-VAE, (c) states made by hand. "
        "Filled markers in (b) are evidence, open ones are none. Lines: equal energy of two phases.",
    "phase_diagram_states":
        "Annealed states and the lowest ones of the E-VAE, relaxed, as maps of spins: one row per field, two columns "
        "per D. With the field helices turn into skyrmions, then into the uniform state.",
    "phase_diagram_critical":
        "Where sweeps collapse against the reduced field, for each D: critical γ (a) by the states, (b) by the "
        "Kullback-Leibler loss; (c) critical β. The critical γ of such short sweeps is an order of magnitude and "
        "shows no trend.",
}
