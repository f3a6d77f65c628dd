"""Real ``torchrun``: restarts, two agents, two hosts. All but a sample run under ``make cluster-test``."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support import ranks, train_with_accident
from support.resuming import differences, whole
from support.tiny_run import material

from komrc.training import checkpoints

TRAIN_WITH_ACCIDENT = train_with_accident.__file__
RUN_SQUAD = str(Path(__file__).resolve().parents[2] / "run_squad.py")
PLAIN = {"per_gpu_train_batch_size": 2, "save_steps": 1, "predict_file": None, "num_train_epochs": 2.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("torchrun"), train=14, dev=8)


@pytest.fixture(scope="module")
def undisturbed(made: Path) -> Path:
    """What two processes give where nothing happens: five micro-batches an epoch, three of them a step."""
    ended = ranks.together(lambda: whole(made, made / "undisturbed", **PLAIN))
    assert [one.error for one in ended] == [None, None]
    return made / "undisturbed"


def training(made: Path, output: Path, *more: str) -> list[str]:
    """The options of the undisturbed run, on the command line."""
    values = {
        "model": made / "model", "train-file": made / "train.json", "output-dir": output,
        "cache-dir": made / "cache", "max-seq-length": 256, "per-gpu-train-batch-size": 2,
        "gradient-accumulation-steps": 3, "num-train-epochs": 2, "learning-rate": 1e-3, "precision": "fp32",
        "logging-steps": 1, "eval-steps": -1, "save-steps": 1,
    }  # fmt: skip
    told = [str(part) for name, value in values.items() for part in (f"--{name}", value)]
    return ["train", *told, "--no-cuda", "--no-particle-labels", "--resume", *more]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(launch: Sequence[str], command: Sequence[str], *, before: Sequence[str] = (), **env: str) -> Any:
    """Start torchrun; ``before``: what runs it (``ip netns exec …``)."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "torch.distributed.run", *launch, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: Any, seconds: float = 1200) -> tuple[int, str]:
    """Exit code and stderr. A run that hangs is a failure."""
    try:
        said = process.communicate(timeout=seconds)[1]
    finally:
        process.kill()
    return process.returncode, said


def agents(*, host: str = "127.0.0.1", restarts: int = 0) -> list[list[str]]:
    """The options of two agents with one process each."""
    port = free_port()
    common = ["--nnodes", "2", "--nproc_per_node", "1", "--max-restarts", str(restarts), "--rdzv_id", "test"]
    return [[*common, "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{host}:{port}"]] * 2


def wait_for_checkpoint(output: Path, seconds: float = 1200) -> None:
    until = time.monotonic() + seconds
    while not list(output.glob("checkpoint-*")):
        assert time.monotonic() < until, "no checkpoint was written"
        time.sleep(0.1)


