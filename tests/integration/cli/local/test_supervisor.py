"""Real child processes: restarts (D7), an orderly stop (D9), and no process left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from penstock.cli.errors import LaunchError
from penstock.cli.local.child import ServiceSpec
from penstock.cli.local.restarts import RestartLimits
from penstock.cli.local.supervisor import Supervisor
from tests.harness.processes.children import is_running

READY = """
import json, os, sys, time
print("a log line", flush=True)
print(json.dumps({"event": "ready", "pid": os.getpid()}), flush=True)
"""
STAYS = READY + "time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + STAYS
NEVER_READY = "import time; print('still thinking', flush=True); time.sleep(60)"
DIES = "import sys; sys.exit('no such luck')"
WITH_GRANDCHILD = (
    """
import subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(f"grandchild {grandchild.pid}", flush=True)
"""
    + STUBBORN
)

Start = Callable[..., Supervisor]


def python(name: str, code: str, **env: str) -> ServiceSpec:
    return ServiceSpec(name, (sys.executable, "-c", code), env)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
async def supervise(tmp_path: Path, messages: list[str]) -> AsyncIterator[Start]:
    started: list[Supervisor] = []

    def make(*stages: list[ServiceSpec], limits: RestartLimits | None = None) -> Supervisor:
        started.append(
            Supervisor(
                stages, log_dir=tmp_path / "logs", report=messages.append, clock=time.monotonic, limits=limits
            )
        )
        return started[-1]

    yield make
    for supervisor in started:
        await supervisor.stop(grace_s=0)


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def pid_of(supervisor: Supervisor, name: str) -> int:
    pid = supervisor.children[name].pid
    assert pid is not None
    return pid


async def test_children_report_ready_and_log_to_their_files(supervise: Start, tmp_path: Path):
    supervisor = supervise(
        [python("a", STAYS), python("b", "import sys; print('oops', file=sys.stderr)" + STAYS)]
    )
    await supervisor.start(10)
    assert supervisor.children["a"].ready == {"event": "ready", "pid": pid_of(supervisor, "a")}
    assert "a log line" in (tmp_path / "logs/a.log").read_text()
    assert "oops" in (tmp_path / "logs/b.log").read_text()


async def test_a_stage_starts_when_the_one_before_is_ready(supervise: Start, tmp_path: Path):
    mark = str(tmp_path / "mark")
    first = "import os, time; time.sleep(0.3); open(os.environ['MARK'], 'w').close()" + STAYS
    second = "import os; assert os.path.exists(os.environ['MARK'])" + STAYS
    supervisor = supervise([python("first", first, MARK=mark)], [python("second", second, MARK=mark)])
    await supervisor.start(10)
    assert supervisor.children["second"].ready


async def test_d7_a_killed_child_is_restarted_and_both_are_reported(supervise: Start, messages: list[str]):
    supervisor = supervise([python("worker", STAYS)])
    await supervisor.start(10)
    child, pid = supervisor.children["worker"], pid_of(supervisor, "worker")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: child.ready and child.pid != pid)
    died, again = messages
    assert died.startswith("worker was killed by SIGKILL after ")
    assert died.endswith("restart 1 in 0.5 s")
    assert again == "worker is running again"


async def test_the_log_of_an_earlier_run_is_not_in_the_report(supervise: Start, tmp_path: Path):
    log = tmp_path / "logs/worker.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("a mistake of the earlier run\n")
    limits = RestartLimits(first_delay_s=0.01, deaths_before_ready=1)
    supervisor = supervise([python("worker", DIES)], limits=limits)
    with pytest.raises(LaunchError) as caught:
        await supervisor.start(10)
    assert "no such luck" in str(caught.value)
    assert "earlier run" not in str(caught.value)


async def test_d9_stages_stop_in_reverse_and_leave_no_process(supervise: Start, tmp_path: Path):
    order = tmp_path / "order"
    code = """
import os, signal, sys
def end(*_):
    with open(os.environ["ORDER"], "a") as file: file.write(os.environ["ME"])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
