"""Code of the chapter "sparse-rademacher": its experiments, figures and exercises."""
