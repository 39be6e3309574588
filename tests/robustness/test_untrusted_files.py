"""Files that somebody else made: parsed without running code, refused before they take memory or leave their folder."""

import io
import json
import os
import pickle
import re
import shlex
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from test_store import Bomb

from evae_companion import bundle, peace, places, published
from evae_companion.store.artifact import manifest, meta_bytes, read_meta
from evae_companion.store.serialization import (
    MAX_BYTES,
    load_arrays,
    load_table,
    read_checksummed,
    read_json,
    save_arrays,
    write_checksummed,
)
from evae_companion.store.store import Store
from evae_core import VAE
from evae_core.training import checkpoint

ROOT = Path(__file__).parents[2]


HUGE = b'{"x":{"dtype":"F64","shape":[99999999999],"data_offsets":[0,8]}}'


def header(shape: str, dtype: str = "<f8", version=(1, 0)) -> bytes:
    """A .npy with this header and no data."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text


@pytest.mark.parametrize("shape, dtype", [
    ("(1000000000000,)", "<f8"), ("(1000000, 1000000)", "<f4"), ("(-1,)", "<f8"), ("(99999999999999999999999,)", "<f8"),
    ("(3,)", "|O"), ("(2, 'x')", "<f8"), ("(0.5,)", "<f8"), ("__import__('os')", "<f8"), ("(" * 500, "<f8"),
    ("(1,)", "|V999999999999")])
@pytest.mark.parametrize("mmap", [False, True])
def test_a_header_that_claims_what_is_not_there(tmp_path, shape, dtype, mmap):
    before = psutil.Process().memory_info().rss
    for version in ((1, 0), (2, 0), (3, 0), (9, 9)):
        (tmp_path / "a.npy").write_bytes(header(shape, dtype, version))
        with pytest.raises(ValueError, match="a.npy"):
            load_arrays(tmp_path / "a.npy", mmap=mmap)
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("a.npy", header(shape, dtype, version))
        with pytest.raises(ValueError, match="a.npz"):
            load_arrays(tmp_path / "a.npz")
    assert psutil.Process().memory_info().rss - before < 50e6


def test_a_zip_bomb(tmp_path):
    """160 MB of zeros in less than 1 MB; and members that lie upon each other."""
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(10**7))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for k in range(2):
            archive.writestr(f"a{k}.npy", zeros.getvalue())
    assert (tmp_path / "a.npz").stat().st_size < 1e6
    before = time.process_time()
    with pytest.raises(ValueError, match="compressed"):
        load_arrays(tmp_path / "a.npz")
    assert time.process_time() - before < 1
    np.savez(tmp_path / "b.npz", a=np.zeros(10))
    content = bytearray((tmp_path / "b.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20:at + 28] = struct.pack("<II", 2**31, 2**31)  # the sizes that the directory tells
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.npz"):
        load_arrays(tmp_path / "b.npz")


def test_what_this_module_wrote_is_read(tmp_path):
    arrays = {"a": np.arange(5.0), "b": np.zeros((0, 3), np.float16), "c": np.array(["x", "yz"])}
    save_arrays(tmp_path / "a.npz", arrays)
    assert all(np.array_equal(found, arrays[name]) for name, found in load_arrays(tmp_path / "a.npz").items())


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), struct.pack("<Q", 2**60) + b"{}", b"", b"\xff" * 100,
                                     struct.pack("<Q", 2) + b"{}",
                                     struct.pack("<Q", len(HUGE)) + HUGE])
def test_weights_that_are_none(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        checkpoint.load(VAE(16), path)


def test_weights_of_another_network_and_weights_with_nan(tmp_path):
    path, model = tmp_path / "weights.safetensors", VAE(16)
    safetensors.torch.save_file(VAE(32).state_dict(), path)
    with pytest.raises(ValueError, match="another network"):
        checkpoint.load(model, path)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    next(iter(state.values())).view(-1)[3] = float("nan")
    safetensors.torch.save_file(state, path)
    with pytest.raises(ValueError, match="not finite"):
        checkpoint.load(model, path)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def damaged_networks(path: Path):
    """PEACE's networks, one bit of whose tensors, header or length is another."""
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for at in (3, 20, start - 5, start, start + 12345, len(content) - 1):
        yield content[:at] + bytes([content[at] ^ 4]) + content[at + 1:]
    yield from (content[:1000], b"", pickle.dumps(Bomb()))


