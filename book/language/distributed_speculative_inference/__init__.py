"""Code of the chapter "distributed-speculative-inference": its experiments, figures and exercises."""
