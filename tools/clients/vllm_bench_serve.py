#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vllm bench serve` without the packages that vLLM's server needs.

The code that runs is vLLM's own benchmark client: the same arguments, requests and output. Where
`vllm bench serve` itself starts, use that.
"""

import argparse
import sys

from vllm.benchmarks.serve import add_cli_args, main

parser = argparse.ArgumentParser(description=__doc__)
add_cli_args(parser)
arguments = sys.argv[1:]
if arguments[:2] == ["bench", "serve"]:
    arguments = arguments[2:]
main(parser.parse_args(arguments))
