"""Checkpoints: everything that the next step depends on, in one file, replaced in one move, written beside the training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ropewalk.model.stream import stream
from ropewalk.runtime.errors import InputError

CHECKPOINT = "checkpoint.safetensors"


class Checkpoints:
    """The newest checkpoint of a run; a thread writes it while training goes on. A context: it ends with all written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CHECKPOINT
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def save(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Copy the tensors and begin to write them; wait for the write before, whose failure is raised here."""
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        self._writing = self._writer.submit(_write, self.path, copies, step)

    def wait(self) -> None:
        """Until what was saved is on disk."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def load(self) -> tuple[dict[str, Tensor], int] | None:
        """The newest checkpoint's tensors and the step to go on with; None if there is none.

        Raises:
            InputError: it cannot be read.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                step = json.loads(file.metadata()["step"])
            return load_file(self.path), step
        except (SafetensorError, ValueError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}): delete it, and the same command starts from step 0"
            ) from None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self.wait()
        except BaseException:
            if failure[0] is None:  # or the error under way is the one to tell
                raise
        finally:
            self._writer.shutdown()


def _write(path: Path, tensors: dict[str, Tensor], step: int) -> None:
    draft = path.with_suffix(".draft")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
    stream(draft, shapes, tensors.__getitem__, metadata={"step": json.dumps(step)}, dtypes=dtypes)
    with draft.open("rb") as file:
        os.fsync(file.fileno())  # or a power cut may keep the rename and lose the bytes
    draft.replace(path)
