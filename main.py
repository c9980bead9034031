"""The command line of mtl_tf: `main.py COMMAND --option=value ...`; `main.py --help` lists the commands."""

import sys

from mtl_tf.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
