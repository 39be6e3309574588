"""Pack what the steps of gpu_quarter_hour.sh left into at most 8 files of at most 16 MB, and write their page, GPU.md.

    python benchmarks/gpu_pack.py

From WORK into the folder $OUT: results.json, stages.csv, GPU.md, sample.npz (training states), states.npz (generated
states, half precision), decoders_1.npz to decoders_3.npz. It may run at any time: what is not there yet is left out.
Needs numpy alone.
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REHEARSAL = os.environ.get("EVAE_REHEARSAL") == "1"
_MARKED = "-rehearsal" if REHEARSAL else ""
WORK = Path(os.environ.get("EVAE_GPU_WORK") or ROOT / "build" / f"gpu-work{_MARKED}")
OUT = Path(os.environ.get("OUT") or ROOT / "build" / f"gpu{_MARKED}")
MAX_BYTES, DECODER_FILES = 16_000_000, 3
STEPS = ("what", "verify", "speed", "step", "data", "train")
FIRST_GAMMAS = (1.0, 100.0, 500.0, 1e3, 2e3, 5e3, 10.0, 1e4)  # decoders of the first sweep that are packed first
MARK = "REHEARSAL on a CPU: no number here is a measurement"


def results(work: Path = WORK) -> dict[str, Any]:
    """Everything that the steps wrote, marked as a rehearsal's or not; RuntimeError where both are mixed."""
    found: dict[str, Any] = {"steps": steps(work)}
    for name in STEPS:
        if (path := work / f"{name}.json").is_file():
            found[name] = json.loads(path.read_text())
    stages = {path.name.removesuffix(".json"): json.loads(path.read_text())
              for path in (work / "stages").glob("*.json")}
    marks = {part.pop("rehearsal") for part in (*(found[name] for name in STEPS if name in found), *stages.values())}
    if len(marks) > 1:
        raise RuntimeError(f"{work} holds a rehearsal and a run on a GPU; empty it")
    if stages:
        found["stages"] = {name: stages[name] for name in found["train"]["order"] if name in stages}
    if not marks:
        raise RuntimeError(f"{work} holds no results; gpu_quarter_hour.sh makes them")
    return {"rehearsal": marks != {False}} | found


def steps(work: Path) -> list[dict[str, str]]:
    """What gpu_quarter_hour.sh noted of every step: its limit, seconds, how it ended."""
    path = work / "steps.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per stage: losses, energies above the lowest state known (1e-4 J per spin), diversity."""
    rows = []
    for name, stage in found.get("stages", {}).items():
        measured = stage["measured"]
        row = {"made": MARK if found["rehearsal"] else "GPU", "stage": name,
               **{key: stage[key] for key in ("seed", "beta", "gamma", "steps")}}
        for of in ("train", "validation"):
            row |= {f"{loss} {of}": measured[of][key] for loss, key in (("L_RC", "reconstruction"), ("L_KL", "kl"),
                                                                       ("L_H", "energy")) if of in measured}
        row["variance of z"] = measured["posterior"]["variance"]
        for of, label in (("x_out", "X_out"), ("generated", "X'_out")):
            row |= {f"{label} E/N above (1e-4 J)": stage["above"][of],
                    f"{label} k-MSE, share of the data's": stage["diversity"][of],
                    f"{label} relaxed, least above (1e-4 J)": min(stage["relaxed_above"][of]),
                    f"{label} relaxed, largest above (1e-4 J)": max(stage["relaxed_above"][of])}
        rows.append(row | {"diverged": len(measured.get("diverged", [])), "seconds": measured["seconds"],
                           "device": measured["device"], "precision": measured["precision"], "mode": measured["mode"]})
    return rows


