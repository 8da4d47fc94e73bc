"""Small classifiers over a multilingual sentence encoder: prompt injection and topics. MODEL_CARD.md describes them."""
