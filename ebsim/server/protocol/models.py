"""The models of the services, as botocore has them: what each operation takes and returns."""

from functools import cache

from botocore.loaders import Loader
from botocore.model import ServiceModel

SERVICES = ("ec2", "ebs", "rbin", "dlm", "kms", "sts")
"""botocore's names of what is served; also the names in the scope of signatures."""


@cache
def operation_names(service: str) -> frozenset[str]:
    """Return the operations that a service has by its model, served or not."""
    return frozenset(load_model(service).operation_names)


@cache
def load_model(service: str) -> ServiceModel:
    """Return the model of a service, in its newest version (EC2's takes 0.1 s)."""
    description = Loader().load_service_model(service, "service-2")
    return ServiceModel(description, service)
