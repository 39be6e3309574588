"""PEACE: particle sizes of a powder from the autocorrelation of its laser speckle, the physics inside the estimator.

After "PEACE", arXiv:2204.09516: forward law, wave-optics simulator, images to autocorrelation, and estimators without
and with learning. Two lines for a measured autocorrelation, an image or a cut:

    from evae_core import peace
    result = peace.estimate(autocorrelation, peace.Optics(focal_length=0.25))

The modules, lowest first: optics, law, sizes, simulator, images, reduction (any data -> P^2 at fixed wave numbers, with
its noise), calibration (scale and height from the data), inverse (curvature, NNLS, Tikhonov), network, learning,
measured (a measurement checked and reduced), camera_transfer (another camera), grain_number, estimator,
method_comparison (tables), end_to_end (simulated frames to sizes), tracking, plots, magnetism (where the analogy ends).

Reducing to 47 numbers loses nothing that a network on the 96 x 96 pixels could see: the law is |M(q)|^2 times a
function of |q| with about ten degrees of freedom, and a ring counts by what its noise allows. A convolutional network
on |A|^(1/4), as in the published follow-up, would have to learn the beam; here |M|^2 is divided out, so one network
serves image and cut, another beam, crop or pixel.
"""

from importlib import import_module
from typing import Any

# Imported when first asked for, as in the package above.
_HOME = {"Autocorrelation": "images", "Estimate": "estimator", "Law": "law", "Optics": "optics",
         "OutsideRange": "estimator", "Shape": "network", "Tracker": "tracking", "Training": "learning",
         "autocorrelation": "images", "camera": "simulator", "estimate": "estimator", "frames": "simulator",
         "load": "estimator", "read_images": "images", "save": "estimator", "train": "learning"}

__all__ = ["Autocorrelation", "Estimate", "Law", "Optics", "OutsideRange", "Shape", "Tracker", "Training",
           "autocorrelation", "camera", "estimate", "frames", "load", "read_images", "save", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in {*_HOME.values(), "calibration", "camera_transfer", "end_to_end", "grain_number", "inverse", "magnetism",
                "measured", "method_comparison", "plots", "reduction", "sizes"}:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
