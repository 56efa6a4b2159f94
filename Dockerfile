# The light installation, without torch, by which photos are encoded and decoded:
#     docker build -t ddpmcodec .
#     docker run --rm -i ddpmcodec decode - -o - < photo.ddpm > photo.png
ARG DEBIAN=debian:trixie-slim

FROM $DEBIAN AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
COPY . /src
RUN python3 -m venv --without-pip /opt/ddpmcodec \
    && python3 -m venv /pip \
    && export site="$(echo /opt/ddpmcodec/lib/python3*/site-packages)" \
    && /pip/bin/pip --python /opt/ddpmcodec/bin/python install --no-cache-dir \
        click constriction msgspec ncnn numba numpy pillow safetensors scipy tqdm \
    && /pip/bin/pip --python /opt/ddpmcodec/bin/python install --no-cache-dir --no-deps /src \
    && find "$site" -type d -name tests -prune -exec rm -r {} +

FROM $DEBIAN
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ddpmcodec /opt/ddpmcodec
USER nobody
ENV NUMBA_CACHE_DIR=/tmp
ENTRYPOINT ["/opt/ddpmcodec/bin/ddpmcodec"]
