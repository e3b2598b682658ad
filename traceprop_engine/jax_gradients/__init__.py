"""Nets in JAX: recorded trainings and the gradient of each of their rows."""

from traceprop_engine.jax_gradients.jax_training import JaxTraining
from traceprop_engine.jax_gradients.mlp import Activation, Mlp
from traceprop_engine.jax_gradients.train import JaxProgress, final_parameters, train_jax

__all__ = ["Activation", "JaxProgress", "JaxTraining", "Mlp", "final_parameters", "train_jax"]
