"""Python's search for dead cycles, in processes that make many objects and no cycles."""

import gc


def calm() -> None:
    """Python looks for dead cycles after every 700 objects that are made and not yet gone; a batch makes thousands and
    no cycle, and the modules loaded are some 400,000 objects to look through. That took a quarter of a busy worker, and
    an eighth of a replay. Affects the whole process: what is there now is never looked at again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
