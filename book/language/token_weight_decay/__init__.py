"""Code of the chapter "token-weight-decay": its experiments, figures and exercises."""
