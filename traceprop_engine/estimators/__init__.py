"""Estimators of scikit-learn in a capture session: rows through them, and what they were fitted on.

While they are followed, a known estimator that gives a pandas frame keeps the rows of the frame
that it was given, and what it was fitted on is written down with the fitted statistic itself.
"""

from traceprop_engine.estimators.fitted import fitted_statistic
from traceprop_engine.estimators.following import EstimatorFollowing

__all__ = ["EstimatorFollowing", "fitted_statistic"]
