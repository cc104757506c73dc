"""What goes wrong, in OpenAI's form: {"error": {"message", "type", "param", "code"}}, the message one sentence."""

from __future__ import annotations

from fastapi.responses import JSONResponse


class Refusal(Exception):  # noqa: N818 (it is no error of ours)
    """A request that is not served. `param` names the field that is wrong, `code` is for programs."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def fault(
    status: int, message: str, *, param: str | None = None, code: str | None = None, retry_seconds: int = 1
) -> JSONResponse:
    """The response that says so; a client that is too fast is told how long to wait."""
    headers = {429: {"Retry-After": str(retry_seconds)}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return JSONResponse(described(status, message, param=param, code=code), status_code=status, headers=headers)


def described(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """OpenAI's form of it."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
