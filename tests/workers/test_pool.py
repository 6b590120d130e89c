import os
import select
import subprocess
import sys
from pathlib import Path

STAGE = """
import os, time
from darkroom.workers.pool import new_pool
if __name__ == '__main__':
    pool = new_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 3600)
    time.sleep(3600)
"""


def test_workers_die_with_a_stage_that_is_killed(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the resource tracker complains of what the kill left
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as stage:
        worker = os.pidfd_open(int(stage.stdout.readline()))
        stage.kill()
    ended, _, _ = select.select([worker], [], [], 600)
    os.close(worker)
    assert ended, "the worker outlived its stage"
