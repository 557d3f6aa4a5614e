"""The network with its objective and metrics: what one step of training and of validation does.

The same class on one device, on several, and on both backends. On JAX it is Keras' own step. On TensorFlow the step is
written out: forward and backward pass are compiled by XLA inside each replica and the update happens outside, because
`jit_compile=True` under `MirroredStrategy` fails in Keras, and because gradients must be averaged over samples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras

from training.optimizers import inner_optimizer
from training.recompute import Recomputed

Tensor = Any


class Objective(Protocol):
    """What is minimised: `losses.objective.Objective`."""

    def terms(self, y_true: Tensor, outputs: Tensor | Sequence[Tensor], /) -> dict[str, Tensor]:
        """`segmentation`, its summands by name, and `classification` where there is one."""
        ...


class StreamingOverlap(Protocol):
    """Overlap per class over everything seen: `metrics.streaming.StreamingDice`."""

    def update_state(self, y_true: Tensor, y_pred: Tensor, /) -> None:
        """Adds a batch."""
        ...

    def result(self) -> Tensor:
        """Mean over the foreground classes."""
        ...

    def per_class(self) -> Tensor:
        """One value for each foreground class."""
        ...


class Prepared(keras.Model):
    """A model whose variables are all made before it is fitted."""

    def prepare(self, optimizer: Any) -> None:
        """Compiles the model and makes the optimizer's variables; within the runtime's scope."""
        compiled_by_keras = keras.backend.backend() == "jax"
        self.compile(optimizer=optimizer, jit_compile=compiled_by_keras, auto_scale_loss=False)
        if not optimizer.built:
            optimizer.build(self.trainable_variables)

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing: everything is built. Keras would draw a batch for it and average uneven batches of replicas."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing, as `_symbolic_build`."""


