"""serve: the model behind OpenAI's API, asked once over HTTP."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
command = [sys.executable, "-m", "ropewalk", "serve", "--models", str(folder / "base"), "--port", "0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    assert server.stdout is not None
    address = server.stdout.readline().split()[-1].rstrip("/")  # printed once it answers
    asked = {"model": f"{folder.name}/base", "prompt": "The value of", "max_tokens": 10, "seed": 0}
    request = Request(f"{address}/v1/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as response:
        print(json.dumps(json.load(response), indent=2))
    server.terminate()
