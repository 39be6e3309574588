"""The same tables from Dask's workers, whatever dies; an object store; TLS. Needs the extra ``cluster``."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_ensemble import serial, tables, tiny  # noqa: F401  (a fixture)

from evae_core.ensemble import Place, dask, fulfil, perform
from evae_core.ensemble.executors import check_address, exposed, local_cluster, slurm_script
from evae_core.ensemble.grid import work

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # Dask's and its event loop's own
ROOT = Path(__file__).parents[1]


@contextmanager
def processes(*commands, environment=None):
    """Programs that run for the test, each in a group of its own, and end with it."""
    started = [subprocess.Popen(command, start_new_session=True, env={
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    try:
        yield started
    finally:
        for process in started:
            stop(process)


def stop(process):
    for number in (signal.SIGCONT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
    process.wait()


def scheduler(port, *more):
    return [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
            "--no-dashboard", "--no-show", *more]


def worker(port, scheme="tcp", *more):
    return [sys.executable, "-m", "distributed.cli.dask_worker", f"{scheme}://127.0.0.1:{port}", "--nthreads", "1",
            "--host", "127.0.0.1", "--no-dashboard", "--death-timeout", "60", *more]


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def when(condition, act, seconds=120):
    """Do ``act`` in a thread once ``condition()`` holds; returns the list that then holds its result."""
    found = []

    def watch():
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                found.append(act())
                return
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    return found


def at_work(folder):
    return lambda: list(Path(folder).glob("stage-*.partial-*"))


def test_two_workers_and_one_killed(tmp_path, serial):  # noqa: F811
    place = Place(str(tmp_path))
    with local_cluster(2) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:"), "bound to this machine"
        killed = when(at_work(tmp_path), lambda: [os.kill(one.pid, signal.SIGKILL) for one in cluster.workers.values()])
        outcome = fulfil(work(tiny()), dask(cluster.scheduler_address), place, "cpu")
    assert killed and not outcome.errors and tables(tiny(), place) == serial


def test_the_scheduler_started_again(tmp_path, serial):  # noqa: F811
    place, port, lines = Place(str(tmp_path)), free_port(), []
    with processes(scheduler(port), worker(port)) as first:
        def again():
            for process in first:
                stop(process)
            return [subprocess.Popen(command, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    for command in (scheduler(port), worker(port))]

        second = when(at_work(tmp_path), again)
        try:
            outcome = fulfil(work(tiny()), dask(f"tcp://127.0.0.1:{port}"), place, "cpu", lines.append)
        finally:
            for process in second[0] if second else []:
                stop(process)
    assert second and outcome.lost and not outcome.errors and tables(tiny(), place) == serial


def test_a_worker_cut_off(tmp_path, serial):  # noqa: F811
    """One that is stopped answers nothing and holds its locks' processes; behind a url each has a store of its own."""
    place, port = Place(None, f"file://{tmp_path}/shared"), free_port()
    short = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "3s"}
    stores = [{**short, "EVAE_STORE": str(tmp_path / name)} for name in "ab"]
    with processes(scheduler(port), environment=short), processes(worker(port, "tcp", "--no-nanny"),
                                                                 environment=stores[0]) as cut, \
            processes(worker(port, "tcp", "--no-nanny"), environment=stores[1]):
        stopped = when(at_work(tmp_path / "a"), lambda: os.killpg(cut[0].pid, signal.SIGSTOP) or True)
        outcome = fulfil(work(tiny()), dask(f"tcp://127.0.0.1:{port}"), place, "cpu")
    assert stopped and not outcome.errors and tables(tiny(), place) == serial


def certificate(folder):
    """A key and a certificate of its own for this machine."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out",
                    folder / "certificate.pem"], check=True, capture_output=True)
    return {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "certificate.pem"),
            **{f"DASK_DISTRIBUTED__COMM__TLS__{role}__{kind}": str(folder / file)
               for role in ("SCHEDULER", "WORKER", "CLIENT")
               for kind, file in (("CERT", "certificate.pem"), ("KEY", "key.pem"))}}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls(tmp_path, monkeypatch):
    """By Dask's own configuration; who has no certificate is not let in, nor is who comes in the clear."""
    settings, port = certificate(tmp_path), free_port()
    with processes(scheduler(port, "--protocol", "tls"), worker(port, "tls"), environment=settings):
        security = distributed.Security(
            require_encryption=True, tls_ca_file=str(tmp_path / "certificate.pem"),
            **{f"tls_client_{kind}": str(tmp_path / file)
               for kind, file in (("cert", "certificate.pem"), ("key", "key.pem"))})
        shard = work(tiny())[:1]
        outcome = fulfil(shard, dask(f"tls://127.0.0.1:{port}", security=security), Place(str(tmp_path / "s")), "cpu")
        assert not outcome.errors and len(outcome.receipts) == 1
        monkeypatch.setattr("evae_core.ensemble.executors.SCHEDULER_TIMEOUT", "2s")
        with pytest.raises((RuntimeError, TypeError)):
            dask(f"tcp://127.0.0.1:{port}")()
        (tmp_path / "other").mkdir()
        certificate(tmp_path / "other")
        stranger = distributed.Security(
            require_encryption=True, tls_ca_file=str(tmp_path / "certificate.pem"),
            tls_client_cert=str(tmp_path / "other" / "certificate.pem"), tls_client_key=str(tmp_path / "other/key.pem"))
        with pytest.raises(RuntimeError, match="no scheduler answers"):
            dask(f"tls://127.0.0.1:{port}", security=stranger)()


def test_addresses():
    for wrong in ("head:8786", "http://head:1", "tcp://head", "tcp://:1", "tcp://head:x", ""):
        with pytest.raises(ValueError, match="scheduler must be"):
            check_address(wrong)
    assert exposed("tcp://10.0.0.1:1") and exposed("tcp://head:1")
    assert not exposed("tcp://127.0.0.1:1") and not exposed("tcp://localhost:1") and not exposed("tls://head:1")


def test_slurm_script():
    pytest.importorskip("dask_jobqueue")
    script = slurm_script("gpu", "08:00:00", cores=8, memory="32GB", gpus=1, store="/scratch/evae")
    for line in ("#SBATCH -p gpu", "#SBATCH -t 08:00:00", "#SBATCH --cpus-per-task=8", "#SBATCH --gres=gpu:1",
                 "export EVAE_STORE=/scratch/evae"):
        assert line in script.splitlines(), script
    assert "--resources GPU=1" in script and "--nthreads 1" in script
    plain = slurm_script("cpu", "01:00:00")
    assert "gres" not in plain and "GPU" not in plain


@pytest.fixture(scope="module")
def bucket():
    """An S3 of this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch:
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
        running.start()
        for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                            ("AWS_DEFAULT_REGION", "us-east-1"),
                            ("FSSPEC_S3_ENDPOINT_URL", f"http://127.0.0.1:{running._port}")):
            patch.setenv(name, value)
        import fsspec
        fsspec.config.set_conf_env(fsspec.config.conf)
        fsspec.filesystem("s3").mkdir("evae")
        yield "s3://evae/artefacts"
        running.stop()


def test_an_object_store_gives_the_serial_tables(tmp_path, bucket, serial):  # noqa: F811
    """Two workers' stores in turn: each unit is done where it is the other's turn, with what the first has pushed."""
    places = [Place(str(tmp_path / name), bucket) for name in "ab"]
    pulled = [perform(unit, places[number % 2], "cpu").pulled for number, unit in enumerate(work(tiny()))]
    assert sum(pulled) and tables(tiny(), Place(str(tmp_path / "head"), bucket)) == serial
