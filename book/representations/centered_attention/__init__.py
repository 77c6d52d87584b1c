"""Code of the chapter "centered-attention": its experiments, figures and exercises."""
