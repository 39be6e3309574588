"""Artifacts behind a URL: whole or not there, checked before they are taken, first come, first kept."""

import io
import tarfile
import threading

import pytest

from evae_companion.store import archive
from evae_companion.store.artifact import META, identity
from evae_companion.store.object_store import Remote
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
    assert remote.push(SPEC, other) == 0 and archive.load(other.find(SPEC)) == archive.load(made.find(SPEC))
    with pytest.raises(RuntimeError, match="gone"):
        remote.push(SPEC | {"number": 2}, made)


def test_damaged_there_is_made_anew(made, remote, tmp_path, capsys):
    remote.push(SPEC, made)
    path = tmp_path / "shared folder" / "é" / f"{identity(SPEC)[1]}.tar"
    path.write_bytes(path.read_bytes()[:700])
    other = Store(tmp_path / "other")
    assert remote.pull(SPEC, other) == 0 and other.find(SPEC) is None and not path.exists()
    assert "is damaged" in capsys.readouterr().out
    assert remote.push(SPEC, made) and remote.pull(SPEC, other)


def test_a_half_precision_stage_says_so_on_the_other_side(remote, tmp_path):
    """All of meta.json travels: what became of the weights of a bundled stage is known wherever it goes."""
    first, other = Store(tmp_path / "first"), Store(tmp_path / "other")
    about = {"created": "2020-02-02T00:00:00Z", "packed": {"weights": "decoder", "precision": "float16"}}
    assert first.put(SPEC, make, about) and remote.push(SPEC, first) and remote.pull(SPEC, other)
    assert other.meta(SPEC) == first.meta(SPEC) and other.meta(SPEC)["packed"] == about["packed"]


@pytest.mark.parametrize("harm", ["another artifact", "two artifacts", "none"])
def test_an_archive_of_something_else_is_damage(made, remote, tmp_path, capsys, harm):
    """Under the right name lies an intact archive, but not of this artifact alone."""
    made.get(SPEC | {"number": 2}, make)
    artifacts = [archive.load(made.find(SPEC | {"number": number})) for number in (2, 1)]
    remote.push(SPEC, made)
    path = tmp_path / "shared folder" / "é" / f"{identity(SPEC)[1]}.tar"
    path.write_bytes(archive.write(artifacts[:("none", "another artifact", "two artifacts").index(harm)]))
    assert remote.pull(SPEC, Store(tmp_path / "other")) == 0 and not path.exists()
    assert "is damaged" in capsys.readouterr().out


def test_the_older_format_is_named_and_left_alone(made, remote, tmp_path):
    """Before 0.2 a tar held one artifact's files in no folder."""
    path = tmp_path / "shared folder" / "é" / f"{identity(SPEC)[1]}.tar"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as tar:
        for name in ("a.json", META):
            entry = tarfile.TarInfo(name)
            entry.size = len(content := (made.find(SPEC) / name).read_bytes())
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(ValueError, match="before version 0.2.*give another address, or empty this one"):
        remote.pull(SPEC, Store(tmp_path / "other"))
    assert path.exists()


def test_many_at_once(made, remote, tmp_path):
    """Pushed by eight at once while eight look: one archive, never half of one, nothing left beside it."""
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
