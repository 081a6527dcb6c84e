"""From requests to calls, and from results and faults to responses, whatever the protocol."""

from botocore.model import OperationModel

from ebsim.server.protocol import faults, query, rest, xml
from ebsim.server.protocol.json_body import parse_json, read_structure, write_structure
from ebsim.server.protocol.models import load_model, operation_names
from ebsim.server.protocol.wire import Call, Document, FaultError, HttpRequest, HttpResponse

QUERY_PROTOCOLS = frozenset({"ec2", "query"})


def read_call(service: str, request: HttpRequest) -> Call:
    """Return what a request to a service asks for.

    Args:
        service: botocore's name of the service, which the signature names.
        request: The request.

    Raises:
        FaultError: There is no such operation, or its parameters are malformed.
    """
    protocol = load_model(service).metadata["protocol"]
    if protocol in QUERY_PROTOCOLS:
        return _read_query(service, request)
    if protocol == "json":
        return _read_target(service, request)
    fields = rest.read_query(request)
    operation, labels = rest.find_route(load_model(service), request, fields)
    parameters = rest.read_parameters(operation, labels, fields, request)
    return Call(service=service, operation=operation.name, parameters=parameters)


def write_result(call: Call, result: Document, request_id: str) -> HttpResponse:
    """Return the response to a call that succeeded."""
    operation = _operation(call)
    protocol = operation.service_model.metadata["protocol"]
    if protocol in QUERY_PROTOCOLS:
        return xml.write_result(operation, result, request_id)
    if protocol == "json":
        version = operation.service_model.metadata["jsonVersion"]
        headers = {
            "Content-Type": f"application/x-amz-json-{version}",
            "x-amzn-RequestId": request_id,
        }
        shape = operation.output_shape
        body = b"" if shape is None else write_structure(shape, result)
        return HttpResponse(status=200, headers=headers, body=body)
    return rest.write_result(operation, result, request_id)


def write_fault(service: str, fault: FaultError, request_id: str) -> HttpResponse:
    """Return the response to a request that failed."""
    model = load_model(service)
    if model.metadata["protocol"] in QUERY_PROTOCOLS:
        return xml.write_fault(service, fault, request_id)
    return faults.write_fault(model, fault, request_id)


def _operation(call: Call) -> OperationModel:
    return load_model(call.service).operation_model(call.operation)


def _read_query(service: str, request: HttpRequest) -> Call:
    model = load_model(service)
    try:
        text = bytes(request.body).decode("utf-8") if request.method == "POST" else request.query
    except UnicodeDecodeError:
        raise FaultError("MalformedQueryString", "The query is not UTF-8.") from None
    fields = query.read_form(text)
    name = fields.get("Action", "")
    if not name:
        raise FaultError("MissingAction", "The request must contain the parameter Action.")
    if name not in operation_names(service):
        raise FaultError(
            "InvalidAction", f"The action {name[:80]} is not valid for this web service."
        )
    version = fields.get("Version", "")
    if version != model.metadata["apiVersion"]:
        raise FaultError(
            "NoSuchVersion",
            f"The version '{version[:40]}' is not served: use {model.metadata['apiVersion']}.",
        )
    parameters = query.read_parameters(model.operation_model(name), fields)
    return Call(service=service, operation=name, parameters=parameters)


def _read_target(service: str, request: HttpRequest) -> Call:
    model = load_model(service)
    prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
    if prefix != model.metadata["targetPrefix"] or name not in operation_names(service):
        raise FaultError("UnknownOperationException", "There is no such operation.")
    shape = model.operation_model(name).input_shape
    document = parse_json(request.body, "SerializationException")
    parameters = {} if shape is None else read_structure(shape, document, "SerializationException")
    if shape is not None:
        for member in shape.required_members:
            if member not in parameters:
                raise FaultError("ValidationException", f"{member} is missing.")
    return Call(service=service, operation=name, parameters=parameters)
