"""One network for many domains as a model that is trained: a batch holds one domain, and updates what runs for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from losses.objective import Objective
from metrics.streaming import StreamingDice
from models.universal_unet import domain_layers, domain_model
from training.optimizers import OptimizerChoice, build_optimizer, inner_optimizer, updating
from training.runtime import Runtime
from training.schedules import EpochSchedule
from training.session import Validate
from training.step import Prepared, Tensor, TrainingModel


@dataclass(frozen=True)
class DomainChoice:
    """What one domain is trained for.

    Attributes:
        objective: What is minimised.
        class_names: Foreground classes, or regions.
        patch: Spatial size of its batches.
        ignore_label: Label that the metric does not see.
        regions: Classes of each output where outputs are overlapping regions.
    """

    objective: Objective
    class_names: Sequence[str]
    patch: tuple[int, ...]
    ignore_label: int = 255
    regions: Sequence[Sequence[int]] | None = None


class DomainsModel(Prepared):
    """A network of many domains that can be trained.

    Every domain is a `TrainingModel` of its own that shares layers and the optimizer with the others. A step trains
    the domain of its batch: variables of other domains, their momenta and their weight decay stay as they are, bit for
    bit. Departure from the original, where domains without a gradient may decay and move on by their momenta. Averaged
    weights (`OPTIMIZER.EMA`) are averages over all steps.

    On TensorFlow a batch is `(image, label[, weight], domain)` with the number of the domain for each sample; every
    domain has a compiled step of its own. On JAX it is `({domain: image}, label[, weight])`, and the step is compiled
    anew for every domain.

    Logs: `loss` and `dice`, means over the domains seen; `loss_<domain>`, `dice_<domain>`, and
    `dice_<domain>_<class>` where a domain has several classes; not a number where a domain was not seen.

    Args:
        network: The whole network, which is saved; it may have more domains than are trained.
        parts: The domains to train, by name.
    """

    def __init__(self, network: keras.Model, parts: Mapping[str, TrainingModel]) -> None:
        super().__init__(name=f"{network.name}_training", dtype="float32")
        self.network = network
        self.parts = dict(parts)
        self.built = True
        self._newest: dict[str, Tensor] = {}

    @property
    def metrics(self) -> list[Any]:
        """Those of all domains; Keras would leave out what belongs to models within a model."""
        own = [] if self._loss_tracker is None else [self._loss_tracker]
        return [*own, *(metric for part in self.parts.values() for metric in part.metrics)]

    def prepare(self, optimizer: Any) -> None:
        """Compiles the model and its domains around one optimizer; within the runtime's scope."""
        super().prepare(optimizer)
        for part in self.parts.values():
            part.prepare(optimizer)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Logits of the domain that the one entry of `inputs` names."""
        ((name, images),) = inputs.items()
        return self.parts[name].call(images, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The value to minimise, float32; Keras' step on JAX calls it."""
        ((name, images),) = x.items()
        return self.parts[name].compute_loss(images, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> dict[str, Tensor]:
        """Adds a batch to the metrics of its domain."""
        ((name, images),) = x.items()
        self.parts[name].compute_metrics(images, y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Tensor]:
        """What the metrics hold now, by the names that are logged."""
        results: dict[str, Tensor] = {"loss": 0.0, "dice": 0.0}
        seen = []
        for name, part in self.parts.items():
            there = keras.ops.convert_to_tensor(part._loss_tracker.count) > 0
            seen.append(keras.ops.cast(there, "float32"))
            results |= {key: keras.ops.where(there, value, float("nan")) for key, value in logged(part, name).items()}
            for key in ("loss", "dice"):
                results[key] += keras.ops.where(there, results[f"{key}_{name}"], 0.0)
        domains = keras.ops.maximum(sum(seen), 1.0)
        return results | {key: results[key] / domains for key in ("loss", "dice")}

    def train_step(self, *args: Any) -> Any:
        """JAX: one update of the domain of the batch, `(state, data)`; traced once for every domain."""
        ((name, _),) = args[1][0].items()
        with updating(self.optimizer, self.parts[name].trainable_variables):
            return super().train_step(*args)

    def make_train_function(self, force: bool = False) -> None:
        """TensorFlow: the step of the domain of the batch, compiled for each of them; JAX: Keras' own."""
        if keras.backend.backend() != "tensorflow":
            super().make_train_function(force)
            return
        if self.train_function is None or force:
            for part in self.parts.values():
                part.make_train_function(force)
            self.train_function = self._step_on_tensorflow

    def _step_on_tensorflow(self, iterator: Any) -> dict[str, Tensor]:
        """One batch; what it returns is of its domain newest, of others as old as their last batch."""
        *batch, which = next(iterator)
        number = self.distribute_strategy.experimental_local_results(which)[0][0]
        name = list(self.parts)[int(number)]
        logs = self.parts[name].train_function([tuple(batch)])
        if not self._newest:
            self._newest = self.get_metrics_result()
        self._newest |= {key: value for key, value in renamed(logs, name).items() if key in self._newest}
        self._newest |= {"loss": logs["loss"], "dice": logs["dice"]}
        return self._newest


def logged(part: TrainingModel, name: str) -> dict[str, Tensor]:
    """What the metrics of a domain hold, by the names that are logged."""
    terms = {mean.name for mean in part.term_means}
    return renamed({key: value for key, value in part.get_metrics_result().items() if key not in terms}, name)


def renamed(logs: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Logs of one domain with its name: `dice_liver` of domain `ct` becomes `dice_ct_liver`."""
    return {"_".join([key.split("_")[0], name, *key.split("_", 1)[1:]]): value for key, value in logs.items()}


def assemble_domains(
    build_network: Callable[[], keras.Model],
    domains: Mapping[str, DomainChoice],
    *,
    optimizer: OptimizerChoice,
    learning_rate: float | EpochSchedule,
    runtime: Runtime,
    remat: bool = False,
) -> DomainsModel:
    """Makes everything that has variables.

    Args:
        build_network: Makes the whole network, perhaps with frozen layers; called within the runtime's scope.
        domains: The domains to train.
        optimizer: What to build.
        learning_rate: A number or a schedule.
        runtime: Devices, precision, compilation.
        remat: Recompute activations in the backward pass.

    Returns:
        A model ready to be trained.

    Raises:
        ValueError: Gradients are to be accumulated.
    """
    if optimizer.accumulation_steps > 1:
        raise ValueError(
            f"OPTIMIZER.ACCUMULATION_STEPS={optimizer.accumulation_steps} would mix batches of several domains in one "
            "update. Type OPTIMIZER.ACCUMULATION_STEPS=1 and a larger HYPER_PARAMETERS.BATCH_SIZE."
        )
    with runtime.scope():
        network = build_network()
        parts = {name: _part(network, name, choice, xla=runtime.xla, remat=remat) for name, choice in domains.items()}
        model = DomainsModel(network, parts)
        built = build_optimizer(optimizer, learning_rate=learning_rate, scale_loss=runtime.precision == "mixed_float16")
        model.prepare(built)
        own = {name: _own_variables(network, name) for name in domains}
        inner_optimizer(built).count_apart(own)
    return model


def validate_domains(measures: Mapping[str, Validate]) -> Validate:
    """Validation of every domain, and their mean as `loss` and `dice`.

    Args:
        measures: What measures a domain, by name; domains without validation cases are not in it.

    Returns:
        A function of a `DomainsModel`.
    """

    def validate(model: Any) -> dict[str, float]:
        found: dict[str, float] = {}
        means: dict[str, list[float]] = {}
        for name, measure in measures.items():
            part = model.parts[name]
            terms = {mean.name for mean in part.term_means}
            row = {key: float(value) for key, value in measure(part).items() if key not in terms}
            for key in ("loss", "dice"):
                if key in row:
                    means.setdefault(key, []).append(row[key])
            found |= renamed(row, name)
        return {**{key: sum(values) / len(values) for key, values in means.items()}, **found}

    return validate


def _part(network: keras.Model, name: str, choice: DomainChoice, *, xla: bool, remat: bool) -> TrainingModel:
    own = domain_model(network, name)
    if None in own.input_shape[1:]:
        image = keras.Input((*choice.patch, own.input_shape[-1]), name=f"{name}_patch")
        own = keras.Model(image, own(image), name=network.name)
    dice: Any = StreamingDice(
        int(own.output_shape[-1]),
        ignore_label=choice.ignore_label,
        class_names=choice.class_names,
        regions=choice.regions,
        name=f"dice_{name}",
    )
    return TrainingModel(own, choice.objective, dice=dice, class_names=choice.class_names, xla=xla, remat=remat)


def _own_variables(network: keras.Model, name: str) -> list[Any]:
    return [variable for layer in domain_layers(network, name) for variable in layer.trainable_variables]
