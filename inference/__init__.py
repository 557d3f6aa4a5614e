"""From a trained network to labels on the scanner's grid.

`activation` (logits to probabilities to labels), `slices` and `sliding_window` (a network over a volume), `network`
(compiled once, kept for a cohort), `restore` (back to the source grid), `postprocess`, `cohort` (many cases, resumable,
failures listed), `scoring` (a prediction against its reference). Only `network` and `loading` import Keras.
"""
