"""Code of the chapter "few-shot-collapse": its experiments, figures and exercises."""
