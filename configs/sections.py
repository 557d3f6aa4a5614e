"""Keys of the data and of training: name, default, type, range, meaning.

`key(default, help, ...)` declares one value; a dataclass is a section. The defaults are the published ones: the loss,
input and batch of UNet 3+ on LiTS. `MODEL`, `AUGMENTATION`, `LOSS.OPTIONS` and the label maps of `DATASET` are open:
their keys are checked by the builder, recipe or collection that reads them.
"""

from dataclasses import dataclass, field
from typing import Any


def key(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A configuration value with its meaning and its limits.

    Args:
        default: The value when nothing is said.
        text: What it means, for `--help`.
        low: Smallest allowed number.
        high: Largest allowed number.
        choices: The allowed values; `None` as a value is always allowed where it is the default.

    Returns:
        A dataclass field.
    """
    metadata = {"help": text, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class PhantomSection:
    """The synthetic LiTS-like collection that `prepare.py dataset=phantom` writes first."""

    CASES: int = key(14, "volumes to make", low=3)
    SIZE: Any = key([32, 128, 128], "voxels of a volume along depth, height, width; about a quarter of them vary")
    SPACING_MM: Any = key([5.0, 2.6, 2.6], "voxel size along depth, height, width; varied per case")


@dataclass
class DataPreparationSection:
    """From a collection to prepared cases."""

    SOURCE: str | None = key(None, "folder (or archive) of the collection as published")
    SCANS_TRAIN_DATA_PATH: str | None = key("/data/Training Batch 2/", "LiTS: volumes 28-130, if SOURCE is not given")
    SCANS_VAL_DATA_PATH: str | None = key("/data/Training Batch 1/", "LiTS: volumes 0-27, if SOURCE is not given")
    RESIZED_HEIGHT: Any = key("${INPUT.HEIGHT}", "rows of a prepared slice; null keeps the scanner's")
    RESIZED_WIDTH: Any = key("${INPUT.WIDTH}", "columns of a prepared slice; null keeps the scanner's")
    SCAN_MIN_VALUE: float = key(-200.0, "lower end of the intensity window, HU")
    SCAN_MAX_VALUE: float = key(250.0, "upper end of the intensity window, HU")
    FORMAT: str = key("npy", "npy: prepared volumes; png: slice folders", choices=("npy", "png"))
    WORKERS: int = key(0, "cases prepared at once; 0 means one per core", low=0)
    PATIENT_PATTERN: str | None = key(None, "regular expression whose group 1 is the patient in a file name")
    MASK_THRESHOLD: int | None = key(None, "masks above it are 1 (JPEG masks: 127)", low=0, high=65535)
    LABEL_GRID: str = key(
        "header", "header: a label's own place counts; image: it lies where the image does", choices=("header", "image")
    )
    IMAGES: Any = key(None, "volume_folder: glob pattern below SOURCE, or one for each channel")
    MASKS: str | None = key(None, "volume_folder: glob pattern of the labels")
    CHANNELS: Any = key(None, "volume_folder: names of the channels; CT is normalised as CT; brats: which modalities")
    SPACING_MM: Any = key(None, "depth, height, width of voxels, for files that do not state it")
    STRAY_LABELS: str = key(
        "refuse",
        "label values that are no label: refuse the case, ignore the voxels (255), or background",
        choices=("refuse", "ignore", "background"),
    )
    PLANNER: str = key(
        "default", "what is planned for", choices=("default", "resenc_m", "resenc_l", "resenc_xl", "unetplusplus")
    )
    MEMORY_GB: float | None = key(None, "device memory to plan for; null: the planner's own, 8 to 40", low=1.0)
    CONFIGURATION: str | None = key(
        None, "of the plan: 2d, 3d_fullres, 3d_lowres, 3d_cascade_fullres (both stages); null: 3d_fullres, else 2d"
    )
    PHANTOM: PhantomSection = field(default_factory=PhantomSection)


@dataclass
class ImagesSection:
    """A folder, or a list of files, of images and of their masks."""

    IMAGES_PATH: Any = key(None, "folder under WORK_DIR, absolute folder, or list of files")
    MASK_PATH: Any = key(None, "the same for masks; None where there are none")


@dataclass
class DatasetSection:
    """What is trained on and evaluated on."""

    NAME: str = key("lits", "collection's name, part of the run's name")
    COLLECTION: str = key("lits", "reader of the published files: a name from data_preparation")
    PREPARED_PATH: str | None = key("data/prepared/${DATASET.NAME}", "folder that prepare.py writes and train.py reads")
    LABELS: Any = key(None, "class name: source label(s), in class order; null keeps the collection's labels")
    REGIONS: Any = key(
        None,
        "overlapping classes, a sigmoid each, from the outermost inwards: {whole: [1, 2, 3], core: [2, 3], enh: [3]}, "
        "labels by value or name; null: the collection's; {}: none",
    )
    IGNORE_LABEL: int = key(255, "label that no loss and no metric sees", low=0, high=255)
    SPLIT: str = key(
        "official",
        "official: the collection's split; folds: cross-validation; unetr_plusplus: as published; or a JSON file",
    )
    VALIDATION_SHARE: float = key(0.1, "share of the training patients kept for validation", low=0.0, high=0.9)
    TRAIN: ImagesSection = field(default_factory=lambda: ImagesSection("/data/train/images", "/data/train/mask"))
    VAL: ImagesSection = field(default_factory=lambda: ImagesSection("/data/val/images", "/data/val/mask"))


@dataclass
class InputSection:
    """What the network sees."""

    HEIGHT: int = key(320, "rows", low=1)
    WIDTH: int = key(320, "columns", low=1)
    CHANNELS: int = key(3, "channels; in prepared volumes: neighbouring slices times modalities", low=1)
    PATCH: Any = key(None, "[depth, height, width] of a 3D network; null means slices")
    UNIFY: str = key(
        "spacing",
        "patches of several domains: each at its own spacing, or all resized to INPUT.PATCH",
        choices=("spacing", "resize"),
    )


@dataclass
class OutputSection:
    """What the network says."""

    CLASSES: int | None = key(None, "classes with background; 1 means one sigmoid; null follows DATASET.LABELS", low=1)


@dataclass
class HyperParametersSection:
    """How long and how fast."""

    EPOCHS: int = key(100, "epochs", low=1)
    BATCH_SIZE: int = key(16, "samples per device and step", low=1)
    LEARNING_RATE: float = key(5e-5, "peak learning rate", low=0.0)
    SCALE_LEARNING_RATE: str = key(
        "none",
        "with several devices: none, linear or sqrt in the number of devices",
        choices=("none", "linear", "sqrt"),
    )
    STEPS_PER_EPOCH: int | None = key(None, "steps an epoch; null means every sample once", low=1)
    BUDGET: str | None = key(None, "wall-clock budget such as 6h, 90m; the schedule fits it")


@dataclass
class OptimizerSection:
    """The optimizer."""

    TYPE: str = key("adam", "optimizer", choices=("adam", "adamw", "sgd"))
    MOMENTUM: float = key(0.99, "of sgd", low=0.0, high=1.0)
    NESTEROV: bool = key(True, "of sgd")
    WEIGHT_DECAY: float = key(0.0, "weight decay", low=0.0)
    WEIGHT_DECAY_MODE: str = key(
        "decoupled", "decoupled: apart from the gradient; coupled: added to it", choices=("decoupled", "coupled")
    )
    CLIP_NORM: float | None = key(None, "largest global norm of the gradients", low=0.0)
    EMA: float | None = key(None, "momentum of averaged weights, such as 0.999", low=0.0, high=1.0)
    ACCUMULATION_STEPS: int = key(1, "batches whose gradients make one step", low=1)


@dataclass
class ScheduleSection:
    """The learning rate over time."""

    TYPE: str = key("constant", "schedule", choices=("constant", "poly", "cosine", "plateau"))
    POWER: float = key(0.9, "of poly", low=0.0)
    WARMUP_EPOCHS: float = key(0.0, "linear rise at the start", low=0.0)
    END_LEARNING_RATE: float = key(0.0, "what poly and cosine end at", low=0.0)
    PATIENCE: int = key(10, "of plateau: epochs without improvement", low=1)
    FACTOR: float = key(0.5, "of plateau: the rate is multiplied by it", low=0.0, high=1.0)


@dataclass
class LossSection:
    """What is minimised."""

    TYPE: str = key("unet3plus_hybrid", "loss: a name from losses")
    OPTIONS: Any = key({}, "options of that loss, such as {smooth: 1.0}")
    OUTPUT_WEIGHTS: Any = key(None, "weight of each output, finest first; null is the usual choice")
    CLASSIFICATION_WEIGHT: float = key(1.0, "weight of the classifier's cross-entropy", low=0.0)


@dataclass
class SamplingSection:
    """Which samples an epoch holds."""

    FOREGROUND_SHARE: float | None = key(
        None, "share of samples with foreground; null: as they come", low=0.0, high=1.0
    )
    DOMAINS: str = key(
        "round_robin",
        "of several domains: in turn, by their numbers of cases, or by these to the power 1/TEMPERATURE",
        choices=("round_robin", "proportional", "temperature"),
    )
    TEMPERATURE: float = key(2.0, "1: proportional; larger: small domains more often", low=1.0)


@dataclass
class ValidationSection:
    """When and what validation measures."""

    EVERY: int = key(1, "epochs between validations; 0: never", low=0)
    METRIC: str = key("val_dice", "what best checkpoint and early stopping follow")
    MODE: str = key("max", "max: larger is better", choices=("max", "min"))
    WHOLE_VOLUME: bool = key(False, "validate by sliding window over whole volumes instead of batches")


@dataclass
class TensorBoardSection:
    """TensorBoard's event files."""

    VALUE: bool = key(True, "write them")
    PATH: str | None = key(None, "folder; null means the run's folder")
    IMAGES: int = key(3, "validation samples shown with reference, prediction and errors at every validation", low=0)


@dataclass
class EarlyStoppingSection:
    """Stopping when validation no longer improves."""

    PATIENCE: int = key(100, "validations without improvement", low=1)


@dataclass
class ModelCheckpointSection:
    """Checkpoints."""

    PATH: str | None = key(None, "folder; null means the run's folder")
    SAVE_WEIGHTS_ONLY: bool = key(True, "best checkpoint: weights; False: also the whole model as .keras")
    SAVE_BEST_ONLY: bool = key(False, "no last checkpoint; RESUME is then not possible")
    EVERY_STEPS: int | None = key(None, "also save within an epoch, every so many steps", low=1)


@dataclass
class CsvLoggerSection:
    """The history as a table."""

    PATH: str | None = key(None, "folder; null means the run's folder")
    APPEND_LOGS: bool = key(False, "append to an existing table instead of a new one")


@dataclass
class MlflowSection:
    """MLflow (pip install mlflow-skinny sqlalchemy alembic): settings and history of a run."""

    VALUE: bool = key(False, "write them")
    URI: str | None = key(None, "tracking server or folder; null: mlflow.db in OUTPUT_PATH, nothing leaves the machine")
    EXPERIMENT: str = key("${DATASET.NAME}", "experiment of MLflow")


@dataclass
class WandbSection:
    """Weights & Biases (pip install wandb): settings and history of a run."""

    VALUE: bool = key(False, "write them")
    MODE: str = key(
        "offline", "offline: files in the run's folder; online: sent as well", choices=("offline", "online")
    )
    PROJECT: str = key("${DATASET.NAME}", "project of Weights & Biases")


@dataclass
class CallbacksSection:
    """What happens between epochs."""

    TENSORBOARD: TensorBoardSection = field(default_factory=TensorBoardSection)
    EARLY_STOPPING: EarlyStoppingSection = field(default_factory=EarlyStoppingSection)
    MODEL_CHECKPOINT: ModelCheckpointSection = field(default_factory=ModelCheckpointSection)
    CSV_LOGGER: CsvLoggerSection = field(default_factory=CsvLoggerSection)
    MLFLOW: MlflowSection = field(default_factory=MlflowSection)
    WANDB: WandbSection = field(default_factory=WandbSection)
