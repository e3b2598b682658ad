"""Training runs whose gradients and curvature are known in closed form."""
