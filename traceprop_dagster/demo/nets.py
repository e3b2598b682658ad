"""Which of the demo's nets there are: those whose framework is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import dagster as dg


@dataclass(frozen=True)
class DemoNet:
    """A net of the demo.

    Attributes:
        framework: The module that it needs.
        extra: The extra that installs it.
        predictions: Name of the asset of its predictions.
    """

    framework: str
    extra: str
    predictions: str

    @property
    def is_there(self) -> bool:
        """Whether its framework is installed."""
        return find_spec(self.framework) is not None

    @property
    def note(self) -> str:
        """What to tell a person for whom it is not there."""
        return (
            f"{self.predictions} is left out: {self.framework} is not installed "
            f'(pip install "traceprop-dagster[{self.extra}]")'
        )

    def parts(self) -> tuple[Sequence[dg.AssetsDefinition], dg.AssetChecksDefinition]:
        """Return its assets and the check of its attribution; its framework is imported here."""
        module = import_module(f"traceprop_dagster.demo.{self.extra}_model")
        name = self.extra.upper()
        return getattr(module, f"{name}_ASSETS"), getattr(module, f"{name}_QUALITY")


NETS = (
    DemoNet("torch", "torch", "torch_predictions"),
    DemoNet("jax", "jax", "jax_predictions"),
)
