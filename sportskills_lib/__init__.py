"""SportSkills: learning physical skills from instructional video, as a research workspace.

Importing the package sets two OpenMP variables before torch can be imported anywhere: with the
default busy-waiting, a small model's step takes 4 to 20 times longer on a machine with few cores.
Two more tell polars to show 30 rows of a table and 80 characters of a text, where it would cut a
list of sports and most sentences. A value set by the user wins.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("POLARS_FMT_MAX_ROWS", "30")
os.environ.setdefault("POLARS_FMT_STR_LEN", "80")

__version__ = "0.1.0"
