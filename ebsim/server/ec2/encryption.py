"""Encryption by default, and the default key: six operations."""

from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document


@OPERATIONS.add("ec2", "GetEbsEncryptionByDefault")
def get_ebs_encryption_by_default(served: Served) -> Document:
    """Return whether all that is new is encrypted."""
    return {"EbsEncryptionByDefault": served.store.encryption.get_by_default()}


@OPERATIONS.add("ec2", "EnableEbsEncryptionByDefault")
def enable_ebs_encryption_by_default(served: Served) -> Document:
    """Have all that is new be encrypted."""
    served.store.encryption.enable_by_default()
    return {"EbsEncryptionByDefault": True}


@OPERATIONS.add("ec2", "DisableEbsEncryptionByDefault")
def disable_ebs_encryption_by_default(served: Served) -> Document:
    """Have be encrypted what is asked to be."""
    served.store.encryption.disable_by_default()
    return {"EbsEncryptionByDefault": False}


@OPERATIONS.add("ec2", "GetEbsDefaultKmsKeyId")
def get_ebs_default_kms_key_id(served: Served) -> Document:
    """Return the key that is taken where none is named."""
    return {"KmsKeyId": served.store.encryption.get_default_kms_key_id()}


@OPERATIONS.add("ec2", "ModifyEbsDefaultKmsKeyId")
def modify_ebs_default_kms_key_id(served: Served) -> Document:
    """Have another key be taken where none is named."""
    wanted = served.parameters["KmsKeyId"]
    return {"KmsKeyId": served.store.encryption.modify_default_kms_key_id(wanted)}


@OPERATIONS.add("ec2", "ResetEbsDefaultKmsKeyId")
def reset_ebs_default_kms_key_id(served: Served) -> Document:
    """Have the AWS managed key be taken where none is named."""
    return {"KmsKeyId": served.store.encryption.reset_default_kms_key_id()}
