"""Published data sets, each read in the layout in which it is distributed."""
