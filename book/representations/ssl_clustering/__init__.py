"""Code of the chapter "ssl-clustering": its experiments, figures and exercises."""
