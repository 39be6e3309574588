"""What the GPU's annealing kernels could reach at most, derived from their machine code: nothing here is measured.

    python benchmarks/gpu_roofline.py [--arch sm_90] [--sms 132] [--clock 1.98]

Compiles kernels.cu with nvcc, reads the machine code (SASS) with cuobjdump or nvdisasm, and counts what a warp
executes for one site: the loop over rows, and its share of what surrounds the loop in every sweep of a colour. A
multiprocessor has limits a clock: 4 warp instructions issued, 128 float operations, 64 integer operations, comparisons
and moves, 16 special functions, and 128 bytes of shared memory (CUDA C++ Programming Guide, table of arithmetic
throughput, compute capability 9.0; the kernels' accesses have no bank conflicts where Nx/2 is a multiple of 32). The
slowest of them is the ceiling. Latencies, barriers, and blocks that do not divide evenly among multiprocessors come on
top. Needs nvcc and one of the two disassemblers; no GPU.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, deque
from pathlib import Path

from evae_core.annealing import gpu

SOURCE = Path(gpu.__file__).with_name("kernels.cu")
ROWS = 8  # of a colour in a thread's strip, on 128 x 128
LANES = {"issue slots": 128, "float operations": 128, "integer operations": 64, "special functions": 16,
         "shared memory": 32}  # a clock and multiprocessor; shared memory in words of 4 bytes
FLOAT = {"FADD", "FMUL", "FFMA"}
OTHER = {"BRA", "BSSY", "BSYNC", "BAR", "LDC", "ULDC", "LDG", "S2R", "HFMA2", "NOP", "IMAD", "EXIT", "R2UR"}


def limit(opcode: str) -> str | None:
    """The limit besides the issue slots that an instruction counts against."""
    name = opcode.split(".")[0]
    if name in ("LDS", "STS"):
        return "shared memory"
    if name == "MUFU":
        return "special functions"
    if name in FLOAT:
        return "float operations"
    return None if name in OTHER or name.startswith("U") else "integer operations"


def compile_and_read(arch: str) -> tuple[str, str]:
    """What ptxas says of registers and spills, and the SASS."""
    disassembler = next((tool for tool in ("cuobjdump", "nvdisasm") if shutil.which(tool)), None)
    if shutil.which("nvcc") is None or disassembler is None:
        sys.exit("gpu_roofline: needs nvcc, and cuobjdump or nvdisasm, of the CUDA toolkit on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        cubin = f"{folder}/kernels.cubin"
        said = subprocess.run(["nvcc", *gpu.OPTIONS, f"-arch={arch}", "-cubin", "-Xptxas", "-v", "-o", cubin, SOURCE],
                              capture_output=True, text=True, check=True).stderr
        options = ["-sass"] if disassembler == "cuobjdump" else ["-c"]
        return said, subprocess.run([disassembler, *options, cubin], capture_output=True, text=True, check=True).stdout


class Code:
    """A kernel's instructions [(guard, opcode)] and where each may go next."""

    def __init__(self, sass: str, kernel: str):
        parts = re.split(r"(?:Function : |\.text\.)(\w+)", sass)
        body = next(text for name, text in zip(parts[1::2], parts[2::2], strict=True)
                    if name == kernel and "EXIT" in text)
        labels, self.code, targets = {}, [], []
        for line in body.splitlines():
            if label := re.match(r"\s*(\.L_\w+):", line):
                labels[label[1]] = len(self.code)
            if found := re.search(r"/\*([0-9a-f]{4,})\*/\s+(@!?\w+ )?\s*([A-Z][\w.]*)([^;]*);", line):
                labels[int(found[1], 16)] = len(self.code)
                self.code.append((bool(found[2]), found[3]))
                targets.append(re.search(r"(0x[0-9a-f]+|\.L_\w+)\)?`?\s*$", found[4].strip()))
        self.next = []
        for i, (guard, opcode) in enumerate(self.code):
            target = targets[i][1] if opcode.startswith("BRA") and targets[i] else None
            after = [labels[int(target, 16) if target.startswith("0x") else target]] if target else []
            unguarded = opcode.startswith(("BRA", "EXIT")) and not guard
            self.next.append(after if unguarded else [i + 1, *after][:2] if i + 1 < len(self.code) else after)

    def loops(self) -> list[tuple[int, int]]:
        """(first, last) instruction of every innermost loop."""
        back = [(after[-1], i) for i, after in enumerate(self.next) if after and after[-1] < i]
        return [(a, b) for a, b in back if not any((a, b) != (c, d) and a <= c and d <= b for c, d in back)]

    def path(self, start: int, goals: set[int], barred=()) -> list[int]:
        """The fewest instructions from ``start`` to one of ``goals``, without entering ``barred`` ones."""
        came, queue = {start: None}, deque([start])
        while queue:
            here = queue.popleft()
            if here in goals:
                way = []
                while here is not None:
                    way.append(here)
                    here = came[here]
                return way[::-1]
            for after in self.next[here]:
                if after not in came and after not in barred:
                    came[after] = here
                    queue.append(after)
        raise ValueError(f"no path from instruction {start} to {goals}")

    def count(self, way) -> Counter:
        counts = Counter({"issue slots": len(way)})
        counts.update(kind for kind in (limit(self.code[i][1]) for i in way) if kind)
        return counts


