"""Every key that may be said: the sections of configs/sections.py, those of inference and evaluation, and the root."""

from dataclasses import dataclass, field
from typing import Any

from configs.sections import (
    CallbacksSection,
    DataPreparationSection,
    DatasetSection,
    HyperParametersSection,
    InputSection,
    LossSection,
    OptimizerSection,
    OutputSection,
    SamplingSection,
    ScheduleSection,
    ValidationSection,
    key,
)


@dataclass
class ResizeSection:
    """Resizing images while they are loaded."""

    VALUE: bool = key(False, "resize")
    HEIGHT: int = key("${INPUT.HEIGHT}", "rows", low=1)
    WIDTH: int = key("${INPUT.WIDTH}", "columns", low=1)


@dataclass
class NormalizeMaskSection:
    """Masks stored as grey values."""

    VALUE: bool = key(False, "divide masks by NORMALIZE_VALUE")
    NORMALIZE_VALUE: int = key(255, "the grey value of class 1", low=1)


@dataclass
class SwitchSection:
    """One switch."""

    VALUE: bool = key(True, "on or off")


@dataclass
class ShuffleSection:
    """Order of the samples."""

    TRAIN: SwitchSection = field(default_factory=SwitchSection)
    VAL: SwitchSection = field(default_factory=lambda: SwitchSection(False))


@dataclass
class PreprocessDataSection:
    """What is done to image files while they are loaded. Prepared volumes need none of it."""

    RESIZE: ResizeSection = field(default_factory=ResizeSection)
    IMAGE_PREPROCESSING_TYPE: str | None = key("normalize", "normalize: divide by the type's largest value; else raw")
    NORMALIZE_MASK: NormalizeMaskSection = field(default_factory=NormalizeMaskSection)
    MASK_THRESHOLD: int | None = key(None, "masks above it are 1 (JPEG masks: 127)", low=0, high=65535)
    PATIENT_PATTERN: str | None = key(None, "regular expression whose group 1 is the patient in a file name")
    SHUFFLE: ShuffleSection = field(default_factory=ShuffleSection)


@dataclass
class UseMultiGpusSection:
    """Devices."""

    VALUE: bool = key(False, "train on several devices")
    GPU_IDS: Any = key(-1, "-1: all; n: the first n; [0,2]: these")


@dataclass
class ClusterSection:
    """Several machines: start one process on each, with the same RUN_NAME."""

    HOSTS: Any = key(None, "[host:port, ...] of all processes, the first coordinates; null: Slurm's, or one process")
    PROCESS: int | None = key(None, "number of this process in HOSTS", low=0)


@dataclass
class OptimizationSection:
    """Speed."""

    AMP: Any = key("auto", "mixed precision; auto: where the device gains from it", choices=(True, False, "auto"))
    XLA: Any = key("auto", "compiled steps; auto: where the device gains from it", choices=(True, False, "auto"))
    REMAT: bool = key(
        False, "keep few activations of a training step and compute the others again: less memory, a forward pass more"
    )


@dataclass
class InferenceSection:
    """Prediction."""

    BATCH_SIZE: int = key(8, "slices or tiles at once", low=1)
    WINDOW: Any = key(None, "size of the windows; whole: everything at once; null: the network's input size")
    OVERLAP: float = key(0.5, "share of a tile that its neighbour covers again", low=0.0, high=0.95)
    STRIDE: Any = key(None, "fixed distance of tiles, a number or one per axis, instead of OVERLAP")
    GAUSSIAN: bool = key(True, "tiles weigh less towards their edges")
    MIRROR_AXES: Any = key(None, "axes mirrored when TTA=True; null: all spatial axes but left-right")
    THRESHOLD: float = key(0.5, "of a single sigmoid", low=0.0, high=1.0)
    MEMORY_GB: float = key(8.0, "bound of the memory that accumulated probabilities take", low=0.1)
    LARGEST_COMPONENT: bool = key(False, "keep each class's largest connected component only")
    MIN_VOLUME_MM3: float = key(0.0, "drop components below this volume", low=0.0)
    FILL_HOLES: bool = key(False, "fill holes of each class")
    POSTPROCESSING: str | None = key(
        "auto",
        "auto: what the cross-validation of these weights decided; a postprocessing.json; universal_unet: gaps closed "
        "and the one or two largest parts kept, as 3D U²-Net does; null: nothing",
    )
    SAVE_PROBABILITIES: bool = key(False, "predict.py: also write a map of each class's probability")
    SAVE_ENTROPY: bool = key(False, "predict.py: also write a map of how undecided the network is, 0 to 1")
    HEADS: Any = key(None, "UNet++: null: the last head; accurate: mean of all; L3: that one; [L3,L4]: mean of these")