def test_networks_of_peace_that_are_damaged(tmp_path):
    """One bit of a weight would only make a size wrong: noticed by the SHA-256 in the header."""
    path = tmp_path / "net.safetensors"
    for content in damaged_networks(peace.estimator.FOLDER / "peace.safetensors"):
        path.write_bytes(content)
        with pytest.raises((ValueError, RuntimeError), match=re.escape(str(path))):
            peace.load(path)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG that claims this size, with further chunks and no pixels."""
    found = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *chunks,
                       (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        found += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return found


@pytest.mark.filterwarnings("ignore")  # of Pillow, before the refusal
@pytest.mark.parametrize("content", [
    png(10**5, 10**5), png(10**4, 10**4), png(2**31 - 1, 2**31 - 1), png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(
        b"x" * 2**27))), png(500, 500), b"", b"II*\0" + b"\xff" * 100, b"MM\0*" + b"\0" * 8, pickle.dumps(Bomb())])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_that_are_none_or_claim_too_much(tmp_path, content, suffix):
    (tmp_path / f"a{suffix}").write_bytes(content)
    before, start = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(ValueError, match=f"a{suffix}"):
        list(peace.read_images(tmp_path))
    assert psutil.Process().memory_info().rss - before < 100e6 and time.process_time() - start < 1


def test_sizes_are_limited(tmp_path):
    for name, read in (("a.json", read_json), ("a.csv", load_table)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_BYTES + 1)  # takes no room on the disk
        with pytest.raises(ValueError, match="max_bytes"):
            read(tmp_path / name)
    with (tmp_path / "meta.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert read_meta(tmp_path / "meta.json") is None


def test_sealed_records(tmp_path):
    path = tmp_path / "a.json"
    write_checksummed(path, value := [{"x": 0.1, "n": [1, None]}, float("inf"), "é"])
    assert read_checksummed(path) == value
    path.write_text(path.read_text().replace("0.1", "0.2"))
    for text in (path.read_text(), "[]", "{}", '{"sha256": 1, "value": 2}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="damaged"):
            read_checksummed(path)


@pytest.mark.parametrize("change", [
    {"files": {"../outside": {"size": 8, "sha256": ""}}}, {"files": {"/etc/passwd": {"size": 8, "sha256": ""}}},
    {"files": {"part-000": 3}}, {"files": {"part-000": {}}}, {"files": {}}, {}, {"spec": {"kind": "pack"}},
    {"spec": {"kind": "pack", "preset": "smoke"}, "entries": {}}])
def test_a_bundle_with_right_check_sums_and_wrong_contents(tmp_path, change):
    (tmp_path / "outside").write_bytes(b"12345678")
    (folder := tmp_path / "pack").mkdir()
    (folder / "part-000").write_bytes(b"12345678")
    body = {"spec": {"kind": "pack", "format": bundle.FORMAT}, "files": manifest({"part-000": folder / "part-000"})}
    (folder / bundle.INDEX).write_bytes(meta_bytes(body | change))
    with pytest.raises(ValueError, match="pack"):
        list(bundle.unpack(folder, Store(tmp_path / "store")))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("body", [{"entries": None}, {}, {"entries": {"NAME": {}}},
                                  {"entries": {"NAME": {"files": {"../weights.safetensors": {}}}}}])
def test_a_record_with_a_right_check_sum_and_wrong_contents(tmp_path, monkeypatch, body):
    from evae_companion.store.artifact import identity
    monkeypatch.setenv(places.RECORDED, str(tmp_path))
    (tmp_path / "smoke").mkdir()
    text = json.dumps(body).replace("NAME", identity({"kind": "thing"})[1])
    (tmp_path / "smoke" / "record.json").write_bytes(
        meta_bytes({"spec": {"kind": "record"}, "files": {}} | json.loads(text)))
    with pytest.raises(ValueError, match=r"record\.json"):
        published.find("smoke", {"kind": "thing"})


# JupyterLab ---------------------------------------------------------------------------------------------------------

def test_jupyterlab_is_for_this_machine_and_asks_for_a_token(tmp_path):
    """What make lab starts: bound to the loopback address alone, and closed to whoever has no token."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "").replace("$(CURDIR)", str(tmp_path))
    makefile = makefile.replace("$(if $(filter 0,$(shell id -u)),--allow-root)", "--allow-root")
    (command,) = re.findall(r"^lab:.*\n\t\$\(PY\) (.+)$", makefile, re.MULTILINE)
    (tmp_path / "notebooks").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    runtime = tmp_path / "runtime"
    process = subprocess.Popen([sys.executable, *shlex.split(command), "--no-browser", "--port=0"],
                               cwd=tmp_path, env={**environment, "JUPYTER_RUNTIME_DIR": str(runtime),
                                                  "JUPYTER_CONFIG_DIR": str(tmp_path / "config")},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 180
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        server = json.loads(found[0].read_text())
        assert len(server["token"]) >= 40
        listening = [one for one in psutil.Process(process.pid).net_connections("inet")
                     if one.status == psutil.CONN_LISTEN]
        assert listening and {one.laddr.ip for one in listening} == {"127.0.0.1"}
        url = f"http://127.0.0.1:{server['port']}/api/contents"
        open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with pytest.raises(urllib.error.HTTPError, match="403"):
            open_(url, timeout=60)
        assert open_(f"{url}?token={server['token']}", timeout=60).status == 200
    finally:
        process.terminate()
        process.wait()
