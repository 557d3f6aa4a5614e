"""From published collections to prepared cases: reading, checking, splitting, synthetic volumes. No Keras."""
