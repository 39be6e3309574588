"""Artefacts behind a URL: whole or not there, checked before they are taken, first come, first kept."""

import hashlib
import io
import tarfile
import threading

import pytest

from evae_companion.store.artifact import META, identity, meta_bytes
from evae_companion.store.object_store import Remote, opened, sealed
from evae_companion.store.serialization import read_json, write_json
from evae_companion.store.store import Store

SPEC = {"kind": "thing", "number": 1}


@pytest.fixture
def made(tmp_path):
    store = Store(tmp_path / "made")
    store.get(SPEC, make)
    return store


def make(folder):
    write_json(folder / "a.json", [1, 2])
    (folder / "deep").mkdir()
    (folder / "deep" / "b.bin").write_bytes(b"\0" * 1000)


@pytest.fixture
def remote(tmp_path):
    return Remote(f"file://{tmp_path}/shared folder/é")


def test_there_and_back(made, remote, tmp_path):
    other = Store(tmp_path / "other")
    assert remote.names() == set() and remote.pull(SPEC, other) == 0 and other.find(SPEC) is None
    sent = remote.push(SPEC, made)
    assert sent > 1000 and remote.push(SPEC, made) == 0 and remote.names() == {identity(SPEC)[1]}
    assert remote.pull(SPEC, other) == sent and remote.pull(SPEC, other) == 0
    assert read_json(other.find(SPEC) / "a.json") == [1, 2]
    assert (other.find(SPEC) / META).read_bytes() == (made.find(SPEC) / META).read_bytes(), "with its own record"
    assert sealed(other.find(SPEC)) == sealed(made.find(SPEC)), "the same bytes again"
    with pytest.raises(RuntimeError, match="gone"):
        remote.push(SPEC | {"number": 2}, made)


def test_every_damaged_byte_is_seen(made):
    """A flipped byte anywhere in what is kept, a cut end, another artefact's tar: never taken in."""
    tar = sealed(made.find(SPEC))
    told, files = opened(tar, SPEC)
    assert set(files) == {"a.json", "deep/b.bin"} and set(told) == {"versions", "created", "wall_seconds"}
    same = 0
    for place in range(0, len(tar), 37):
        harmed = bytearray(tar)
        harmed[place] ^= 0xFF
        try:
            assert opened(bytes(harmed), SPEC) == (told, files)
            same += 1  # padding, or a field of the header that nobody reads
        except ValueError:
            pass
    assert same < len(tar) / 37
    for end in (0, 1, 511, 512, 1500):
        with pytest.raises(ValueError):
            opened(tar[:end], SPEC)
    with pytest.raises(ValueError, match="not that of this artefact"):
        opened(tar, SPEC | {"number": 2})


def test_damaged_there_is_made_anew(made, remote, tmp_path, capsys):
    remote.push(SPEC, made)
    path = tmp_path / "shared folder" / "é" / f"{identity(SPEC)[1]}.tar"
    path.write_bytes(path.read_bytes()[:700])
    other = Store(tmp_path / "other")
    assert remote.pull(SPEC, other) == 0 and other.find(SPEC) is None and not path.exists()
    assert "is damaged" in capsys.readouterr().out
    assert remote.push(SPEC, made) and remote.pull(SPEC, other)


def test_names_that_lead_elsewhere(made, tmp_path):
    """A tar that somebody else wrote: nothing is written outside, whatever its names say."""
    evil, content = "../evil", b"x"
    meta = meta_bytes({"spec": SPEC, "versions": {}, "created": "", "wall_seconds": 1.0,
                       "files": {evil: {"size": 1, "sha256": hashlib.sha256(content).hexdigest()}}})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in ((evil, content), (META, meta)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    with pytest.raises(ValueError, match="plain file name"):
        opened(buffer.getvalue(), SPEC)


def test_many_at_once(made, remote, tmp_path):
    """Pushed by eight at once while eight look: one tar, never half of one, nothing left beside it."""
    errors, sent = [], []

    def push():
        try:
            sent.append(remote.push(SPEC, made))
        except Exception as error:
            errors.append(error)

    def pull(number):
        try:
            store = Store(tmp_path / f"p{number}")
            while not remote.pull(SPEC, store):
                pass
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=push) for _ in range(8)]
    threads += [threading.Thread(target=pull, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and len(sent) == 8
    assert [path.name for path in (tmp_path / "shared folder" / "é").iterdir()] == [f"{identity(SPEC)[1]}.tar"]


def test_addresses():
    with pytest.raises(ValueError, match="one that fsspec opens"):
        Remote("nonsense://x/y")
