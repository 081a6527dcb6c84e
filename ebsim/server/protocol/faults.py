"""Faults of the JSON protocols."""

import json

from botocore.model import ServiceModel

from ebsim.server.protocol.scalars import text_writer
from ebsim.server.protocol.wire import FaultError, HttpResponse


def write_fault(model: ServiceModel, fault: FaultError, request_id: str) -> HttpResponse:
    """Return the response that tells a fault, by the shape that the model has for its code."""
    shape = next((each for each in model.error_shapes if each.error_code == fault.code), None)
    status, document = fault.status, {"message": fault.message, "Message": fault.message}
    if shape is not None:
        status = shape.metadata.get("error", {}).get("httpStatusCode", fault.status)
        document = {
            member.serialization.get("name", name): fault.message
            for name, member in shape.members.items()
            if name.lower() == "message"
        }
        for name, value in fault.members.items():
            member = shape.members.get(name)
            if member is None:
                continue
            document[member.serialization.get("name", name)] = text_writer(member)(value)
    headers = {
        "x-amzn-RequestId": request_id,
        "x-amzn-errortype": fault.code,
        "Content-Type": "application/json",
    }
    if model.metadata["protocol"] == "json":
        headers["Content-Type"] = f"application/x-amz-json-{model.metadata['jsonVersion']}"
        document["__type"] = fault.code
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    return HttpResponse(status=status, headers=headers, body=body)
