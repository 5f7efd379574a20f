"""Numbers under test are float64, and silent dtype or rank promotion is an error."""

import importlib.metadata
import os

# Tests ask for numbers, not for speed, and most of their time goes into compilation. Before JAX
# starts its backend; what depends on the optimiser runs in a process without this.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",
        # A third of the suite's time. Later versions do not know it, and stop at an unknown flag.
        "--xla_cpu_use_fusion_emitters=false"
        * importlib.metadata.version("jaxlib").startswith("0.10."),
    ]
)

# A worker a core: threads of boosting and of linear algebra would wait for each other, spinning.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Every test compiles what it tests, and leaves the cache of whoever runs it alone.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

# The package is not imported here: pytest loads this file before the jaxtyping hook is installed,
# and whatever is imported before the hook goes unchecked.
import hypothesis
import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

matplotlib.use("Agg")

hypothesis.settings.register_profile(
    "quick",
    max_examples=15,
    deadline=None,
    # Examples come out the same on every machine: a red run can be repeated.
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("quick")