class TrainingModel(Prepared):
    """A network that can be trained.

    Logs: `loss`; each of its terms as `loss_<term>`; `dice`, and `dice_<class>` where there are several classes.
    All are means, or pooled sums, over the samples of the epoch so far.

    Several devices: each replica's loss counts by its share of the samples, so uneven last batches are averaged
    rightly. Batch normalisation uses the statistics of a replica's own samples, and its moving averages are those of
    the first replica, as in every framework that does not synchronise them.

    Args:
        network: Images `(b, *s, c)` to logits, one tensor or a list, finest first.
        objective: What is minimised.
        dice: Metric of the finest output; made in the runtime's scope, like this model.
        class_names: Names of the foreground classes.
        xla: Compile forward and backward pass (TensorFlow; JAX always does).
        remat: Recompute activations in the backward pass (`training.recompute`).
    """

    def __init__(
        self,
        network: keras.Model,
        objective: Objective,
        *,
        dice: Any,
        class_names: Sequence[str],
        xla: bool = False,
        remat: bool = False,
    ) -> None:
        super().__init__(name=f"{network.name}_training", dtype="float32")
        self.network = network
        self.objective = objective
        self.dice = dice
        self.class_names = tuple(class_names)
        self.xla = xla
        self._run_training: Callable[[Tensor], Tensor] | None = Recomputed(network) if remat else None
        self.term_names = find_terms(network, objective)
        self.term_means = [keras.metrics.Mean(name=f"loss_{name}") for name in self.term_names]
        self._passes: dict[bool, Any] = {}
        self.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """What the network returns."""
        if training and self._run_training is not None:
            return self._run_training(inputs)
        return self.network(inputs, training=training)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The value to minimise, float32; Keras' step on JAX calls it."""
        del x, sample_weight, training
        return total(self.objective.terms(y, y_pred)) + sum(self.losses)

    def compute_metrics(self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> dict[str, Tensor]:
        """Adds a batch to the metrics. The terms are those of `compute_loss`: the compiler computes them once."""
        del sample_weight
        self._add(y, first(y_pred), self.objective.terms(y, y_pred), keras.ops.shape(x)[0])
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Tensor]:
        """What the metrics hold now, by the names that are logged."""
        results = {"loss": self._loss_tracker.result()}
        results |= {mean.name: mean.result() for mean in self.term_means}
        results["dice"] = self.dice.result()
        if len(self.class_names) > 1:
            values = keras.ops.convert_to_tensor(self.dice.per_class())
            results |= {f"dice_{name}": values[place] for place, name in enumerate(self.class_names)}
        return results

    def train_step(self, *args: Any) -> Any:
        """One update; Keras calls it with `(data)` on TensorFlow and `(state, data)` on JAX."""
        if keras.backend.backend() != "tensorflow":
            return super().train_step(*args)
        images, labels, weight = keras.utils.unpack_x_y_sample_weight(args[0])
        count, share = self._count(images, weight)
        gradients, terms, logits = self._pass(training=True)(images, labels, share)
        variables = self.trainable_variables
        pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
        self.optimizer.apply_gradients(reduce_gradients(pairs))
        return self._finish(labels, logits, terms, count)

    def test_step(self, *args: Any) -> Any:
        """One batch of validation; signature as `train_step`."""
        if keras.backend.backend() != "tensorflow":
            return super().test_step(*args)
        images, labels, weight = keras.utils.unpack_x_y_sample_weight(args[0])
        count, share = self._count(images, weight)
        _, terms, logits = self._pass(training=False)(images, labels, share)
        return self._finish(labels, logits, terms, count)

    def _finish(self, labels: Tensor, logits: Tensor, terms: dict[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        self._add(labels, logits, terms, count)
        return averageable(self.get_metrics_result())

    def _add(self, labels: Tensor, logits: Tensor, terms: Mapping[str, Tensor], count: Tensor) -> None:
        count = keras.ops.cast(count, "float32")
        self._loss_tracker.update_state(total(terms), sample_weight=count)
        for mean, name in zip(self.term_means, self.term_names, strict=True):
            mean.update_state(terms[name], sample_weight=count)
        self.dice.update_state(labels, logits)

    def _count(self, images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of this replica, and their share of the batch; padding has weight 0."""
        import tensorflow as tf

        count = tf.cast(tf.shape(images)[0], "float32") if weight is None else tf.reduce_sum(tf.cast(weight, "float32"))
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return count, tf.ones(())
        return count, count / context.all_reduce(tf.distribute.ReduceOp.SUM, count)

    def _pass(self, *, training: bool) -> Any:
        """`(images, labels, share) -> (gradients, terms, finest logits)`, compiled where XLA is on."""
        if training not in self._passes:
            import tensorflow as tf

            function = self._forward_backward if training else self._forward
            self._passes[training] = tf.function(function, jit_compile=True, autograph=False) if self.xla else function
        return self._passes[training]

    def _forward_backward(self, images: Tensor, labels: Tensor, share: Tensor) -> tuple[Any, dict[str, Tensor], Tensor]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = self.call(images, training=True)
            terms = self.objective.terms(labels, outputs)
            loss = total(terms) + sum(self.losses)
            scaled = self.optimizer.scale_loss(loss * share)
        gradients = tape.gradient(scaled, self.trainable_variables)
        if inner_optimizer(self.optimizer) is self.optimizer:
            # TensorFlow's ReLU turns NaN into 0 on CPUs: the loss may look well where the gradients do not. With loss
            # scaling infinite gradients are usual, and the optimizer skips them.
            norm = tf.linalg.global_norm([gradient for gradient in gradients if gradient is not None])
            terms["segmentation"] += tf.where(tf.math.is_finite(norm), 0.0, float("nan"))
        return gradients, terms, first(outputs)

    def _forward(self, images: Tensor, labels: Tensor, share: Tensor) -> tuple[None, dict[str, Tensor], Tensor]:
        del share
        outputs = self.network(images, training=False)
        return None, self.objective.terms(labels, outputs), first(outputs)


def first(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    """The finest output."""
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The value to minimise: the segmentation loss and the classifier's."""
    return sum(terms[name] for name in ("segmentation", "classification") if name in terms)


def reduce_gradients(pairs: Sequence[tuple[Tensor, Any]]) -> list[tuple[Tensor, Any]]:
    """Sums gradients over replicas, so that everything after it sees the gradients of the whole batch."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(pairs)
    reduced = context.all_reduce(tf.distribute.ReduceOp.SUM, [gradient for gradient, _ in pairs])
    return [(gradient, variable) for gradient, (_, variable) in zip(reduced, pairs, strict=True)]


def averageable(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Values as `fit` averages them: with several processes over a first axis, which numbers lack (keras#20585)."""
    import tensorflow as tf

    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()}


def find_terms(network: keras.Model, objective: Objective) -> tuple[str, ...]:
    """Names of the loss terms worth logging beside the loss: the summands, unless there is only one.

    The objective is traced on shapes; nothing is computed.
    """
    inputs = network.inputs[0].shape
    rank = len(inputs) - 2
    size = [side or (256 if rank == 2 else 64) for side in inputs[1:-1]]
    spec = network.compute_output_spec(keras.KerasTensor((1, *size, inputs[-1]), dtype="float32"))
    outputs = [tuple(output.shape) for output in (spec if isinstance(spec, list | tuple) else [spec])]
    names = [name for name in _trace(objective, (1, *size, 1), outputs) if name != "segmentation"]
    return tuple(names) if len(names) > 1 else ()


def _trace(objective: Objective, label: tuple[int, ...], outputs: list[tuple[int, ...]]) -> list[str]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec(shape, "float32") for shape in outputs]
        traced = tf.function(objective.terms, autograph=False).get_concrete_function(
            tf.TensorSpec(label, "uint8"), specs
        )
        return list(traced.structured_outputs)
    import jax

    shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape in outputs]
    return list(jax.eval_shape(objective.terms, jax.ShapeDtypeStruct(label, "uint8"), shapes))
