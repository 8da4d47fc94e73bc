"""Small classifiers over a multilingual sentence encoder: prompt injection and topics. MODEL_CARD.md describes them."""

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before numpy is imported; the matrices are too small for threads
