"""Networks: one table from `MODEL.TYPE` to a builder, and what every network has in common.

Importing this package loads neither Keras nor a backend; building a network does.
"""

from models.registry import MODELS, ModelEntry, build_model, inference_model
from models.signatures import check_options, model_options

__all__ = ["MODELS", "ModelEntry", "build_model", "check_options", "inference_model", "model_options"]
