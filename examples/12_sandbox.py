"""sandbox: code that nobody has read, under limits. It needs bubblewrap, or `pip install 'ropewalk[wasm]'`."""

from ropewalk.sandbox import Limits, run_code

for code in ("print(sum(range(10)))", "while True: pass", "open('/etc/passwd')"):
    outcome = run_code(code, limits=Limits(seconds=1))
    print(f"{code!r}: {outcome.ended}, exit code {outcome.exit_code}, wrote {outcome.stdout!r}")
