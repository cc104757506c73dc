"""The machine as the other rooms see it: errors, progress, randomness, threads and metrics.

This is the only room that reads the environment. Its modules:

    errors      the exception tree
    progress    bars on a terminal, dated lines elsewhere
    seeds       one way to turn names and numbers into random generators
    machine     cores, memory, disk, compiler, device: what is here
    threads     how native threads wait for each other
    keys        keys for servers elsewhere
    metrics     metrics.jsonl and TensorBoard events
    doctor      `ropewalk doctor`
"""
