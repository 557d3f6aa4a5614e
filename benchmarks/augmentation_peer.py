"""The other side of `benchmarks.augmentation`, run by a Python with PyTorch and batchgeneratorsv2 (nothing of ours).

nnU-Net's 3D recipe as its trainer composes it (release 2.8.1), one PyTorch thread per worker process, as there.
"""

import json
import multiprocessing
import pathlib
import sys
import time

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform

PATCH, READ, BATCH = (96, 96, 96), 153, 2


def transforms() -> ComposeTransforms:
    """nnU-Net's training transforms for an isotropic patch."""
    angle: RandomScalar = (-30 / 180 * np.pi, 30 / 180 * np.pi)
    spatial = SpatialTransform(
        PATCH,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        p_rotation=0.2,
        rotation=angle,
        p_scaling=0.2,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=1,
        bg_style_seg_sampling=False,
    )
    noise = GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True)
    blur = GaussianBlurTransform(
        blur_sigma=(0.5, 1.0), synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5, benchmark=True
    )
    brightness = MultiplicativeBrightnessTransform(
        multiplier_range=BGContrast((0.75, 1.25)), synchronize_channels=False, p_per_channel=1
    )
    contrast = ContrastTransform(
        contrast_range=BGContrast((0.75, 1.25)), preserve_range=True, synchronize_channels=False, p_per_channel=1
    )
    low_resolution = SimulateLowResolutionTransform(
        scale=(0.5, 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=None,
        allowed_channels=None,
        p_per_channel=0.5,
    )

    def gamma(inverted: int) -> GammaTransform:
        return GammaTransform(
            gamma=BGContrast((0.7, 1.5)),
            p_invert_image=inverted,
            synchronize_channels=False,
            p_per_channel=1,
            p_retain_stats=1,
        )

    return ComposeTransforms(
        [
            spatial,
            RandomTransform(noise, apply_probability=0.1),
            RandomTransform(blur, apply_probability=0.2),
            RandomTransform(brightness, apply_probability=0.15),
            RandomTransform(contrast, apply_probability=0.15),
            RandomTransform(low_resolution, apply_probability=0.25),
            RandomTransform(gamma(1), apply_probability=0.1),
            RandomTransform(gamma(0), apply_probability=0.3),
            MirrorTransform(allowed_axes=(0, 1, 2)),
            RemoveLabelTansform(-1, 0),
        ]
    )


def work(root: str, seed: int, wanted: "multiprocessing.Queue[int]", made: "multiprocessing.Queue[int]") -> None:
    """Makes a batch for every number it is given."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    names = sorted(path.name for path in (pathlib.Path(root) / "images").glob("*.npy"))
    images = [np.load(pathlib.Path(root) / "images" / name, mmap_mode="r") for name in names]
    labels = [np.load(pathlib.Path(root) / "labels" / name, mmap_mode="r") for name in names]
    composed = transforms()
    for number in iter(wanted.get, -1):
        for _ in range(BATCH):
            case = int(rng.integers(len(images)))
            start = [int(rng.integers(size - READ + 1)) for size in labels[case].shape]
            box = tuple(slice(low, low + READ) for low in start)
            image = np.ascontiguousarray(images[case][box][..., 0].astype(np.float32))[None]
            label = np.ascontiguousarray(labels[case][box].astype(np.int16))[None]
            composed(image=torch.from_numpy(image), segmentation=torch.from_numpy(label))
        made.put(number)


def main() -> None:
    """Prints patches per second; the first batch of each worker is not counted."""
    root, batches, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    wanted: multiprocessing.Queue[int] = multiprocessing.Queue()
    made: multiprocessing.Queue[int] = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(root, seed, wanted, made)) for seed in range(workers)]
    for process in processes:
        process.start()
    for number in range(workers):
        wanted.put(number)
    for _ in range(workers):
        made.get()
    start = time.perf_counter()
    for number in range(batches):
        wanted.put(number)
    for _ in range(batches):
        made.get()
    elapsed = time.perf_counter() - start
    for _ in processes:
        wanted.put(-1)
    for process in processes:
        process.join()
    print(json.dumps(batches * BATCH / elapsed))


if __name__ == "__main__":
    main()
