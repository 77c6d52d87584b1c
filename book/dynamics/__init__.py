"""Code of the chapters of the part "How training moves"."""
