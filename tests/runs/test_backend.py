"""What the command line tells JAX before it starts, seen from processes of its own."""

import os
import subprocess
import sys

import pytest

from sparsejax.runs.backend import available_cores

# Four flows in one program: eight devices of one thread, and one device, by the same claim's code.
ON_DEVICES = """
import jax, numpy as np, sys
import jax.numpy as jnp
from sparsejax.claims.claim import Trial
from sparsejax.runs import RunFolder, run_claim
from sparsejax.runs.backend import split_cpu
from mean_claim import BatchedMeanClaim, MeanConfig
from sparsejax.dynamics import gradient_flows

jax.config.update("jax_enable_x64", True)
split_cpu(int(sys.argv[1]))

def energy(loss, w):
    return 0.25 * jnp.sum(loss * w**4)

class Flows(BatchedMeanClaim):
    # Each lane decays at its own rate.
    def measure_batch(self, config, trials):
        rates = jnp.array([[1.0 + trial.parameters["seed"]] for trial in trials])
        loss = jax.tree_util.Partial(energy, rates)
        flows = gradient_flows(
            loss, jnp.ones((len(trials), 2)), 1.0, rtol=1e-8, devices=jax.local_devices()
        )
        return [{"mean": w[0], "devices": len(jax.local_devices())} for w in flows.end]

    def batches(self, config, trials):
        return [trials]

config = MeanConfig(sizes=(10,), seeds=4, tolerance=10.0)
run = run_claim(Flows(), config, sys.argv[2])
folder = RunFolder.existing(sys.argv[2])
for trial in Flows().trials(config):
    arrays = folder.load(trial).arrays
    # dw/dt = -rate w^3 from 1; hundreds of steps, each of them with an error of 1e-8.
    exact = (1 + 2 * (1.0 + trial.parameters["seed"])) ** -0.5
    np.testing.assert_allclose(arrays["mean"], exact, rtol=1e-5)
    print(int(arrays["devices"]), repr(float(arrays["mean"])))
"""

SETTINGS = """
import os, jax
from sparsejax.runs import backend
before = dict(jax.config.values), os.environ.get("XLA_FLAGS")
print(backend.keep_programs())
print(jax.config.jax_compilation_cache_dir)
print(jax.config.jax_persistent_cache_min_compile_time_secs)
backend.split_cpu()
print(jax.local_device_count())
print(os.environ["XLA_FLAGS"])
"""


def run(script, *words, **environment):
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "XLA_", "XDG_"))
    }
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**plain, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_batch_over_eight_devices_is_the_batch_on_one(tmp_path):
    eight = [line.split() for line in run(ON_DEVICES, 8, tmp_path / "eight")]
    one = [line.split() for line in run(ON_DEVICES, 1, tmp_path / "one")]
    assert [count for count, _ in eight] == ["8"] * 4
    assert [count for count, _ in one] == ["1"] * 4
    for (_, here), (_, there) in zip(eight, one, strict=True):
        assert float(here) == pytest.approx(float(there), rel=1e-13)


def test_compiled_programs_go_to_the_user_s_cache_and_devices_to_the_cores(tmp_path):
    lines = run(SETTINGS, XDG_CACHE_HOME=str(tmp_path))
    folder = str(tmp_path / "sparsejax")
    cores = str(available_cores())
    assert lines == [folder, folder, "0.5", cores, "--xla_cpu_multi_thread_eigen=false"]
    assert (tmp_path / "sparsejax").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_what_the_user_has_chosen_stays(tmp_path):
    here = str(tmp_path / "own")
    lines = run(
        SETTINGS,
        JAX_COMPILATION_CACHE_DIR=here,
        JAX_NUM_CPU_DEVICES="3",
        XLA_FLAGS="--xla_cpu_multi_thread_eigen=true",
    )
    assert lines == ["None", here, "1.0", "3", "--xla_cpu_multi_thread_eigen=true"]
    lines = run(
        SETTINGS,
        JAX_ENABLE_COMPILATION_CACHE="false",
        XDG_CACHE_HOME=str(tmp_path),
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert lines == ["None", "None", "1.0", "2", "--xla_force_host_platform_device_count=2"]
    # No folder, or none that can be made: the run goes on without.
    (tmp_path / "file").touch()
    lines = run(SETTINGS, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert lines[:2] == ["None", "None"]


# Two devices; the second is 45 seconds slower, and then the results of both are put in order.
UNEVEN = """
import time
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, PartitionSpec
from sparsejax.runs.backend import split_cpu, wait_for_slow_devices

wait_for_slow_devices()
split_cpu(2)

def slow(x):
    time.sleep(45.0 * float(x[0]))
    return x

def lane(x):
    return jax.pure_callback(slow, x, x)

mesh = Mesh(np.array(jax.local_devices()), ("lanes",))
split = PartitionSpec("lanes")
dealt = jax.shard_map(lane, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
back = jax.jit(lambda x: dealt(x)[np.array([1, 0])])
print(back(jnp.array([0.0, 1.0])).tolist())
"""


@pytest.mark.slow
def test_a_quick_device_waits_for_a_slow_one():
    # By XLA's own patience the process would be ended after 40 seconds.
    assert run(UNEVEN) == ["[1.0, 0.0]"]