def per_site(code: Code, hot: bool) -> dict[str, float]:
    """Warp instructions a site against each limit, in a heat-bath sweep or in an over-relaxation sweep.

    The loops of a kind are the two colours'. Inside a loop the fewest instructions from its first to its last are
    taken: they leave out only the branch for fields that are nearly zero.
    """
    opcodes = [opcode for _, opcode in code.code]
    bodies = []
    for a, b in code.loops():
        inside = opcodes[a:b + 1]
        if "STS" in inside and "LDG" not in "".join(inside) and ("MUFU.LG2" in inside) == hot and "MUFU.RCP" in inside:
            bodies.append((a, b))
    if len(bodies) != 2:
        raise ValueError(f"found {len(bodies)} loops instead of one for each colour; the kernels have changed")
    barriers = {i for i, opcode in enumerate(opcodes) if opcode.startswith("BAR")}
    total = Counter()
    for (a, b), (other, _) in zip(bodies, bodies[::-1], strict=True):
        loop = code.path(a, {b})
        sites = sum(opcodes[i] == "STS" for i in loop) / 3
        leave = code.path(b + 1, barriers)
        enter = code.path(leave[-1] + 1, {other})[:-1]
        for way, share in ((loop, sites), (leave + enter, ROWS)):
            total.update({name: n / share / 2 for name, n in code.count(way).items()})
    return dict(total)


def counts(code: Code) -> dict[str, dict[str, float]]:
    """Warp instructions a site of each kind of sweep."""
    table = {"heat bath": per_site(code, True), "over-relaxation": per_site(code, False)}
    return table | {"1 + 3 mixed": {name: (table["heat bath"][name] + 3 * table["over-relaxation"][name]) / 4
                                    for name in LANES}}


def ceiling(counts: dict[str, float], sms: int, clock: float) -> tuple[float, str]:
    """Updates a second (in units of 1e9 for a clock in GHz), and what limits them."""
    rates = {name: sms * clock * LANES[name] / counts[name] for name in LANES}
    slowest = min(rates, key=rates.get)
    return rates[slowest], slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="sm_90", help="default: sm_90, the H100 and the H200")
    parser.add_argument("--sms", type=int, default=132, help="multiprocessors; default: 132")
    parser.add_argument("--clock", type=float, default=1.98, help="GHz; default: 1.98")
    chosen = parser.parse_args()
    said, sass = compile_and_read(chosen.arch)
    print(f"DERIVED, NOT MEASURED: {chosen.arch}, {chosen.sms} multiprocessors at {chosen.clock} GHz, 128 x 128, "
          "periodic, K = 0, in shared memory\n")
    for name, spilled, registers in re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) reg",
                                               said, re.DOTALL):
        print(f"{name:32s} {registers:>3} registers, {spilled:>2} bytes spilled")
    table = counts(Code(sass, "sweep_shared_periodic"))
    print("\nwarp instructions a site:  " + "".join(f"{name:>20}" for name in LANES) + "   ceiling, 1e9 updates/s")
    for name, one in table.items():
        rate, why = ceiling(one, chosen.sms, chosen.clock)
        print(f"{name:27s}" + "".join(f"{one[kind]:20.1f}" for kind in LANES) + f"   {rate:.0f} ({why})")


if __name__ == "__main__":
    main()
