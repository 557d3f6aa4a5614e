"""Training runs that need a process of their own: `python training_scenarios.py '{"devices": 2, ...}'`.

Prints one JSON line with the final weights and the history; tests start it and compare.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

PROJECT = pathlib.Path(__file__).resolve().parents[1]
SCENARIO = {
    "backend": "tensorflow",
    "devices": 1,
    "several": False,
    "block_tensorflow": False,
    "amp": False,
    "xla": False,
    "epochs": 1,
    "samples": 16,
    "batch_size": 4,
    "dropout": 0.0,
    "norm": False,
    "resume": False,
    "optimizer": {},
    "schedule": {"type": "poly", "peak": 0.05},
    "save_every_steps": None,
    "policy": None,
    "kill_after_s": None,
    "remat": False,
    "hosts": None,
    "process": None,
}


def prepare(scenario: dict) -> None:
    """Sets up the backend before Keras is imported."""
    os.environ["KERAS_BACKEND"] = scenario["backend"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]
    if scenario["block_tensorflow"]:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    if scenario["backend"] == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(scenario["devices"])]
        )
    else:
        import jax

        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", scenario["devices"])


def run(scenario: dict) -> dict:
    """Trains the tiny network; the history and the final weights by name."""
    prepare(scenario)
    import keras
    from training_stand_ins import Batches, CrossEntropy, network

    from metrics.streaming import StreamingDice
    from training.assembly import initial_rate
    from training.budget import Budget
    from training.cluster import find_process, join_cluster
    from training.loaders import Batching, feed_of
    from training.loop import fit
    from training.optimizers import OptimizerChoice, build_optimizer
    from training.runtime import start_runtime
    from training.schedules import ScheduleChoice
    from training.session import Rules
    from training.step import TrainingModel
    from training.validation import validate_batches

    process = find_process(scenario["hosts"], scenario["process"])
    join_cluster(scenario["hosts"], process)
    runtime = start_runtime(
        process=process,
        several=scenario["several"],
        amp=scenario["amp"],
        xla=scenario["xla"],
        deterministic=True,
        seed=7,
    )
    if scenario["policy"]:
        keras.config.set_dtype_policy(scenario["policy"])
    loader = Batches(batch_size=scenario["batch_size"], samples=scenario["samples"], shard=process)
    schedule, budget = ScheduleChoice(**scenario["schedule"]), Budget(epochs=scenario["epochs"])
    with runtime.scope():
        model = TrainingModel(
            network(dropout=scenario["dropout"], norm=scenario["norm"]),
            CrossEntropy(),
            dice=StreamingDice(2),
            class_names=["liver"],
            xla=runtime.xla,
            remat=scenario["remat"],
        )
        rate = initial_rate(schedule, budget, steps_per_epoch=len(loader))
        scaled = (scenario["policy"] or runtime.precision) == "mixed_float16"
        model.prepare(build_optimizer(OptimizerChoice(**scenario["optimizer"]), learning_rate=rate, scale_loss=scaled))

    batching = Batching(threads=2)
    if scenario["kill_after_s"] is not None:
        threading.Timer(scenario["kill_after_s"], os.kill, (os.getpid(), signal.SIGKILL)).start()
    outcome = fit(
        model,
        loader,
        rules=Rules(budget=budget, schedule=schedule, save_every_steps=scenario["save_every_steps"]),
        folder=pathlib.Path(scenario["folder"]),
        validate=validate_batches(feed_of(loader, batching, runtime=runtime, endless=False)),
        resume=scenario["resume"],
        feed=feed_of(loader, batching, runtime=runtime),
        writes=runtime.chief,
    )
    return {
        "history": outcome.progress.history,
        "weights": {variable.path: variable.numpy().tolist() for variable in model.network.weights},
        "replicas": runtime.replicas,
        "tensorflow": sys.modules.get("tensorflow") is not None,
    }


def start(folder: pathlib.Path, **changes: object) -> dict:
    """Runs a scenario in a process of its own and returns what it prints; `{}` where it was killed as wished."""
    scenario = {**SCENARIO, "folder": str(folder), **changes}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(scenario)], capture_output=True, text=True, timeout=300, check=False
    )
    if scenario["kill_after_s"] is not None and done.returncode == -signal.SIGKILL:
        return {}
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(run({**SCENARIO, **json.loads(sys.argv[1])})) + "\n")
