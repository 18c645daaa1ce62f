"""Published data sets, each read in its own layout."""
