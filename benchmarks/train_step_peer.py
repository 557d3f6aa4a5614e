"""PyTorch's side of the training step: the same networks by nnU-Net's library, and UNet 3+ written anew from its paper.

`PYTHON train_step_peer.py MODEL BATCH STEPS THREADS CLASSES SIZE.. CHANNELS` prints parameters and the seconds of every
training step and forward pass as JSON, after two that do not count. A step is Dice and cross-entropy, both gradients,
Adam. Runs in an environment of its own, without this project.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional

UNCOUNTED = 2
WIDTHS = (64, 128, 256, 512, 1024)


def unit(channels, filters):
    """3-wide convolution, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(inplace=True))


class UNet3Plus(nn.Module):
    """H. Huang et al., ICASSP 2020, https://arxiv.org/abs/2004.08790: every decoder level reads all others."""

    def __init__(self, channels, classes):
        super().__init__()
        before = (channels, *WIDTHS[:-1])
        self.encoder = nn.ModuleList(nn.Sequential(unit(a, b), unit(b, b)) for a, b in zip(before, WIDTHS, strict=True))
        levels, fused = len(WIDTHS), WIDTHS[0] * len(WIDTHS)
        self.branches, self.fuse = nn.ModuleList(), nn.ModuleList()
        for level in range(levels - 1):
            widths = [*WIDTHS[: level + 1], *(fused for _ in range(level + 1, levels - 1)), WIDTHS[-1]]
            self.branches.append(nn.ModuleList(unit(width, WIDTHS[0]) for width in widths))
            self.fuse.append(unit(fused, fused))
        self.head = nn.Conv2d(fused, classes, 3, padding=1)

    def forward(self, x):
        """`(b, c, h, w)` to logits of the same size."""
        features = []
        for level, stage in enumerate(self.encoder):
            x = stage(functional.max_pool2d(x, 2) if level else x)
            features.append(x)
        for level in reversed(range(len(self.fuse))):
            size = features[level].shape[2:]
            resized = [resize(x, size, 2 ** abs(level - origin)) for origin, x in enumerate(features)]
            read = [branch(x) for branch, x in zip(self.branches[level], resized, strict=True)]
            features[level] = self.fuse[level](torch.cat(read, 1))
        return self.head(features[0])


def resize(x, size, factor):
    """Maximum on the way down, bilinear on the way up."""
    if x.shape[2] > size[0]:
        return functional.max_pool2d(x, factor)
    return x if x.shape[2:] == size else functional.interpolate(x, size, mode="bilinear", align_corners=False)


def planned(kind, channels, classes, rank):
    """nnU-Net's U-Nets, six stages, as `models.unet` and `models.resenc_unet` build them."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    widths = (32, 64, 128, 256, 512, 512) if rank == 2 else (32, 64, 128, 256, 320, 320)
    common = {
        "input_channels": channels,
        "n_stages": 6,
        "features_per_stage": widths,
        "conv_op": nn.Conv2d if rank == 2 else nn.Conv3d,
        "kernel_sizes": 3,
        "strides": (1, 2, 2, 2, 2, 2),
        "num_classes": classes,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d if rank == 2 else nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    if kind == "unet":
        return PlainConvUNet(**common, n_conv_per_stage=2, n_conv_per_stage_decoder=2)
    return ResidualEncoderUNet(**common, n_blocks_per_stage=(1, 3, 4, 6, 6, 6), n_conv_per_stage_decoder=1)


def loss_of(logits, label):
    """Cross-entropy less the soft Dice of the foreground."""
    share = logits.softmax(1)
    there = functional.one_hot(label, logits.shape[1]).movedim(-1, 1).float()
    axes = tuple(range(2, logits.ndim))
    dice = (2 * (share * there).sum(axes) + 1e-5) / (share.sum(axes) + there.sum(axes) + 1e-5)
    return functional.cross_entropy(logits, label) - dice[:, 1:].mean()


def timed(work, steps):
    """Seconds of each, the first ones left out."""
    found = []
    for _ in range(steps + UNCOUNTED):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found[UNCOUNTED:]


def main(arguments):
    """Measures and prints."""
    kind, *numbers = arguments
    batch, steps, threads, classes, *size, channels = map(int, numbers)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = UNet3Plus(channels, classes) if kind == "unet3plus" else planned(kind, channels, classes, len(size))
    image, label = torch.rand(batch, channels, *size), torch.randint(0, classes, (batch, *size))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(image), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    def forward():
        with torch.inference_mode():
            network(image).softmax(1).numpy()

    taken = {"step": timed(step, steps)}
    network.eval()
    taken["forward"] = timed(forward, steps)
    print(json.dumps({"parameters": sum(p.numel() for p in network.parameters()), **taken}))


if __name__ == "__main__":
    main(sys.argv[1:])
