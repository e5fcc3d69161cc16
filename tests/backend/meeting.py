"""What a test starts by torchrun: prints what the processes of this training agree on, which each starts from its own.

Argument: a number of the training; the process of rank r says number + r.
"""

from __future__ import annotations

import sys

from backend.commands.training_run import joined
from model_zoo.training.processes import agree, processes

if __name__ == "__main__":
    with joined("cpu"):
        world, rank = processes()
        largest, _ = agree(float(sys.argv[1]) + rank, False)
        sys.stdout.write(f"{world} {largest:g}\n")
