"""What DALI is fed for each sample: data as it is read, and the drawn augmentation as numbers.

DALI draws nothing itself. Order, parameters and even noise come from the generators that the Sequence loader uses, so
both loaders give the same samples, and a run can be continued exactly.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from data_generators.augmentation import Augmentation, Parameters, draw
from data_generators.augmentation.recipe import check_recipe
from data_generators.augmentation.spatial import fit_centre
from data_generators.folders import FolderSource
from data_generators.ordering import Sampler
from data_generators.pictures import to_classes
from data_generators.sources import Source, is_random

_NO_RECIPE = check_recipe(None)


@dataclasses.dataclass(frozen=True)
class Fed:
    """One sample: image `(*s, c)` float32, label `(*s, 1)` uint8, numbers `(layout.size,)`, noise `(*s, c)` or one 0.

    Where DALI decodes, image and label are the files' bytes, uint8 `(n,)`.
    """

    image: np.ndarray
    label: np.ndarray
    numbers: np.ndarray
    noise: np.ndarray


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each parameter stands in a sample's numbers.

    `moved` (1 number), `matrix` (rank * (rank + 1)), `flips` (3: depth, height, width), `noise` (1), then for each
    modality `blur` (1 if blurred, and rank deviations), `brightness`, `shift`, `contrast`, `zoom` (1 if lowered, and
    rank sizes), `gamma_inverted`, `gamma`.
    """

    rank: int
    modalities: int

    @property
    def head(self) -> int:
        """Numbers before those of the modalities."""
        return 1 + self.rank * (self.rank + 1) + 3 + 1

    @property
    def each(self) -> int:
        """Numbers of one modality."""
        return 2 * (1 + self.rank) + 5

    @property
    def size(self) -> int:
        """Numbers of a sample."""
        return self.head + self.modalities * self.each


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How DALI decodes pictures: channels, what grey values are multiplied by, and the class of each mask value."""

    channels: int
    scale: float
    table: np.ndarray


def decoding_of(source: Source) -> Decoding | None:
    """How DALI would decode a source's pictures; `None` where it cannot do so to the same values.

    It can with masks as 8-bit grey PNG, pictures as 8-bit PNG without transparency or palette or as JPEG (whose grey
    values may differ by one or two), and without resizing, which DALI does by other filters.
    """
    if not isinstance(source, FolderSource) or not source.has_labels or source.options.size is not None:
        return None
    options = source.options
    kinds = (0,) if options.channels == 1 else (0, 2)
    masks = [mask for mask in source.masks if mask is not None]
    pictures = [path for path in source.images if path.suffix.lower() not in (".jpg", ".jpeg")]
    if not all(_png_kind(path) in kinds for path in pictures) or not all(_png_kind(mask) == 0 for mask in masks):
        return None
    classes = to_classes(np.arange(256, dtype=np.uint8)[None], source.images[0], options).ravel()
    return Decoding(options.channels, 1.0 / 255.0 if options.normalize else 1.0, classes)


def _png_kind(path: pathlib.Path) -> int | None:
    """Colour type of an 8-bit PNG (0 grey, 2 RGB), from its header; `None` for anything else."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[24] != 8:
        return None
    return header[25]


