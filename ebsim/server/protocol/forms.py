"""Fields of a form or a query string: `name=value&name=value`, percent-encoded."""

from urllib.parse import unquote


def split_form(text: str, fields_max: int, errors: str = "strict") -> list[tuple[str, str]]:
    """Return the fields in their order, decoded; one without `=` has an empty value.

    It is `urllib.parse.parse_qsl` with blank values kept, faster where nothing is to be
    decoded: every request has a form.

    Args:
        text: The form as it was sent.
        fields_max: More fields are refused.
        errors: What is done about bytes that are no UTF-8, as `bytes.decode` has it.

    Raises:
        ValueError: There are too many fields, or bytes that are no UTF-8.
    """
    if text.count("&") >= fields_max:
        raise ValueError(f"more than {fields_max} fields")
    fields = [field.partition("=") for field in text.split("&") if field]
    if "%" not in text and "+" not in text:
        return [(name, value) for name, _, value in fields]
    return [(_decoded(name, errors), _decoded(value, errors)) for name, _, value in fields]


def _decoded(text: str, errors: str) -> str:
    return unquote(text.replace("+", " "), errors=errors)
