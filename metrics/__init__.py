"""What is reported.

`streaming` holds the Keras metrics of training; everything else is NumPy and SciPy, one case at a time, and imports
no Keras: `cases` (per-case scores), `surface` and `mesh` (distances in mm), `lesions`, `challenges`, `calibration`,
`statistics`, and `provenance`, which says by what each number was computed.
"""
