"""The augmentation recipe in DALI's operators.

DALI carries out what was drawn (`dali_feed`): it rebuilds these functions so that each `if` on a sample's numbers
sends just the samples concerned through an operator.
"""

from typing import Any

from nvidia import dali
from nvidia.dali.pipeline import pipeline_def

from data_generators.augmentation.recipe import Recipe
from data_generators.dali_feed import Decoding, Layout

fn: Any = dali.fn
math: Any = dali.math
types: Any = dali.types
_TINY = 1e-7


def build_pipeline(
    shape: tuple[int, ...],
    layout: Layout,
    recipe: Recipe,
    *,
    outside_label: int = 0,
    decoding: Decoding | None = None,
    **options: Any,
) -> Any:
    """A pipeline from the inputs of `dali_feed.input_names` to image and label.

    Args:
        shape: `(*s, c)` of the result.
        layout: Where parameters stand in `numbers`.
        recipe: Which transforms can occur; no operator is built for the others.
        outside_label: Label outside the image.
        decoding: How pictures are decoded, where image and label come as files' bytes.
        options: DALI's own: `batch_size`, `num_threads`, `device_id`, `prefetch_queue_depth`.

    Returns:
        The pipeline. Its outputs are image `(*shape)` float32 and label `(*s, 1)` uint8, on the GPU where
        `device_id` is one.
    """
    axes = "DHWC" if layout.rank == 3 else "HWC"
    gpu = options.get("device_id") is not None

    @pipeline_def(enable_conditionals=True)
    def pipeline() -> Any:
        if decoding is None:
            image = fn.external_source(name="image", layout=axes)
            label = fn.external_source(name="label", layout=axes)
            if gpu:
                image, label = image.gpu(), label.gpu()
        else:
            image, label = _decode(decoding, gpu)
        if len(recipe) > 0:
            numbers = fn.external_source(name="numbers")
            image, label = _augment(image, label, numbers, shape, layout, recipe, outside_label, gpu)
        return image, label

    return pipeline(**options)


def _decode(decoding: Decoding, gpu: bool) -> tuple[Any, Any]:
    """Pictures by DALI's decoder, on the GPU where there is one; masks on the CPU, as their decoding must be exact."""
    colours = types.DALIImageType.RGB if decoding.channels == 3 else types.DALIImageType.GRAY
    files, masks = fn.external_source(name="image"), fn.external_source(name="label")
    picture = fn.decoders.image(files, device="mixed" if gpu else "cpu", output_type=colours, adjust_orientation=False)
    mask = fn.decoders.image(masks, device="cpu", output_type=types.DALIImageType.GRAY, adjust_orientation=False)
    if gpu:
        mask = mask.gpu()
    table = {"keys": list(range(256)), "values": [float(value) for value in decoding.table]}
    label = fn.lookup_table(mask, **table, dtype=types.DALIDataType.UINT8)
    return fn.cast(picture, dtype=types.DALIDataType.FLOAT) * decoding.scale, label


def _augment(
    image: Any,
    label: Any,
    numbers: Any,
    shape: tuple[int, ...],
    layout: Layout,
    recipe: Recipe,
    outside_label: int,
    gpu: bool,
) -> tuple[Any, Any]:
    if "ROTATION" in recipe or "SCALING" in recipe:
        image, label = _move(image, label, numbers, shape, outside_label)
    if "NOISE" in recipe:
        noise = fn.external_source(name="noise")
        image = _add_noise(image, noise.gpu() if gpu else noise, numbers[layout.head - 1])
    if layout.modalities == 1:
        image = _change(image, numbers, layout.head, shape[:-1], recipe)
    else:
        changed = [
            _change(_channel(image, place, layout.rank), numbers, layout.head + place * layout.each, shape[:-1], recipe)
            for place in range(layout.modalities)
        ]
        image = fn.cat(*changed, axis=layout.rank)
    if "FLIP" in recipe:
        image, label = _flip(image, label, numbers, layout)
    return image, label


def _channel(image: Any, place: int, rank: int) -> Any:
    return fn.slice(image, start=[place], shape=[1], axes=[rank])


def _move(image: Any, label: Any, numbers: Any, shape: tuple[int, ...], outside_label: int) -> tuple[Any, Any]:
    rank = len(shape) - 1
    size = [float(side) for side in shape[:-1]]
    matrix = fn.reshape(numbers[1 : 1 + rank * (rank + 1)], shape=[rank, rank + 1])
    if numbers[0] > 0:
        linear, nearest = types.DALIInterpType.INTERP_LINEAR, types.DALIInterpType.INTERP_NN
        moved = fn.warp_affine(image, matrix=matrix, size=size, fill_value=0, interp_type=linear, inverse_map=True)
        moved_label = fn.warp_affine(
            label, matrix=matrix, size=size, fill_value=outside_label, interp_type=nearest, inverse_map=True
        )
    else:
        moved, moved_label = image, label
    return moved, moved_label


