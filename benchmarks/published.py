"""The networks of the project as they were published, with the figures that papers and authors' code state for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network at its published configuration.

    Attributes:
        title: What the table calls it.
        kind: `MODEL.TYPE`.
        shape: Input `(*s, c)`.
        classes: Outputs; `None` where domains bring their own.
        options: Of the builder.
        parameters: As published.
        gmac: Multiply-adds of a forward pass as published, in 1e9.
    """

    title: str
    kind: str
    shape: tuple[int, ...]
    classes: int | None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parameters: str = ""
    gmac: str = ""


DOMAINS: tuple[Mapping[str, Any], ...] = (
    {"name": "heart", "channels": 1, "classes": 2},
    {"name": "liver", "channels": 1, "classes": 2},
    {"name": "hippocampus", "channels": 1, "classes": 3},
    {"name": "prostate", "channels": 2, "classes": 3},
    {"name": "pancreas", "channels": 1, "classes": 2},
)
ADDED_DOMAIN: Mapping[str, Any] = {"name": "spleen", "channels": 1, "classes": 2}
_HIPPOCAMPUS = {"filters": [32, 64, 128, 256]}

PUBLISHED: tuple[Network, ...] = (
    Network("UNet 3+", "unet3plus", (320, 320, 3), 1, parameters="26.97 M"),
    Network("UNet 3+, deep supervision", "unet3plus_deepsup", (320, 320, 3), 1, parameters="26.97 M"),
    Network("UNet 3+, guided", "unet3plus_deepsup_cgm", (320, 320, 3), 1, parameters="26.97 M"),
    Network("U-Net of the UNet++ papers", "unet", (512, 512, 1), 1, {"recipe": "paper"}, "7.76 M"),
    Network("UNet++ of the papers", "unetplusplus", (512, 512, 1), 1, {"recipe": "paper"}, "9.04 M"),
    Network("UNet++ 3D, liver", "unetplusplus", (64, 64, 64, 1), 3, {}, "45,966,400", "296.67"),
    Network("nnU-Net, hippocampus 3D", "unet", (40, 56, 40, 1), 3, _HIPPOCAMPUS, "5.60 M", "19.1"),
    Network("nnU-Net, liver 3D", "unet", (128, 128, 128, 1), 3, {}, "31.20 M"),
    Network("nnU-Net ResEnc L, liver 3D", "resenc_unet", (128, 128, 128, 1), 3, {}, "102.4 M"),
    Network("UNETR++ Synapse", "unetr_plusplus", (64, 128, 128, 1), 14, {}, "42.96 M", "47.98"),
    Network("UNETR++ ACDC", "unetr_plusplus", (16, 160, 160, 1), 4, {"preset": "acdc"}, "66.8 M", "43.71"),
    Network("UNETR++ Lung", "unetr_plusplus", (32, 192, 192, 1), 2, {"preset": "lung"}, "121.17 M", "125.84"),
    Network("UNETR++ BraTS", "unetr_plusplus", (128, 128, 128, 4), 4, {"preset": "brats"}, "42.6 M", "70.1"),
    Network("3D U2-Net, five domains", "universal_unet", (128,) * 3, None, {"domains": DOMAINS}, "6,577,460", "23.78"),
)