class Feeder:
    """Reads samples and draws for them, by their place in an epoch, as the Sequence loader does.

    Args:
        source: Where samples come from.
        sampler: Their order.
        seed: Decides what is drawn.
        augment: What is drawn; `None` draws nothing.
    """

    def __init__(self, source: Source, sampler: Sampler, *, seed: int, augment: Augmentation | None) -> None:
        self.source = source
        self.seed = seed
        self.augment = augment
        self.order = functools.lru_cache(maxsize=4)(sampler.order)
        self.decoding = decoding_of(source)
        modalities = 1 if augment is None else augment.modalities
        self.layout = Layout(len(self.shape) - 1, modalities)

    @functools.cached_property
    def source_shape(self) -> tuple[int, ...]:
        """`(*s, c)` of every image as it is read; where the source does not say, of the first."""
        return self.source.shape or self.source.read(0)[0].shape

    @property
    def shape(self) -> tuple[int, ...]:
        """`(*s, c)` of every image that comes out."""
        shape = self.source_shape
        return shape if self.augment is None or self.augment.shape is None else (*self.augment.shape, shape[-1])

    def sample(self, epoch: int, position: int) -> Fed:
        """The sample at a place of an epoch."""
        order = self.order(epoch)
        index = int(order.indices[position])
        rng = np.random.default_rng([self.seed, epoch, position])
        if is_random(self.source):
            parameters = self._draw(rng, self.source.patch)
            image, label = self.source.draw(
                index, rng, foreground=bool(order.foreground[position]), shape=parameters.read_shape
            )
            return self._fed(image, label, parameters)
        parameters = self._draw(rng, self.source_shape[:-1])
        if self.decoding is not None and isinstance(self.source, FolderSource):
            return self._encoded(self.source, index, parameters)
        return self._fed(*self.source.read(index), parameters)

    def _draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Parameters:
        return draw(rng, _NO_RECIPE, shape) if self.augment is None else self.augment.draw(rng, shape)

    def _encoded(self, source: FolderSource, index: int, parameters: Parameters) -> Fed:
        image, mask = source.images[index], source.masks[index]
        files = [np.fromfile(path, np.uint8) for path in (image, mask) if path is not None]
        numbers = pack(parameters, self.layout, self.source_shape[:-1])
        return Fed(files[0], files[1], numbers, self._noise(parameters))

    def _noise(self, parameters: Parameters) -> np.ndarray:
        if parameters.noise is None:
            return np.zeros((1,) * (len(parameters.shape) + 1), np.float32)
        field = np.random.Generator(np.random.SFC64(parameters.noise.seed))
        return field.standard_normal((*parameters.shape, self.source_shape[-1]), dtype=np.float32)

    def _fed(self, image: np.ndarray, label: np.ndarray | None, parameters: Parameters) -> Fed:
        if label is None:
            label = np.zeros((*image.shape[:-1], 1), np.uint8)
        if parameters.matrix is None:
            outside = 0 if self.augment is None else self.augment.outside_label
            image = np.ascontiguousarray(fit_centre(image, parameters.shape))
            label = np.ascontiguousarray(fit_centre(label, parameters.shape, fill=outside))
        return Fed(image, label, pack(parameters, self.layout, image.shape[:-1]), self._noise(parameters))


def input_names(augment: Augmentation | None) -> tuple[str, ...]:
    """The inputs of a pipeline: fields of `Fed`."""
    if augment is None:
        return ("image", "label")
    return ("image", "label", "numbers", "noise") if "NOISE" in augment.recipe else ("image", "label", "numbers")


def pack(parameters: Parameters, layout: Layout, source_shape: tuple[int, ...]) -> np.ndarray:
    """Parameters as numbers, float32, `(layout.size,)`."""
    flips = (0,) * (3 - len(parameters.flips)) + parameters.flips
    head = [
        float(parameters.matrix is not None),
        *inverse_matrix(parameters, source_shape).ravel(),
        *flips,
        0.0 if parameters.noise is None else parameters.noise.strength,
    ]
    tail = [number for modality in range(layout.modalities) for number in _of_modality(parameters, layout, modality)]
    return np.asarray([*head, *tail], np.float32)


def inverse_matrix(parameters: Parameters, source_shape: tuple[int, ...]) -> np.ndarray:
    """`(rank, rank + 1)`: result's (x, y[, z]) -> source's, where DALI has the first voxel's centre at 0.5."""
    rank = len(parameters.shape)
    matrix = np.eye(rank) if parameters.matrix is None else parameters.matrix
    start = np.asarray(source_shape) / 2 - matrix @ (np.asarray(parameters.shape) / 2)
    return np.concatenate([matrix[::-1, ::-1], start[::-1, None]], axis=1)


def _of_modality(parameters: Parameters, layout: Layout, modality: int) -> list[float]:
    def one(values: tuple[float, ...] | None, neutral: float) -> float:
        return neutral if values is None else values[modality]

    sigma = parameters.blur[modality] if parameters.blur is not None else ()
    zoom = one(parameters.zoom, 1.0)
    fixed = [parameters.planar and axis == 0 for axis in range(layout.rank)]
    sizes = [
        float(size if kept else max(round(size * zoom), 1)) for size, kept in zip(parameters.shape, fixed, strict=True)
    ]
    return [
        *(float(bool(sigma)), *(sigma or (1.0,) * layout.rank)),
        one(parameters.brightness, 1.0),
        one(parameters.shift, 0.0),
        one(parameters.contrast, 1.0),
        *(float(zoom < 1.0), *sizes),
        one(parameters.gamma_inverted, 1.0),
        one(parameters.gamma, 1.0),
    ]
