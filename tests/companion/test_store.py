"""The store against damage, killed and simultaneous processes, full and read-only disks; the files against pickle."""

import errno
import json
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evae_companion import places
from evae_companion.store import artifact as artifact_module
from evae_companion.store import store as store_module
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.store.store import Store

SPEC = {"kind": "thing", "seed": 7, "beta": 1e-3, "device": "cpu", "shape": [4, 4]}


class Maker:
    """Writes two files and counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder: Path):
        self.calls += 1
        (folder / "weights").mkdir()
        save_arrays(folder / "weights" / "a.npy", np.arange(64.0))
        write_json(folder / "record.json", {"loss": 0.25})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def make():
    return Maker()


def contents(root: Path):
    """Names in the store's root, locks excepted."""
    return sorted(p.name for p in root.iterdir() if p.name != "locks")


# What an artifact is ------------------------------------------------------------------------------------------------

def test_made_once_then_found(store, make):
    assert store.find(SPEC) is None and store.size() == 0 and not store.root.exists()
    folder = store.get(SPEC, make)
    assert re.fullmatch(r"thing-[0-9a-f]{16}", folder.name) and folder.parent == store.root
    assert store.get(SPEC, make) == folder == store.find(SPEC) and make.calls == 1
    assert load_arrays(folder / "weights" / "a.npy")[3] == 3 and read_json(folder / "record.json") == {"loss": 0.25}
    assert contents(store.root) == [folder.name]


def test_meta_says_what_it_is(store, make):
    folder = store.get(SPEC, make)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["spec"] == SPEC and meta["seed"] == 7 and meta["device"] == "cpu"
    assert meta["versions"]["numpy"] == np.__version__ and {"python", "torch", "evae"} < set(meta["versions"])
    assert 0 <= meta["wall_seconds"] < 60 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", meta["created"])
    assert set(meta["files"]) == {"record.json", "weights/a.npy"}
    assert meta["files"]["weights/a.npy"]["size"] == (folder / "weights" / "a.npy").stat().st_size
    assert all(len(file["sha256"]) == 64 for file in meta["files"].values())


@given(st.permutations(list(SPEC)))
def test_key_order_does_not_matter(keys):
    name = artifact_module.identity(SPEC)[1]
    assert artifact_module.identity({key: SPEC[key] for key in keys})[1] == name


@pytest.mark.parametrize("a, b, same", [
    (1, 1.0, True), (0.0, -0.0, True), (0.1, 0.1 + 1e-18, True), (0.1, np.nextafter(0.1, 1), False),
    (1e-6, 1.0000001e-6, False),
    (True, 1, False), (None, 0, False), ("1", 1, False), ((1, 2), [1, 2], True), ([1, 2], [2, 1], False),
    (np.int64(3), 3, True), (np.float64(0.1), 0.1, True), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True),
])
def test_equal_specs_are_one_artifact(a, b, same):
    names = {artifact_module.identity({"kind": "k", "value": value})[1] for value in (a, b)}
    assert (len(names) == 1) is same


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_told_apart_to_the_last_bit(a, b):
    names = {artifact_module.identity({"kind": "k", "value": value})[1] for value in (a, b)}
    assert (len(names) == 1) is (a == b)


def test_the_name_is_stable():
    """A change here would orphan every artifact that readers have made."""
    assert artifact_module.identity({"kind": "thing", "x": [1, 2.5, None, "é"]})[1] == "thing-96e64cb155aeb4df"


