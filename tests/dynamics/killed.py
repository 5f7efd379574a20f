"""Runs in a process of their own that is killed soon after some of its checkpoints."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import sparsejax as sj

SCRIPT = """
import importlib, jax, sys, time
jax.config.update("jax_enable_x64", True)
folder, module, run, checkpoints = sys.argv[1:]
sys.path.append(folder)
here = importlib.import_module(f"tests.dynamics.{module}")
from sparsejax.dynamics.checkpoint import Checkpoints
save = Checkpoints.save
def slow(self, number, state):
    save(self, number, state)
    print(number, flush=True)
    time.sleep(0.2)
Checkpoints.save = slow
getattr(here, run)(checkpoints)
"""


def killed_after(checkpoints, module, run, folder):
    """`module.run(folder)` as often as there are numbers, killed after so many checkpoints each."""
    here, root = str(Path(__file__).parents[2]), str(Path(sj.__file__).parent.parent)
    command = [sys.executable, "-c", SCRIPT, here, module, run, str(folder)]
    for count in checkpoints:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}
        )
        for _ in range(count):
            assert process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
