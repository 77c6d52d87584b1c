"""Code of the chapter "canonical-representation": its experiments, figures and exercises."""
