"""Helpers that several test modules share. A test module imports from here and from ``operations``, never from another test module."""
