"""Where work runs: model calls on one thread a device, rounds in a training process."""
