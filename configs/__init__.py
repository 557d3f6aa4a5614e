"""What may be said on the command line, and what saying it does. Nothing here imports Keras."""

from configs.compose import compose
from configs.entry import entry
from configs.errors import ConfigError

__all__ = ["ConfigError", "compose", "entry"]
