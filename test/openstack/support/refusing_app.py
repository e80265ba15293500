"""Refuses what says so, without a look at its body: as Glance under uWSGI refuses a bad token or a full quota."""

REASONS = {"200": "OK", "401": "Unauthorized", "413": "Request Entity Too Large"}


def application(environ, start_response):
    status = environ.get("HTTP_X_REFUSE", "200")
    body = ("uWSGI says " + status).encode()
    start_response(status + " " + REASONS[status], [("Content-Length", str(len(body)))])
    return [body]
