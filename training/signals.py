"""Ways to ask a run to leave: Ctrl-C, SIGTERM, and a file called STOP in its folder."""

import logging
import pathlib
import signal
import threading
import time
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)


class Stopper:
    """Remembers that a run was asked to leave. A second signal takes its usual effect at once.

    Args:
        file: The run leaves when this file appears; it is then deleted.
    """

    def __init__(self, file: pathlib.Path | None = None) -> None:
        self.file = file
        self.reason = ""
        self.signal: int | None = None
        self._looked = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def asked(self) -> bool:
        """Whether to leave now; looks for the file at most once a second."""
        if self.reason:
            return True
        now = time.monotonic()
        if self.file is None or now - self._looked < 1.0:
            return False
        self._looked = now
        if self.file.exists():
            self.file.unlink(missing_ok=True)
            self.reason = f"the file {self.file.name} appeared"
        return bool(self.reason)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        self.reason = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self._release()
        log.warning("%s: saving after this batch. Once more leaves at once.", self.reason)

    def _release(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
