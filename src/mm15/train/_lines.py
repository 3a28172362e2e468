"""A file of lines that only grows, and outlives a full disk: what cannot be written now is written later."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Lines:
    """Appends lines to a file, at once where the disk takes them.

    A line that meets a full disk stays in memory and goes out with the next one, in order; ``sync`` says so. May be
    used by two threads.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._waiting = b""
        self._lock = threading.Lock()

    def write(self, line: str) -> bool:
        """Append; whether everything is in the file now."""
        with self._lock:
            self._waiting += line.encode()
            try:
                self._push()
            except OSError:
                return False
            return True

    def sync(self) -> None:
        """Push everything to the disk.

        Raises:
            OSError: something is still in memory only.
        """
        with self._lock:
            self._push()
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file; what it could not take is lost, and the checkpoints know nothing of it."""
        os.close(self._file)

    def _push(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._file, self._waiting) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None
