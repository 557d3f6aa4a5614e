"""From prepared cases or image folders to batches: the file format, sampling, augmentation, loaders."""
