"""DALI's batches as a `tf.data.Dataset`, also under a distribution strategy. The only part that needs TensorFlow."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from data_generators.dali import DaliError, DaliLoader
from data_generators.dali_feed import input_names
from data_generators.loaders import dali_plugin_installed


def as_dataset(loader: DaliLoader, *, epoch: int = 0, batch: int = 0) -> Any:
    """An endless `DALIDataset` of `(image, label)`, epoch after epoch.

    Args:
        loader: Whose samples; it must leave the remainder out or have none, since DALI's datasets know full batches
            only.
        epoch: Where to start.
        batch: Where in that epoch.

    Returns:
        A `tf.data.Dataset` of image `(b, *s, c)` float32 and label `(b, *s, 1)` uint8, on the loader's device.

    Raises:
        DaliError: The plugin is missing, the last batch of an epoch would not be full, or there are no labels.
    """
    if not dali_plugin_installed():
        raise DaliError(
            "DALI's TensorFlow plugin is not installed: run `make setup`, or `pip install --no-build-isolation -r "
            "requirements-dali.txt`."
        )
    import nvidia.dali.plugin.tf as dali_tf
    import tensorflow as tf

    size = loader.batch_size * loader.shard[1]
    if not loader.drop_remainder and len(loader.feeder.order(epoch)) % size:
        raise DaliError(
            f"An epoch of {len(loader.feeder.order(epoch))} samples is no multiple of {size}: DALI's datasets have "
            "full batches only. Leave the remainder out, or set HYPER_PARAMETERS.STEPS_PER_EPOCH."
        )
    if not loader.source.has_labels:
        raise DaliError("DALI's datasets are for training: give labels, or set DATA_GENERATOR_TYPE=SEQUENCE.")
    shape = loader.feeder.shape
    with tf.device("/cpu:0"):
        inputs = _inputs(loader, epoch, batch)
    device = "/cpu:0" if loader.device_id is None else f"/gpu:{loader.device_id}"
    with tf.device(device):
        return dali_tf.experimental.DALIDatasetWithInputs(
            input_datasets=inputs,
            pipeline=loader.pipeline(),
            batch_size=loader.batch_size,
            output_shapes=((loader.batch_size, *shape), (loader.batch_size, *shape[:-1], 1)),
            output_dtypes=(tf.float32, tf.uint8),
            num_threads=loader.threads,
            device_id=loader.device_id,
        )


def distribute(strategy: Any, make_loader: Callable[[tuple[int, int], int | None], DaliLoader], *, gpus: bool) -> Any:
    """DALI's batches for every replica of a `tf.distribute` strategy.

    Replica `r` of `n` gets its part of each global batch, so that all of them together see what one device would.
    On GPUs every replica has a pipeline on its own device; on CPUs they share one, whose batches go round.

    Args:
        strategy: Such as `MirroredStrategy`.
        make_loader: `(shard, device_id)` to a loader whose batch size is a replica's.
        gpus: The replicas are GPUs.

    Returns:
        A distributed dataset, for `fit` or `iter`.
    """
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync

    def dataset(context: Any) -> Any:
        if not gpus:
            return as_dataset(make_loader((0, 1), None))
        replica = context.input_pipeline_id
        return as_dataset(make_loader((replica, replicas), replica))

    if not gpus:
        return strategy.distribute_datasets_from_function(dataset)
    options = tf.distribute.InputOptions(
        experimental_place_dataset_on_device=True,
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )
    return strategy.distribute_datasets_from_function(dataset, options)


def _inputs(loader: DaliLoader, epoch: int, batch: int) -> dict[str, Any]:
    """One dataset per input; they read the same samples, so what one has read the others find."""
    import tensorflow as tf

    names = input_names(loader.feeder.augment)
    sample = functools.lru_cache(maxsize=4 * loader.batch_size)(loader.feeder.sample)
    example = sample(epoch, loader.positions(epoch, batch)[0])

    def values(name: str) -> Iterator[Any]:
        for key in loader.places(epoch, batch):
            yield getattr(sample(*key), name)

    def signature(name: str) -> Any:
        array = getattr(example, name)
        fixed = array.shape if name == "numbers" else (None,) * array.ndim
        return tf.TensorSpec(fixed, array.dtype)

    return {
        name: tf.data.Dataset.from_generator(functools.partial(values, name), output_signature=signature(name))
        for name in names
    }
