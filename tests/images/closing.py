# Says HTTP/1.1, in which connections stay open, and closes each behind its response.
import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        size = len(self.rfile.read(int(self.headers.get("content-length", 0))))
        body = f"{self.command} with {size} bytes".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = answer


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
