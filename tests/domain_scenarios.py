"""Runs on two small domains that need a process of their own: `python domain_scenarios.py '{"devices": 2, ...}'`.

Prints one JSON line: history, final weights, and the optimizer's state, by name.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np

SCENARIO = {
    "backend": "tensorflow",
    "devices": 1,
    "block_tensorflow": False,
    "xla": False,
    "epochs": 1,
    "steps": 4,
    "domains": ["one", "two"],
    "resume": False,
    "optimizer": {"type": "adam", "weight_decay": 0.01},
    "save_every_steps": None,
    "kill_after_steps": None,
}
SIZES = {"one": (8, 8, 8, 1), "two": (4, 8, 12, 2)}
CLASSES = {"one": 2, "two": 3}


class Boxes:
    """Two samples a batch, brighter where the label is higher; random, by epoch and batch."""

    batch_size = 2

    def __init__(self, name: str, *, batches: int = 50) -> None:
        self.name, self.batches, self.epoch = name, batches, 0

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int):
        rng = np.random.default_rng([self.epoch, index, len(self.name), SIZES[self.name][0]])
        label = rng.integers(0, CLASSES[self.name], (2, *SIZES[self.name][:-1], 1)).astype(np.uint8)
        return (label + rng.normal(0, 0.3, (2, *SIZES[self.name]))).astype(np.float32), label

    def names(self, index: int) -> list[str]:
        return [f"{self.name} {index}"] * 2


class Killer:
    """An observer that kills its process after so many batches of an epoch."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def started(self, progress, epochs) -> None:
        pass

    def batch(self, step, steps, logs) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, row, progress) -> None:
        pass

    def finished(self) -> None:
        pass


def make_model(runtime, domains, **optimizer):
    """A network of base 2 for both domains, of which `domains` are trained."""
    from losses import build_loss
    from losses.objective import Objective
    from models import build_model
    from training.domains import DomainChoice, assemble_domains
    from training.optimizers import OptimizerChoice

    known = [{"name": name, "channels": SIZES[name][-1], "classes": CLASSES[name]} for name in SIZES]
    choices = {
        name: DomainChoice(
            Objective(build_loss("dice_ce")), [f"c{n}" for n in range(1, CLASSES[name])], SIZES[name][:-1]
        )
        for name in domains
    }
    return assemble_domains(
        lambda: build_model(
            "universal_unet",
            input_shape=(None, None, None),
            domains=known,
            base_filters=2,
            strides=[[1, 1, 1], [2, 2, 2]],
        ),
        choices,
        optimizer=OptimizerChoice(**optimizer),
        learning_rate=0.01,
        runtime=runtime,
    )


def state(model) -> dict:
    """Every number of network and optimizer by name; on JAX after its state was brought back."""
    from training.optimizers import inner_optimizer

    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    weights = {f"network/{variable.path}": np.asarray(variable) for variable in model.network.weights}
    kept = {
        f"optimizer/{variable.path}": np.asarray(variable) for variable in inner_optimizer(model.optimizer).variables
    }
    return weights | kept


def run(scenario: dict) -> dict:
    sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
    from training_scenarios import prepare

    prepare(scenario)
    from data_generators.domains import DomainLoader, DomainOrder
    from training.budget import Budget
    from training.domain_feeds import domain_feed
    from training.domains import validate_domains
    from training.loaders import Batching, feed_of
    from training.loop import fit
    from training.runtime import start_runtime
    from training.session import Rules
    from training.validation import validate_batches

    runtime = start_runtime(several=scenario["devices"] > 1, amp=False, xla=scenario["xla"], deterministic=True, seed=7)
    model = make_model(runtime, scenario["domains"], **scenario["optimizer"])
    loaders = {name: Boxes(name) for name in scenario["domains"]}
    loader = DomainLoader(loaders, DomainOrder([1] * len(loaders), scenario["steps"]))
    batching = Batching(threads=2)
    feed = domain_feed(loader, batching, runtime=runtime)

    measures = {
        name: validate_batches(feed_of(Boxes(name, batches=1), batching, runtime=runtime, endless=False))
        for name in scenario["domains"]
    }
    outcome = fit(
        model,
        loader,
        rules=Rules(budget=Budget(epochs=scenario["epochs"]), save_every_steps=scenario["save_every_steps"]),
        folder=pathlib.Path(scenario["folder"]),
        validate=validate_domains(measures),
        observers=[Killer(scenario["kill_after_steps"])],
        resume=scenario["resume"],
        feed=feed,
    )
    return {
        "history": outcome.progress.history,
        "state": {name: value.tolist() for name, value in state(model).items()},
        "replicas": runtime.replicas,
    }


def start(folder: pathlib.Path, **changes: object) -> dict:
    """Runs a scenario in a process of its own and returns what it prints; `{}` where it was killed as wished."""
    scenario = {**SCENARIO, "folder": str(folder), **changes}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(scenario)], capture_output=True, text=True, timeout=600, check=False
    )
    if scenario["kill_after_steps"] is not None and done.returncode == -signal.SIGKILL:
        return {}
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(run({**SCENARIO, **json.loads(sys.argv[1])})) + "\n")
