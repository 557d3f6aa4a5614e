"""What validation measures: every sample in batches, or whole volumes."""

from collections.abc import Callable
from typing import Any

from training.feeds import Feed


def validate_batches(feed: Callable[[int], Feed]) -> Callable[[Any], dict[str, float]]:
    """Validation on every sample once; the last batch is never dropped.

    Args:
        feed: From position 0 to one pass over the validation samples.

    Returns:
        A function of the training model that gives `loss`, its terms, `dice` and `dice_<class>`; Dice is pooled over
        all samples.
    """

    def validate(model: Any) -> dict[str, float]:
        stream = feed(0)
        try:
            return dict(model.evaluate(stream, verbose=0, return_dict=True))
        finally:
            stream.close()

    return validate
