"""Code of the chapters of the part "What is possible"."""
