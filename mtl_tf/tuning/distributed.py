"""Keras Tuner's chief and workers: the roles, a chief that notices lost workers, and workers on this machine.

Keras Tuner's own chief waits for ever for a worker that does not come back, its worker an hour for a chief.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.training.stopping import StopSignal

POLL_SECONDS = 0.5
RESTARTS = 5  # of a worker that died
_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_SUPERVISOR = "MTL_TF_SUPERVISOR"  # process id of the chief that started this worker
_STOP_SECONDS = 60  # that a worker has to save its trial
_NOBODY = 15  # times the patience: how long a chief stays without any worker


@dataclasses.dataclass(frozen=True)
class Role:
    """What this process is in a search.

    Attributes:
        kind: "alone", "chief" or "worker".
        name: the id of a chief or worker.
        address: IP:PORT of the chief.
    """

    kind: str = "alone"
    name: str = ""
    address: str = ""


def role() -> Role:
    """The role that Keras Tuner's environment variables give.

    Raises:
        UsageError: one of them is missing or no name, address or port.
    """
    found = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if not found:
        return Role()
    missing = [name for name in _VARIABLES if name not in found]
    if missing:
        raise UsageError(
            f"{' and '.join(found)} set but not {' and '.join(missing)}; a chief or worker needs all three "
            "(KERASTUNER_TUNER_ID=chief or tuner0, tuner1, ...), a search in one process none"
        )
    name, address, port = found.values()
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"KERASTUNER_ORACLE_PORT takes a port from 1 to 65535, got {port!r}")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UsageError(f"KERASTUNER_TUNER_ID takes letters, digits, - and _ (chief, tuner0, ...), got {name!r}")
    return Role("chief" if "chief" in name else "worker", name, f"{address}:{port}")


def _grpc():
    # Before the first import: its own lines about ports and connections would stand beside ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    import grpc

    return grpc


class Chief:
    """Serves an oracle to workers while it is entered.

    Args:
        oracle: a `SafeOracle`, which has been resumed.
        address: IP:PORT to listen on; port 0 = any free one.
        patience: seconds after which a silent worker counts as lost and its trial is given to another.

    Attributes:
        address: where it listens.

    Raises:
        UsageError: the port is in use, or the address is not of this machine.
    """

    def __init__(self, oracle, address: str, patience: float):
        grpc = _grpc()
        from keras_tuner.src import protos

        self.oracle, self.patience = oracle, patience
        host, _, port = address.rpartition(":")
        _refuse_port_in_use(host, int(port))
        self._service = _servicer(oracle)
        # One thread: Keras Tuner's oracles are made for one question after another.
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
        protos.get_service_grpc().add_OracleServicer_to_server(self._service, self._server)
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise UsageError(f"cannot listen on {address}; set KERASTUNER_ORACLE_IP and _PORT to a free address")
        self.address = f"{host}:{bound}"
        self._begun = time.monotonic()

    def __enter__(self):
        self._begun = time.monotonic()
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(grace=2).wait(5)

    def serve(self, stop: StopSignal, tick=lambda: None):
        """Answers workers until every trial has ended and every worker knows; `tick` is called again and again."""
        if self.oracle.finished:
            return
        while not self._done():
            time.sleep(POLL_SECONDS)
            stop.leave_if_asked("while trials ran; the same command continues")
            if self._service.error:
                raise self._service.error
            tick()
            self._reclaim()

    def _done(self):
        with self.oracle.guard:
            return self._service.stopped and not self.oracle.ongoing_trials and not self.oracle.tuner_ids

    def _reclaim(self):
        now, seen = time.monotonic(), dict(self._service.seen)
        with self.oracle.guard:
            names = {*self.oracle.ongoing_trials, *self.oracle.tuner_ids}
        for name in names:
            if now - seen.get(name, self._begun) > self.patience:
                self.lose(name, f"has been silent for {self.patience:.0f} s")
        if now - max([self._begun, *seen.values()]) > _NOBODY * self.patience:
            raise StoppedError(
                f"no worker has asked the chief at {self.address} for {_NOBODY * self.patience:.0f} s; "
                "start workers and the same command again"
            )

    def lose(self, name: str, why: str):
        """Gives a worker up; its trial goes to another."""
        trial_id = self.oracle.reclaim(name)
        goes = f"; trial {trial_id} goes to another" if trial_id else ""
        print(f"worker {name} {why}{goes}", file=sys.stderr, flush=True)


def _refuse_port_in_use(host, port):
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"the chief cannot listen on {host}:{port}: {error.strerror}; end what uses the port, or set "
                "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT to a free address of this machine"
            ) from None


def _servicer(oracle):
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    class Servicer(OracleServicer):
        """Notes who asks, and keeps an error of the oracle for the chief's own process."""

        def __init__(self):
            super().__init__(oracle)
            self.seen: dict[str, float] = {}  # worker -> when it last asked
            self.error: Exception | None = None
            self.stopped = False

        def CreateTrial(self, request, context):  # noqa: N802
            self.seen[request.tuner_id] = time.monotonic()
            answer = self._answer(super().CreateTrial, request, context)
            self.stopped = self.stop_triggered
            return answer

        def UpdateTrial(self, request, context):  # noqa: N802
            return self._answer(super().UpdateTrial, request, context)

        def EndTrial(self, request, context):  # noqa: N802
            return self._answer(super().EndTrial, request, context)

        def GetSpace(self, request, context):  # noqa: N802
            for name, value in context.invocation_metadata():
                if name == "tuner":  # a worker's sign of life
                    self.seen[value] = time.monotonic()
            return super().GetSpace(request, context)

        def _answer(self, call, request, context):
            try:
                return call(request, context)
            except Exception as error:
                self.error = error
                context.abort(_grpc().StatusCode.INTERNAL, " ".join(str(error).split())[:300])

    return Servicer()