def test_torchrun_starts_a_killed_rank_again_from_the_last_checkpoint(
    made: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out, done = tmp_path / "out", tmp_path / "killed"
    launch = ["--standalone", "--nproc_per_node", "2", "--max-restarts", "1"]
    process = start(launch, [TRAIN_WITH_ACCIDENT, *training(made, out)], KOMRC_ACCIDENT=f"kill 1 6 {done}")
    code, said = end(process)
    assert code == 0, said
    assert done.exists() and "resuming from" in said
    assert differences(undisturbed, out) == []


@pytest.mark.cluster
def test_two_agents_give_what_one_gives(made: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [start(launch, ["-m", "komrc", *training(made, out)]) for launch in agents()]
    ended = [end(process) for process in both]
    assert [code for code, _ in ended] == [0, 0], ended
    assert any("2 windows x 2 processes x 3 batches" in said for _, said in ended)
    assert differences(undisturbed, out) == []


@pytest.mark.cluster
def test_two_agents_start_a_killed_rank_again(made: Path, undisturbed: Path, tmp_path: Path) -> None:
    out, done = tmp_path / "out", tmp_path / "killed"
    accident = f"kill 1 6 {done}"
    command = [TRAIN_WITH_ACCIDENT, *training(made, out)]
    both = [start(launch, command, KOMRC_ACCIDENT=accident) for launch in agents(restarts=2)]
    ended = [end(process) for process in both]
    assert [code for code, _ in ended] == [0, 0], ended
    assert done.exists()
    assert differences(undisturbed, out) == []


@pytest.mark.cluster
def test_sigterm_to_torchrun_leaves_a_checkpoint_and_the_run_goes_on(
    made: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    launch = ["--standalone", "--nproc_per_node", "2"]
    process = start(launch, [TRAIN_WITH_ACCIDENT, *training(made, out)], KOMRC_ACCIDENT="slow 0.5")
    wait_for_checkpoint(out)
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    assert code != 0 and "continue with --resume" in said
    assert checkpoints.newest(out) is not None and not (out / "model.safetensors").exists()
    code, said = end(start(launch, ["-m", "komrc", *training(made, out)]))
    assert code == 0, said
    assert differences(undisturbed, out) == []


@pytest.mark.cluster
@pytest.mark.parametrize("gone", [0, 1], ids=["the rendezvous's host", "the other host"])
def test_a_host_that_is_switched_off_ends_the_run(made: Path, tmp_path: Path, gone: int) -> None:
    """Its agent and its process die at once."""
    out = tmp_path / "out"
    command = [TRAIN_WITH_ACCIDENT, *training(made, out)]
    both = [start(launch, command, KOMRC_ACCIDENT="slow 0.5") for launch in agents()]
    wait_for_checkpoint(out)
    victim, other = both[gone], both[1 - gone]
    workers = children(victim.pid)
    for process in [victim.pid, *workers]:
        os.kill(process, signal.SIGKILL)
    end(victim)
    code, said = end(other)
    assert code != 0
    assert "another process of the run ended" in said
    assert checkpoints.newest(out) is not None


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


@pytest.mark.cluster
def test_the_launcher_of_2020_starts_run_squad(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = training(made, out)[1:]
    options = ["--" + part[2:].replace("-", "_") if part.startswith("--") else part for part in options]
    at = options.index("--eval_steps")
    options[at : at + 2] = ["--model_type", "bert", "--do_train"]
    options[options.index("--no_particle_labels")] = "--no-particle_labels"  # argparse's own negation
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.launch", "--nproc_per_node", "2",
         "--master_port", str(free_port()), RUN_SQUAD, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 windows x 2 processes x 3 batches" in done.stderr
    assert checkpoints.newest(out) is not None and (out / "model.safetensors").exists()


# --- two hosts ---------------------------------------------------------------------------------------------

ADDRESSES = ("10.213.77.1", "10.213.77.2")


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces with an address of their own each, joined by a cable (veth)."""
    if shutil.which("ip") is None:
        pytest.skip("the ip command (iproute2) is not here")
    names = [f"komrc{os.getpid()}{side}" for side in "ab"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "cable", "netns", names[1])
            for name, address in zip(names, ADDRESSES, strict=True):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
                ip("-n", name, "link", "set", "cable", "up")
                ip("-n", name, "link", "set", "lo", "up")
                # Agents wait in the kernel for a lost host: half a minute, not a quarter of an hour.
                retries = "echo 6 > /proc/sys/net/ipv4/tcp_retries2"
                subprocess.run(["ip", "netns", "exec", name, "sh", "-c", retries], check=True)
        except (subprocess.CalledProcessError, PermissionError) as error:
            pytest.skip(f"network namespaces can't be made here ({error}); that needs root")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def start_on(hosts: list[str], command: Sequence[str], **env: str) -> list[Any]:
    started = []
    options = agents(host=ADDRESSES[0])
    for host, address, launch in zip(hosts, ADDRESSES, options, strict=True):
        before = ["ip", "netns", "exec", host]
        # By itself torchrun looks for the endpoint among the addresses of the host's name.
        more = ["--local-addr", address, "--rdzv_conf", f"is_host={address == ADDRESSES[0]}"]
        started.append(start([*launch, *more], command, before=before, GLOO_SOCKET_IFNAME="cable", **env))
    return started


@pytest.mark.cluster
def test_two_hosts_with_their_own_addresses(
    made: Path, undisturbed: Path, tmp_path: Path, hosts: list[str]
) -> None:
    out = tmp_path / "out"
    both = start_on(hosts, ["-m", "komrc", *training(made, out)])
    ended = [end(process) for process in both]
    assert [code for code, _ in ended] == [0, 0], ended
    assert differences(undisturbed, out) == []


@pytest.mark.cluster
def test_a_host_whose_cable_is_pulled_ends_the_run(made: Path, tmp_path: Path, hosts: list[str]) -> None:
    out = tmp_path / "out"
    command = [TRAIN_WITH_ACCIDENT, *training(made, out, "--ddp-timeout", "60")]
    both = start_on(hosts, command, KOMRC_ACCIDENT="slow 0.5")
    wait_for_checkpoint(out)
    subprocess.run(["ip", "-n", hosts[1], "link", "set", "cable", "down"], check=True)
    ended = [end(process) for process in both]
    assert all(code != 0 for code, _ in ended)
    assert all("no longer answers" in said for _, said in ended)
    assert checkpoints.newest(out) is not None
