"""The doctor of data sets: what training would trip over, with the file and what to do about it."""
