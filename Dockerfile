# ropewalk in a container, without a GPU:
#   docker build --tag ropewalk .
#   docker run --rm --volume "$PWD/runs:/ropewalk/runs" ropewalk --help
# With one (the NVIDIA container toolkit brings the driver; CUDA itself comes with torch):
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 --tag ropewalk:cuda .
#   docker run --rm --gpus all --volume "$PWD/runs:/ropewalk/runs" ropewalk:cuda doctor
# The chat page, on this machine alone, with a key of `ropewalk keys add --keys runs/keys.jsonl --name NAME`:
#   docker run --rm --publish 127.0.0.1:8000:8000 --volume "$PWD/runs:/ropewalk/runs" ropewalk \
#       serve --host 0.0.0.0 --keys runs/keys.jsonl --models runs/tiny/model

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# g++ compiles blocks, bubblewrap holds untrusted code where the container may make user namespaces; else WebAssembly does.
RUN apt-get update && apt-get install --yes --no-install-recommends bubblewrap g++ && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$TORCH" \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /wheels/ropewalk-*.whl)[demo,grammar,precise,wasm]"
COPY recipes /ropewalk/recipes
RUN useradd --create-home --uid 1000 ropewalk && mkdir --parents /ropewalk/runs && chown --recursive ropewalk /ropewalk
USER ropewalk
WORKDIR /ropewalk
EXPOSE 8000
ENTRYPOINT ["ropewalk"]
CMD ["--help"]
