"""The materials of keys, sealed by the root key, and the data keys that they wrap."""

from dataclasses import dataclass, field, replace

from ebsim.entropy import Entropy
from ebsim.ids import DataKeyId
from ebsim.keys import rules
from ebsim.keys.records import KeyMaterial, KmsKey
from ebsim.keys.recovery_copy import PlainKey
from ebsim.keys.wrapping import (
    KEY_SIZE,
    Binding,
    about_data_key,
    decode_wrapped,
    encode_wrapped,
    joined,
    unwrap,
    wrap,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataKey:
    """A data key that was just made.

    Attributes:
        data_key_id: Its id.
        key_arn: The KMS key that wrapped it.
        wrapped: To be kept; only that key, for the same store and id, unwraps it.
        plain: 32 bytes; never to be written down.
    """

    data_key_id: DataKeyId
    key_arn: str
    wrapped: bytes
    plain: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Materials:
    """What seals and opens the materials of one keyring.

    Attributes:
        keyring_id: Which keyring; its materials open in no other.
        root: Its root key.
        entropy: New materials, and nonces.
    """

    keyring_id: str
    root: bytes = field(repr=False)
    entropy: Entropy = field(repr=False)

    def with_new(self, key: KmsKey, now_us: int) -> KmsKey:
        """Return a key with one more version of its material."""
        version = key.materials[-1].version + 1 if key.materials else 1
        sealed = self._seal(key, version, self.entropy.token_bytes(KEY_SIZE))
        material = KeyMaterial(version=version, created_us=now_us, sealed=sealed)
        return replace(key, materials=(*key.materials, material))

    def opened(self, key: KmsKey) -> PlainKey:
        """Return a key with its materials as they are.

        Raises:
            CorruptionError: One does not open.
        """
        secrets = tuple(self._open(key, material) for material in key.materials)
        return PlainKey(key=key, secrets=secrets)

    def sealed(self, plain: PlainKey) -> KmsKey:
        """Return a key with its materials sealed."""
        materials = tuple(
            replace(material, sealed=self._seal(plain.key, material.version, secret))
            for material, secret in zip(plain.key.materials, plain.secrets, strict=True)
        )
        return replace(plain.key, materials=materials)

    def wrap_data_key(self, key: KmsKey, data_key: bytes, binding: Binding) -> bytes:
        """Return a data key wrapped by a key's newest material."""
        newest = key.materials[-1]
        about = about_data_key(binding, key.arn, newest.version)
        wrapped = wrap(self._open(key, newest), data_key, about, self.entropy)
        return encode_wrapped(newest.version, wrapped)

    def unwrap_data_key(self, key: KmsKey, data: bytes, binding: Binding) -> bytes:
        """Return the data key that a key wrapped.

        Raises:
            CorruptionError: It is damaged, or another's.
            WrongKeyError: The material is not the one that wrapped it.
        """
        version, wrapped = decode_wrapped(data)
        secret = self._open(key, rules.material_of(key, version))
        return unwrap(secret, wrapped, about_data_key(binding, key.arn, version))

    def secret_of(self, key: KmsKey, version: int) -> bytes:
        """Return the 32 bytes of a version of a key's material.

        Raises:
            CorruptionError: There is none, or it does not open.
        """
        return self._open(key, rules.material_of(key, version))

    def _seal(self, key: KmsKey, version: int, secret: bytes) -> bytes:
        return wrap(self.root, secret, self._about(key, version), self.entropy)

    def _open(self, key: KmsKey, material: KeyMaterial) -> bytes:
        return unwrap(self.root, material.sealed, self._about(key, material.version))

    def _about(self, key: KmsKey, version: int) -> bytes:
        return joined("material", self.keyring_id, key.arn, str(version))
