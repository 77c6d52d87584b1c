"""The instruments of the ten papers: one module or package a paper, none imports another.

What reads as a tool without the chapter stands here; its experiments and figures stand beside the page.
"""
