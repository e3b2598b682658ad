"""A training recipe says the same steps to everyone, and refuses what cannot be followed."""

import math
from collections import Counter

import numpy as np
import pytest

from traceprop_engine.errors import RecipeError
from traceprop_engine.training import TrainingRecipe

ORDER_OF_SEED_11 = [[3, 6, 0, 7, 4], [1, 2, 9, 5, 8], [4, 3, 0, 1, 7], [9, 2, 6, 5, 8]]


def test_each_epoch_takes_every_row_at_most_once_and_drops_only_the_rest():
    recipe = TrainingRecipe(batch_size=7, epochs=5, seed=3)
    batches = recipe.batches(25)
    assert batches.shape == (15, 7)
    assert batches.dtype == np.int64
    for epoch in batches.reshape(5, -1):
        assert len(set(epoch.tolist())) == 21
        assert epoch.min() >= 0
        assert epoch.max() < 25


def test_the_order_is_written_in_stone():
    """These numbers were read once; another machine or NumPy must read the same."""
    batches = TrainingRecipe(batch_size=5, epochs=2, seed=11).batches(10)
    assert batches.tolist() == ORDER_OF_SEED_11


def test_the_keys_are_the_raw_stream_of_the_bit_generator():
    recipe = TrainingRecipe(batch_size=4, epochs=3, seed=8)
    keys = np.random.PCG64(8).random_raw(3 * 12).tolist()
    wanted = [
        sorted(range(12), key=lambda row, at=epoch: keys[12 * at + row]) for epoch in range(3)
    ]
    assert recipe.batches(12).reshape(3, 12).tolist() == wanted


def test_seeds_and_epochs_differ():
    first = TrainingRecipe(batch_size=50, epochs=2, seed=0).batches(50)
    other = TrainingRecipe(batch_size=50, epochs=2, seed=1).batches(50)
    assert (first[0] != first[1]).any()
    assert (first != other).any()


def test_every_row_is_as_likely_first():
    recipe = TrainingRecipe(batch_size=1, epochs=4000, seed=5)
    counts = Counter(recipe.batches(4).reshape(4000, 4)[:, 0].tolist())
    assert all(abs(counts[row] - 1000) < 5 * math.sqrt(750) for row in range(4))


def test_a_constant_rate_rises_over_the_warm_up_and_stays():
    rates = TrainingRecipe(learning_rate=0.4, warm_up=0.4).learning_rates(10)
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, *[0.4] * 7])


def test_a_cosine_starts_at_the_rate_and_falls_along_half_a_period():
    rates = TrainingRecipe(learning_rate=2.0, schedule="cosine").learning_rates(4)
    np.testing.assert_allclose(rates, [1 + math.cos(math.pi * k / 4) for k in range(4)])
    warmed = TrainingRecipe(learning_rate=2.0, schedule="cosine", warm_up=0.5).learning_rates(4)
    np.testing.assert_allclose(warmed, [1.0, 2.0, 2.0, 1.0])


def test_checkpoints_lie_at_the_named_shares_and_never_before_the_first_step():
    recipe = TrainingRecipe()
    assert recipe.checkpoint_steps(600) == (30, 60, 120, 240, 600)
    assert recipe.checkpoint_steps(4) == (1, 2, 4)
    assert recipe.checkpoint_steps(1) == (1,)


def test_the_last_step_is_kept_whatever_the_shares():
    assert TrainingRecipe(checkpoint_fractions=(0.1, 0.5)).checkpoint_steps(20) == (2, 10, 20)


def test_a_list_of_fractions_becomes_a_tuple_so_that_equal_recipes_are_equal():
    listed = TrainingRecipe(checkpoint_fractions=[0.5, 1.0])  # as read from JSON
    assert listed == TrainingRecipe(checkpoint_fractions=(0.5, 1.0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", "hinge"),
        ("optimiser", "adamw"),
        ("schedule", "step"),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("weight_decay", -1e-3),
        ("weight_decay", math.inf),
        ("momentum", 1.0),
        ("warm_up", -0.1),
        ("warm_up", math.nan),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("epochs", 0),
        ("epochs", True),
        ("seed", -1),
        ("checkpoint_fractions", ()),
        ("checkpoint_fractions", (0.0, 1.0)),
        ("checkpoint_fractions", (0.5, 0.5)),
        ("checkpoint_fractions", (0.5, 1.1)),
        ("checkpoint_fractions", (math.nan,)),
    ],
)
def test_a_setting_out_of_its_range_is_named(field, value):
    with pytest.raises(RecipeError, match=f"`{field}`"):
        TrainingRecipe(**{field: value})


def test_adam_has_no_momentum_setting():
    with pytest.raises(RecipeError, match="0 for Adam"):
        TrainingRecipe(optimiser="adam", momentum=0.9)


def test_a_batch_larger_than_the_table_is_refused():
    with pytest.raises(RecipeError, match="at most the 40 training rows, got 64"):
        TrainingRecipe(batch_size=64).batches(40)
