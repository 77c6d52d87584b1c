"""Code of the chapter "multiplicative-networks": its experiments, figures and exercises."""
