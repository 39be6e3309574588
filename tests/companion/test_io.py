"""OVF 2.0 and numpy files: there and back, what other programs read and write, and files that must be refused."""

import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from evae_companion.io import load_state, read_ovf, save_state, write_ovf
from evae_companion.io.ovf import REPRESENTATIONS


def state(ny=3, nx=5, dtype=torch.float32, seed=0):
    spins = torch.randn(3, ny, nx, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return F.normalize(spins, dim=0)


# There and back -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(ny=st.integers(1, 6), nx=st.integers(1, 6), seed=st.integers(0, 1000))
def test_there_and_back_bit_for_bit(tmp_path_factory, representation, dtype, ny, nx, seed):
    path = tmp_path_factory.mktemp("ovf") / "m.ovf"
    spins = state(ny, nx, dtype, seed)
    write_ovf(path, spins, representation, step=(2e-9, 3e-9, 4e-10), title="t", desc=("one", "two"))
    found = read_ovf(path)
    kept = spins.float() if representation == "binary 4" else spins
    kept = kept.permute(1, 2, 0).numpy()
    assert np.array_equal(found.values[0].astype(kept.dtype), kept)
    assert found.step == (2e-9, 3e-9, 4e-10) and found.values.shape == (1, ny, nx, 3)
    assert found.header["title"] == "t" and found.header["desc"] == "one\ntwo"
    assert torch.equal(found.spins(), spins.float())
    assert found.spins().dtype == torch.float32


def test_x_runs_fastest_then_y(tmp_path):
    """The one convention that a symmetric test would not see: the second number is the right neighbour."""
    spins = torch.zeros(3, 2, 2)
    for k, vector in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0))):
        spins[:, k // 2, k % 2] = torch.tensor(vector, dtype=torch.float32)
    write_ovf(tmp_path / "m.ovf", spins, "text")
    data = (tmp_path / "m.ovf").read_text().split("# Begin: Data Text\n")[1].splitlines()
    assert data[:4] == ["1 0 0", "0 1 0", "0 0 1", "-1 0 0"]


def test_holes_stay_holes_and_other_lengths_become_one(tmp_path):
    spins = state()
    spins[:, 1, 2] = 0
    write_ovf(tmp_path / "m.ovf", spins, "text")
    assert torch.equal(load_state(tmp_path / "m.ovf"), spins)
    text = (tmp_path / "m.ovf").read_text()
    head, begin, data = text.partition("# Begin: Data Text\n")
    rows, end, tail = data.partition("# End")
    scaled = "".join(" ".join(f"{8e5 * float(word):.9e}" for word in row.split()) + "\n" for row in rows.splitlines())
    (tmp_path / "ms.ovf").write_text(head + begin + scaled + end + tail)
    torch.testing.assert_close(load_state(tmp_path / "ms.ovf"), spins, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["m.npy", "m.ovf", "m.OMF"])
def test_one_front_door(tmp_path, name):
    save_state(tmp_path / name.lower(), state())
    assert torch.equal(load_state(tmp_path / name.lower()), state())
    assert [path.name for path in tmp_path.iterdir()] == [name.lower()], "no partial file is left"


def test_a_stack_is_numpys(tmp_path):
    stack = torch.stack([state(seed=1), state(seed=2)])
    save_state(tmp_path / "m.npy", stack)
    assert torch.equal(load_state(tmp_path / "m.npy"), stack)
    with pytest.raises(ValueError, match="one file a state"):
        save_state(tmp_path / "m.ovf", stack)
    with pytest.raises(ValueError, match=r"must end in \.npy"):
        save_state(tmp_path / "m.vtk", stack)
    np.save(tmp_path / "bad.npy", np.zeros((2, 5, 5), np.float32))
    with pytest.raises(ValueError, match="bad.npy must have shape"):
        load_state(tmp_path / "bad.npy")


# What Spirit 2.2.0 writes for a 3 x 2 lattice (its header's comments included), so that this is tested everywhere.
SPIRIT = """# OOMMF OVF 2.0
#
# Segment count: 000001
#
# Begin: Segment
# Begin: Header
#
# Title: SPIRIT Version 2.2.0 (e82250d3b1441)
#
# Desc: a comment
#
# valuedim: 3   ## field dimensionality
# valueunits: none none none
# valuelabels: spin_x spin_y spin_z
#
## Fundamental mesh measurement unit. Treated as a label:
# meshunit: nm
#
# xmin: 0
# ymin: 0
# zmin: 0
# xmax: 0.2
# ymax: 0.1
# zmax: 0
#
# meshtype: rectangular
# xbase: 0
# ybase: 0
# zbase: 0
# xstepsize: 0.1
# ystepsize: 0.1
# zstepsize: 0.1
# xnodes: 3
# ynodes: 2
# znodes: 1
#
# End: Header
#
# Begin: Data Text
        0.000000000000        0.000000000000        1.000000000000
        1.000000000000        0.000000000000        0.000000000000
        0.000000000000        1.000000000000        0.000000000000
        0.000000000000       -1.000000000000        0.000000000000
       -1.000000000000        0.000000000000        0.000000000000
        0.000000000000        0.000000000000       -1.000000000000
# End: Data Text
# End: Segment
"""


def test_spirits_text_as_it_stands(tmp_path):
    (tmp_path / "s.ovf").write_text(SPIRIT)
    found = read_ovf(tmp_path / "s.ovf")
    assert found.header["desc"] == "a comment" and found.header["valuedim"] == "3" and found.step == (0.1, 0.1, 0.1)
    assert found.spins()[:, 0].T.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert found.spins()[:, 1].T.tolist() == [[0, -1, 0], [-1, 0, 0], [0, 0, -1]]


def test_several_segments(tmp_path):
    for number, representation in enumerate(REPRESENTATIONS):
        write_ovf(tmp_path / "one.ovf", state(seed=number), representation)
        raw = (tmp_path / "one.ovf").read_bytes()
        with (tmp_path / "all.ovf").open("ab") as file:
            file.write(raw.replace(b"count: 1", b"count: 3") if number == 0 else raw.split(b"count: 1\n")[1])
    for number in range(3):
        torch.testing.assert_close(read_ovf(tmp_path / "all.ovf", number).spins(), state(seed=number))
    with pytest.raises(ValueError, match="below the 3"):
        read_ovf(tmp_path / "all.ovf", 3)


# Other programs (test-only packages, see CONTRIBUTING.md) -------------------------------------------------------------

@pytest.fixture
def spirit(tmp_path):
    """A Spirit state of 5 x 3 spins, and its module of readers and writers."""
    pytest.importorskip("spirit", reason="Spirit is not installed (pip install --no-deps spirit==2.2.0)")
    from spirit import io, state, system

    (tmp_path / "spirit.cfg").write_text("n_basis_cells 5 3 1\nboundary_conditions 1 1 0\nbravais_lattice sc\n"
                                         "mu_s 1.0\noutput_file_tag <none>\nlog_to_file 0\nlog_to_console 0\n")
    with state.State(str(tmp_path / "spirit.cfg"), quiet=True) as p:
        yield p, io, lambda: np.array(system.get_spin_directions(p)).reshape(3, 5, 3).transpose(2, 0, 1)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_spirit_reads_what_we_write(spirit, tmp_path, representation):
    p, io, directions = spirit
    write_ovf(tmp_path / "m.ovf", state(), representation)
    io.image_read(p, str(tmp_path / "m.ovf"))
    np.testing.assert_allclose(directions(), state().numpy(), atol=1e-6)


@pytest.mark.parametrize("form", ["TEXT", "BIN4", "BIN8"])
def test_we_read_what_spirit_writes(spirit, tmp_path, form):
    p, io, directions = spirit
    write_ovf(tmp_path / "m.ovf", state())
    io.image_read(p, str(tmp_path / "m.ovf"))
    for number in range(2):
        io.image_append(p, str(tmp_path / "w.ovf"), getattr(io, f"FILEFORMAT_OVF_{form}"))
        found = read_ovf(tmp_path / "w.ovf", number)
        np.testing.assert_allclose(found.spins().numpy(), directions(), atol=1e-6)


@pytest.fixture
def df():
    return pytest.importorskip("discretisedfield", exc_type=ImportError,
                               reason="discretisedfield is not installed (1.5 GB with its drawing packages)")


@pytest.mark.parametrize("representation, form", [("text", "txt"), ("binary 4", "bin4"), ("binary 8", "bin8")])
def test_discretisedfield_reads_what_we_write_and_the_other_way_round(df, tmp_path, representation, form):
    write_ovf(tmp_path / "m.ovf", state(), representation, step=(2e-9, 3e-9, 4e-10))
    field = df.Field.from_file(str(tmp_path / "m.ovf"))
    np.testing.assert_allclose(field.array[:, :, 0].transpose(2, 1, 0), state().numpy(), atol=1e-6)
    assert tuple(field.mesh.n) == (5, 3, 1) and tuple(field.mesh.cell) == pytest.approx((2e-9, 3e-9, 4e-10))
    field.to_file(str(tmp_path / "w.ovf"), representation=form)
    torch.testing.assert_close(read_ovf(tmp_path / "w.ovf").spins(), state(), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")  # pandas' of discretisedfield
def test_oommf_and_mumax3_files_that_discretisedfield_ships(df):
    """Files that OOMMF and mumax3 wrote, in all forms; their OVF 1.0 ones are refused."""
    samples = sorted((Path(df.__file__).parent / "tests" / "test_sample").glob("*.o[vmhe]f"))
    read = 0
    for path in samples:
        if "ovf1" in path.name:
            with pytest.raises(ValueError, match=r"OVF 1\.0"):
                read_ovf(path)
            continue
        ours, theirs = read_ovf(path).values, df.Field.from_file(str(path)).array
        assert np.array_equal(ours, theirs.transpose(2, 1, 0, 3)), path.name
        read += 1
    assert read >= 10


# Files that must be refused -------------------------------------------------------------------------------------------

def refused(tmp_path, raw: bytes, words: str):
    path = tmp_path / "bad.ovf"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=words) as caught:
        read_ovf(path)
    assert str(path) in str(caught.value)


@pytest.fixture(params=REPRESENTATIONS)
def raw(request, tmp_path):
    write_ovf(tmp_path / "good.ovf", state(), request.param)
    return (tmp_path / "good.ovf").read_bytes()


def test_every_shortened_file_is_refused(raw, tmp_path):
    """Wherever it is cut; without its last line break nothing is missing."""
    for length in [*range(0, len(raw) - 1, 7), len(raw) - 2]:
        refused(tmp_path, raw[:length], "cannot be read as OVF 2.0|must be at least 0")


@pytest.mark.parametrize("old, new, words", [
    (b"xnodes: 5", b"xnodes: 1000000000000", "15 bytes|bytes at least"),
    (b"valuedim: 3", b"valuedim: 999999999999999999", "bytes at least"),
    (b"ynodes: 3", b"ynodes: 0", "ynodes must be a positive integer"),
    (b"ynodes: 3", b"ynodes: -3", "ynodes must be a positive integer"),
    (b"ynodes: 3", b"ynodes: 3.0", "ynodes must be a positive integer"),
    (b"ynodes: 3\n# znodes", b"znodes", "ynodes must be a positive integer"),
    (b"ynodes: 3", b"ynodes: 2", "numbers stands|more than"),
    (b"ynodes: 3", b"ynodes: 3\n# ynodes: 3", "ynodes twice"),
    (b"xstepsize: 1e-09", b"xstepsize: nan", "xstepsize must be positive"),
    (b"xstepsize: 1e-09", b"xstepsize: one", "xstepsize must be a number"),
    (b"rectangular", b"irregular", "only rectangular"),
    (b"# Begin: Header", b"# Header: 1", "Begin: Header"),
    (b"# Begin: Header", b"# Header", "which is not # key: value"),
    (b"# Begin: Header", b"nothing", "does not begin with #"),
    (b"Segment count: 1", b"Segments: 1", "Segment count"),
    (b"OVF 2.0", b"OVF 1.0", "OVF 1.0"),
    (b"# OOMMF OVF 2.0", b"# OOMMF: rectangular mesh v1.0", "OVF 1.0"),
    (b"# OOMMF OVF 2.0", b"%PDF-1.4", "begins with"),
    (b"Title: m", b"Title: " + b"m" * 2**17, "longer than"),
    (b"Title: m", b"Title: m\n" + b"# Desc: and so on\n" * 2**16 + b"# d: e", "header is longer"),
    (b"# Begin: Data", b"# Begin: Text", "instead of '# Begin: Data'"),
    (b"# Begin: Data ", b"# Begin: Data C", "instead of '# Begin: Data'"),
    (b"# End: Segment", b"# End: Header", "instead of '# End: Segment'"),
])
def test_headers_that_are_refused(raw, tmp_path, old, new, words):
    assert old in raw
    refused(tmp_path, raw.replace(old, new), words)


def test_numbers_that_are_refused(tmp_path):
    write_ovf(tmp_path / "t.ovf", torch.zeros(3, 1, 1).index_fill_(0, torch.tensor([2]), 1.0), "text")
    text = (tmp_path / "t.ovf").read_bytes()
    for new, words in ((b"0 0 nan", "NaN"), (b"0 0 inf", "NaN"), (b"0 0 x", "not numbers"), (b"0 1", "2 of 3"),
                       (b"0 0 1 0", "more than"), (b"0 0 1" + b" " * 2**16, "longer than")):
        refused(tmp_path, text.replace(b"0 0 1\n", new + b"\n"), words)
    write_ovf(tmp_path / "b.ovf", state(), "binary 8")
    binary = (tmp_path / "b.ovf").read_bytes()
    check = struct.pack("<d", 123456789012345.0)
    assert binary.count(check) == 1
    refused(tmp_path, binary.replace(check, check[::-1]), "other order")
    refused(tmp_path, binary.replace(check, b"\0" * 8), "check value")
    refused(tmp_path, binary.replace(check, check + struct.pack("<d", float("nan")))[:-8], "numbers stands")


def test_a_huge_claim_takes_no_memory(tmp_path):
    """1e12 cells in a file of some kilobytes: refused in a process that may not take 200 MB more than it has."""
    write_ovf(tmp_path / "m.ovf", state(), "binary 8")
    raw = (tmp_path / "m.ovf").read_bytes()
    raw = raw.replace(b"xnodes: 5", b"xnodes: 1000000").replace(b"ynodes: 3", b"ynodes: 1000000")
    (tmp_path / "m.ovf").write_bytes(raw)
    code = ("import resource, sys; from evae_companion.io import read_ovf; "
            "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
            "resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)\n"
            "try: read_ovf(sys.argv[1])\nexcept ValueError as error: print(error)")
    if not Path("/proc/self/statm").exists() or not hasattr(resource, "RLIMIT_AS"):
        pytest.skip("the memory of a process is limited in another way on this system")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.ovf"], capture_output=True, text=True, timeout=120)
    assert "1000000 x 1000000 x 1 cells" in done.stdout, done.stderr


def test_one_layer_of_vectors_is_a_state(tmp_path):
    raw = SPIRIT.replace("xnodes: 3", "xnodes: 1").replace("znodes: 1", "znodes: 3")
    (tmp_path / "layers.ovf").write_text(raw)
    found = read_ovf(tmp_path / "layers.ovf")
    assert found.values.shape == (3, 2, 1, 3)
    with pytest.raises(ValueError, match="3 layers of 3"):
        found.spins()
    (tmp_path / "zero.ovf").write_text(SPIRIT.replace("1.000000000000", "0.000000000000"))
    with pytest.raises(ValueError, match="every cell of the file is 0"):
        read_ovf(tmp_path / "zero.ovf").spins()


@pytest.mark.parametrize("change, error, words", [
    ({"step": (1e-9, 1e-9)}, ValueError, "step"),
    ({"step": (1e-9, 0, 1e-9)}, ValueError, "step"), ({"title": "a\nb"}, ValueError, "printable"),
    ({"spins": 2 * state()}, ValueError, "unit vectors"),
])
def test_what_is_not_written(tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        write_ovf(tmp_path / "m.ovf", **{"spins": state()} | change)
    assert list(tmp_path.iterdir()) == []
