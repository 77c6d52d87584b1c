"""A sign of life while an experiment computes."""

import os
import sys
import threading
import time
import warnings
from contextlib import contextmanager

from lib import show


@contextmanager
def sign_of_life(id: str, expected: float | None = None):
    """While an experiment computes: one line with the seconds so far (of about ``expected``), gone when it is done.

    Someone must be there to see it: in a terminal, or in a front end that says which cell it runs, as JupyterLab does and
    papermill and nbval do not. ``TQDM_DISABLE=1`` silences it.
    """
    shell = show.shell()
    parent = getattr(shell, "parent_header", None)
    live = sys.stderr.isatty() if parent is None else bool((parent.get("metadata") or {}).get("cellId"))
    if not live or os.environ.get("TQDM_DISABLE"):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets tqdm warns, and writes text
        from tqdm.auto import tqdm
    words = f"{id}: computing… {{n:.0f}} s" + (f" of about {expected:.0f} s" if expected else "")
    done, start = threading.Event(), time.perf_counter()
    with tqdm(bar_format=words, leave=False, delay=1, miniters=0, disable=False) as bar:

        def tick() -> None:
            # Once a second, beside the experiment; a short one ends before the first line.
            while not done.wait(1):
                bar.update(time.perf_counter() - start - bar.n)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
