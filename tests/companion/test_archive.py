"""Archives of artifacts: any tar program reads them, and every byte is verified before anything is imported."""

import hashlib
import io
import json
import subprocess
import tarfile

import pytest

from evae_companion.store import archive
from evae_companion.store.artifact import META, identity, meta_bytes
from evae_companion.store.store import Store

SPECS = [{"kind": "thing", "number": number} for number in (1, 2)]
NAME = identity(SPECS[0])[1]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("archive"))

    def make(folder):
        (folder / "a.json").write_text("[1, 2]\n")
        (folder / "deep").mkdir()
        (folder / "deep" / "b.bin").write_bytes(bytes(range(256)) * 3)
        (folder / "empty.txt").write_bytes(b"")

    return [archive.load(store.get(spec, make)) for spec in SPECS]


def with_sums(contents: dict[str, bytes], **changes) -> bytes:
    """Return a meta.json that is right for the files {name: content}, with changed entries."""
    told = {file: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for file, content in contents.items()}
    return meta_bytes({"spec": SPECS[0], "versions": {}, "created": "", "wall_seconds": 1.0, "files": told} | changes)


def tar(*members: tuple[str, bytes]) -> bytes:
    """Return members with valid headers, as :func:`archive.write` writes them, whatever they are."""
    blocks = [archive._header(NAME, file, len(content)) + content + bytes(-len(content) % 512)
              for file, content in members]
    return b"".join(blocks) + bytes(1024)


def changed(content: bytes, place: int, field: bytes) -> bytes:
    """Return an archive with another field in its first header, whose checksum is right."""
    harmed = bytearray(content)
    harmed[place:place + len(field)] = field
    harmed[148:156] = b"%06o\0 " % (sum(harmed[:148]) + sum(harmed[156:512]) + 8 * 32)
    return bytes(harmed)


def test_written_and_read(artifacts, tmp_path):
    content = archive.write(artifacts)
    read = archive.read(content)
    assert list(read.values()) == artifacts and list(read) == [identity(spec)[1] for spec in SPECS]
    assert archive.write(read.values()) == content
    store = Store(tmp_path)
    for artifact, spec in zip(artifacts, SPECS, strict=True):
        assert archive.import_into(store, artifact) and not archive.import_into(store, artifact)
        assert archive.load(store.find(spec)) == artifact, "all of meta.json as well"


def test_other_programs_read_it(artifacts, tmp_path):
    content = archive.write(artifacts)
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        names = [f"{identity(spec)[1]}/{name}" for spec in SPECS
                 for name in ("a.json", "deep/b.bin", "empty.txt", META)]
        assert file.getnames() == names
        assert file.extractfile(f"{NAME}/deep/b.bin").read() == bytes(range(256)) * 3
    (tmp_path / "a.tar").write_bytes(content)
    listed = subprocess.run(["tar", "-tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == names and not listed.stderr


def test_every_byte_is_verified(artifacts):
    """Each byte in turn is changed: headers, names, files, meta.json, padding, end."""
    content = archive.write(artifacts[:1])
    for place in range(len(content)):
        for bit in (1, 128):
            harmed = bytearray(content)
            harmed[place] ^= bit
            with pytest.raises(ValueError):
                archive.read(bytes(harmed))


def test_every_length_is_verified(artifacts):
    content = archive.write(artifacts)
    for end in range(len(content)):
        if end % 512 in (0, 1, 511):
            with pytest.raises(ValueError):
                archive.read(content[:end])
    for more in (b"\0", bytes(512), content):
        with pytest.raises(ValueError):
            archive.read(content + more)


def test_members_are_those_that_meta_lists():
    """Right sums everywhere, but a member missing, extra, repeated, in another order or of another kind."""
    a, b = ("a.txt", b"1"), ("b.txt", b"2")
    right = tar(a, b, (META, with_sums(dict([a, b]))))
    assert archive.read(right)[NAME][1] == dict([a, b])
    meta = (META, with_sums(dict([a, b])))
    link = changed(right, 156, b"2/etc/x")  # a symbolic link, and where it leads
    for content, message in (
            (tar(a, meta), "not those that it lists"), (tar(b, a, meta), "not those that it lists"),
            (tar(a, b, ("c.txt", b""), meta), "not those that it lists"), (tar(a, a, b, meta), "twice"),
            (tar(a, b, meta, a), "twice"), (tar(a, b, meta, meta), "twice"), (tar(meta), "not those that it lists"),
            (tar(a, b), "cut short"), (tar(), "cut short"), (b"", "cut short"),
            (tar(a, ("b.txt", b"3"), meta), r"b\.txt has another SHA-256"),
            (tar(a, ("b.txt", b"22"), meta), r"b\.txt has another SHA-256"),
            (tar((META, with_sums({}))), "not those that it lists"),
            (tar(a, (META, with_sums({"a.txt": b"1", META: b"x"}))), "not those that it lists"),
            (link, "no header")):
        with pytest.raises(ValueError, match=message):
            archive.read(content)
    other = archive._header("thing-0123456789abcdef", *("a.txt", 1)) + b"1" + bytes(511)
    with pytest.raises(ValueError, match="not those that it lists"):
        archive.read(other + tar(b, meta))


@pytest.mark.parametrize("size", [b"-0000000512", b"00000001_00", b"77777777777", b"0000000000 ", b"0000000009a"])
def test_sizes_that_lead_elsewhere(size):
    content = tar(("a.txt", b"1"), (META, with_sums({"a.txt": b"1"})))
    with pytest.raises(ValueError, match="no header|cut short"):
        archive.read(changed(content, 124, size))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "", ".", "..", ".hidden", "a//b", "a\nb",
                                  "a\\b", "C:evil", "é.txt", "a" * 101])
def test_names_that_lead_elsewhere(name, artifacts):
    body, _ = artifacts[0]
    with pytest.raises(ValueError, match="plain file name"):
        archive.write([(body, {name: b"x"})])
    content = tar(("x", b"x"), (META, with_sums({name: b"x"})))
    with pytest.raises(ValueError, match="plain file name|no header|not those that it lists"):
        archive.read(changed(content, 0, name.encode()[:100].ljust(100, b"\0")))


def test_foreign_records():
    """A meta.json with a right checksum that says something else."""
    files = {"a.txt": b"1"}
    deep = json.loads("[" * 450 + "]" * 450)
    for changes in ({"spec": {"kind": "thing", "number": 3}}, {"spec": {"kind": "../up"}}, {"spec": []}, {"files": []},
                    {"files": {"a.txt": 3}}, {"files": {"a.txt": {}}}, {"files": {"a.txt": None}}, {"versions": 1},
                    {"created": None}, {"wall_seconds": "1"}, {"more": "x" * archive.MAX_META_BYTES},
                    {"spec": {"kind": "thing", "deep": deep}}):
        with pytest.raises(ValueError, match=f"{NAME}[/ ]"):
            archive.read(tar(("a.txt", b"1"), (META, with_sums(files, **changes))))
    for raw in (b"", b"{}", b"[]", b"\xff", with_sums(files)[:-1], with_sums(files).replace(b"1.0", b"2.0")):
        with pytest.raises(ValueError, match=f"{NAME}/{META} is damaged"):
            archive.read(tar(("a.txt", b"1"), (META, raw)))
