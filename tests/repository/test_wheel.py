"""The packages as a wheel, installed outside the repository: core, command, and a store in the cache folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = """
from dataclasses import dataclass
import numpy as np
from evae_core import Hamiltonian, anneal
from evae_core.bonds import Term

@dataclass(frozen=True)
class Kitaev(Term):
    K: float
    def bonds(self):
        return [(0, 1, np.diag([self.K, 0, 0])), (1, 0, np.diag([0, self.K, 0]))]

spins = anneal(Hamiltonian(terms=(Kitaev(0.2),)), (8, 8), 2, device="cpu")
import evae_core
print(tuple(spins.shape), evae_core.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Run Python, or the command, with the packages of the wheel alone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "evae_core", "evae_companion"):
        os.symlink(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source], check=True,
                   capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, capture_output=True,
                   timeout=300)
    (folder / "elsewhere").mkdir()

    def run(*arguments, **environment):
        plain = {key: value for key, value in os.environ.items() if not key.startswith("EVAE")}
        return subprocess.run([sys.executable, *arguments], cwd=folder / "elsewhere", capture_output=True, text=True,
                              timeout=300, env={**plain, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1",
                                                "XDG_CACHE_HOME": str(folder / "cache"), **environment})

    run.folder = folder
    return run


COMMAND = ("-c", "import sys; from evae_companion.cli import main; sys.exit(main(sys.argv[1:]))")


def test_the_ten_lines_of_the_readme(installed):
    text = (ROOT / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(from evae_core import Hamiltonian.*?)```", text, re.S)
    done = installed("-c", lines)
    assert done.returncode == 0, done.stderr


def test_a_hamiltonian_of_ones_own(installed):
    done = installed("-c", OWN)
    assert done.returncode == 0, done.stderr
    assert "(2, 3, 8, 8)" in done.stdout and str(installed.folder / "site") in done.stdout


def test_info_and_a_store_in_the_cache_folder(installed):
    done = installed(*COMMAND, "info")
    assert done.returncode == 0, done.stderr
    assert str(installed.folder / "cache" / "evae" / "store") in done.stdout


def test_commands_that_need_the_repository_say_so(installed):
    for command in ("figures", "publish"):
        done = installed(*COMMAND, command)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1 and "needs the repository" in line


def test_the_old_command_says_where_it_went(installed):
    done = installed("-m", "evae_core", "figures")
    assert done.returncode == 1 and "is now the command evae" in done.stderr
