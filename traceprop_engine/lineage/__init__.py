"""Which rows came from which: row maps, and their capture from pandas."""
