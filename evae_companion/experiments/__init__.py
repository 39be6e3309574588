"""The experiments behind the figures and claims, one module per topic, named as its notebook.

``run`` trains or loads the networks it needs and returns numbers, tables and states in a namespace. ``spec`` is the
cache key: everything that the result depends on. Results are cached in the store. If the store lacks one,
:mod:`~evae_companion.experiments.result_cache` takes the published result in data/recorded and prints a line about it.
"""
