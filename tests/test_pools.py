"""The processes that tools share work among."""

import pathlib
import subprocess
import sys
import time

from tests.helpers import ROOT


def test_no_process_of_a_pool_outlives_a_killed_tool():
    program = f"""
import os, sys, time
sys.path[:0] = [{str(ROOT / "tools")!r}, {str(ROOT)!r}]
from _writing import process_pool
if __name__ == "__main__":
    pool = process_pool(2, 16)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    worker = pathlib.Path(f"/proc/{int(process.stdout.readline())}")
    assert worker.exists()
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while worker.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not worker.exists()