"""
    supervisor = supervise(*([python(name, code + STAYS, ME=name, ORDER=str(order))] for name in "abc"))
    await supervisor.start(10)
    pids = [pid_of(supervisor, name) for name in "abc"]
    waiting = asyncio.create_task(supervisor.wait())
    await supervisor.stop()
    await asyncio.wait_for(waiting, 1)
    assert order.read_text() == "cba"
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_child_that_ignores_sigterm_is_killed_with_its_children(supervise: Start, tmp_path: Path):
    supervisor = supervise([python("stubborn", WITH_GRANDCHILD)])
    await supervisor.start(10)
    log = (tmp_path / "logs/stubborn.log").read_text()
    grandchild = int(log.partition("grandchild ")[2].split()[0])
    pid = pid_of(supervisor, "stubborn")
    await supervisor.stop(grace_s=0.3)
    assert not psutil.pid_exists(pid)
    await until(lambda: not is_running(grandchild))


async def test_a_restart_does_not_wait_for_grandchildren(supervise: Start, messages: list[str]):
    supervisor = supervise([python("parent", WITH_GRANDCHILD)])
    await supervisor.start(10)
    os.kill(pid_of(supervisor, "parent"), signal.SIGKILL)
    await until(lambda: messages)


async def test_five_deaths_before_ready_fail_the_start_with_the_log(supervise: Start, messages: list[str]):
    limits = RestartLimits(first_delay_s=0.01, longest_delay_s=0.05)
    supervisor = supervise([python("good", STAYS)], [python("bad", DIES)], limits=limits)
    with pytest.raises(LaunchError, match=r"bad exited with code 1, 5 times(?s:.*)no such luck"):
        await supervisor.start(10)
    assert len(messages) == 4
    assert all(child.pid is None for child in supervisor.children.values())


async def test_d10_an_invalid_configuration_fails_the_start_at_once(supervise: Start, messages: list[str]):
    refuses = "import sys; print('no such catalogue', file=sys.stderr); sys.exit(2)"
    supervisor = supervise([python("worker", refuses)])
    with pytest.raises(LaunchError, match=r"^worker exited with code 2;(?s:.*)no such catalogue"):
        await supervisor.start(10)
    assert messages == []


async def test_a_child_that_dies_after_its_ready_line_is_not_ready(supervise: Start):
    limits = RestartLimits(first_delay_s=0.01, longest_delay_s=0.05)
    supervisor = supervise([python("liar", READY)], [python("next", STAYS)], limits=limits)
    await asyncio.gather(supervisor.start(0.5), return_exceptions=True)
    await supervisor.stop()
    assert supervisor.children["liar"].ready is None


async def test_a_missing_program_fails_the_start(supervise: Start, tmp_path: Path):
    limits = RestartLimits(first_delay_s=0.01, longest_delay_s=0.05)
    supervisor = supervise([ServiceSpec("ghost", (str(tmp_path / "nothing"),), {})], limits=limits)
    with pytest.raises(LaunchError, match="ghost cannot be started"):
        await supervisor.start(10)


async def test_a_child_not_ready_in_time_fails_the_start_and_is_named(supervise: Start):
    supervisor = supervise([python("good", STAYS), python("slow", NEVER_READY)])
    with pytest.raises(LaunchError, match=r"^slow was not ready after 1 s(?s:.*)still thinking"):
        await supervisor.start(1)
    assert all(child.pid is None for child in supervisor.children.values())


async def test_a_cancelled_start_leaves_no_process(supervise: Start):
    supervisor = supervise([python("slow", NEVER_READY)])
    start = asyncio.create_task(supervisor.start(10))
    await until(lambda: supervisor.children["slow"].pid)
    pid = pid_of(supervisor, "slow")
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not psutil.pid_exists(pid)


async def test_a_cancelled_stop_kills_at_once(supervise: Start):
    supervisor = supervise([python("stubborn", STUBBORN)])
    await supervisor.start(10)
    pid = pid_of(supervisor, "stubborn")
    stop = asyncio.create_task(supervisor.stop(grace_s=30))
    await asyncio.sleep(0.05)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    assert not psutil.pid_exists(pid)


async def test_stop_while_starting_ends_the_start(supervise: Start):
    supervisor = supervise([python("slow", NEVER_READY)])
    start = asyncio.create_task(supervisor.start(10))
    await until(lambda: supervisor.children["slow"].pid)
    await supervisor.stop()
    with pytest.raises(LaunchError, match="stopped while"):
        await start


async def test_a_long_line_of_output_does_not_block_a_child(supervise: Start, tmp_path: Path):
    flood = "import sys; sys.stdout.write('x' * 3_000_000); sys.stdout.write('\\n'); sys.stdout.flush()"
    supervisor = supervise([python("loud", flood + STAYS)])
    await supervisor.start(10)
    assert (tmp_path / "logs/loud.log").stat().st_size > 3_000_000


def test_two_services_of_one_name_are_rejected(supervise: Start):
    with pytest.raises(ValueError, match="same name"):
        supervise([python("a", STAYS)], [python("a", STAYS)])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
async def test_a_parent_killed_with_sigkill_leaves_no_orphan(tmp_path: Path):
    parent_code = """
import asyncio, sys, time
from pathlib import Path
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.child import ServiceSpec
from penstock.cli.local.supervisor import Supervisor

async def main(directory):
    server = NatsServer(directory / "nats")
    await server.start()
    stubborn = ServiceSpec("stubborn", (sys.executable, "-c", sys.argv[2]), {})
    supervisor = Supervisor([[stubborn]], log_dir=directory, report=print, clock=time.monotonic)
    await supervisor.start(10)
    print(server.pid, supervisor.children["stubborn"].pid, flush=True)
    await supervisor.wait()

asyncio.run(main(Path(sys.argv[1])))
"""
    root = Path(__file__).parents[4]
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", parent_code, str(tmp_path), STUBBORN),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    parent.kill()
    await parent.communicate()
    await until(lambda: not any(is_running(pid) for pid in pids))
