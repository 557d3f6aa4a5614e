"""What the scripts share: reading the command line, answering mistakes in one line, leaving with an exit code."""

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from omegaconf import DictConfig

from configs.compose import FOLDER, GROUPS, compose, finish, group_options, leaves, parse, spell
from configs.quiet import quiet_tensorflow
from configs.schema import Config

Task = Callable[[DictConfig], int | None]


def entry(task: Task, *, checks: Sequence[Task] = ()) -> None:
    """Runs a script's task with the configuration of the command line, then leaves the process.

    Sets `KERAS_BACKEND` before anything imports Keras. `--multirun` and Hydra's other options go to Hydra.

    Args:
        task: Receives the configuration; its result is the exit code, `None` for 0.
        checks: Called before `task`, in order; quick, so that mistakes are answered before heavy imports.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's banner says nothing about the run
    arguments = sys.argv[1:]
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(help_text(os.path.basename(sys.argv[0])))  # noqa: PTH119
        sys.exit(0)
    debug = "DEBUG=True" in arguments
    if not debug:
        quiet_tensorflow()
    try:
        if any(argument.startswith("-") for argument in arguments):
            sys.exit(_run_with_hydra(task, checks))
        sys.exit(_run(task, checks, compose(arguments)))
    except (ValueError, OSError) as error:
        if debug:
            raise
        text = " ".join(str(error).split())
        sys.stderr.write(f"{text}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def help_text(script: str) -> str:
    """Every key with its default and meaning, and the files of every group."""
    lines = [f"python {script} KEY=VALUE ...", "", "Groups:"]
    lines += [f"  {group}={'|'.join(group_options(group))}" for group in GROUPS]
    lines += ["", "Keys:"]
    for name, item in leaves(Config):
        default = item.default_factory() if callable(item.default_factory) else item.default
        lines.append(f"  {name}={default}  {item.metadata['help']}")
    return "\n".join(lines) + "\n"


def _run(task: Task, checks: Sequence[Task], cfg: DictConfig) -> int:
    if cfg.BACKEND is not None:
        os.environ["KERAS_BACKEND"] = cfg.BACKEND
    for check in checks:
        check(cfg)
    return task(cfg) or 0


def _run_with_hydra(task: Task, checks: Sequence[Task]) -> int:
    """`--multirun` and friends: Hydra reads the command line itself and calls the task once per job.

    Returns:
        The largest exit code of the jobs that ran in this process; a cluster's jobs leave theirs with the cluster.
    """
    codes = [0]
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    overrides = parse(words)
    spelled = dict(zip(words, map(spell, overrides), strict=True))
    sys.argv[1:] = [spelled.get(word, word) for word in sys.argv[1:]]

    def job(cfg: DictConfig) -> int:
        said = [override for override in overrides if not override.is_sweep_override()]
        codes.append(_run(task, checks, finish(cfg, said)))
        return codes[-1]

    hydra.main(version_base="1.3", config_path=str(FOLDER), config_name="config")(job)()
    return max(codes)
