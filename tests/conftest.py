"""What every test runs under: no network but loopback, two threads, no window.

pytest-socket guards this process (addopts in pyproject.toml); tests/offline every process that a test starts.
"""

import os
import signal
from pathlib import Path

from hypothesis import settings

OFFLINE = str(Path(__file__).parent / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    OMP_NUM_THREADS="2",  # read by torch and faiss when they are first imported, here and in child processes
    MKL_NUM_THREADS="2",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)
settings.register_profile("labkit", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("labkit")

# A suite started in the background inherits an ignored SIGINT, which the processes that tests interrupt would inherit too.
signal.signal(signal.SIGINT, signal.default_int_handler)
