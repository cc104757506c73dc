"""llama.cpp's server out of the package xllamacpp, for bench/engine_http.py, with a slot for each client.

python bench/engine_llama_server.py FILE CLIENTS --port PORT
"""

from __future__ import annotations

import os
import signal
import sys

import xllamacpp  # pyright: ignore[reportMissingImports]  # in an environment of its own

CONTEXT_TOKENS = 512  # of each client: its prompt and its answer


def main() -> None:
    file, clients, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.model_alias = file, {"model"}
    parameters.n_parallel, parameters.n_ctx = clients, clients * CONTEXT_TOKENS
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = os.cpu_count() or 1
    parameters.port = port
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
