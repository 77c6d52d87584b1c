"""Code of the chapters of the part "Language models"."""
