"""What is minimised: segmentation losses on logits, written in `keras.ops`.

Every loss takes labels `(b, *s, 1)` (class indices) and logits `(b, *s, k)`, computes in float32 whatever the policy,
and leaves voxels labelled `ignore_label` out of every term: their logits change neither the value nor a gradient.
`k == 1` means sigmoid (any label above 0 is foreground), `k > 1` softmax, `regions` means `k` sigmoids.

The returned scalar is a mean over the batch. Averaging the values of equal parts of a batch, as data-parallel
training does, gives the value of the whole batch for `soft_dice`, `squared_dice`, `tversky`, `ms_ssim`,
`iou(empty="keep")` and, while no voxel is ignored, for `cross_entropy`, `focal` and everything added up from these.
It does not where voxels of the whole batch are pooled: `batch_dice=True`, `iou(empty="skip" | "batch")`,
`topk_ce`, `lovasz_softmax(per_image=False)`, `class_weights`. There each device pools its own share of the batch.

Importing this package imports no Keras; building a loss does.
"""

from losses.registry import LOSSES, build_loss, check_options, loss_options

__all__ = ["LOSSES", "build_loss", "check_options", "loss_options"]