# === Workers ===


@contextlib.contextmanager
def working(tuner, me: Role, patience: float):
    """What a worker is in while it searches: it shows that it lives, and a lost chief becomes one line.

    Raises:
        StoppedError: the chief did not answer for `patience` seconds, or failed.
    """
    grpc = _grpc()
    from keras_tuner.src import protos
    from keras_tuner.src.distribute import oracle_client

    oracle_client.TIMEOUT = patience
    over = threading.Event()
    supervisor = int(os.environ.get(_SUPERVISOR, 0))

    def live():
        shown = 0.0
        while not over.wait(POLL_SECONDS):
            if supervisor and os.getppid() != supervisor:
                os._exit(StoppedError.exit_status)  # the trial's process ends with this one
            if time.monotonic() - shown > patience / 10:
                shown = time.monotonic()
                with contextlib.suppress(grpc.RpcError, ValueError):
                    request = protos.get_service().GetSpaceRequest()
                    tuner.oracle.stub.GetSpace(request, metadata=(("tuner", me.name),), timeout=5)

    threading.Thread(target=live, daemon=True).start()
    try:
        yield
    except grpc.RpcError as error:
        lost = error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        what = f"has not answered for {patience:.0f} s" if lost else f"failed ({error.details()})"
        raise StoppedError(
            f"the chief at {me.address} {what}; if the search has not ended, start it again and then this worker"
        ) from None
    finally:
        over.set()


class LocalWorkers:
    """Workers on this machine, started again if they die.

    Args:
        count: how many.
        arguments: of main.py, for each.
        chief: the chief that they ask.
        logs: folder for what they print.
    """

    def __init__(self, count: int, arguments: list[str], chief: Chief, logs: pathlib.Path):
        self._arguments, self._chief, self._logs = arguments, chief, logs
        self._restarts = dict.fromkeys((f"tuner{number}" for number in range(count)), 0)
        self._processes: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for name in self._restarts:
                self._start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, name):
        host, _, port = self._chief.address.rpartition(":")
        root = str(pathlib.Path(__file__).resolve().parents[2])
        environment = os.environ | dict(zip(_VARIABLES, (name, host, port), strict=True))
        environment |= {
            _SUPERVISOR: str(os.getpid()),
            "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])]),
            "no_grpc_proxy": host,
        }
        # Side by side on one GPU, nobody may take all of its memory.
        environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        program = "import sys; from mtl_tf.commands import main; sys.exit(main(sys.argv[1:]))"
        with open(self._log(name), "a", encoding="utf-8") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-c", program, *self._arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C comes once, from here
            )

    def _log(self, name):
        return self._logs / f"{name}.log"

    def tick(self):
        """Starts again what has died.

        Raises:
            UsageError: a worker found something wrong that starting again does not repair.
            StoppedError: none is left.
        """
        for name, process in list(self._processes.items()):
            status = process.poll()
            if status is None:
                continue
            del self._processes[name]
            if status == 0:
                continue
            if status == UsageError.exit_status:
                raise UsageError(f"worker {name} ended: {self._last_line(name).removeprefix('error: ')}")
            how = f"signal {-status}" if status < 0 else f"status {status}"
            if self._restarts[name] < RESTARTS:
                self._restarts[name] += 1
                print(f"worker {name} ended with {how} and is started again", file=sys.stderr, flush=True)
                self._start(name)
            else:
                self._chief.lose(name, f"ended with {how} {RESTARTS + 1} times and is given up ({self._log(name)})")
        if not self._processes and not self._chief.oracle.finished:
            raise StoppedError(f"no worker is left; see {self._logs}; the same command continues")

    def _last_line(self, name):
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def __exit__(self, *_):
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