@pytest.mark.parametrize("spec, error, word", [
    ({}, ValueError, "kind"), ({"kind": 3}, ValueError, "kind"), ({"kind": "../up"}, ValueError, "kind"),
    ({"kind": ""}, ValueError, "kind"), ({"kind": "A"}, ValueError, "kind"), ({"kind": "a" * 65}, ValueError, "64"),
    ([("kind", "k")], TypeError, "dict"), ("k", TypeError, "dict"),
    ({"kind": "k", "x": float("nan")}, ValueError, r"spec\['x'\] must be finite"),
    ({"kind": "k", "x": [0, float("inf")]}, ValueError, r"spec\['x'\]\[1\] must be finite"),
    ({"kind": "k", "x": {1: 2}}, TypeError, "str keys"), ({"kind": "k", "x": {2, 3}}, TypeError, "set"),
    ({"kind": "k", "x": np.zeros(2)}, TypeError, "tolist"), ({"kind": "k", "x": np.float32(0.1)}, TypeError, "float"),
    ({"kind": "k", "x": Path("a")}, TypeError, "Path"), ({"kind": "k", "x": b"a"}, TypeError, "bytes"),
    ({"kind": "k", "__float__": "inf"}, ValueError, "__float__"),
])
def test_bad_specs(store, make, spec, error, word):
    for call in (lambda: store.get(spec, make), lambda: store.find(spec)):
        with pytest.raises(error, match=word):
            call()
    assert make.calls == 0 and not store.root.exists()


def test_make_must_be_a_function(store):
    with pytest.raises(TypeError, match="make"):
        store.get(SPEC, None)


