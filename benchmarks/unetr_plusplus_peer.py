"""PyTorch's side of the UNETR++ benchmark: the network of its paper and released weights, written anew for PyTorch.

`PYTHON unetr_plusplus_peer.py PRESET WEIGHTS IMAGE OUT REPEATS THREADS` reads the weights (npz, the released keys) and
the image (npy, channels first), writes the logits of full resolution, and prints seconds, processor seconds and peak
memory of a forward pass as JSON. Runs in an environment of its own, without this project.

Source: A. Shaker et al., IEEE TMI 2024, https://doi.org/10.1109/TMI.2024.3398728.
"""

import ctypes
import gc
import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

PRESETS = {
    "synapse": ((2, 4, 4), "shared", False),
    "acdc": ((1, 4, 4), "separate", True),
    "lung": ((1, 4, 4), "separate", True),
    "brats": ((4, 4, 4), "matrix", False),
}
WIDTHS, TOKENS, HEADS, DEPTH, BASE = (32, 64, 128, 256), (64, 64, 64, 32), 4, 3, 16


class Conv(nn.Module):
    """A convolution under the key `conv`."""

    def __init__(self, channels, filters, size, *, stride=1, up=False, bias=False):
        super().__init__()
        padding = 1 if size == 3 else 0
        kind = nn.ConvTranspose3d if up else nn.Conv3d
        self.conv = kind(channels, filters, size, stride=stride, padding=padding, bias=bias)

    def forward(self, x):
        """`(b, c, *s)`."""
        return self.conv(x)


class Residual(nn.Module):
    """Two convolutions around a skip."""

    def __init__(self, channels, filters, *, batch):
        super().__init__()
        norm = nn.BatchNorm3d if batch else nn.InstanceNorm3d
        self.conv1, self.conv2 = Conv(channels, filters, 3), Conv(filters, filters, 3)
        self.norm1, self.norm2 = norm(filters), norm(filters)
        self.conv3 = Conv(channels, filters, 1) if channels != filters else None
        self.norm3 = norm(filters) if channels != filters else None

    def forward(self, x):
        """`(b, c, *s)`."""
        y = functional.leaky_relu(self.norm1(self.conv1(x)), 0.01)
        y = self.norm2(self.conv2(y))
        return functional.leaky_relu(y + (x if self.conv3 is None else self.norm3(self.conv3(x))), 0.01)


class Attention(nn.Module):
    """Channel and spatial attention that share queries and keys."""

    def __init__(self, width, count, tokens, projection):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.temperature2 = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.qkvv = nn.Linear(width, 4 * width, bias=False)
        if projection == "matrix":
            self.EF = nn.Parameter(torch.zeros(count, tokens))
            return
        self.E = nn.Linear(count, tokens)
        self.F = self.E if projection == "shared" else nn.Linear(count, tokens)
        self.out_proj, self.out_proj2 = nn.Linear(width, width // 2), nn.Linear(width, width // 2)

    def forward(self, x):
        """`(b, n, c)`."""
        batch, count, width = x.shape
        mixed = self.qkvv(x).reshape(batch, count, 4, HEADS, width // HEADS).permute(2, 0, 3, 4, 1)
        queries, keys, channel_values, spatial_values = mixed
        if hasattr(self, "EF"):
            keys_p, values_p = (torch.einsum("bhdn,nk->bhdk", part, self.EF) for part in (keys, spatial_values))
        else:
            keys_p, values_p = self.E(keys), self.F(spatial_values)
        queries, keys = functional.normalize(queries, dim=-1), functional.normalize(keys, dim=-1)
        channel = torch.softmax(queries @ keys.transpose(-2, -1) * self.temperature, -1)
        one = (channel @ channel_values).permute(0, 3, 1, 2).reshape(batch, count, width)
        spatial = torch.softmax(queries.permute(0, 1, 3, 2) @ keys_p * self.temperature2, -1)
        two = (spatial @ values_p.transpose(-2, -1)).permute(0, 3, 1, 2).reshape(batch, count, width)
        return one + two if hasattr(self, "EF") else torch.cat((self.out_proj(two), self.out_proj2(one)), -1)


class Block(nn.Module):
    """Attention over voxels, then convolutions."""

    def __init__(self, width, count, tokens, projection, second):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))
        self.pos_embed = nn.Parameter(torch.zeros(1, count, width))
        self.epa_block = Attention(width, count, tokens, projection)
        self.conv51 = Residual(width, width, batch=True)
        self.conv52 = Residual(width, width, batch=True) if second else None
        self.conv8 = nn.Sequential(nn.Dropout3d(0.1), nn.Conv3d(width, width, 1))

    def forward(self, x):
        """`(b, c, *s)`."""
        batch, width, *size = x.shape
        tokens = x.reshape(batch, width, -1).permute(0, 2, 1) + self.pos_embed
        tokens = tokens + self.gamma * self.epa_block(self.norm(tokens))
        x = tokens.reshape(batch, *size, width).permute(0, 4, 1, 2, 3)
        y = self.conv51(x)
        return x + self.conv8(y if self.conv52 is None else self.conv52(y))


