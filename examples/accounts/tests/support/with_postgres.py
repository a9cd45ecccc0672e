#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a program of tests on a PostgreSQL that is started for this run.

usage: with_postgres.py PROGRAM [ARGUMENT]...     exit: that of the program, 2 usage, 77 there is no PostgreSQL
"""
import os
import subprocess
import sys

import postgres


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if postgres.missing():
        print(postgres.missing(), file=sys.stderr)
        return 77
    # The computer does not crash here: what the server has written is there when it is killed, too.
    with postgres.Postgres("fsync=off") as server:
        environment = {**os.environ, "ACCOUNTS_TEST_POSTGRES": f"postgresql://bank@127.0.0.1:{server.port}"}
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
