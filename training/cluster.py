"""Several processes that train together, on one machine or many."""

import json
import os
from collections.abc import Mapping, Sequence


def find_process(
    hosts: Sequence[str] | None, process: int | None, *, environment: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """This process and the number of processes, before anything is started.

    Args:
        hosts: `host:port` of every process, the first one coordinates; `None` looks for the variables that Slurm's
            `srun` sets, and is one process where there are none.
        process: Number of this process in `hosts`.
        environment: Where to look.

    Raises:
        ValueError: `process` is missing or is none of `hosts`.
    """
    if hosts:
        if process is None or not 0 <= process < len(hosts):
            raise ValueError(
                f"CLUSTER.PROCESS={process} is none of the {len(hosts)} CLUSTER.HOSTS. "
                f"Type CLUSTER.PROCESS=0 on the first, up to {len(hosts) - 1} on the last."
            )
        return process, len(hosts)
    count = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    return (int(environment.get("SLURM_PROCID", "0")), count) if count > 1 else (0, 1)


def join_cluster(hosts: Sequence[str] | None, process: tuple[int, int]) -> None:
    """Meets the other processes; must come before anything else uses the devices. Nothing for one process.

    Args:
        hosts: As in `find_process`; with Slurm JAX finds the others itself.
        process: From `find_process`.

    Raises:
        ValueError: The backend is TensorFlow, and the hosts are not named.
    """
    if process[1] == 1:
        return
    import keras

    if keras.backend.backend() == "tensorflow":
        if not hosts:
            raise ValueError(
                f"TensorFlow does not find the {process[1]} processes of Slurm by itself. Type "
                "CLUSTER.HOSTS=[host:port,...] CLUSTER.PROCESS=$SLURM_PROCID, or BACKEND=jax."
            )
        task = {"type": "worker", "index": process[0]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(hosts)}, "task": task})
    elif hosts:
        keras.distribution.initialize(",".join(hosts), num_processes=process[1], process_id=process[0])
    else:
        keras.distribution.initialize()
