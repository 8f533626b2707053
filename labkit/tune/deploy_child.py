"""`transformers serve` in a process that ends when the one that started it is gone. Run by `deploy_serve`.

It imports nothing of labkit, so that it runs from any folder. Introduced in 10_deploy.
"""

import os
import signal
import sys
import threading


def follow() -> None:
    """Wait until the starter closes its end of the pipe, as it also does by dying; then stop the server."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=follow, daemon=True).start()
    from transformers.cli.transformers import app

    app(["serve", *sys.argv[1:]])
