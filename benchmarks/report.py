"""Run the benchmarks of this folder one after the other, and write what they print to RESULTS.md: `make bench`.

    python benchmarks/report.py [--output FILE] [SCRIPT ...]

A script that cannot run on this machine (no GPU, say) says so in one line and ends with exit status 77: it is entered
as not run, with that line. Any other failure is entered as one, and is this script's own exit status 1.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

SKIPPED = 77  # exit status
HERE = Path(__file__).resolve().parent
HEAD = """# Results

What `make bench` printed, whole: medians, with the least and the most in brackets. Quote ratios within one table, with
the machine: absolute times on a shared machine mean little. What is measured, against which peers:
[README.md](README.md).
"""


def run(script: Path) -> tuple[str, bool]:
    """The section of one script, and whether it did what it should."""
    print(f"{script.name} ...", flush=True)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=HERE.parent)
    sys.stdout.write(done.stdout)
    said = done.stdout.strip()
    if done.returncode == SKIPPED:
        reason = (said or done.stderr.strip()).splitlines()[-1].removeprefix("not run: ")
        return f"## {script.name}\n\nNot run: {reason}\n", True
    if done.returncode:
        sys.stdout.write(done.stderr)
        last = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        return f"## {script.name}\n\nFAILED with exit status {done.returncode}: {last}\n\n{said}\n", False
    return f"## {script.name}\n\n{said}\n", True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("scripts", nargs="*", type=Path, default=sorted(HERE.glob("bench_*.py")))
    chosen = parser.parse_args()
    sections, well = zip(*(run(script.resolve()) for script in chosen.scripts), strict=True)
    date = f"Measured on {datetime.now(UTC):%Y-%m-%d}.\n"
    chosen.output.write_text("\n".join([HEAD, date, *sections]), encoding="utf-8")
    print(f"written to {chosen.output}")
    sys.exit(0 if all(well) else 1)