@pytest.mark.parametrize("folder", ["plain", "a space", "{braces} and [brackets]*", "größe-磁気-αβ", "~tilde", "q'\"t"])
def test_any_path(tmp_path, make, folder):
    store = Store(tmp_path / folder / "store")
    made = store.get(SPEC, make)
    (made / "record.json").write_text("damaged")
    assert store.get(SPEC, make) == made and make.calls == 2
    assert len(store.clean()) == 2 and contents(store.root) == ["damaged"]


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "chosen"))
    assert Store().root == places.store_root() == tmp_path / "chosen"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVAE_STORE", "relative")
    assert Store().root == tmp_path / "relative" and Store("other").root == tmp_path / "other"
    monkeypatch.setenv("EVAE_STORE", "")
    assert places.store_root() == Path(__file__).parents[2] / "data" / "store"
    monkeypatch.setattr(places, "PACKAGES", tmp_path / "site-packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert places.store_root() == tmp_path / "cache" / "evae" / "store"


# Damage -------------------------------------------------------------------------------------------------------------

def flip(path: Path, at: int = -1, bit: int = 0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def edit_meta(path: Path, **changes):
    """Change meta.json the way a program would: valid JSON, the rest and even its hash kept right."""
    body = json.loads(path.read_text())
    del body["sha256"]
    path.write_bytes(artifact_module.meta_bytes({**body, **changes}))


def checked_folders() -> set[str]:
    return {folder for folder, *_ in artifact_module._verified}


def remember(store: Store, folder: Path, monkeypatch):
    """Let this process check the hashes and trust the time stamps, at once instead of after two seconds."""
    monkeypatch.setattr(artifact_module, "_RECENT_NS", 20_000_000)
    time.sleep(0.05)
    assert store.find(SPEC) == folder and str(folder) in checked_folders()


DAMAGE = {
    "file missing": (lambda f: (f / "record.json").unlink(), "record.json is missing"),
    "folder missing": (lambda f: shutil.rmtree(f / "weights"), "weights/a.npy is missing"),
    "extra bytes": (lambda f: (f / "record.json").write_bytes(b"{}" * 99), "record.json has 198 bytes"),
    "cut short": (lambda f: os.truncate(f / "weights" / "a.npy", 100), "a.npy has 100 bytes"),
    "emptied": (lambda f: (f / "record.json").write_bytes(b""), "record.json has 0 bytes"),
    "flipped bit": (lambda f: flip(f / "weights" / "a.npy"), "a.npy has another SHA-256"),
    "file is a folder": (lambda f: ((f / "record.json").unlink(), (f / "record.json").mkdir()), "record.json"),
    "no meta.json": (lambda f: (f / "meta.json").unlink(), "meta.json is missing"),
    "meta.json not JSON": (lambda f: (f / "meta.json").write_text("{"), "meta.json is not readable"),
    "meta.json not UTF-8": (lambda f: (f / "meta.json").write_bytes(b"\xff\xfe"), "meta.json is not readable"),
    "meta.json a list": (lambda f: (f / "meta.json").write_text("[]"), "meta.json is not readable"),
    "meta.json too deep": (lambda f: (f / "meta.json").write_text("[" * 100_000), "meta.json is not readable"),
    "meta.json empty": (lambda f: (f / "meta.json").write_text("{}"), "meta.json is not readable"),
    "meta.json edited": (lambda f: (f / "meta.json").write_text((f / "meta.json").read_text().replace("7", "8")),
                         "meta.json is not readable"),
    "meta.json of another": (lambda f: edit_meta(f / "meta.json", spec={**SPEC, "seed": 8}), "another spec"),
    "meta.json without files": (lambda f: edit_meta(f / "meta.json", files=None), "meta.json is not readable"),
    "meta.json is a folder": (lambda f: ((f / "meta.json").unlink(), (f / "meta.json").mkdir()), "meta.json is"),
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("verified", [False, True])
def test_damage_is_said_moved_aside_and_mended(store, make, capfd, monkeypatch, what, verified):
    """Also within the process that has already checked the hashes, and at once after the making."""
    damage, words = DAMAGE[what]
    folder = store.get(SPEC, make)
    if verified:
        remember(store, folder, monkeypatch)
    damage(folder)
    assert store.find(SPEC) is None
    assert capfd.readouterr().err == ""
    assert store.get(SPEC, make) == folder and make.calls == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and str(folder) in line and words in line
    assert store.find(SPEC) == folder and contents(store.root) == ["damaged", folder.name]
    (aside,) = (store.root / "damaged").iterdir()
    assert re.fullmatch(re.escape(folder.name) + r"-\d{8}T\d{12}", aside.name) and str(aside) in line


def test_hashes_are_read_once_a_process(store, make, monkeypatch):
    folder = store.get(SPEC, make)
    remember(store, folder, monkeypatch)
    hashed = []
    monkeypatch.setattr(artifact_module, "sha256",
                        lambda path, real=artifact_module.sha256: hashed.append(path) or real(path))
    assert store.get(SPEC, make) == folder and hashed == []
    (folder / "record.json").touch()
    assert store.get(SPEC, make) == folder and len(hashed) == 2 and make.calls == 1


def test_a_flip_that_restores_the_time_is_seen(store, make, monkeypatch):
    folder = store.get(SPEC, make)
    remember(store, folder, monkeypatch)
    path = folder / "record.json"
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find(SPEC) is None


def test_fresh_stamps_are_not_trusted(store, make):
    """Two writes within a tick of the file system's clock look alike; a just made artifact is hashed again."""
    folder = store.get(SPEC, make)
    assert store.find(SPEC) == folder and str(folder) not in checked_folders()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("bytes"))
    return store, store.get(SPEC, Maker())


@given(name=st.sampled_from(["meta.json", "record.json", "weights/a.npy"]), where=st.floats(0, 1, exclude_max=True),
       change=st.integers(1, 255), how=st.sampled_from(["flip", "insert", "delete", "swap"]))
def test_any_changed_byte_is_seen(artifact, name, where, change, how):
    store, folder = artifact
    path = folder / name
    intact = path.read_bytes()
    at = int(where * len(intact))
    damaged = bytearray(intact)
    if how == "flip":
        damaged[at] ^= change
    elif how == "insert":
        damaged.insert(at, change)
    elif how == "delete":
        del damaged[at]
    else:
        damaged[at:] = intact[at:][::-1]
    path.write_bytes(damaged)
    try:
        assert (store.find(SPEC) == folder) is (bytes(damaged) == intact)
    finally:
        path.write_bytes(intact)
    assert store.find(SPEC) == folder


def test_a_file_in_place_of_the_folder(store, make, capfd):
    folder = store.get(SPEC, make)
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert store.get(SPEC, make) == folder and make.calls == 2
    assert "is damaged" in capfd.readouterr().err


def test_files_added_by_others_are_no_damage(store, make):
    folder = store.get(SPEC, make)
    (folder / ".DS_Store").write_text("a file manager was here")
    assert store.get(SPEC, make) == folder and make.calls == 1


# Makers that fail ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EACCES, "no", "/elsewhere"),
                                   OSError("without a number")])
def test_an_exception_goes_through_and_leaves_nothing(store, make, error):
    def failing(folder):
        make(folder)
        raise error

    with pytest.raises(type(error)) as caught:
        store.get(SPEC, failing)
    assert caught.value is error and any("thing-" in note and str(store.root) in note for note in error.__notes__)
    assert contents(store.root) == [] and store.find(SPEC) is None
    assert store.get(SPEC, make).is_dir() and make.calls == 2


