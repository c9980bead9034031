"""Chief and workers as processes: nothing is lost or repeated, whoever is killed; everybody ends."""

import os
import pathlib
import signal
import socket

import pytest

from tests.tuning.common import arguments, free_port, ran, rows, start, statuses, wait_until

GRID = '"optim.learning_rate" = [0.1, 0.01, 0.001]\n"loss.depth_weight" = [0.25, 0.5, 0.75]'


def end(process, status=0, seconds=120):
    """Waits for the end; returns (standard output, standard error)."""
    found = process.communicate(timeout=seconds)
    assert process.returncode == status, found
    return found


def environment(name, port):
    return {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
    }


def one_line(error):
    lines = [line for line in error.splitlines() if line.strip()]
    assert lines[-1].startswith("error: ") and "Traceback" not in error, error
    return lines[-1]


def children(pid):
    """The processes that a process started."""
    return [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    """Whether a process runs."""
    stat = pathlib.Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def complete(run_dir, count=9):
    """Every trial was made, and made once."""
    assert len(rows(run_dir)) == len(ran(run_dir)) == len(set(ran(run_dir))) == count
    assert set(statuses(run_dir).values()) == {"COMPLETED"}
    assert (run_dir / "best.flags").exists()


@pytest.mark.slow
def test_chief_and_two_workers_of_which_one_is_killed_and_started_again(tmp_path):
    run_dir, port = tmp_path / "s", free_port()
    given = arguments(run_dir, GRID, "--algorithm=grid", "--max_trials=8", "--patience=60")
    slowly = {"STUB_SECONDS": "2"}
    chief = start(given, **environment("chief", port))
    workers = {name: start(given, **environment(name, port), **slowly) for name in ("tuner0", "tuner1")}
    wait_until(lambda: len(ran(run_dir)) >= 3)
    workers["tuner1"].kill()
    end(workers["tuner1"], -signal.SIGKILL)
    workers["tuner1"] = start(given, **environment("tuner1", port), **slowly)
    out, _ = end(chief)
    for worker in workers.values():
        end(worker)
    assert "trial 8 of 8" in out
    assert len(rows(run_dir)) == len(set(ran(run_dir))) == 8
    # The trial that the killed worker was at was taken up again, under its name; no other was.
    assert len(ran(run_dir)) - 8 in (0, 1)
    assert set(statuses(run_dir).values()) == {"COMPLETED"}


@pytest.mark.slow
def test_a_killed_chief_that_comes_back_goes_on_with_its_workers(tmp_path):
    run_dir, port = tmp_path / "s", free_port()
    given = arguments(run_dir, GRID, "--algorithm=grid", "--patience=60")
    chief = start(given, **environment("chief", port))
    worker = start(given, **environment("tuner0", port), STUB_SECONDS="1")
    wait_until(lambda: len(ran(run_dir)) >= 3)
    chief.kill()
    end(chief, -signal.SIGKILL)
    chief = start(given, **environment("chief", port))
    end(chief)
    end(worker)
    complete(run_dir)


@pytest.mark.slow
def test_a_worker_that_does_not_come_back_loses_its_trial_to_another(tmp_path):
    run_dir, port = tmp_path / "s", free_port()
    given = arguments(run_dir, GRID, "--algorithm=grid", "--max_trials=3", "--patience=6")
    chief = start(given, **environment("chief", port))
    lost = start(given, **environment("tuner0", port), STUB_SECONDS="600")
    wait_until(lambda: len(ran(run_dir)) == 1)
    lost.kill()
    end(lost, -signal.SIGKILL)
    worker = start(given, **environment("tuner1", port))
    _, error = end(chief)
    end(worker)
    assert "worker tuner0 has been silent for 6 s; trial 0000 goes to another" in error
    assert len(rows(run_dir)) == 3 and ran(run_dir).count(ran(run_dir)[0]) == 2


@pytest.mark.slow
def test_a_worker_without_a_chief_gives_up_in_one_line(tmp_path):
    run_dir, port = tmp_path / "s", free_port()
    given = arguments(run_dir, GRID, "--algorithm=grid", "--patience=3")
    _, error = end(start(given, **environment("tuner0", port)), 4)
    assert "no chief has begun a search" in one_line(error)
    chief = start(given, **environment("chief", port))
    worker = start(given, **environment("tuner0", port), STUB_SECONDS="4")
    wait_until(lambda: ran(run_dir))
    chief.kill()
    _, error = end(worker, 4)
    assert f"the chief at 127.0.0.1:{port} has not answered for 3 s" in one_line(error)
    end(chief, -signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_of_another_search_is_refused(tmp_path):
    run_dir, port = tmp_path / "s", free_port()
    chief = start(arguments(run_dir, GRID, "--algorithm=grid"), **environment("chief", port))
    wait_until(lambda: (run_dir / "base.flags").exists())
    other = arguments(run_dir, '"loss.depth_weight" = [1.0]', "--algorithm=grid", "--seed=3")
    _, error = end(start(other, **environment("tuner0", port)), 2)
    assert "made with another search" in one_line(error) and "--seed was 0, now 3" in error
    chief.terminate()
    _, error = end(chief, 4)
    assert "stopped by SIGTERM" in one_line(error)


@pytest.mark.slow
def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = arguments(tmp_path / "s", GRID, "--algorithm=grid")
        _, error = end(start(given, **environment("chief", port)), 2)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in one_line(error)


@pytest.mark.slow
def test_workers_on_this_machine_and_one_of_them_killed(tmp_path):
    run_dir = tmp_path / "s"
    given = arguments(run_dir, GRID, "--algorithm=grid", "--workers=2")
    search = start(given, STUB_SECONDS="2")
    wait_until(lambda: len(ran(run_dir)) >= 2)
    os.kill(children(search.pid)[0], signal.SIGKILL)
    out, error = end(search)
    assert "ended with signal 9 and is started again" in error and "trial 9 of 9" in out
    assert len(rows(run_dir)) == len(set(ran(run_dir))) == 9 and len(ran(run_dir)) <= 10
    # Finished: nobody is started, nothing is repeated.
    before = ran(run_dir)
    out, _ = end(start(given))
    assert ran(run_dir) == before and "9 trials" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_search_leaves_no_worker_behind_and_goes_on(tmp_path, number):
    run_dir = tmp_path / "s"
    given = arguments(run_dir, GRID, "--algorithm=grid", "--workers=2")
    search = start(given, STUB_SECONDS="1")
    wait_until(lambda: len(ran(run_dir)) >= 4)
    workers = children(search.pid)
    assert len(workers) == 2
    search.send_signal(number)
    _, error = end(search, 4 if number == signal.SIGTERM else -number)
    assert number == signal.SIGKILL or "the same command continues" in one_line(error)
    wait_until(lambda: not any(alive(worker) for worker in workers), 20)
    end(start(given))
    assert len(rows(run_dir)) == len(set(ran(run_dir))) == 9 and len(ran(run_dir)) <= 11


@pytest.mark.slow
def test_workers_of_its_own_and_a_role_of_the_environment_do_not_go_together(tmp_path):
    given = arguments(tmp_path / "s", GRID, "--algorithm=grid", "--workers=2")
    _, error = end(start(given, **environment("chief", free_port())), 2)
    assert "starts a chief and workers of its own" in one_line(error)
