"""Damage files at random, one at a time, and see whether it is noticed before they are used.

Damages: cut short anywhere, one bit flipped, emptied, removed; of meta.json also another valid one in its place. Files:
every one in every artifact of a finished run's store, what was measured for the score card, a packed folder, and the
library of compiled passes. Noticed means: an artifact is named on standard error, moved aside and made anew; another
file is named in a ValueError, or made anew.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from evae_companion import claims, places
from evae_companion.store.artifact import META, NAME, read_meta
from evae_companion.store.store import Store

DAMAGES = ("cut", "flip", "empty", "missing", "another meta.json")


def put(path: Path, content: bytes) -> None:
    """Another file of this name: cutting one short that a process has mapped, as a loaded library, ends the process."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def damage(path: Path, how: str, rng: random.Random, others: list[Path]) -> str:
    """Damage a file; returns what was really done: a file of no bytes can only go missing, say."""
    content = path.read_bytes()
    if how == "another meta.json":
        if path.name == META and others:
            put(path, rng.choice(others).read_bytes())
            return how
        how = "flip"
    if not content:
        how = "missing"
    if how == "missing":
        path.unlink()
    elif how == "cut":
        put(path, content[:rng.randrange(len(content))])
    elif how == "empty":
        put(path, b"")
    else:
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        put(path, bytes(changed))
    return how


def artifacts(store: Store, spare: Path, count: int, rng: random.Random) -> dict:
    """Damages in the store; ``spare`` is an intact copy, from which artifacts are made anew. A row of the table."""
    names = sorted(path.name for path in store.root.iterdir() if NAME.fullmatch(path.name))
    row = dict.fromkeys(("tried", *DAMAGES, "unnoticed", "unnamed", "not moved aside", "not made anew"), 0)
    for _ in range(count):
        name = rng.choice(names)
        folder, original = store.root / name, spare / name
        spec = read_meta(original / META)["spec"]
        path = rng.choice(sorted(one for one in folder.rglob("*") if one.is_file()))
        how = damage(path, rng.choice(DAMAGES), rng, [spare / other / META for other in names if other != name])
        row["tried"] += 1
        row[how] += 1
        made, said = [], io.StringIO()

        def make(target, original=original, made=made):
            made.append(target)
            shutil.copytree(original, target, dirs_exist_ok=True)
            (target / META).unlink()

        unnoticed = store.find(spec) is not None
        with contextlib.redirect_stderr(said):
            store.get(spec, make)
        aside = list((store.root / "damaged").iterdir()) if (store.root / "damaged").is_dir() else []
        row["unnoticed"] += unnoticed or not made
        row["unnamed"] += not (name in said.getvalue() and path.name in said.getvalue())
        row["not moved aside"] += len(aside) != 1
        row["not made anew"] += not all((folder / file).read_bytes() == (original / file).read_bytes()
                                        for file in read_meta(original / META)["files"])
        shutil.rmtree(store.root / "damaged", ignore_errors=True)
    return row


def others(files: list[Path], read: Callable[[], object], count: int, rng: random.Random) -> dict:
    """Damages of ``files`` that ``read`` reads: it must raise a ValueError that names a file, or return what it did."""
    kept, right = {path: path.read_bytes() for path in files}, read()
    row = {"tried": 0, "refused and named": 0, "made anew": 0, "unnoticed": 0}
    for _ in range(count):
        path = rng.choice(files)
        damage(path, rng.choice(DAMAGES[:-1]), rng, [])
        row["tried"] += 1
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                row["made anew" if read() == right else "unnoticed"] += 1
        except ValueError as error:
            row["refused and named" if str(path.parent) in str(error) else "unnoticed"] += 1
        for one, content in kept.items():
            put(one, content)
    return row


def score_card(folder: Path, count: int, rng: random.Random) -> dict:
    """Damages of a preset's claims/*.json; one that is missing is a claim that was not measured, which the card says.
    """
    files = sorted((folder / "claims").glob("*.json"))
    all_of_them = len(claims.load(folder))

    def read():
        if len(found := claims.load(folder)) < all_of_them:
            raise ValueError(f"{folder / 'claims'}: claims are missing, which the score card names")
        return {name: repr(result) for name, result in found.items()}

    return others(files, read, count, rng)


def known(folder: Path, count: int, rng: random.Random) -> dict:
    """Damages of data/known/paper/certificate, the recorded search for the lowest state, as a copy in ``folder``."""
    from evae_companion import published
    from evae_companion.store.serialization import load_arrays, read_json
    places.known_folder = lambda preset, kind: folder

    def read():
        if (found := published.known_search("paper")) is None:
            raise ValueError(f"{folder}: there is no record of a search, which the notebook says")
        place, entry = found
        return [read_json(place / name) if name.endswith(".json") else load_arrays(place / name).tobytes()
                for name in entry["files"]]

    return others(sorted(folder.iterdir()), read, count, rng)


def networks(folder: Path, count: int, rng: random.Random) -> dict:
    """Damages of copies in ``folder`` of PEACE's trained networks; one that is missing is a RuntimeError that names it.
    """
    from evae_companion import peace

    def read():
        try:
            return [{name: value.tolist() for name, value in net.state_dict().items()}
                    for path in sorted(paths) for net in peace.load(path)]
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    paths = sorted(folder.glob("*.safetensors"))
    return others(paths, read, count, rng)


def packed(folder: Path, target: Path, count: int, rng: random.Random) -> dict:
    """Damages of a packed folder, which ``unpack`` must refuse without taking anything in."""
    from evae_companion import bundle

    def read():
        shutil.rmtree(target, ignore_errors=True)
        try:
            list(bundle.unpack(folder, Store(target)))
        finally:
            taken = sorted(Store(target).names())
        return taken

    return others(sorted(folder.iterdir()), read, count, rng)


def compiled(cache: Path, count: int, rng: random.Random) -> dict | None:
    """Damages of the compiled passes' library and its checksum in ``cache`` ($EVAE_CACHE); None without a compiler."""
    from evae_core import cpp_extension
    from evae_core.training.fused.extension import FUSED
    if FUSED.problem():
        return None

    def read():
        FUSED.load()  # makes it anew where it is damaged
        (path,) = cache.glob("*.so")
        return cpp_extension._whole(path)

    return others(sorted([*cache.glob("*.so"), *cache.glob("*.sha256")]), read, count, rng)
