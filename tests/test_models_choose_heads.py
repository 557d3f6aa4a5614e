import numpy as np
import pytest
from scipy import special

from models import build_model
from models.pruning import choose_heads


@pytest.fixture(scope="module")
def network():
    return build_model("unetplusplus", input_shape=(8, 8, 1), num_classes=2, filters=[2, 3, 4], deep_supervision=True)


def probabilities(model, image):
    return special.softmax(np.asarray(model(image)), axis=-1)


def test_heads_are_one_or_a_mean(network):
    image = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    deep, shallow = (special.softmax(np.asarray(answer), axis=-1) for answer in network(image))
    np.testing.assert_allclose(probabilities(choose_heads(network, "L1"), image), shallow, atol=1e-6)
    np.testing.assert_allclose(probabilities(choose_heads(network, 2), image), deep, atol=1e-6)
    for heads in ("accurate", ["L1", "L2"]):
        np.testing.assert_allclose(probabilities(choose_heads(network, heads), image), (deep + shallow) / 2, atol=1e-6)


def test_a_head_that_is_not_there_is_refused(network):
    with pytest.raises(ValueError, match="levels L1 to L2"):
        choose_heads(network, "L5")
