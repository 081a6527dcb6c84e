"""Faults of the JSON protocols."""

import json

from botocore.model import ServiceModel

from ebsim.server.protocol.json_body import write_structure
from ebsim.server.protocol.wire import FaultError, HttpResponse


def write_fault(model: ServiceModel, fault: FaultError, request_id: str) -> HttpResponse:
    """Return the response that tells a fault, by the shape that the model has for its code."""
    shape = next((each for each in model.error_shapes if each.error_code == fault.code), None)
    status, document = fault.status, {"message": fault.message, "Message": fault.message}
    if shape is not None:
        status = shape.metadata.get("error", {}).get("httpStatusCode", fault.status)
        known = {name: each for name, each in fault.members.items() if name in shape.members}
        messages = {name for name in shape.members if name.lower() == "message"}
        told = write_structure(shape, dict.fromkeys(messages, fault.message) | known)
        document = json.loads(told) if messages else {"message": fault.message, **json.loads(told)}
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
