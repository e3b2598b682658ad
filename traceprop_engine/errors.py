"""Every error this package raises, in one leaf module.

Each error takes its culprits as data and writes its own one-line message: what happened, to which
object, and what the reader can do about it.
"""


class TracepropError(Exception):
    """Base of the family; catch this one to catch them all. The CLI prints its message alone."""
