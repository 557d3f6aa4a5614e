import math

import numpy as np
import pytest

from metrics.pooling import PooledPixels, pooled_sentence


def test_scores_worked_by_hand():
    # Decisions at 0.5: foreground .9 and .4, background .6, .2, .1; the last pixel is ignored.
    reference = np.array([1, 1, 0, 0, 0, 255])
    probability = np.array([0.9, 0.4, 0.6, 0.2, 0.1, 0.99])
    scores = PooledPixels.of(reference, probability).scores()
    assert scores["dice"] == pytest.approx(2 * 1 / (2 + 2))
    assert scores["iou"] == pytest.approx(1 / 3)
    assert scores["mean_dice"] == pytest.approx((1 / 2 + 2 * 2 / (3 + 3)) / 2)
    assert scores["mean_iou"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["sensitivity"] == pytest.approx(1 / 2)
    assert scores["specificity"] == pytest.approx(2 / 3)
    # Of 6 pairs of foreground and background, 5 are in order: only .4 < .6 is not.
    assert scores["auc"] == pytest.approx(5 / 6)


def test_images_are_pooled_not_averaged():
    # One image with Dice 1 over 1 pixel, one with Dice 0 over 3 missed pixels: pooled 2 / (4 + 1), mean 0.5.
    one = PooledPixels.of(np.array([1]), np.array([1.0]))
    other = PooledPixels.of(np.array([1, 1, 1]), np.array([0.0, 0.0, 0.0]))
    assert (one + other).scores()["dice"] == pytest.approx(0.4)


def test_one_half_is_background_and_ties_count_half():
    pixels = PooledPixels.of(np.array([1, 0]), np.array([0.5, 0.5]))
    assert pixels.scores()["sensitivity"] == 0.0
    assert pixels.auc() == 0.5


def test_the_best_threshold_lies_between():
    reference = np.array([1, 1, 0, 0])
    pixels = PooledPixels.of(reference, np.array([0.35, 0.3, 0.2, 0.1]))
    best = pixels.best_threshold()
    assert 0.2 <= best < 0.3
    assert pixels.scores(best)["dice"] == 1.0


def test_nothing_to_score_is_not_a_number():
    scores = PooledPixels.of(np.array([255]), np.array([0.3])).scores()
    assert all(math.isnan(value) for value in scores.values())
    assert "Dice nan" in pooled_sentence(scores)
