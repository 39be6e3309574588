"""Run the benchmarks of this folder one after the other, and write what they print to RESULTS.md: `make bench`.

    python benchmarks/report.py [--output FILE] [SCRIPT ...]

A script that cannot run on this machine (no GPU, say) says so in one line and is entered as not run, with that line.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = """# Results

What `make bench` printed, whole: medians, with the least and the most in brackets. Quote ratios within one table, with
the machine: absolute times on a shared machine mean little. What is measured, against which peers:
[README.md](README.md).
"""


def run(script: Path) -> str:
    """The section of one script."""
    print(f"{script.name} ...", flush=True)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=HERE.parent)
    sys.stdout.write(done.stdout)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"not run: {reason}", flush=True)
        return f"## {script.name}\n\nNot run: {reason}\n"
    return f"## {script.name}\n\n{done.stdout.strip()}\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("scripts", nargs="*", type=Path, default=sorted(HERE.glob("bench_*.py")))
    chosen = parser.parse_args()
    sections = [run(script.resolve()) for script in chosen.scripts]
    date = f"Measured on {datetime.now(UTC):%Y-%m-%d}.\n"
    chosen.output.write_text("\n".join([HEAD, date, *sections]), encoding="utf-8")
    print(f"written to {chosen.output}")
