"""Code of the chapters, beside their pages; instruments that chapters share or that readers take away are in ``lib``."""
