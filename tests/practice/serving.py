"""A server on this machine that answers as a test tells it to, over the OpenAI API."""

import http.server
import json
import threading
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends JSON, and logs nothing."""

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def complete(self, text, reason="stop", status=200):
        """Send a completion of a chat."""
        choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
        self.send(status, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    def log_message(self, *words):
        pass


@contextmanager
def listening(handler):
    """The address at which a handler answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
