"""train.py's room: runtime, training step, schedules, the loop, checkpoints and what is written down on the way."""
