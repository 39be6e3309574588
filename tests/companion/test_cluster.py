"""The same tables from Dask's workers, whatever dies; an object store; TLS. Needs the extra ``cluster``."""

import json
import shutil
import subprocess
from urllib.request import urlopen

import cluster_faults
import pytest
from cluster_faults import free_port, programs, scheduler, tables, tiny, worker

from evae_companion.cluster import dask, run_task, run_tasks
from evae_companion.cluster.executors import check_address, exposed, local_cluster, slurm_script
from evae_companion.cluster.tasks import work
from evae_companion.store.object_store import Remote, StoreLocation
from evae_companion.store.store import Store

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # Dask's and its event loop's own


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return cluster_faults.serial(tmp_path_factory.mktemp("serial"), tiny())


def killed(folder, plan):
    return cluster_faults.killed(folder, plan, workers=2)


@pytest.mark.parametrize("fault", [killed, cluster_faults.restarted, cluster_faults.cut], ids=lambda one: one.__name__)
def test_the_same_tables_whatever_dies(fault, tmp_path, serial):
    outcome, place, happened = fault(tmp_path, tiny())
    assert happened and not outcome.errors and tables(tiny(), place) == serial
    assert outcome.lost or fault is not cluster_faults.restarted, "Dask itself sends work again, but not then"


def test_nothing_listens_beyond_this_machine():
    import psutil
    with local_cluster(1) as cluster:
        dask(cluster.scheduler_address)().shutdown()
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {found.laddr.ip for one in family for found in one.net_connections("inet")
                     if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_the_dashboard_while_an_ensemble_runs(tmp_path):
    pytest.importorskip("bokeh", reason="the extra `cluster` is not installed")
    seen = []
    with local_cluster(1) as cluster:
        root = cluster.dashboard_link.removesuffix("/status")
        assert root.startswith("http://127.0.0.1:")

        def look(unit):
            with urlopen(f"{root}/status", timeout=60) as page:
                drawn = page.status, b"bokeh" in page.read().lower()
            with urlopen(f"{root}/json/counts.json", timeout=60) as counts:
                seen.append((*drawn, json.load(counts)))

        outcome = run_tasks(work(tiny())[:2], dask(cluster.scheduler_address), StoreLocation(str(tmp_path)), "cpu",
                            done=look)
    assert not outcome.errors and [(status, drawn) for status, drawn, _ in seen] == [(200, True)] * 2
    assert all(counts["workers"] == 1 and counts["tasks"] >= 1 for _, _, counts in seen)


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
    with programs(scheduler(port, "--protocol", "tls"), worker(f"tls://127.0.0.1:{port}"), environment=settings):
        security = distributed.Security(
            require_encryption=True, tls_ca_file=str(tmp_path / "certificate.pem"),
            **{f"tls_client_{kind}": str(tmp_path / file)
               for kind, file in (("cert", "certificate.pem"), ("key", "key.pem"))})
        shard = work(tiny())[:1]
        outcome = run_tasks(shard, dask(f"tls://127.0.0.1:{port}", security=security),
                            StoreLocation(str(tmp_path / "s")), "cpu")
        assert not outcome.errors and len(outcome.receipts) == 1
        monkeypatch.setattr("evae_companion.cluster.executors.SCHEDULER_TIMEOUT", "2s")
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
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=(port := free_port()), verbose=False)
        running.start()
        for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                            ("AWS_DEFAULT_REGION", "us-east-1"),
                            ("FSSPEC_S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")):
            patch.setenv(name, value)
        import fsspec
        patch.setitem(fsspec.config.conf, "s3", {})
        fsspec.config.set_conf_env(fsspec.config.conf)
        fsspec.filesystem("s3").mkdir("evae")
        yield "s3://evae/artifacts"
        running.stop()


def test_an_object_store_gives_the_serial_tables(tmp_path, bucket, serial):
    """Two workers' stores in turn: each unit is done where it is the other's turn, with what the first has pushed."""
    places = [StoreLocation(str(tmp_path / name), bucket) for name in "ab"]
    pulled = [run_task(unit, places[number % 2], "cpu").pulled for number, unit in enumerate(work(tiny()))]
    assert sum(pulled) and tables(tiny(), StoreLocation(str(tmp_path / "head"), bucket)) == serial


def test_an_object_store_keeps_the_first(tmp_path, bucket, monkeypatch):
    """Two that found nothing there put the same artifact: one object, the first one's; damaged, it is made anew."""
    stores, spec = [Store(tmp_path / name) for name in "ab"], {"kind": "thing", "number": 1}
    for number, store in enumerate(stores):
        store.get(spec, lambda folder, number=number: (folder / "a.txt").write_text(f"{number}"))
    remote = Remote(bucket)
    monkeypatch.setattr(remote.fs, "exists", lambda path: False)
    assert remote.push(spec, stores[0]) > 0 == remote.push(spec, stores[1])
    other = Store(tmp_path / "c")
    assert remote.pull(spec, other) and (other.find(spec) / "a.txt").read_text() == "0"
    (path,) = (name for name in remote.fs.ls(remote.root, detail=False) if "/thing-" in name)
    remote.fs.pipe_file(path, remote.fs.cat_file(path)[:600])
    fresh = Store(tmp_path / "d")
    assert remote.pull(spec, fresh) == 0 and fresh.find(spec) is None
    assert remote.push(spec, stores[1]) and remote.pull(spec, fresh)
    assert (fresh.find(spec) / "a.txt").read_text() == "1"
