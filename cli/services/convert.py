#!/usr/bin/env python3
"""Makes cli/src/services.tsv from the index.json of the package `port-numbers`.

usage: convert.py path/to/index.json > cli/src/services.tsv
"""

import json
import re
import sys

# Where several names share a port the package keeps the last; these are the registry's first.
PRIMARY = {63: "whoispp", 80: "http", 631: "ipp"}
# The package leaves out the registry's rows for ranges of ports; this is the one that scans meet.
RANGES = {"x11": range(6000, 6064)}


def legal(name):
    """RFC 6335 section 10.1: a name's other characters became hyphens; the old spelling lives on as an alias."""
    return re.sub(r"[^A-Za-z0-9-]", "-", name)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        index = json.load(file)
    names = {port: name for name, ports in RANGES.items() for port in ports}
    for key, (name, _description) in index.items():
        port, protocol = key.split("/")
        if protocol == "tcp" and name:
            names[int(port)] = legal(name)
    names.update(PRIMARY)
    for port in sorted(names):
        print(f"{port}\t{names[port]}")


main()