def link(folder: Path):
    (folder / "a").write_text("a")
    (folder / "b").symlink_to(folder / "a")


@pytest.mark.parametrize("wrong, words", [
    (lambda folder: None, "wrote no file"), (lambda folder: (folder / "empty").mkdir(), "wrote no file"),
    (lambda folder: (folder / "meta.json").write_text("{}"), "meta.json"), (link, "b, which is not a plain file"),
    (lambda folder: os.mkfifo(folder / "pipe"), "pipe, which is not a plain file"),
])
def test_what_is_no_artifact(store, wrong, words):
    with pytest.raises(RuntimeError, match=words):
        store.get(SPEC, wrong)
    assert contents(store.root) == []


def test_makers_may_ask_for_other_artifacts_but_not_their_own(store, make):
    other = {**SPEC, "seed": 8}

    def nested(folder):
        (folder / "copy.json").write_bytes((store.get(other, make) / "record.json").read_bytes())

    assert store.get(SPEC, nested).is_dir() and make.calls == 1
    with pytest.raises(RuntimeError, match="itself"):
        store.get({"kind": "circle"}, lambda folder: store.get({"kind": "circle"}, make))
    assert store.get({"kind": "circle"}, make).is_dir()


# Several processes, killed processes --------------------------------------------------------------------------------

SPAWN = multiprocessing.get_context("spawn")


def make_slowly(folder: Path, log: Path, started=None, seconds: float = 0.0):
    """Leave a mark in ``log`` for each call, write half a file, say so, wait, write the rest."""
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    (folder / "half").write_text("half")
    if started is not None:
        started.set()
    time.sleep(seconds)
    (folder / "half").write_text("whole")


def get_slowly(root, log, barrier, results):
    barrier.wait(60)
    results.put(Store(root).get(SPEC, lambda folder: make_slowly(folder, log, seconds=1.0)))


def get_for_ever(root, log, started):
    Store(root).get(SPEC, lambda folder: make_slowly(folder, log, started, seconds=600))


