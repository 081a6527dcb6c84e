"""KMS keys and the keyring that keeps them: what wraps data keys, and who may use it."""
