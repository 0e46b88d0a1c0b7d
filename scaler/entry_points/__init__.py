"""The commands. Thin: arguments to a config, and that to the program it is for. Nothing imports from here.

Rule 1: as in all processes of ours the standard library is searched first (program.bootstrap says why): a PYTHONPATH
        that names the working folder, as one does that ends with a colon, may name a folder with a file random.py.
"""

import sys

from scaler.program.bootstrap import home, own_order

sys.path[:] = own_order(sys.path, home())