class Encoder(nn.Module):
    """Four stages."""

    def __init__(self, channels, stem, grids, projection, second):
        super().__init__()
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        for level, (width, tokens, grid) in enumerate(zip(WIDTHS, TOKENS, grids, strict=True)):
            before, stride = (channels, stem) if level == 0 else (WIDTHS[level - 1], 2)
            down = nn.Sequential(Conv(before, width, stride, stride=stride), nn.GroupNorm(before, width))
            blocks = [Block(width, math.prod(grid), tokens, projection, second) for _ in range(DEPTH)]
            self.downsample_layers.append(down)
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x):
        """Features of every stage, `(b, c, *s)`."""
        found = []
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
            found.append(x)
        return found


class Up(nn.Module):
    """Transposed convolution, the skip added, then a block or two."""

    def __init__(self, channels, width, stride, block):
        super().__init__()
        self.transp_conv = Conv(channels, width, stride, stride=stride, up=True)
        self.decoder_block = nn.ModuleList([block])

    def forward(self, x, skip):
        """`(b, c, *s)`."""
        return self.decoder_block[0](self.transp_conv(x) + skip)


class Output(nn.Module):
    """Logits, under the key `conv.conv`."""

    def __init__(self, width, classes):
        super().__init__()
        self.conv = Conv(width, classes, 1, bias=True)

    def forward(self, x):
        """`(b, c, *s)`."""
        return self.conv(x)


class Network(nn.Module):
    """UNETR++, without its two outputs of lower resolution in `forward`."""

    def __init__(self, preset, channels, classes, size):
        super().__init__()
        stem, projection, second = PRESETS[preset]
        grid = [n // s for n, s in zip(size, stem, strict=True)]
        grids = [[n >> level for n in grid] for level in range(4)]
        self.unetr_pp_encoder = Encoder(channels, stem, grids, projection, second)
        self.encoder1 = Residual(channels, BASE, batch=False)
        for key, level in (("decoder5", 2), ("decoder4", 1), ("decoder3", 0)):
            count = math.prod(grids[level])
            blocks = [Block(WIDTHS[level], count, TOKENS[level], projection, second) for _ in range(DEPTH)]
            setattr(self, key, Up(WIDTHS[level + 1], WIDTHS[level], 2, nn.Sequential(*blocks)))
        self.decoder2 = Up(WIDTHS[0], BASE, stem, Residual(BASE, BASE, batch=False))
        self.out1, self.out2, self.out3 = Output(BASE, classes), Output(WIDTHS[0], classes), Output(WIDTHS[1], classes)

    def forward(self, x):
        """Logits `(b, k, *s)` of an image `(b, c, *s)`."""
        shallow = self.encoder1(x)
        one, two, three, four = self.unetr_pp_encoder(x)
        y = self.decoder3(self.decoder4(self.decoder5(four, three), two), one)
        return self.out1(self.decoder2(y, shallow))


def load(preset, weights, image):
    """The network with these weights; every key must fit."""
    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    classes = tensors["out1.conv.conv.bias"].shape[0]
    network = Network(preset, image.shape[1], classes, image.shape[2:]).eval()
    missing, unused = network.load_state_dict(tensors, strict=False)
    wrong = [key for key in (*missing, *unused) if not key.endswith("num_batches_tracked")]
    if wrong:
        raise SystemExit(f"keys that do not fit: {wrong[:5]}")
    return network


def peak_mb():
    """Largest resident memory since `reset_peak_mb`."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def reset_peak_mb():
    """Peaks are counted from here on (Linux); what is resident now, without memory that nothing uses."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5", "ascii")
    return peak_mb()


def main(arguments):
    """Measures and writes."""
    preset, weights, image, out, repeats, threads = arguments
    torch.set_num_threads(int(threads))
    picture = np.load(image)
    with np.load(weights) as stored:
        network = load(preset, stored, picture)
    batch, seconds, processor = torch.from_numpy(picture), [], []
    idle = reset_peak_mb()
    with torch.inference_mode():
        answer = network(batch)
        for _ in range(int(repeats)):
            answer = None
            wall, cpu = time.perf_counter(), time.process_time()
            answer = network(batch)
            seconds.append(time.perf_counter() - wall)
            processor.append(time.process_time() - cpu)
    peak = peak_mb()
    np.save(out, answer.numpy())
    measured = {"seconds": seconds, "processor_seconds": processor}
    print(json.dumps({**measured, "forward_mb": peak - idle, "process_mb": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