def test_two_processes_make_once(tmp_path, capfd):
    log, barrier, results = tmp_path / "log", SPAWN.Barrier(2), SPAWN.Queue()
    workers = [SPAWN.Process(target=get_slowly, args=(tmp_path / "store", log, barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    folders = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert folders[0] == folders[1] and (folders[0] / "half").read_text() == "whole"
    assert len(log.read_text().split()) == 1
    assert capfd.readouterr().err.count("another process is making") == 1
    assert contents(tmp_path / "store") == [folders[0].name]


def test_killed_in_the_middle_while_another_waits(store, tmp_path, capfd):
    log, started = tmp_path / "log", SPAWN.Event()
    worker = SPAWN.Process(target=get_for_ever, args=(store.root, log, started))
    worker.start()
    assert started.wait(120)
    (partial,) = contents(store.root)
    assert ".partial-" in partial and store.find(SPEC) is None and store.size() > 0
    assert store.clean() == {} and "stays" in capfd.readouterr().err  # what is being made is not cleaned away
    found = []
    waiter = threading.Thread(target=lambda: found.append(store.get(SPEC, lambda f: make_slowly(f, log))))
    waiter.start()
    time.sleep(0.3)
    assert waiter.is_alive() and not found
    os.kill(worker.pid, signal.SIGKILL)
    waiter.join(60)
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert len(log.read_text().split()) == 2 and (found[0] / "half").read_text() == "whole"
    assert contents(store.root) == [found[0].name]


def test_threads_make_once(store, tmp_path):
    log, folders = tmp_path / "log", []

    def get():
        folders.append(store.get(SPEC, lambda folder: make_slowly(folder, log, seconds=0.2)))

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(folders)) == 1 and len(folders) == 4 and len(log.read_text().split()) == 1


def test_what_a_killed_run_left_goes_with_the_next_get(store, make):
    name = artifact_module.identity(SPEC)[1]
    ours, other = store.root / f"{name}.partial-1-ab", store.root / "thing-0123456789abcdef.partial-1-ab"
    for folder in (ours, other):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    store.get(SPEC, make)
    assert not ours.exists() and other.exists()  # another artifact's maker may be alive
    assert set(store.clean()) == {name, other.name}


# Disks that refuse --------------------------------------------------------------------------------------------------

def message_of(call) -> str:
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return "nothing was raised"


def as_nobody(root, results):
    """Without the superuser's rights, in a store that only others may write."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    store = Store(root)
    results.put((store.get(SPEC, Maker()).name, message_of(lambda: store.get({**SPEC, "seed": 8}, Maker())),
                 message_of(store.clean)))


def test_read_only_store_is_read_and_explained():
    # Not below tmp_path, which only its owner may enter.
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        store = Store(Path(parent) / "store")
        folder = store.get(SPEC, Maker())
        folders = [store.root, *(p for p in store.root.rglob("*") if p.is_dir())]
        for path in folders:
            path.chmod(0o555)
        results = SPAWN.Queue()
        worker = SPAWN.Process(target=as_nobody, args=(store.root, results))
        worker.start()
        name, refused, not_cleaned = results.get(timeout=120)
        worker.join(60)
        for path in folders:
            path.chmod(0o755)
    assert name == folder.name
    for message in (refused, not_cleaned):
        assert str(store.root) in message and "may not write" in message and "set EVAE_STORE" in message


def write_too_much(root, results):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    store = Store(root)
    large = np.zeros(100_000)
    results.put([message_of(lambda m=maker: store.get(SPEC, m)) for maker in (
        lambda folder: save_arrays(folder / "a.npy", large),
        lambda folder: save_arrays(folder / "a.npz", {"a": large}),
        lambda folder: write_json(folder / "a.json", large.tolist()))] + contents(store.root))


def test_full_disk_is_explained_and_nothing_is_left(tmp_path):
    results = SPAWN.Queue()
    worker = SPAWN.Process(target=write_too_much, args=(tmp_path / "store", results))
    worker.start()
    messages = results.get(timeout=120)
    worker.join(60)
    assert len(messages) == 3
    for message in messages:
        assert str(tmp_path / "store") in message and "size limit" in message and "set EVAE_STORE" in message


@pytest.mark.parametrize("number, words", [(errno.EROFS, "read-only"), (errno.ENOSPC, "full"), (errno.EDQUOT, "quota")])
def test_other_refusals(store, monkeypatch, number, words):
    def refuse(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RuntimeError, match=words) as caught:
        store.get(SPEC, Maker())
    assert "EVAE_STORE" in str(caught.value) and str(store.root) in str(caught.value)


def test_root_that_is_a_file(tmp_path, make):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RuntimeError, match="not a folder.*EVAE_STORE"):
            Store(root).get(SPEC, make)


# Cleaning -----------------------------------------------------------------------------------------------------------

def test_clean_removes_what_the_store_made_and_nothing_else(store, make):
    a, b = store.get(SPEC, make), store.get({"kind": "other-kind"}, make)
    flip(a / "record.json")
    store.get(SPEC, make)
    keep = [store.root / "notes.txt", store.root / "my-folder" / "x", store.root / "damaged" / "mine"]
    for path in keep:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    ours = [p for p in store.root.rglob("*") if p.is_file() and p not in keep and "locks" not in p.parts]
    expected = sum(p.stat().st_size for p in ours)
    assert store.size() == expected
    removed = store.clean()
    assert {a.name, b.name} < set(removed) and len(removed) == 3 and sum(removed.values()) == expected
    assert all(path.read_text() == "mine" for path in keep)
    assert store.size() == 0 and store.find(SPEC) is None and store.clean() == {}
    assert store.get(SPEC, make) == a and make.calls == 4


def test_clean_does_not_follow_links(store, make, tmp_path):
    folder = store.get(SPEC, make)
    elsewhere = tmp_path / "larger disk"
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    assert store.get(SPEC, make) == folder and make.calls == 1
    assert set(store.clean()) == {folder.name} and (elsewhere / "record.json").exists()


# Files --------------------------------------------------------------------------------------------------------------

KEYS = st.text().filter(lambda key: key != "__float__")
PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                     lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@given(value=PLAIN)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert repr(read_json(path)) == repr(value)
    json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # plain JSON for everyone else


def test_json_takes_numpy_numbers(tmp_path):
    write_json(tmp_path / "a.json",
               {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": (1, np.float64("inf"))})
    assert read_json(tmp_path / "a.json") == {"a": 0.5, "b": 3, "c": True, "d": [1, float("inf")]}


@pytest.mark.parametrize("value, error, word", [
    ({"a": np.zeros(3)}, TypeError, "ndarray"), ({"a": [1, object()]}, TypeError, r"value\['a'\]\[1\]"),
    ({1: 2}, TypeError, "str keys"), ({"__float__": 1}, ValueError, "__float__"), (b"a", TypeError, "bytes"),
])
def test_json_refuses_and_keeps_the_old_file(tmp_path, value, error, word):
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(error, match=word):
        write_json(path, value)
    assert read_json(path) == 1 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text, word", [
    ("NaN", "NaN"), ("[1, -Infinity]", "Infinity"), ("{", "JSON"), ("", "JSON"), ('{"a": 1, "a": 2}', "repeated"),
    ('{"__float__": "1"}', "__float__"), ('{"__float__": null}', "__float__"), ("[" * 100_000, "JSON"),
])
def test_json_that_is_none(tmp_path, text, word):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=word) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_json_size_limit(tmp_path):
    write_json(tmp_path / "a.json", "x" * 1000)
    with pytest.raises(ValueError, match="max_bytes"):
        read_json(tmp_path / "a.json", max_bytes=1000)
    assert len(read_json(tmp_path / "a.json", max_bytes=1003)) == 1000
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent.json")


@pytest.mark.parametrize("array", [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((3, 4), np.float32)), np.array(3), np.zeros((0, 3)),
    np.array(["a", "bc"]), np.ones((40, 50), bool)[::2, ::3],
])
def test_arrays_round_trip_to_the_same_bytes(tmp_path, array):
    for name, value in (("a.npy", array), ("a.npz", {"second": array, "first": np.arange(3)})):
        for copy in ("x", "y"):
            (tmp_path / copy).mkdir(exist_ok=True)
            save_arrays(tmp_path / copy / name, value)
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
        loaded = load_arrays(tmp_path / "x" / name)
        for a, b in ((loaded, value),) if name == "a.npy" else [(loaded[key], value[key]) for key in value]:
            assert a.dtype == b.dtype and np.array_equal(a, b)
        assert name == "a.npy" or list(loaded) == list(value)


def test_mapped_arrays_stay_on_disk(tmp_path):
    save_arrays(tmp_path / "a.npy", np.arange(10))
    mapped = load_arrays(tmp_path / "a.npy", mmap=True)
    assert isinstance(mapped, np.memmap) and mapped[3] == 3
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1
    save_arrays(tmp_path / "a.npz", {"a": np.arange(10)})
    with pytest.raises(ValueError, match="mmap"):
        load_arrays(tmp_path / "a.npz", mmap=True)


class Bomb:
    def __reduce__(self):
        return sys.exit, ("a pickle was run",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("how", ["object array", "pickle"])
def test_loading_never_runs_code(tmp_path, name, how):
    path = tmp_path / name
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif name == "a.npy":
        np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        np.savez(path, a=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=name):
        load_arrays(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_arrays(tmp_path, name):
    save_arrays(tmp_path / name, np.arange(1000.0) if name == "a.npy" else {"a": np.arange(1000.0)})
    whole = (tmp_path / name).read_bytes()
    for damaged in (b"", whole[:50], whole[:-100], b"x" * 100):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            load_arrays(tmp_path / name)
    other = {"a.npy": "a.npz", "a.npz": "a.npy"}[name]
    (tmp_path / other).write_bytes(whole)
    with pytest.raises(ValueError, match=other):
        load_arrays(tmp_path / other)


@pytest.mark.parametrize("name, arrays, error, word", [
    ("a.npz", np.zeros(3), ValueError, "npy"), ("a.npy", {"a": np.zeros(3)}, ValueError, "npz"),
    ("a", np.zeros(3), ValueError, "npy"), ("a.npy", [1, 2], TypeError, "list"),
    ("a.npy", np.array([None]), TypeError, "pickle"), ("a.npz", {"a": np.array([{}])}, TypeError, "pickle"),
    ("a.npz", {"a": [1]}, TypeError, "a must be a numpy array"), ("a.npz", {"file": np.zeros(3)}, ValueError, "file"),
    ("a.npz", {"../b": np.zeros(3)}, ValueError, "identifier"), ("a.npz", {3: np.zeros(3)}, ValueError, "identifier"),
])
def test_arrays_that_cannot_be_saved(tmp_path, name, arrays, error, word):
    with pytest.raises(error, match=word):
        save_arrays(tmp_path / name, arrays)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_another_suffix(tmp_path):
    with pytest.raises(ValueError, match="npy or .npz"):
        load_arrays(tmp_path / "a.txt")


# Exchange -----------------------------------------------------------------------------------------------------------

def _halve(old: Path, new: Path) -> None:
    new.write_bytes(old.read_bytes()[:100])


def test_a_file_is_exchanged_for_a_smaller_one(tmp_path):
    store = Store(tmp_path)
    folder = store.get(SPEC, lambda folder: (folder / "big.bin").write_bytes(bytes(1000)))
    made = store.meta(SPEC)
    assert store.exchange(SPEC, "big.bin", "small.bin", _halve) == 900
    assert store.find(SPEC) == folder and {path.name for path in folder.iterdir()} == {"meta.json", "small.bin"}
    assert {key: value for key, value in store.meta(SPEC).items() if key != "files"} == {
        key: value for key, value in made.items() if key != "files"}
    assert store.exchange(SPEC, "big.bin", "small.bin", _halve) == 0
    assert store.exchange(SPEC | {"seed": 8}, "big.bin", "small.bin", _halve) == 0


@pytest.mark.parametrize("dies", ["make", "replace", "atomic_write", "unlink"])
def test_an_exchange_that_is_killed_leaves_the_artifact_whole(tmp_path, monkeypatch, dies):
    """At every step of it; the same call then completes."""
    store = Store(tmp_path)
    folder = store.get(SPEC, lambda folder: (folder / "big.bin").write_bytes(bytes(1000)))

    def killed(*_args: object, **_kw: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if dies == "atomic_write":
            patch.setattr(store_module, "atomic_write", killed)
        elif dies != "make":
            patch.setattr(Path, dies, killed)
        store.exchange(SPEC, "big.bin", "small.bin", killed if dies == "make" else _halve)
    assert store.find(SPEC) == folder
    store.exchange(SPEC, "big.bin", "small.bin", _halve)
    assert store.find(SPEC) == folder and {path.name for path in folder.iterdir()} == {"meta.json", "small.bin"}


# Tables -------------------------------------------------------------------------------------------------------------

def test_tables_come_back_to_the_last_bit(tmp_path):
    numbers = np.array([0.1, 1 / 3, -1e-300, np.nan, np.inf])
    save_table(tmp_path / "t.csv", {"a, b": numbers, "k": range(5), "name": ["x", 'the "y"', "z, z", "é", "1"]})
    found = load_table(tmp_path / "t.csv")
    assert list(found) == ["a, b", "k", "name"] and found["a, b"].tobytes() == numbers.tobytes()
    assert found["k"].tolist() == [0, 1, 2, 3, 4] and found["name"].tolist() == ["x", 'the "y"', "z, z", "é", "1"]
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == ['"a, b",k,name', "0.1,0,x"]
    save_table(tmp_path / "none.csv", {"a": [], "b": []})
    assert {name: len(values) for name, values in load_table(tmp_path / "none.csv").items()} == {"a": 0, "b": 0}


def test_what_is_no_table(tmp_path):
    with pytest.raises(ValueError, match="equally long.*'b': 1"):
        save_table(tmp_path / "t.csv", {"a": [1, 2], "b": [1]})
    for content in (b"", b"a,b\n1\n", b"a,b\n1,2\n3\n", b"\xff\xfe", b'a\n"1'):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(ValueError, match="t.csv is not a table"):
            load_table(tmp_path / "t.csv")
