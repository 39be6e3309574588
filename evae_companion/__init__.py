"""The companion of the paper: stored data sets and trainings, experiments, claims, figures, explorers, commands.

It is built on :mod:`evae_core`, which holds the physics and the network and knows nothing of this package.
"""