def pack(arrays: bool = True, work: Path | None = None, out: Path | None = None) -> None:
    """Write the files; without ``arrays`` the tables alone."""
    work, out = work or WORK, out or OUT
    found = results(work)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(found, indent=1))
    (out / "GPU.md").write_text(page(found), encoding="utf-8")
    if rows := rows_of(found):
        with (out / "stages.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if not arrays:
        return
    if (work / "sample.npz").is_file():
        with np.load(work / "sample.npz") as file:
            _save(out / "sample.npz", found, dict(file))
    if rows:
        paths = {name: work / "stages" / f"{name}.npz" for name in found["stages"]}
        files = {name: np.load(path) for name, path in paths.items() if path.is_file()}
        with np.load(work / "given.npz") as file:
            _save(out / "states.npz", found, _states(found, files, dict(file)))
        for number, decoders in enumerate(_decoders(found, files), 1):
            _save(out / f"decoders_{number}.npz", found, decoders)


def _size(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes + 300 for array in arrays.values())  # 300: its name and header


def _states(found: dict[str, Any], files: dict[str, Any], given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Two generated states of every stage, the reconstructions of the beta sweep, and more where there is room."""
    wanted = [(f"{name}/generated", file["generated"][:2]) for name, file in files.items()]
    wanted += [(f"{name}/x_out", files[name]["x_out"]) for name in found["train"]["sweeps"]["beta, seed 0"]
               if name in files]
    wanted += [(f"{name}/generated", file["generated"]) for name, file in files.items()]
    states = given
    for key, array in wanted:  # all of a stage's take the place of the first two
        if _size(states | {key: array}) < MAX_BYTES:
            states = states | {key: array}
    return states


def _decoders(found: dict[str, Any], files: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """The decoders that fit into DECODER_FILES files: every sweep's last, then those of the first sweep by gamma."""
    sweeps = found["train"]["sweeps"]
    first = next(iter(sweeps.values()))
    gammas = {found["stages"][name]["gamma"]: name for name in first if name in files}
    wanted = [stages[-1] for stages in sweeps.values()] + [parent_of(first)]
    wanted += [gammas[gamma] for gamma in FIRST_GAMMAS if gamma in gammas] + first
    packed: list[dict[str, np.ndarray]] = [{}]
    for name in dict.fromkeys(name for name in wanted if name in files):
        one = {f"{name}/{key}": files[name][key] for key in files[name].files if key.startswith("decoder.")}
        if _size(packed[-1] | one) > MAX_BYTES:
            if len(packed) == DECODER_FILES:
                break
            packed.append({})
        packed[-1] |= one
    return packed


def parent_of(sweep: list[str]) -> str:
    """The stage that a gamma sweep starts from: that of its seed and beta at gamma = 0."""
    return "_".join([*sweep[0].split("_")[:2], "gamma0"])


def _save(path: Path, found: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, rehearsal=np.array(found["rehearsal"]), **arrays)


# --- the page ---

def _table(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    columns = columns or list(rows[0])

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns),
                      *("| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows)])


def _checks(rows: dict[str, Any]) -> str:
    """A table of the checks of one part, or of a single one."""
    many = {key: value for key, value in rows.items() if isinstance(value, dict)}
    return _table([{"": key} | {k: ", ".join(f"{x:.3g}" for x in v) if isinstance(v, list) else v
                                for k, v in value.items()} for key, value in (many or {"": rows}).items()])


def _stage_table(rows: list[dict[str, Any]]) -> str:
    """The columns of stages.csv that a page has room for."""
    short = []
    for row in rows:
        one = {key: row[key] for key in ("seed", "beta", "gamma", "L_RC train", "L_RC validation", "L_KL train")}
        one["variance of z"] = row["variance of z"]
        for of in ("X_out", "X'_out"):
            least, largest = (row[f"{of} relaxed, {which} above (1e-4 J)"] for which in ("least", "largest"))
            one |= {f"{of}: E/N": row[f"{of} E/N above (1e-4 J)"],
                    f"{of}: k-MSE": row[f"{of} k-MSE, share of the data's"],
                    f"{of}: relaxed": f"{least:.2f} to {largest:.2f}"}
        short.append(one | {"s": row["seconds"]})
    return _table(short)


def page(found: dict[str, Any]) -> str:
    """GPU.md, from the tables alone."""
    what, speed, data = (found.get(name, {}) for name in ("what", "speed", "data"))
    parts = ["# On a GPU", "", "`benchmarks/gpu_quarter_hour.sh` wrote this page from its tables; "
             "[README.md](README.md) says what each step does.", ""]
    if found["rehearsal"]:
        parts += [f"**{MARK}. Not run on a GPU.**", ""]
    parts += [f"* {key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
              for key, value in what.items() if not isinstance(value, dict)]
    parts += [f"* packages: {', '.join(what.get('packages', {}).values())}", ""]
    parts += ["## Steps", "", _table(found["steps"]), ""] if found["steps"] else []
    for name, title in (("verify", "Annealer"), ("step", "Captured training step")):
        for part, rows in found.get(name, {}).items():
            if name == "verify" or part.startswith("agreement"):
                parts += [f"## {title}: {part}", "", _checks(rows), ""]
    updates = [row | {"1e9 updates/s": row["updates_per_second"] / 1e9} for rows in speed.values()
               if isinstance(rows, list) for row in rows]
    if updates:
        parts += ["## Annealer: updates per second", "", _table(updates, [
            "size", "replicas", "kind", "memory", "1e9 updates/s", "spread", "share_of_bandwidth"]), "",
            f"Copy and ceiling: {json.dumps({k: speed[k] for k in ('copy', 'ceiling') if k in speed})}", ""]
    if timed := [row for row in found.get("step", {}).values() if "ms" in row]:
        parts += ["## Training step: ms", "", _table(timed), ""]
    if data:
        parts += ["## Data set", "", *(f"* {key}: {value}" for key, value in data.items() if "histogram" not in key)]
        parts += [""]
    if rows := rows_of(found):
        train = found["train"]
        told = (f"{len(rows)} of {len(train['order'])} stages of {train['steps']} steps, the first of a training "
                f"{train['numbers']['first_steps']}; batch {train['batch']}, {train['states']} states. E/N in 1e-4 J "
                "above the lowest state known, k-MSE as a share of the data's; eight states relaxed. Both "
                "seeds are trained on the data of seed 0.")
        parts += ["## Training", "", told, "", _stage_table(rows), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    pack()
    for packed in sorted(OUT.iterdir()):
        print(f"{packed.stat().st_size / 1e6:8.3f} MB  {packed}", flush=True)
