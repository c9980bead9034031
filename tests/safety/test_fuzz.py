"""A share of the damaged files of `tests.safety.fuzz`, and that what the fuzzing watches for would be noticed."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT
from tests.safety.fuzz import KINDS, run

SHARES = {  # of each kind; those of one process together
    "configuration": {"options": 150, "flag_file": 100, "experiments": 150, "data_set": 300},
    "the others": {
        **{"search": 100, "safetensors_file": 150, "torch_zip": 150, "torch_legacy": 150},
        **{"keras_hdf5": 60, "best_weights": 60, "checkpoint": 30},
    },
}


@pytest.mark.parametrize("share", ["configuration", pytest.param("the others", marks=pytest.mark.slow)])
def test_damage_is_refused_in_one_line_or_does_no_harm(share):
    done = run(SHARES[share], seed=0)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    for kind, count in SHARES[share].items():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{kind}: ")]
        _, cases, _, refused, _, sound, *_ = line.split()
        assert int(cases) == int(refused) + int(sound) == count
        assert int(refused) > 0 and int(sound) > 0  # the damage is real, and not all there is


def test_every_kind_has_a_share():
    assert {kind for share in SHARES.values() for kind in share} == set(KINDS)
    assert sum(share for _, share in KINDS.values()) == pytest.approx(1)


DEEDS = (  # of which Python tells before it tries them: some are of files that are not there
    "open(OUTSIDE, 'w')",
    "os.open(OUTSIDE, os.O_CREAT)",
    "os.mkdir(OUTSIDE + '1')",
    "os.rename(PLACE + '/inside', OUTSIDE)",
    "os.rename(OUTSIDE, PLACE + '/inside')",
    "os.link(PLACE + '/inside', OUTSIDE + '2')",
    "os.symlink(PLACE + '/inside', OUTSIDE + '3')",
    "os.truncate(OUTSIDE, 0)",
    "os.chmod(OUTSIDE, 0o600)",
    "os.chown(OUTSIDE, -1, -1)",
    "os.remove(OUTSIDE)",
    "os.rmdir(OUTSIDE + '1')",
    "shutil.rmtree(OUTSIDE + '1')",
    "os.system('true')",
    "subprocess.run(['true'])",
    "os.fork() or os._exit(0)",
    "os.posix_spawn('/nowhere', ['x'], {})",
    "os.execv('/nowhere', ['x'])",
    "socket.socket().connect(('127.0.0.1', 9))",
)


def test_the_watch_sees_what_no_case_may_do(tmp_path):
    program = f"""
import contextlib, os, pathlib, shutil, socket, subprocess
from tests.safety.fuzz import Watch
PLACE, OUTSIDE = {str(tmp_path / "place")!r}, {str(tmp_path / "place2")!r}
os.mkdir(PLACE)
watch = Watch(pathlib.Path(PLACE))
with watch():
    open(PLACE + "/inside", "w").close()
    os.mkdir(PLACE + "/folder")
    os.rename(PLACE + "/folder", PLACE + "/other")
    shutil.rmtree(PLACE + "/other")
    open("/etc/hostname").close()
for deed in {DEEDS!r}:
    try:
        with watch(), contextlib.suppress(OSError):
            exec(deed)
    except AssertionError:
        watch.seen.clear()
    else:
        print("not seen:", deed)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