@dataclass
class EvaluationSection:
    """What evaluate.py reports."""

    SPLIT: str = key("test", "part that is scored", choices=("train", "validation", "test"))
    PREDICTIONS: str | None = key(None, "score the files of this folder instead of predicting")
    SLICEWISE: bool = key(False, "print the predecessor's slice-wise figure as well")
    PROTOCOL: str | None = key(
        None, "also score as a publication does: unetr_plusplus (8 organs, HD95 in voxels)", choices=("unetr_plusplus",)
    )
    TOLERANCE_MM: Any = key([1.0, 2.0], "tolerances of the surface Dice")
    EMPTY: str = key("nan", "score where reference and prediction are empty", choices=("nan", "one", "zero"))
    PICTURES: int = key(3, "best, median and worst cases drawn: this many of each", low=0)
    LESIONS: Any = key("auto", "classes whose lesions are matched one by one: auto (by name), all, [names], null")
    LESION_IOU: Any = key([0.0, 0.5], "overlap from which a lesion counts as found; 0: any")
    LESION_MIN_ML: float = key(0.0, "smaller components are no lesions", low=0.0)
    CHALLENGE: str | None = key(
        "auto", "tables of a challenge; auto: where the classes are its own", choices=("auto", "lits", "brats")
    )
    CALIBRATION: bool = key(True, "where probabilities are at hand: do they mean what they say (ECE, reliability)")
    WORKERS: int = key(0, "cases scored at once; 0: as many as cores where that is worth it, 8 at most", low=0)
    FIND_BEST: bool = key(
        False, "with FOLD=all: every network and configuration whose folds are trained, and all pairs; prints the best"
    )
    POOLED: bool = key(False, "two classes: all pixels together as well (Dice, IoU, sensitivity, AUC), second observer")


@dataclass
class ExportSection:
    """What export.py writes."""

    FORMATS: Any = key(["keras"], "any of keras, savedmodel, onnx; domain: what DOMAIN adds to universal_unet, alone")
    FREE_SIZE: bool = key(False, "any spatial size instead of that of training, where the network allows it")
    PATH: str | None = key(None, "folder; null means the run's folder")


@dataclass
class ImportSection:
    """What import_weights.py does."""

    STRICT: bool = key(True, "refuse a file with missing, unused or unfitting tensors; False only reports them")
    RESIZE_FROM: Any = key(None, "UNETR++: patch that the file was trained at, where INPUT.PATCH is another one")


