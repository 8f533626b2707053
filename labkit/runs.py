"""Where and under what a run works: an environment without remarks, a folder of its own, the link to the latest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.profile import resolve
from labkit.store import ROOT, runs_folder

QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::FutureWarning,ignore:IProgress not found",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "JUPYTER_PATH": "",  # kernels of other environments may lie there, under the name of ours
    "JUPYTER_PREFER_ENV_PATH": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": str(ROOT / "matplotlibrc"),
}


@contextmanager
def environment(profile: str | None) -> Iterator[None]:
    """What a kernel starts with: few warnings, our figure style, and no hub where none is needed."""
    before = dict(os.environ)
    os.environ.update(QUIET, LABKIT_RUNS=str(runs_folder()))
    if profile is not None and resolve(profile).offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def kernel_options() -> dict[str, Any]:
    """How a notebook's process starts: in this interpreter, encrypted if its kernel can, silent when it is stopped in a cell."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets.config import Config

    class Here(AsyncKernelManager):
        """Looks for a kernel named python3 nowhere: whatever lies in Jupyter's folders, it is this interpreter's."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

    config = Config(KernelManager={"transport_encryption": "auto"})
    return {"config": config, "kernel_manager_class": Here, "extra_arguments": ["--log-level=CRITICAL"]}


def shown(path: Path) -> str:
    """A path as a reader should see it: relative to the project where it lies inside."""
    path = path.absolute()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def point(link: Path, folder: Path) -> None:
    """Have `link` lead to `folder`, beside it, in one step; a real folder in its place is kept aside."""
    if link.is_dir() and not link.is_symlink():
        link.rename(new_folder(link.parent) / "before")
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(folder.name)
    new.replace(link)


def new_folder(root: Path) -> Path:
    """A new folder of `root`, named by the time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for n in count(1):
            folder = root / (stamp if n == 1 else f"{stamp}-{n}")
            with suppress(FileExistsError):  # another run of this second
                folder.mkdir()
                return folder
    except OSError as error:
        raise LabError(f"cannot write to {shown(root)}: {error.strerror}; choose another folder") from error
