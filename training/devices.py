"""Which devices there are and how several of them share a batch, for each Keras backend."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Devices:
    """Devices of one kind on this machine.

    Attributes:
        kind: `cpu`, `gpu` or `tpu`.
        names: One name for each, in the order of their ids.
        bfloat16: They multiply bfloat16 in hardware.
    """

    kind: str
    names: tuple[str, ...]
    bfloat16: bool


def choose_ids(wanted: int | Sequence[int], existing: Sequence[str]) -> tuple[int, ...]:
    """Ids of the devices to use.

    Args:
        wanted: -1 for all, `n` for the first `n`, a list for exactly these.
        existing: Names of the devices there are.

    Raises:
        ValueError: A device is asked for that does not exist, twice, or none is.
    """
    everything = tuple(range(len(existing)))
    ids = everything[: len(everything) if wanted == -1 else wanted] if isinstance(wanted, int) else tuple(wanted)
    listed = ", ".join(f"{place}: {name}" for place, name in enumerate(existing))
    if isinstance(wanted, int) and wanted != -1 and not 1 <= wanted <= len(existing):
        raise ValueError(
            f"USE_MULTI_GPUS.GPU_IDS={wanted} asks for {wanted} devices; there are {len(existing)} ({listed}). "
            f"Type USE_MULTI_GPUS.GPU_IDS=-1 for all of them."
        )
    unknown = [place for place in ids if place not in everything]
    if unknown or not ids or len(set(ids)) != len(ids):
        raise ValueError(
            f"USE_MULTI_GPUS.GPU_IDS={list(ids)} does not name devices of this machine, each once. "
            f"There are {listed}. Type USE_MULTI_GPUS.GPU_IDS=[{','.join(map(str, everything))}] or fewer."
        )
    return ids


def find_devices() -> Devices:
    """The accelerators of this machine, or its CPU devices where it has none."""
    return _tensorflow_devices() if keras.backend.backend() == "tensorflow" else _jax_devices()


def share_batches(kind: str, ids: Sequence[int], *, processes: int = 1) -> Any:
    """Sets up data parallelism over several devices.

    TensorFlow gets a `MirroredStrategy`, or with several processes a `MultiWorkerMirroredStrategy`; JAX a
    `keras.distribution.DataParallel` that holds from now on.

    Args:
        kind: `cpu`, `gpu` or `tpu`.
        ids: Devices of this process.
        processes: That train together; all devices of all of them are used then.

    Returns:
        The TensorFlow strategy; `None` on JAX.
    """
    if keras.backend.backend() != "tensorflow":
        names = keras.distribution.list_devices(kind)
        chosen = names if processes > 1 else [names[place] for place in ids]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False))
        return None
    import tensorflow as tf

    places = ids if kind == "cpu" else range(_show_only(ids))
    if processes > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.MirroredStrategy([f"{kind.upper()}:{place}" for place in places])


def use_one(kind: str, place: int) -> None:
    """Keeps everything on one device; the others stay free for other programs."""
    if kind == "cpu":
        return
    if keras.backend.backend() == "tensorflow":
        _show_only([place])
        return
    import jax

    jax.config.update("jax_default_device", jax.local_devices()[place])


def _tensorflow_devices() -> Devices:
    import tensorflow as tf

    accelerators = tf.config.list_physical_devices("GPU")
    if not accelerators:
        # Listing logical devices would start TensorFlow, too early for a strategy of several processes.
        configured = tf.config.get_logical_device_configuration(tf.config.list_physical_devices("CPU")[0])
        names = tuple(f"/device:CPU:{place}" for place in range(len(configured or [None])))
        return Devices("cpu", names, bfloat16=True)
    details = [tf.config.experimental.get_device_details(device) for device in accelerators]
    capable = all(tuple(detail.get("compute_capability") or (0, 0)) >= (8, 0) for detail in details)
    names = tuple(str(detail.get("device_name", "GPU")) for detail in details)
    return Devices("gpu", names, bfloat16=capable)


def _jax_devices() -> Devices:
    import jax

    found = jax.local_devices()
    kind = "gpu" if found[0].platform in {"gpu", "cuda", "rocm"} else str(found[0].platform)
    capability = str(getattr(found[0], "compute_capability", "") or "")
    older = kind == "gpu" and capability.replace(".", "").isdigit() and float(capability) < 8.0
    names = tuple(f"{device.device_kind} {device.id}" for device in found)
    return Devices(kind, names, bfloat16=not older)


def _show_only(ids: Sequence[int]) -> int:
    """Hides the other GPUs from TensorFlow and lets the chosen ones take memory as they need it; their number."""
    import tensorflow as tf

    chosen = [tf.config.list_physical_devices("GPU")[place] for place in ids]
    try:
        tf.config.set_visible_devices(chosen, "GPU")
        for device in chosen:
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:
        log.warning("TensorFlow was in use before the devices were chosen: it may hold memory on all of them.")
    return len(chosen)
