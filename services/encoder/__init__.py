"""The encoder: vectors of texts by a multilingual model in this process, behind OpenAI's embeddings endpoint."""

import os

os.environ.setdefault(  # read by numpy at its import: idle threads of BLAS would spin beside the one that works
    "OPENBLAS_NUM_THREADS", "1"
)
