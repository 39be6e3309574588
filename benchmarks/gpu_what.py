"""The first step of gpu_quarter_hour.sh: which GPU, driver and packages are here, and which packages are missing.

    python benchmarks/gpu_what.py

Exit status 77 where there is no GPU. Packages that a step uses are imported, torch last: an import that is cut leaves
what was found before; the others are only looked for. Needs nothing but Python and numpy.
"""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata

from gpu_pack import MARK, REHEARSAL, WORK

NEEDED = ("numpy", "numba", "cupy", "torch")  # without numba or cupy what needs the annealer fails
USED = ("scipy", "filelock")  # there is something to stand in for them
UNUSED = ("safetensors", "fsspec", "matplotlib", "papermill", "jupyterlab")  # the steps do without
ASKED = {"gpu": "name", "driver": "driver_version", "memory": "memory.total", "clock_MHz": "clocks.max.sm",
         "power_limit": "power.limit"}


def nvidia() -> dict | None:
    """What nvidia-smi says of the first GPU, None where there is none."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(ASKED.values())}", "--format=csv,noheader,nounits"],
                           capture_output=True, text=True)
    if asked.returncode or not asked.stdout.strip():
        return None
    found = dict(zip(ASKED, (value.strip() for value in asked.stdout.splitlines()[0].split(",")), strict=True))
    return found | {"clock_MHz": float(found["clock_MHz"])}


def version(package: str) -> str:
    """Of an installed package; CuPy is distributed under a name for each version of CUDA."""
    names = (package, "cupy-cuda13x", "cupy-cuda12x") if package == "cupy" else (package,)
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            pass
    return "version unknown"


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    card = {"gpu": MARK} if REHEARSAL else nvidia()
    if card is None:
        print("not run: nvidia-smi finds no GPU")
        return 77
    found = {"rehearsal": REHEARSAL} | card | {
        "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "system": platform.platform(),
        "tools": {tool: shutil.which(tool) for tool in ("nvcc", "cuobjdump", "g++")}, "packages": {}, "missing": []}

    def note() -> None:
        (WORK / "what.json").write_text(json.dumps(found, indent=1))

    for package in UNUSED:
        there = importlib.util.find_spec(package) is not None
        found["packages"][package] = version(package) if there else "MISSING"
        found["missing"] += [] if there else [package]
    note()
    for package in (*USED, *NEEDED):
        start = time.perf_counter()
        try:
            importlib.import_module(package)
            found["packages"][package] = f"{version(package)} ({time.perf_counter() - start:.1f} s)"
        except Exception as error:  # a package that breaks at import is as good as missing, and says why
            found["packages"][package] = f"MISSING: {type(error).__name__}: {error}"
            found["missing"].append(package)
        note()
    print(json.dumps(found, indent=1))
    needed = [package for package in found["missing"] if package in NEEDED]
    print(f"MISSING: {', '.join(found['missing']) or 'nothing'}" + (
        f"; without {', '.join(needed)} some steps fail" if needed else "; no step needs them"))
    return 1 if needed and not REHEARSAL else 0


if __name__ == "__main__":
    sys.exit(main())
