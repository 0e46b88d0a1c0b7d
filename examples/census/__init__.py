"""A census of Python source: what the files of a folder are made of, counted by many small tasks.

    make demo                                the standard library of the Python that runs this
    python -m examples.census some/folder    any other folder

counting.py has what a task does, engines.py the three ways to do it that are compared, terminal.py the bar and the
tables, __main__.py the story.
"""
