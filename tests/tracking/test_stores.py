import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from contrastive_learning.tracking.stores import check_reachable


@pytest.fixture
def server_that_answers():
    """Starts a server that answers each request with a status and a text; returns its address."""
    servers = []

    def start(status, text):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_any_answer_but_a_refused_host_name_will_do(server_that_answers, status):
    check_reachable(f"http://{server_that_answers(status, b'something')}")


def test_a_server_that_refuses_the_host_name_is_told_how_to_accept_it(server_that_answers):
    host = server_that_answers(403, b"Invalid Host header - possible DNS rebinding attack detected")
    with pytest.raises(ValueError, match=f"start it with --allowed-hosts {host}$"):
        check_reachable(f"http://{host}")


def test_the_error_of_an_unreachable_server_has_no_credentials():
    with pytest.raises(ValueError, match=r"cannot reach the MLflow server http://\*\*\*@127\.0\.0\.1:9") as error:
        check_reachable("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "postgresql://me:secret@nowhere.invalid/db"])
def test_only_servers_are_asked(uri):
    check_reachable(uri)
