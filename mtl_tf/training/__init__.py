"""Training: devices, optimiser, step, checkpoints, run directory and the loop that joins them."""
