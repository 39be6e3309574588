"""One experiment per module, named as its notebook: what is computed for the figures and claims of its topic.

``run`` trains or reads what it needs and returns numbers, tables and states in a namespace; ``spec`` says what the
result depends on. Results lie in the store. Where the store has none and data/recorded holds them, the recorded ones
are taken, and a printed line says so (:mod:`~evae_companion.experiments.result_cache`).
"""
