"""The demo: from three hospital files to a risk model whose predictions can be explained."""