@dataclass
class Config:
    """Everything."""

    WORK_DIR: str = key(".", "root that relative paths, and paths that do not exist from /, are joined to")
    BACKEND: str | None = key(None, "Keras backend; null: KERAS_BACKEND or tensorflow", choices=("tensorflow", "jax"))
    SEED: int = key(5, "seed of everything random", low=0)
    DETERMINISTIC: bool = key(False, "same weights twice, at some cost in speed")
    VERBOSE: int = key(1, "0: silent; 1: progress; 2: one line an epoch", choices=(0, 1, 2))
    DEBUG: bool = key(False, "show the traceback of an error")
    OUTPUT_PATH: str = key("outputs", "folder of all runs")
    RUN_NAME: str | None = key(None, "the run's folder; null: a new one when training, else the newest that fits")
    CHECKPOINT: str = key("best", "best, last, or a weights file; with ADD_DOMAINS: the run that is added to")
    RESUME: bool = key(False, "continue the newest run that fits, or RUN_NAME")
    FOLD: Any = key(None, "fold of the cross-validation, 0 to 4, or all")
    DOMAINS: Any = key(None, "universal_unet: prepared collections to train together, such as [heart,spleen]")
    DOMAIN: str | None = key(None, "evaluate.py, predict.py, export.py: which domain of such a network")
    DOMAIN_SETTINGS: dict[str, Any] = key(
        {}, "keys of one domain: DOMAIN_SETTINGS.heart.PREPARED_PATH=..., .LABELS={...}, .INPUT.PATCH=[...]"
    )
    ADD_DOMAINS: str | None = key(
        None,
        "add DOMAINS to the network of CHECKPOINT. paper: all that is shared stays; released: kernels of blocks; all: "
        "nothing",
        choices=("paper", "released", "all"),
    )
    ADD_TO: str | None = key(
        None, "the run, or the weights file in it, that ADD_DOMAINS or domain files add to; null: CHECKPOINT"
    )
    SOURCE: Any = key(
        None,
        "import_weights.py: weights of the original network, .pth, .safetensors or .npz; or .domain.npz files, one, "
        "a list, or {new name: file}, for the network of ADD_TO",
    )
    INITIAL_WEIGHTS: str | None = key(
        None, "train.py: start from the weights of a run, a .weights.h5 or .keras, or the original's file"
    )
    INITIAL_WEIGHTS_STRICT: bool = key(True, "refuse weights that do not all fit; False trains anew what differs")
    RUNS: Any = key([], "compare.py: evaluated runs, names or folders; [[a,b],[c,d]] takes seeds or folds together")
    REPORT: bool = key(False, "prepare.py: also write report.html about the collection")
    CHECK: bool = key(False, "prepare.py: look for faults and write nothing")
    TTA: bool = key(False, "average over mirrored inputs")
    CASCADE: str | None = key(
        None, "first stage of 3d_cascade_fullres: RUN_NAME of its folds, or their cross-validation; auto: the newest"
    )
    ENSEMBLE: Any = key(
        None,
        "average with: run names, or with FOLD=all networks, configurations: [unetplusplus], [2d], [resenc_unet/2d]",
    )
    INPUT_PATH: Any = key(None, "predict.py: file, folder or list; null: DATASET.VAL.IMAGES_PATH")
    PREDICTION_PATH: str | None = key(None, "predict.py: where results go; null: the run's folder")
    JSON: bool = key(False, "predict.py, evaluate.py: print one JSON document instead of words")
    DATA_GENERATOR_TYPE: str = key(
        "AUTO",
        "loader; AUTO: DALI where it and a GPU are",
        choices=("AUTO", "DALI", "DALI_GENERATOR", "SEQUENCE", "TF_GENERATOR"),
    )
    DATALOADER_WORKERS: int = key(3, "workers of the loader", low=0)
    SHOW_CENTER_CHANNEL_IMAGE: bool = key(True, "pictures show the middle channel (the slice itself)")
    OVERRIDES: Any = key([], "what was typed; filled in by the program")
    MODEL: dict[str, Any] = key(
        {
            "TYPE": "unet3plus",
            "WEIGHTS_FILE_NAME": "model_${MODEL.TYPE}",
            "BACKBONE": {"TYPE": None, "WEIGHTS": None},
        },
        "network and its options, such as MODEL.FILTERS=[16,32,64,128,256]",
    )
    DATASET: DatasetSection = field(default_factory=DatasetSection)
    DATA_PREPARATION: DataPreparationSection = field(default_factory=DataPreparationSection)
    PLAN: dict[str, Any] = key({}, "lines of plan.yaml to change, such as PLAN.PATCH=[64,128,128]")
    INPUT: InputSection = field(default_factory=InputSection)
    OUTPUT: OutputSection = field(default_factory=OutputSection)
    HYPER_PARAMETERS: HyperParametersSection = field(default_factory=HyperParametersSection)
    OPTIMIZER: OptimizerSection = field(default_factory=OptimizerSection)
    SCHEDULE: ScheduleSection = field(default_factory=ScheduleSection)
    LOSS: LossSection = field(default_factory=LossSection)
    SAMPLING: SamplingSection = field(default_factory=SamplingSection)
    AUGMENTATION: dict[str, Any] = key({}, "augmentation recipe: a group of configs/augmentation")
    VALIDATION: ValidationSection = field(default_factory=ValidationSection)
    CALLBACKS: CallbacksSection = field(default_factory=CallbacksSection)
    PREPROCESS_DATA: PreprocessDataSection = field(default_factory=PreprocessDataSection)
    USE_MULTI_GPUS: UseMultiGpusSection = field(default_factory=UseMultiGpusSection)
    CLUSTER: ClusterSection = field(default_factory=ClusterSection)
    OPTIMIZATION: OptimizationSection = field(default_factory=OptimizationSection)
    INFERENCE: InferenceSection = field(default_factory=InferenceSection)
    EVALUATION: EvaluationSection = field(default_factory=EvaluationSection)
    EXPORT: ExportSection = field(default_factory=ExportSection)
    IMPORT: ImportSection = field(default_factory=ImportSection)
