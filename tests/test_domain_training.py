"""Steps of one network on many domains: what a batch of one domain changes, on every backend and number of devices."""

import numpy as np
import pytest
from domain_scenarios import Boxes, make_model, start, state

from data_generators.domains import DomainLoader, DomainOrder
from training.budget import Budget
from training.domain_feeds import domain_feed
from training.domains import renamed
from training.loaders import Batching
from training.loop import fit
from training.runtime import Runtime
from training.session import Rules

DECAYS = pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "adam", "weight_decay": 0.1},
        {"type": "adam", "weight_decay": 0.1, "coupled": True, "clip_norm": 1.0},
        {"type": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    ],
    ids=["decoupled", "coupled clipped", "sgd"],
)


def one_device(*, xla: bool = False) -> Runtime:
    return Runtime("tensorflow", "cpu", ("cpu",), "float32", xla, True, 0)


def train(model, runtime, folder, *, domain: str, steps: int = 2):
    loader = DomainLoader({domain: Boxes(domain)}, DomainOrder([1], steps))
    feed = domain_feed(loader, Batching(threads=0), runtime=runtime)
    return fit(model, loader, rules=Rules(budget=Budget(epochs=1), keep_last=False), folder=folder, feed=feed)


def of(name: str, domain: str) -> bool:
    """Whether a variable belongs to a domain, by its name; the optimizer's names have no slashes."""
    return f"{domain}__" in name or name.endswith(f"updates_{domain}")


@DECAYS
def test_a_batch_changes_what_runs_for_its_domain_and_nothing_else(tmp_path, optimizer):
    model = make_model(one_device(), ["one", "two"], **optimizer)
    before = state(model)
    # Only batches of "two" come; the model knows both.
    model.parts = {"two": model.parts["two"], "one": model.parts["one"]}
    train(model, one_device(), tmp_path, domain="two")
    after = state(model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert not [name for name in changed if of(name, "one")]
    shared = [name for name in before if name.startswith("network/") and "__" not in name]
    own = [name for name in before if name.startswith("network/") and of(name, "two")]
    assert set(shared) | set(own) <= changed


def test_first_updates_of_a_late_domain_are_as_large_as_any(tmp_path):
    # Adam's first update is the learning rate, 0.01, times the gradient's sign. Counted with the 20 batches of another
    # domain it would be 0.01 * (0.1 / (1 - 0.9^21)) / sqrt(0.001 / (1 - 0.999^21)) = 0.0052.
    model = make_model(one_device(), ["two", "one"], type="adam")
    train(model, one_device(), tmp_path, domain="two", steps=20)
    model.parts = {"one": model.parts["one"], "two": model.parts["two"]}
    before = state(model)
    train(model, one_device(), tmp_path, domain="one", steps=1)
    after = state(model)
    name = next(name for name in before if name.startswith("network/one__output") and name.endswith("bias"))
    assert np.abs(after[name] - before[name]) == pytest.approx(0.01, rel=1e-3)


def test_logs_carry_the_domain():
    assert renamed({"loss": 1, "dice": 2, "dice_left_lung": 3}, "ct") == {
        "loss_ct": 1,
        "dice_ct": 2,
        "dice_ct_left_lung": 3,
    }


def test_a_domain_that_was_not_seen_is_no_number_and_in_no_mean(tmp_path):
    model = make_model(one_device(), ["one", "two"])
    row = train(model, one_device(), tmp_path, domain="one").progress.history[0]
    assert np.isnan(row["loss_two"]) and np.isnan(row["dice_two"])
    assert row["loss"] == pytest.approx(row["loss_one"])
    assert row["dice"] == pytest.approx(row["dice_one"])


def test_accumulated_batches_are_refused():
    with pytest.raises(ValueError, match="ACCUMULATION_STEPS=1"):
        make_model(one_device(), ["one"], type="adam", accumulation_steps=2)


def difference(one: dict, two: dict) -> float:
    assert one["state"].keys() == two["state"].keys()
    return max(float(np.abs(np.array(one["state"][k]) - np.array(two["state"][k])).max()) for k in one["state"])


SGD = {"optimizer": {"type": "sgd", "momentum": 0.9, "weight_decay": 0.01, "coupled": True}}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, start(folder, epochs=2, save_every_steps=2, **SGD)


@pytest.mark.slow
def test_history_has_every_domain(plain):
    row = plain[1]["history"][-1]
    for part in ("", "val_"):
        assert {f"{part}{name}" for name in ("loss", "dice", "loss_one", "dice_one", "dice_two_c2")} <= set(row)
        assert row[f"{part}dice"] == pytest.approx((row[f"{part}dice_one"] + row[f"{part}dice_two"]) / 2)
        assert row[f"{part}loss"] == pytest.approx((row[f"{part}loss_one"] + row[f"{part}loss_two"]) / 2)
    assert row["val_loss_one"] < plain[1]["history"][0]["val_loss_one"]


@pytest.mark.slow
def test_killed_and_continued_it_ends_the_same(tmp_path, plain):
    # Killed after batch 3 of epoch 1, saved after batch 2.
    assert start(tmp_path, epochs=2, save_every_steps=2, kill_after_steps=3, **SGD) == {}
    result = start(tmp_path, epochs=2, save_every_steps=2, resume=True, **SGD)
    assert result["state"] == plain[1]["state"]
    for row, other in zip(result["history"], plain[1]["history"], strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"devices": 2}, id="two devices"),
        pytest.param({"xla": True}, id="xla"),
        pytest.param({"devices": 2, "xla": True}, id="two devices xla"),
    ],
)
def test_devices_and_compilation_change_nothing(tmp_path, plain, changes):
    result = start(tmp_path, epochs=2, save_every_steps=2, **SGD, **changes)
    assert result["replicas"] == changes.get("devices", 1)
    assert difference(result, plain[1]) < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_jax_updates_the_domain_of_the_batch_alone(tmp_path, devices):
    # One batch, of the first domain: all of the second keeps its initial state.
    words = {"backend": "jax", "block_tensorflow": True, "devices": devices, **SGD}
    result = start(tmp_path / "a", steps=1, **words)
    assert result["replicas"] == devices
    untouched = {name: value for name, value in result["state"].items() if of(name, "two")}
    momenta = [value for name, value in untouched.items() if name.startswith("optimizer/")]
    assert momenta and all(not np.any(value) for value in momenta)
    biases = [value for name, value in untouched.items() if name.startswith("network/") and name.endswith("bias")]
    assert biases and all(not np.any(value) for value in biases)
    moved = [value for name, value in result["state"].items() if name.startswith("optimizer/") and of(name, "one")]
    assert any(np.any(value) for value in moved)
