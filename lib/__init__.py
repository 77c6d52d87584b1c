"""Shared library of *Deep Learning Theory, Executed*. Importing it loads no scientific package.

Three floors; a floor imports only from those below it:

1. ``lib.*`` and ``lib.data``: what several chapters share;
2. ``lib.papers``: one instrument a paper;
3. ``lib.book``: the machinery that runs the book. No chapter imports it.

What one chapter alone needs (its experiments, figures and exercises) stands beside its page, in ``book/<part>/<slug_>``. It
imports from the first two floors, ``lib`` never imports it, and no chapter imports another's.
"""
