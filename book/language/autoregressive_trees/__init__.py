"""Code of the chapter "autoregressive-trees": its experiments, figures and exercises."""
