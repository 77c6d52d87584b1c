"""The instruments of the ten papers: one module or package a paper, none imports another."""
