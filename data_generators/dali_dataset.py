"""DALI's batches as a `tf.data.Dataset`, also under a distribution strategy. The only part that needs TensorFlow."""

import functools
from collections.abc import Iterator
from typing import Any

from data_generators.dali import DaliError, DaliLoader
from data_generators.dali_feed import input_names
from data_generators.loaders import dali_plugin_installed


def check_dataset(loader: DaliLoader) -> None:
    """Refuses what DALI's datasets cannot do.

    Raises:
        DaliError: The plugin is missing, the last batch of an epoch would not be full, or there are no labels.
    """
    if not dali_plugin_installed():
        raise DaliError(
            "DALI's TensorFlow plugin is not installed: run `make setup`, or `pip install --no-build-isolation -r "
            "requirements-dali.txt`, or set DATA_GENERATOR_TYPE=SEQUENCE."
        )
    samples, size = len(loader.feeder.order(loader.epoch)), loader.batch_size * loader.shard[1]
    if not loader.drop_remainder and samples % size:
        raise DaliError(
            f"An epoch of {samples} samples is no multiple of {size}: DALI's datasets have full batches only. "
            "Lower HYPER_PARAMETERS.BATCH_SIZE, or set HYPER_PARAMETERS.STEPS_PER_EPOCH or "
            "DATA_GENERATOR_TYPE=SEQUENCE."
        )
    if not loader.source.has_labels:
        raise DaliError("DALI's datasets are for training: give labels, or set DATA_GENERATOR_TYPE=SEQUENCE.")


def distributed_batches(loader: DaliLoader, start: int, *, strategy: Any = None) -> Any:
    """DALI's batches, endlessly, where training wants them.

    Each replica gets its part of every batch of the loader, so that all of them together see what one device would.
    On GPUs every replica has a pipeline on its own device, whose batches never leave it; on CPUs replicas share one
    pipeline, whose batches go round.

    Args:
        loader: Its batches are divided among the replicas.
        start: First batch of the stream: `i` is batch `i % len(loader)` of epoch `i // len(loader)`.
        strategy: Such as `MirroredStrategy`; `None` is one device.

    Returns:
        A dataset for `fit` or `iter`.
    """
    if strategy is None:
        return as_dataset(loader, start, device_id=loader.device_id)
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync
    if loader.device_id is None:
        return strategy.distribute_datasets_from_function(lambda _: as_dataset(loader, start, replicas=replicas))

    def on_gpu(context: Any) -> Any:
        place = int(context.input_pipeline_id)
        return as_dataset(loader, start, replicas=replicas, replica=place, device_id=place)

    options = tf.distribute.InputOptions(
        experimental_place_dataset_on_device=True,
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )
    return strategy.distribute_datasets_from_function(on_gpu, options)


def as_dataset(
    loader: DaliLoader, start: int = 0, *, replicas: int = 1, replica: int | None = None, device_id: int | None = None
) -> Any:
    """An endless `DALIDataset` of `(image, label)`, epoch after epoch.

    Args:
        loader: Whose samples; `check_dataset` accepts it.
        start: First batch of the stream, as in `distributed_batches`.
        replicas: Parts that each batch is divided into; a batch of the dataset is one part.
        replica: The part that is given; `None` gives all of them in turn.
        device_id: The GPU that works; `None` is the CPU.

    Returns:
        A `tf.data.Dataset` of image `(b, *s, c)` float32 and label `(b, *s, 1)` uint8, on that device.

    Raises:
        DaliError: As `check_dataset`.
    """
    check_dataset(loader)
    import nvidia.dali.plugin.tf as dali_tf
    import tensorflow as tf

    device = "/cpu:0" if device_id is None else f"/gpu:{device_id}"
    inputs = _inputs(loader, start, share=(0, 1) if replica is None else (replica, replicas), device=device)
    size, shape = loader.batch_size // replicas, loader.feeder.shape
    with tf.device(device):
        return dali_tf.experimental.DALIDatasetWithInputs(
            input_datasets=inputs,
            pipeline=loader.pipeline(batch_size=size, device_id=device_id),
            batch_size=size,
            output_shapes=((size, *shape), (size, *shape[:-1], 1)),
            output_dtypes=(tf.float32, tf.uint8),
            num_threads=loader.threads,
            device_id=device_id,
        )


def _inputs(loader: DaliLoader, start: int, *, share: tuple[int, int], device: str) -> dict[str, Any]:
    """One dataset per input; they read the same samples, so what one has read the others find."""
    import tensorflow as tf

    names = input_names(loader.feeder.augment)
    sample = functools.lru_cache(maxsize=4 * loader.batch_size)(loader.feeder.sample)
    epoch, batch = divmod(start, len(loader))
    places = functools.partial(loader.places, loader.epoch + epoch, batch, share=share)
    example = sample(*next(places()))

    def values(name: str) -> Iterator[Any]:
        for key in places():
            yield getattr(sample(*key), name)

    def dataset(name: str) -> Any:
        array = getattr(example, name)
        fixed = array.shape if name == "numbers" else (None,) * array.ndim
        signature = tf.TensorSpec(fixed, array.dtype)
        made = tf.data.Dataset.from_generator(functools.partial(values, name), output_signature=signature)
        # A dataset reads only from datasets on its own device.
        return made if device == "/cpu:0" else made.apply(tf.data.experimental.copy_to_device(device))

    with tf.device("/cpu:0"):
        return {name: dataset(name) for name in names}