def _add_noise(image: Any, noise: Any, strength: Any) -> Any:
    if strength > 0:  # noqa: SIM108 (DALI rebuilds statements, not expressions)
        noisy = image + noise * strength
    else:
        noisy = image
    return noisy


def _change(image: Any, numbers: Any, start: int, sides: tuple[int, ...], recipe: Recipe) -> Any:
    """The intensity transforms of one modality, whose numbers begin at `start`."""
    rank = len(sides)
    after_blur = start + 1 + rank
    if "BLUR" in recipe:
        image = _blur(image, numbers[start], numbers[start + 1 : after_blur])
    if "BRIGHTNESS" in recipe:
        image = _multiply(image, numbers[after_blur])
    if "BRIGHTNESS_SHIFT" in recipe:
        image = image + numbers[after_blur + 1]
    if "CONTRAST" in recipe:
        image = _stretch(image, numbers[after_blur + 2], recipe["CONTRAST"]["CLAMP"])
    after_zoom = after_blur + 4 + rank
    if "LOW_RESOLUTION" in recipe:
        image = _lower(image, numbers[after_blur + 3], numbers[after_blur + 4 : after_zoom], sides)
    if "GAMMA_INVERTED" in recipe:
        image = _gamma_inverted(image, numbers[after_zoom])
    if "GAMMA" in recipe:
        image = _gamma(image, numbers[after_zoom + 1])
    return image


def _blur(image: Any, happens: Any, sigma: Any) -> Any:
    if happens > 0:
        # As wide as OpenCV's: four standard deviations on either side.
        width = fn.cast(math.floor(sigma * 4.0 + 0.5), dtype=types.DALIDataType.INT32) * 2 + 1
        blurred = fn.gaussian_blur(image, sigma=sigma, window_size=width)
    else:
        blurred = image
    return blurred


def _multiply(image: Any, factor: Any) -> Any:
    if factor != 1.0:  # noqa: SIM108 (DALI rebuilds statements, not expressions)
        changed = image * factor
    else:
        changed = image
    return changed


def _stretch(image: Any, factor: Any, clamp: bool) -> Any:
    if factor != 1.0:
        mean = fn.reductions.mean(image)
        changed = (image - mean) * factor + mean
        if clamp:
            changed = math.min(math.max(changed, fn.reductions.min(image)), fn.reductions.max(image))
    else:
        changed = image
    return changed


def _lower(image: Any, happens: Any, small: Any, sides: tuple[int, ...]) -> Any:
    if happens > 0:
        nearest, linear = types.DALIInterpType.INTERP_NN, types.DALIInterpType.INTERP_LINEAR
        lowered = fn.resize(image, size=small, interp_type=nearest, antialias=False)
        size = [float(side) for side in sides]
        changed = fn.resize(lowered, size=size, interp_type=linear, antialias=False)
    else:
        changed = image
    return changed


def _gamma(image: Any, exponent: Any) -> Any:
    if exponent != 1.0:
        low = fn.reductions.min(image)
        width = math.max(fn.reductions.max(image) - low, _TINY)
        changed = _restored(((image - low) / width) ** exponent, image)
    else:
        changed = image
    return changed


def _gamma_inverted(image: Any, exponent: Any) -> Any:
    if exponent != 1.0:
        high = fn.reductions.max(image)
        width = math.max(high - fn.reductions.min(image), _TINY)
        changed = _restored(0.0 - ((high - image) / width) ** exponent, image)
    else:
        changed = image
    return changed


def _restored(changed: Any, image: Any) -> Any:
    """With the mean and standard deviation of `image`."""
    mean, new_mean = fn.reductions.mean(image), fn.reductions.mean(changed)
    deviation = fn.reductions.std_dev(image, mean)
    new_deviation = math.max(fn.reductions.std_dev(changed, new_mean), _TINY)
    return (changed - new_mean) * (deviation / new_deviation) + mean


def _flip(image: Any, label: Any, numbers: Any, layout: Layout) -> tuple[Any, Any]:
    first = layout.head - 4
    flips = [fn.cast(numbers[first + axis], dtype=types.DALIDataType.INT32) for axis in range(3)]
    if layout.rank == 3:
        turned = {"depthwise": flips[0], "vertical": flips[1], "horizontal": flips[2]}
    else:
        turned = {"vertical": flips[1], "horizontal": flips[2]}
    return fn.flip(image, **turned), fn.flip(label, **turned)
