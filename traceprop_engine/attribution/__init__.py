"""How much each training row moved a prediction."""
