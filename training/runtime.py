"""One choice of backend, devices, precision, compilation and seeds, made once, before the network is built.

The only place that seeds global generators.
"""

import contextlib
import logging
import os
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from training.devices import choose_ids, find_devices, share_batches, use_one

log = logging.getLogger(__name__)

Switch = bool | str
"""`True`, `False`, or `"auto"`."""


@dataclass(frozen=True)
class Runtime:
    """What training runs on.

    Attributes:
        backend: Keras backend, `tensorflow` or `jax`.
        kind: `cpu`, `gpu` or `tpu`.
        devices: Names of the devices that share a batch.
        precision: Keras dtype policy: `float32`, `mixed_bfloat16` or `mixed_float16`.
        xla: The step is compiled by XLA.
        deterministic: The same weights twice.
        seed: Seed of the global generators.
        strategy: TensorFlow's distribution strategy where several devices share a batch.
        process: This process and the number of processes, several machines on JAX.
    """

    backend: str
    kind: str
    devices: tuple[str, ...]
    precision: str
    xla: bool
    deterministic: bool
    seed: int
    strategy: Any = None
    process: tuple[int, int] = (0, 1)

    @property
    def replicas(self) -> int:
        """Devices of this process that share a batch."""
        return len(self.devices)

    @property
    def chief(self) -> bool:
        """This process writes files."""
        return self.process[0] == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Where network, optimizer and metrics must be made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()


def start_runtime(
    *,
    several: bool = False,
    gpu_ids: int | Sequence[int] = -1,
    amp: Switch = "auto",
    xla: Switch = "auto",
    deterministic: bool = False,
    seed: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Runtime:
    """Resolves and applies the choice, and logs it in one line. `KERAS_BACKEND` has been set before.

    Args:
        several: Share each batch among several devices.
        gpu_ids: Which of them: -1 all, `n` the first `n`, a list exactly these. Logical CPU devices count where
            there is no accelerator.
        amp: Mixed precision.
        xla: Compile the step.
        deterministic: Operations whose result does not depend on chance.
        seed: Seed of the global generators.
        process: This process and the number of processes; `training.cluster.join_cluster` came before.

    Raises:
        ValueError: A device does not exist.
    """
    found = find_devices()
    several = several or process[1] > 1
    ids = choose_ids(gpu_ids if several else 1, found.names)
    backend = str(keras.backend.backend())
    precision, precision_reason = choose_precision(amp, kind=found.kind, bfloat16=found.bfloat16)
    compiled, xla_reason = choose_xla(xla, kind=found.kind, backend=backend)
    seed_everything(seed, deterministic=deterministic)
    strategy = None
    if len(ids) > 1 or process[1] > 1:
        strategy = share_batches(found.kind, ids, processes=process[1])
    else:
        use_one(found.kind, min(ids))
    keras.config.set_dtype_policy(precision)
    devices = tuple(found.names[place] for place in ids)
    log.info(
        "Backend %s on %s%s; precision %s (%s); XLA %s (%s); seed %d%s.",
        backend,
        ", ".join(devices),
        _several_reason(several, len(ids), found.kind),
        precision,
        precision_reason,
        "on" if compiled else "off",
        xla_reason,
        seed,
        ", deterministic" if deterministic else "",
    )
    return Runtime(backend, found.kind, devices, precision, compiled, deterministic, seed, strategy, process)


def choose_precision(amp: Switch, *, kind: str, bfloat16: bool) -> tuple[str, str]:
    """The dtype policy for a wish and a kind of device, and why.

    bfloat16 needs no loss scaling; float16 is for GPUs that cannot do it (before Ampere).
    """
    if amp is False:
        return "float32", "AMP is off"
    if amp == "auto" and kind == "cpu":
        return "float32", "AMP auto: a CPU gains nothing from it"
    if bfloat16:
        return "mixed_bfloat16", f"AMP {amp}: the {kind} has bfloat16"
    return "mixed_float16", f"AMP {amp}: the {kind} has no bfloat16; the loss is scaled"


def choose_xla(xla: Switch, *, kind: str, backend: str) -> tuple[bool, str]:
    """Whether the step is compiled, and why. JAX always compiles."""
    if backend == "jax":
        return True, "JAX always compiles" if xla is not False else "JAX always compiles, XLA=False or not"
    if xla == "auto":
        return kind != "cpu", f"auto on {kind}"
    return bool(xla), "as asked"


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Seeds Python, NumPy and the backend; Keras draws the seeds of layers and initialisers from Python's generator.

    Args:
        seed: Any number from 0.
        deterministic: Also makes TensorFlow's operations deterministic; JAX' are on CPU, and on GPUs by an XLA flag.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    elif deterministic:
        flag = "--xla_gpu_deterministic_ops=true"
        flags = os.environ.get("XLA_FLAGS", "")
        if flag not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()


def _several_reason(several: bool, count: int, kind: str) -> str:
    if not several:
        return ""
    if count > 1:
        return f" ({count} devices share each batch)"
    return f" (one {kind} only, so USE_MULTI_GPUS changes nothing)"
