import json
import os
import socket

import bottle


@bottle.get("/hello/<name>")
def hello(name):
    host = socket.gethostbyname(socket.gethostname())
    return f"hello {name}, from user {os.getuid()} of {os.environ['HOME']} at {host}"


@bottle.post("/sum")
def add():
    return {"sum": sum(json.load(bottle.request.body))}


bottle.run(host="0.0.0.0", port=int(os.environ["PORT"]), quiet=True)
