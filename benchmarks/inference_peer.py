"""MONAI's side of the inference benchmark; runs in an environment of its own, without this project.

`PYTHON inference_peer.py NETWORK OUT d h w pd ph pw CLASSES BATCH` prints seconds, processor seconds and the peak
memory above the start in MB as JSON, and writes the answer, `(d, h, w, k)`. The volume and the free network are those
of `benchmarks.inference`; the convolutional one has the same layers and widths, with weights of its own.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from monai.inferers import sliding_window_inference

SEED = 5


class Free(torch.nn.Module):
    """The first channel, once per class."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        """`(b, 1, *s)` to `(b, k, *s)`."""
        return x[:, :1].repeat(1, self.classes, 1, 1, 1)


def convolutions(classes):
    """Two convolutions of 8 channels and a head, with the softmax of ours."""
    layers = [torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU()]
    layers += [torch.nn.Conv3d(8, 8, 3, padding=1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(8, classes, 1), torch.nn.Softmax(1))


def peak_mb():
    """Largest resident memory so far."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(arguments):
    """Measures and writes."""
    name, out, *numbers = arguments
    d, h, w, pd, ph, pw, classes, batch = map(int, numbers)
    volume = np.random.default_rng(SEED).normal(size=(d, h, w, 1)).astype(np.float32)
    network = (Free(classes) if name == "free" else convolutions(classes)).eval()
    image = torch.from_numpy(np.moveaxis(volume, -1, 0)[None])
    with torch.inference_mode():
        network(image[:, :, :pd, :ph, :pw].expand(batch, -1, -1, -1, -1))
        before, clock, processor = peak_mb(), time.perf_counter(), time.process_time()
        answer = sliding_window_inference(image, (pd, ph, pw), batch, network, overlap=0.5, mode="gaussian")
        used = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}
    print(json.dumps({**used, "peak_mb": peak_mb() - before}))
    np.save(out, np.moveaxis(answer[0].numpy(), 0, -1))


if __name__ == "__main__":
    main(sys.argv[1:])
