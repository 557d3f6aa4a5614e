"""Event files for TensorBoard, written by its own package: no TensorFlow is needed or loaded."""

import itertools
import math
import pathlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from training.checkpoints import Progress
from training.observers import Silent

_COUNTER = itertools.count()


Pictures = Callable[[], Mapping[str, np.ndarray]]
"""Name to new pictures, uint8 `(h, w, 3)`; nothing where there are none."""


class TensorBoard(Silent):
    """Every value of the history, by epoch: `train/<name>` and `validation/<name>`; pictures as `samples/<name>`.

    Args:
        folder: The event file goes there; a continued run adds another one.
        pictures: Asked after every epoch.
    """

    def __init__(self, folder: pathlib.Path, *, pictures: Pictures | None = None) -> None:
        self.folder = folder
        self.pictures = pictures or dict
        self._stream: Any = None
        self._writer: Any = None

    def started(self, progress: Progress, epochs: int | None) -> None:
        """Opens the file."""
        del progress, epochs
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{next(_COUNTER)}"
        self._stream = (self.folder / name).open("wb")
        self._writer = RecordWriter(self._stream)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """Writes a row."""
        values = [
            Summary.Value(tag=tag(name), simple_value=value)
            for name, value in row.items()
            if name != "epoch" and math.isfinite(value)
        ]
        values += [
            Summary.Value(tag=f"samples/{name}", image=_encoded(picture)) for name, picture in self.pictures().items()
        ]
        self._write(Event(wall_time=time.time(), step=progress.epoch, summary=Summary(value=values)))

    def finished(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())
        self._stream.flush()


def _encoded(picture: np.ndarray) -> Summary.Image:
    height, width = picture.shape[:2]
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data.tobytes())


def tag(name: str) -> str:
    """Where a value is shown."""
    return f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}"
