# A server with a certificate of the image's own authority, asked by a client that trusts what the image trusts; and zones.
import datetime
import http.server
import ssl
import threading
import time
import urllib.error
import urllib.request
import zoneinfo

URL = "https://localhost:8443/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"secure")

    def log_message(self, *_):
        pass


class Server(http.server.HTTPServer):
    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 8443), Handler)
own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
own.load_cert_chain("/srv/server.crt", "/srv/server.key")
server.socket = own.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()

trusted = ssl.create_default_context()
roots = len(trusted.get_ca_certs())
print("over a hundred roots" if roots > 100 else f"{roots} roots")
print("https:", urllib.request.urlopen(URL, context=trusted).read().decode())
try:
    print("without roots:", urllib.request.urlopen(URL, context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).read())
except urllib.error.URLError as error:
    print("without roots:", "refused" if isinstance(error.reason, ssl.SSLCertVerificationError) else error)

noon = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.timezone.utc)
print("Berlin:", noon.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")).isoformat())
print("here:", time.strftime("%H:%M %Z", time.localtime(0)))
