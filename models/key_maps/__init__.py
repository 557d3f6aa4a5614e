"""Which tensor of an original is which variable of ours: one file per family, `entries(model) -> list[Entry]`."""
