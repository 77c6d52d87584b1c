"""Code of the chapter "probabilistic-stability": its experiments, figures and exercises."""
